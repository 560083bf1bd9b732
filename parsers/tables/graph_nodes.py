"""Where each CUDA graph node was made: the way back from a replayed kernel to the code that captured it."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import GLOBAL_TID, START

GRAPH_NODES = Table(
    "graph_nodes",
    START,
    GLOBAL_TID,
    Column("graph_node_id", pl.Int64, "the node", aliases=("graphNodeId",), required=True),
    Column(
        "original_graph_node_id",
        pl.Int64,
        "the node that this one was cloned from; null where it was not",
        aliases=("originalGraphNodeId",),
    ),
    doc="one row per CUDA graph node made",
    sources=("CUDA_GRAPH_NODE_EVENTS", "CUDA_GRAPH_EVENTS"),
    remedy="profile with --cuda-graph-trace=node",
)
