"""Every GPU operation, and the stack of NVTX ranges that launched it.

    import ttinsys
    ops = ttinsys.attribute(ttinsys.load("run.sqlite"))
    ops.group_by("path").agg(pl.col("duration_ns").sum()).collect()

GPU operation -> the API call with its correlation id in its process -> the innermost range open on that thread when
the call began. A kernel of a replayed CUDA graph goes back further: to where its node was captured.
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from parsers.schema import Column, Table
from parsers.tables import COPY_KINDS
from ttinsys.identity import pid_of, process_of, tid_of
from ttinsys.nesting import innermost_steps
from ttinsys.nvtx import UNNAMED, ranges
from ttinsys.operators import classify

OPS = Table(
    "ops",
    Column("kind", pl.String, "`kernel`, `memcpy`, `memset` or `graph` (a CUDA graph traced as a whole)"),
    Column("kernel", pl.String, "kernel name with templates; nsys's `[CUDA ...]` name for what is not a kernel"),
    Column("kernel_short", pl.String, "kernel base name; as `kernel` for what is not a kernel"),
    Column("operator", pl.String, "what it does, read from its name: see `ttinsys.operators.OPERATORS`"),
    Column("start_ns", pl.Int64, "start on the GPU", unit="ns"),
    Column("end_ns", pl.Int64, "end on the GPU", unit="ns"),
    Column("duration_ns", pl.Int64, "end - start", unit="ns"),
    Column("device", pl.Int64, "CUDA device"),
    Column("context", pl.Int64, "CUDA context"),
    Column("stream", pl.Int64, "CUDA stream"),
    Column("pid", pl.Int64, "process"),
    Column("tid", pl.Int64, "thread that launched it; null where no API call is known"),
    Column("api", pl.String, "API function that launched it"),
    Column("api_start_ns", pl.Int64, "start of that call on the CPU", unit="ns"),
    Column("api_duration_ns", pl.Int64, "duration of that call", unit="ns"),
    Column("queue_ns", pl.Int64, "start on the GPU - end of the call; null where it started before", unit="ns"),
    Column("grid_x", pl.Int64, "grid size, x", unit="blocks"),
    Column("grid_y", pl.Int64, "grid size, y", unit="blocks"),
    Column("grid_z", pl.Int64, "grid size, z", unit="blocks"),
    Column("block_x", pl.Int64, "block size, x", unit="threads"),
    Column("block_y", pl.Int64, "block size, y", unit="threads"),
    Column("block_z", pl.Int64, "block size, z", unit="threads"),
    Column("registers_per_thread", pl.Int64, "registers", unit="1/thread"),
    Column("static_shared_bytes", pl.Int64, "static shared memory", unit="B/block"),
    Column("dynamic_shared_bytes", pl.Int64, "dynamic shared memory", unit="B/block"),
    Column("size_bytes", pl.Int64, "bytes copied or set", unit="B"),
    Column("graph_id", pl.Int64, "CUDA graph, for kind `graph`"),
    Column("graph_node_id", pl.Int64, "CUDA graph node; null outside graphs"),
    Column("correlation_id", pl.Int64, "ties the operation to its call, within its process"),
    Column("range_id", pl.Int64, "innermost range: nsys's RangeId; null where there is none"),
    Column("range", pl.String, "its name"),
    Column("path", pl.String, "names of all ranges around the launch, outermost first, joined by `/`"),
    Column("depth", pl.UInt32, "number of ranges around the innermost one"),
    Column("domain", pl.String, "NVTX domain of the innermost range; null for the default one"),
    Column("attributed_by", pl.String, "how the range was found, or why there is none: see `REASONS`"),
    doc="one row per GPU operation",
)

REASONS = {
    "launch": "the innermost range open on the launching thread when the call began",
    "graph_capture": "the innermost range open when the CUDA graph node was captured",
    "no_range_open": "the launching thread had no range open",
    "launched_before_capture": "launched before the capture began, or before the part that was cut out of it",
    "no_api_call": "the capture holds no API call with this correlation id",
}
"""Meaning of each `attributed_by`; the first two name a range, the others say why there is none."""

_INDEX = "_index"


def attribute(trace: Trace) -> pl.LazyFrame:
    """Attribute every GPU operation of a trace to the range that launched it.

    Args:
        trace: an opened trace, filtered or not.

    Returns:
        `OPS`: exactly one row per kernel, memcpy, memset and graph execution, attributed or not, in the order of
        those tables in the export.
    """
    nested = ranges(trace).cache()
    steps = nested.map_batches(innermost_steps, schema=_STEPS, validate_output_schema=False)
    launched = _with_calls(trace, _operations(trace))
    found = _range_at(launched, steps, "_global_tid", "api_start_ns").with_columns(pl.lit("launch").alias("_how"))
    if trace.has("graph_nodes"):
        found = _through_capture(trace, found, steps)
    strings = trace.strings.select("id", "value")
    names = nested.select(
        pl.col("index").alias(_INDEX), "range_id", pl.col("name").alias("range"), "path", "depth", "domain"
    )
    return (
        found.join(names, on=_INDEX, how="left")
        .join(strings.rename({"value": "_name"}), left_on="name_id", right_on="id", how="left")
        .join(strings.rename({"value": "_short"}), left_on="short_name_id", right_on="id", how="left")
        .join(strings.rename({"value": "_api"}), left_on="_api_id", right_on="id", how="left")
        .join(_operators(trace), left_on="name_id", right_on="id", how="left")
        .sort("_row")
        .select(_output())
    )


def _operations(trace: Trace) -> pl.LazyFrame:
    """All GPU operations under one schema, numbered; what is not a kernel carries its label."""
    shared = ["start_ns", "end_ns", "device_id", "context_id", "stream_id", "correlation_id", "global_pid"]
    kinds = {
        "kernel": trace.kernels.with_columns(pl.lit(None, pl.String).alias("_label")),
        "memcpy": trace.memcpys.with_columns(
            pl.format(
                "[CUDA memcpy {}]",
                pl.col("copy_kind").replace_strict(COPY_KINDS, default="Unknown", return_dtype=pl.String),
            ).alias("_label")
        ).drop("copy_kind"),
        "memset": trace.memsets.with_columns(pl.lit("[CUDA memset]").alias("_label")),
        "graph": trace.graph_launches.with_columns(
            pl.format("[CUDA graph {}]", pl.col("graph_id").fill_null(-1)).alias("_label")
        ).select(*shared, "graph_id", "_label"),
    }
    frames = [frame.with_columns(pl.lit(kind).alias("kind")) for kind, frame in kinds.items()]
    return pl.concat(frames, how="diagonal").with_row_index("_row")


def _with_calls(trace: Trace, operations: pl.LazyFrame) -> pl.LazyFrame:
    """Add the API call of each operation. Where a launch has two rows, the first to begin is the one that counts."""
    identity = ["global_pid", "correlation_id"]
    calls = trace.api_calls.select(
        process_of("global_tid").alias("global_pid"),
        "correlation_id",
        pl.col("global_tid").alias("_global_tid"),
        pl.col("start_ns").alias("api_start_ns"),
        pl.col("end_ns").alias("_api_end_ns"),
        pl.col("name_id").alias("_api_id"),
    )
    launches = (
        calls.join(operations.select(identity), on=identity, how="semi")
        .sort("api_start_ns")
        .unique(identity, keep="first", maintain_order=True)
    )
    first = calls.group_by("global_pid").agg(pl.col("correlation_id").min().alias("_first_correlation_id"))
    return operations.join(launches, on=identity, how="left").join(first, on="global_pid", how="left")


def _range_at(operations: pl.LazyFrame, steps: pl.LazyFrame, thread: str, moment: str) -> pl.LazyFrame:
    """Add `_index`, the range innermost on `thread` at `moment`: one as-of join for all operations."""
    return operations.sort(moment, nulls_last=True).join_asof(
        steps.select(pl.col("global_tid").alias(thread), "from_ns", pl.col("index").alias(_INDEX)),
        left_on=moment,
        right_on="from_ns",
        by=thread,
        check_sortedness=False,
    )


def _through_capture(trace: Trace, operations: pl.LazyFrame, steps: pl.LazyFrame) -> pl.LazyFrame:
    """For operations of graph nodes, prefer the range open when the node was first made to the one open at replay."""
    captured = trace.graph_nodes.map_batches(_originals, schema=_ORIGINALS, validate_output_schema=False)
    found = _range_at(
        operations.rename({_INDEX: "_replayed"}).join(captured, on=["global_pid", "graph_node_id"], how="left"),
        steps,
        "_capture_tid",
        "_capture_ns",
    )
    made = pl.col(_INDEX).is_not_null()
    return found.with_columns(
        pl.coalesce(_INDEX, "_replayed").alias(_INDEX),
        pl.when(made).then(pl.lit("graph_capture")).otherwise("_how").alias("_how"),
    )


def _originals(nodes: pl.DataFrame) -> pl.DataFrame:
    """Follow each graph node through its clones to the one that was captured: its thread and its moment."""
    nodes = (
        nodes.filter(pl.col("graph_node_id").is_not_null())
        .with_columns(process_of("global_tid").alias("global_pid"))
        .sort("original_graph_node_id", nulls_last=True)
        .unique(["global_pid", "graph_node_id"], keep="first", maintain_order=True)
    )
    origin = nodes.select(
        "global_pid",
        "graph_node_id",
        pl.col("original_graph_node_id").alias("_original"),
        pl.col("global_tid").alias("_capture_tid"),
        pl.col("start_ns").alias("_capture_ns"),
    )
    # Each round goes twice as far; the bound only ends a damaged trace's cycle.
    for _ in range(_MAX_DOUBLINGS):
        further = origin.join(
            origin, left_on=["global_pid", "_original"], right_on=["global_pid", "graph_node_id"], suffix="_far"
        )
        if further.is_empty():
            break
        origin = origin.update(
            further.select(
                "global_pid",
                "graph_node_id",
                pl.col("_original_far").alias("_original"),
                pl.col("_capture_tid_far").alias("_capture_tid"),
                pl.col("_capture_ns_far").alias("_capture_ns"),
            ),
            on=["global_pid", "graph_node_id"],
            include_nulls=True,
        )
    return origin.select(_ORIGINALS.keys())


def _operators(trace: Trace) -> pl.LazyFrame:
    """Operator class of each string that names a kernel: classified once per name, not once per launch."""
    named = trace.kernels.select(pl.col("name_id").alias("id")).unique()
    return trace.strings.join(named, on="id", how="semi").select("id", classify(pl.col("value")).alias("operator"))


def _output() -> list[pl.Expr]:
    """The columns of `OPS`, from what the joins have gathered."""
    api_end = pl.col("_api_end_ns")
    waited = pl.col("start_ns") - api_end
    label = pl.col("_label")
    is_kernel = pl.col("kind") == "kernel"
    reason = (
        pl.when(pl.col(_INDEX).is_not_null())
        .then("_how")
        .when(pl.col("_global_tid").is_not_null())
        .then(pl.lit("no_range_open"))
        .when(pl.col("correlation_id") < pl.col("_first_correlation_id"))
        .then(pl.lit("launched_before_capture"))
        .otherwise(pl.lit("no_api_call"))
    )
    computed = {
        "kernel": pl.coalesce(label, "_name"),
        "kernel_short": pl.coalesce(label, "_short", "_name"),
        "operator": pl.when(is_kernel).then(pl.col("operator").fill_null("other")).otherwise("kind"),
        "duration_ns": pl.col("end_ns") - pl.col("start_ns"),
        "device": pl.col("device_id"),
        "context": pl.col("context_id"),
        "stream": pl.col("stream_id"),
        "pid": pid_of("global_pid"),
        "tid": tid_of("_global_tid"),
        # cudaLaunchKernel_v7000 and its later versions are one function to a reader.
        "api": pl.col("_api").str.replace(r"_v\d+$", ""),
        "api_duration_ns": api_end - pl.col("api_start_ns"),
        "queue_ns": pl.when(waited >= 0).then(waited),
        "range": pl.when(pl.col(_INDEX).is_not_null()).then(pl.col("range").fill_null(UNNAMED)),
        "attributed_by": reason,
    }
    return [computed.get(column.name, pl.col(column.name)).alias(column.name) for column in OPS.columns]


_STEPS = {"global_tid": pl.Int64(), "from_ns": pl.Int64(), "index": pl.UInt32()}
_ORIGINALS = {
    "global_pid": pl.Int64(),
    "graph_node_id": pl.Int64(),
    "_capture_tid": pl.Int64(),
    "_capture_ns": pl.Int64(),
}
_MAX_DOUBLINGS = 16
