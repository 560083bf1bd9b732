"""Memory sets."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import CUDA_REMEDY, GPU_ACTIVITY, GRAPH_NODE

MEMSETS = Table(
    "memsets",
    *GPU_ACTIVITY,
    Column("size_bytes", pl.Int64, "Bytes set.", unit="B", aliases=("bytes",)),
    GRAPH_NODE,
    doc="one row per memory set",
    sources=("CUPTI_ACTIVITY_KIND_MEMSET",),
    remedy=CUDA_REMEDY,
)
