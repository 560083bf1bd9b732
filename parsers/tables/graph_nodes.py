"""Creations of CUDA graph nodes, which lead from a replayed kernel back to the code that captured it."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import GLOBAL_TID, START

GRAPH_NODES = Table(
    "graph_nodes",
    START,
    GLOBAL_TID,
    Column("graph_node_id", pl.Int64, "CUDA graph node ID.", aliases=("graphNodeId",), required=True),
    Column(
        "original_graph_node_id",
        pl.Int64,
        "ID of the node that this one was cloned from; null for a node that was captured.",
        aliases=("originalGraphNodeId",),
    ),
    doc="one row per creation of a CUDA graph node",
    sources=("CUDA_GRAPH_NODE_EVENTS", "CUDA_GRAPH_EVENTS"),
    remedy="profile with --cuda-graph-trace=node",
)
