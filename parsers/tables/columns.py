"""Columns that several nsys tables share."""

import polars as pl

from parsers.schema import Column

CUDA_REMEDY = "profile on a machine with a GPU with --trace=cuda,nvtx"

START = Column("start_ns", pl.Int64, "start, on the capture's clock", unit="ns", aliases=("start",), required=True)
END = Column("end_ns", pl.Int64, "end, on the capture's clock", unit="ns", aliases=("end",), required=True)
GLOBAL_TID = Column(
    "global_tid", pl.Int64, "thread: VM and process in the upper bits, TID in the lower 24", aliases=("globalTid",)
)
GLOBAL_PID = Column(
    "global_pid", pl.Int64, "process: the thread's global id with its lower 24 bits clear", aliases=("globalPid",)
)
GPU_ACTIVITY = (
    START,
    END,
    Column("device_id", pl.Int64, "CUDA device", aliases=("deviceId",)),
    Column("context_id", pl.Int64, "CUDA context", aliases=("contextId",)),
    Column("stream_id", pl.Int64, "CUDA stream", aliases=("streamId",)),
    Column("correlation_id", pl.Int64, "ties the operation to its API call, per process", aliases=("correlationId",)),
    GLOBAL_PID,
)
GRAPH_NODE = Column("graph_node_id", pl.Int64, "CUDA graph node; null outside graphs", aliases=("graphNodeId",))
