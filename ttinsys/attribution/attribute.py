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
from parsers.scan import lazy
from parsers.schema import Column, Table
from parsers.tables import COPY_KINDS
from ttinsys.attribution.graphs import capture_sites
from ttinsys.attribution.identity import pid_of, process_of, tid_of
from ttinsys.attribution.labels import LABEL_NAMES, LABELS
from ttinsys.attribution.launches import IDENTITY, api_calls, with_calls
from ttinsys.attribution.nesting import extended, inherited, innermost
from ttinsys.attribution.nvtx import UNNAMED, ranges
from ttinsys.attribution.operators import classify

OPS = Table(
    "ops",
    Column("kind", pl.String, "`kernel`, `memcpy`, `memset` or `graph` (a CUDA graph traced as a whole)"),
    Column("kernel", pl.String, "kernel name with templates; nsys's `[CUDA ...]` name for what is not a kernel"),
    Column("kernel_short", pl.String, "kernel base name; as `kernel` for what is not a kernel"),
    Column("operator", pl.String, "what it does, read from its name: see `ttinsys.attribution.operators.OPERATORS`"),
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
    Column("module", pl.String, "name of the innermost annotated range; null where there is none"),
    Column("module_id", pl.Int64, "its RangeId: the call to which `flops` and `bytes` belong, once for all operations"),
    *LABELS,
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


def attribute(trace: Trace) -> pl.LazyFrame:
    """Attribute every GPU operation of a trace to the range that launched it.

    Nothing is read until the frame is collected, and then only what the columns asked for depend on.

    Args:
        trace: an opened trace, filtered or not.

    Returns:
        `OPS`: exactly one row per kernel, memcpy, memset and graph execution, attributed or not, in the order of
        those tables in the export.
    """
    return lazy(OPS.schema, lambda columns: iter([_attributed(trace, {*columns})]))


def _attributed(trace: Trace, wanted: set[str]) -> pl.DataFrame:
    """`OPS`, or at least its columns `wanted`."""
    output = {name: expression for name, expression in _output().items() if name in wanted}
    used = {root for expression in output.values() for root in expression.meta.root_names()}
    used |= {ids for column, ids in _STRINGS.items() if column in wanted}
    by_range = not wanted.isdisjoint(_FROM_RANGE)
    operations = _operations(trace)
    if by_range or not wanted.isdisjoint(_FROM_CALL):
        used |= {*IDENTITY, "global_tid", "api_start_ns", "graph_node_id"}
        calls = _some(api_calls(trace), used)
        ops = _launched(*pl.collect_all([_some(operations, used).with_row_index("_row"), calls]))
    else:
        ops = _some(operations, used).collect()
    if by_range:
        ops = _in_ranges(trace, ops, wanted)
    for column in wanted & _STRINGS.keys():
        ops = _with_strings(trace, ops, column)
    return ops.select(expression.alias(name) for name, expression in output.items())


def _some(frame: pl.LazyFrame, names: set[str]) -> pl.LazyFrame:
    return frame.select(name for name in frame.collect_schema().names() if name in names)


_STRINGS = {"kernel": "name_id", "kernel_short": "short_name_id", "operator": "name_id", "api": "api_name_id"}
_FROM_MODULE = frozenset({"module", "module_id", *LABEL_NAMES})
_FROM_RANGE = frozenset({"range_id", "range", "path", "depth", "domain", "attributed_by", *_FROM_MODULE})
_FROM_CALL = frozenset({"tid", "api", "api_start_ns", "api_duration_ns", "queue_ns"})


def _operations(trace: Trace) -> pl.LazyFrame:
    """All GPU operations under one schema; what is not a kernel carries its label."""
    kinds = {
        "kernel": trace.kernels.with_columns(
            pl.coalesce("short_name_id", "name_id").alias("short_name_id"), pl.lit(None, pl.String).alias("_label")
        ),
        "memcpy": trace.memcpys.with_columns(
            pl.format(
                "[CUDA memcpy {}]",
                pl.col("copy_kind").replace_strict(COPY_KINDS, default="Unknown", return_dtype=pl.String),
            ).alias("_label")
        ).drop("copy_kind"),
        "memset": trace.memsets.with_columns(pl.lit("[CUDA memset]").alias("_label")),
        "graph": trace.graph_launches.with_columns(
            pl.format("[CUDA graph {}]", pl.col("graph_id").fill_null(-1)).alias("_label")
        ).drop("graph_exec_id"),
    }
    return pl.concat([frame.with_columns(pl.lit(kind).alias("kind")) for kind, frame in kinds.items()], how="diagonal")


def _launched(operations: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Add the API call of each operation. Where a launch has two rows, the first to begin is the one that counts."""
    ops = with_calls(operations, calls)
    if ops.height > operations.height:
        ops = ops.sort("api_start_ns", nulls_last=True).unique("_row", keep="first").sort("_row")
    process = process_of("global_tid").alias("global_pid")
    first = calls.group_by(process).agg(pl.col("correlation_id").min().alias("_first_correlation_id"))
    return ops.join(first, on="global_pid", how="left", maintain_order="left")


def _in_ranges(trace: Trace, ops: pl.DataFrame, wanted: set[str]) -> pl.DataFrame:
    """Add the columns of the innermost range, of the innermost annotated one, and how they were found."""
    own = ["range_id", "name", "depth", "domain", *({"path"} & wanted)]
    labels = LABEL_NAMES if not wanted.isdisjoint(_FROM_MODULE) else ()
    nested = ranges(trace).select("start_ns", "end_ns", "global_tid", "parent", *own, *labels).collect()
    at = innermost(nested, ops["global_tid"], ops["api_start_ns"])
    how = pl.repeat("launch", ops.height, dtype=pl.String, eager=True)
    if trace.has("graph_nodes"):
        captured = ops.select("global_pid", "graph_node_id").join(
            capture_sites(trace.graph_nodes.collect()),
            on=["global_pid", "graph_node_id"],
            how="left",
            maintain_order="left",
        )
        made_at = innermost(nested, captured["capture_tid"], captured["capture_ns"])
        how = how.set(made_at.is_not_null(), "graph_capture")
        at = made_at.zip_with(made_at.is_not_null(), at)
    found = nested.select(own)[at]
    named = found.with_columns(pl.when(at.is_not_null()).then(pl.col("name").fill_null(UNNAMED)).alias("name"))
    ops = ops.hstack(named.rename({"name": "range"})).with_columns(how.alias("_how"))
    return ops.hstack(_in_modules(nested, at)) if labels else ops


def _in_modules(nested: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
    """The columns of the innermost annotated range; libraries open ranges of their own inside it."""
    position = pl.int_range(nested.height, dtype=pl.UInt32, eager=True)
    module = inherited(nested, position.zip_with(nested["role"].is_not_null(), pl.Series([None], dtype=pl.UInt32)))
    holder = extended(module, None).gather(at.fill_null(nested.height))
    return nested.select(pl.col("name").alias("module"), pl.col("range_id").alias("module_id"), *LABEL_NAMES)[holder]


def _with_strings(trace: Trace, ops: pl.DataFrame, column: str) -> pl.DataFrame:
    """Add `column`, with an underscore before it, from the strings that its ids stand for."""
    ids = _STRINGS[column]
    strings = trace.strings.join(ops.lazy().select(pl.col(ids).unique().alias("id")), on="id", how="semi")
    # A name is classified once, not once per launch.
    value = classify(pl.col("value")) if column == "operator" else pl.col("value")
    named = strings.select(pl.col("id").alias(ids), value.alias(f"_{column}")).unique(ids, keep="first").collect()
    return ops.join(named, on=ids, how="left", maintain_order="left")


def _output() -> dict[str, pl.Expr]:
    """How each column of `OPS` comes from what the joins have gathered."""
    waited = pl.col("start_ns") - pl.col("api_end_ns")
    reason = (
        pl.when(pl.col("range_id").is_not_null())
        .then("_how")
        .when(pl.col("global_tid").is_not_null())
        .then(pl.lit("no_range_open"))
        .when(pl.col("correlation_id") < pl.col("_first_correlation_id"))
        .then(pl.lit("launched_before_capture"))
        .otherwise(pl.lit("no_api_call"))
    )
    computed = {
        "kernel": pl.coalesce("_label", "_kernel"),
        "kernel_short": pl.coalesce("_label", "_kernel_short"),
        "operator": pl.when(pl.col("kind") == "kernel").then(pl.col("_operator").fill_null("other")).otherwise("kind"),
        "duration_ns": pl.col("end_ns") - pl.col("start_ns"),
        "device": pl.col("device_id"),
        "context": pl.col("context_id"),
        "stream": pl.col("stream_id"),
        "pid": pid_of("global_pid"),
        "tid": tid_of("global_tid"),
        # cudaLaunchKernel_v7000 and its later versions are one function to a reader.
        "api": pl.col("_api").str.replace(r"_v\d+$", ""),
        "api_duration_ns": pl.col("api_end_ns") - pl.col("api_start_ns"),
        "queue_ns": pl.when(waited >= 0).then(waited),
        "attributed_by": reason,
    }
    return {column.name: computed.get(column.name, pl.col(column.name)) for column in OPS.columns}
