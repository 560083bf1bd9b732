"""Executions of whole CUDA graphs, which nsys traces unless it is told to trace their nodes."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import CUDA_REMEDY, GPU_ACTIVITY

GRAPH_LAUNCHES = Table(
    "graph_launches",
    *GPU_ACTIVITY,
    Column("graph_id", pl.Int64, "CUDA graph ID.", aliases=("graphId",)),
    Column("graph_exec_id", pl.Int64, "ID of the instantiated CUDA graph.", aliases=("graphExecId",)),
    doc="one row per execution of a CUDA graph (`nsys profile --cuda-graph-trace=graph`, the default)",
    sources=("CUPTI_ACTIVITY_KIND_GRAPH_TRACE",),
    remedy=CUDA_REMEDY,
)
