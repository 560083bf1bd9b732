"""Columns that several nsys tables share."""

import polars as pl

from parsers.schema import Column

CUDA_REMEDY = "profile on a machine with a GPU with --trace=cuda,nvtx"

START = Column(
    "start_ns", pl.Int64, "Start time since the capture began.", unit="ns", aliases=("start",), required=True
)
END = Column("end_ns", pl.Int64, "End time since the capture began.", unit="ns", aliases=("end",), required=True)
GLOBAL_TID = Column(
    "global_tid", pl.Int64, "Thread ID in the lower 24 bits; process and VM in the bits above.", aliases=("globalTid",)
)
GLOBAL_PID = Column(
    "global_pid",
    pl.Int64,
    "Process: the global ID of its threads with the lower 24 bits clear.",
    aliases=("globalPid",),
)
GPU_ACTIVITY = (
    START,
    END,
    Column("device_id", pl.Int64, "CUDA device ordinal, as the process numbers its devices.", aliases=("deviceId",)),
    Column("context_id", pl.Int64, "CUDA context ID within the process.", aliases=("contextId",)),
    Column("stream_id", pl.Int64, "CUDA stream ID within the context.", aliases=("streamId",)),
    Column(
        "correlation_id",
        pl.Int64,
        "Correlation ID, which links the operation to its API call within the process.",
        aliases=("correlationId",),
    ),
    GLOBAL_PID,
)
GRAPH_NODE = Column("graph_node_id", pl.Int64, "CUDA graph node ID; null outside graphs.", aliases=("graphNodeId",))
