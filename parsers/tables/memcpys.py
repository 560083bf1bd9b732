"""Memory copies."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import CUDA_REMEDY, GPU_ACTIVITY, GRAPH_NODE

MEMCPYS = Table(
    "memcpys",
    *GPU_ACTIVITY,
    Column("size_bytes", pl.Int64, "Bytes copied.", unit="B", aliases=("bytes",)),
    Column("copy_kind", pl.Int64, "Direction of the copy: a key of `COPY_KINDS`.", aliases=("copyKind",)),
    GRAPH_NODE,
    doc="one row per memory copy",
    sources=("CUPTI_ACTIVITY_KIND_MEMCPY",),
    remedy=CUDA_REMEDY,
)

COPY_KINDS = {
    0: "Unknown",
    1: "Host-to-Device",
    2: "Device-to-Host",
    3: "Host-to-Array",
    4: "Array-to-Host",
    5: "Array-to-Array",
    6: "Array-to-Device",
    7: "Device-to-Array",
    8: "Device-to-Device",
    9: "Host-to-Host",
    10: "Peer-to-Peer",
    11: "Unified Host-to-Device",
    12: "Unified Device-to-Host",
    13: "Unified Device-to-Device",
}
"""Names of `copy_kind`, as in nsys's ENUM_CUDA_MEMCPY_OPER."""
UNIFIED_KINDS = (11, 12, 13)
"""Kinds of migrations of unified memory."""
