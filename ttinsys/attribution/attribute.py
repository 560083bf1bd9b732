"""Every GPU operation with the stack of NVTX ranges that launched it.

    import ttinsys
    ops = ttinsys.attribute(ttinsys.load("run.sqlite"))
    ops.group_by("path").agg(pl.col("duration_ns").sum()).collect()

An operation is attributed in two steps. Its correlation ID, unique within a process, gives the API call that launched
it. Of the ranges that are open on the calling thread when the call begins, the innermost one is the operation's range.
A kernel of a replayed CUDA graph belongs to the range in which its node was captured, as repeated for the launch: see
`ttinsys.attribution.replays`.
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from parsers.scan import lazy
from parsers.schema import Column, Table
from parsers.tables import COPY_KINDS, UNIFIED_KINDS
from ttinsys.attribution.devices import GPU, with_gpus
from ttinsys.attribution.graphs import capture_sites
from ttinsys.attribution.identity import pid_of, process_of, tid_of
from ttinsys.attribution.labels import LABEL_NAMES, LABELS, OF_SURROUNDINGS
from ttinsys.attribution.launches import IDENTITY, api_calls, with_calls, with_processes
from ttinsys.attribution.nesting import extended, inherited, innermost
from ttinsys.attribution.nvtx import RangeReader
from ttinsys.attribution.operators import classify, precision, variant
from ttinsys.attribution.paths import UNNAMED
from ttinsys.attribution.replays import replay_ranges

OPS = Table(
    "ops",
    Column("kind", pl.String, "Kind of operation: `kernel`, `memcpy`, `memset`, or `graph` for a CUDA graph that was "
           "traced as a whole."),
    Column("kernel", pl.String, "Demangled kernel name with template arguments; nsys's `[CUDA ...]` name for other "
           "kinds. Null where the export has no name."),
    Column("kernel_short", pl.String, "Kernel base name, without template arguments; the same as `kernel` for other "
           "kinds."),
    Column("operator", pl.String, "What the kernel computes, read from its name: a key of "
           "`ttinsys.attribution.operators.OPERATORS`; the same as `kind` for other kinds."),
    Column("variant", pl.String, "Variant of the operator, such as `sparse_attention`: a key of "
           "`ttinsys.attribution.operators.VARIANTS`; null where the kernel's name tells none."),
    Column("precision", pl.String, "Precision of the kernel's operands, such as `bf16`; null where its name does not "
           "tell it, and for other kinds."),
    Column("start_ns", pl.Int64, "Start time on the GPU.", unit="ns"),
    Column("end_ns", pl.Int64, "End time on the GPU.", unit="ns"),
    Column("duration_ns", pl.Int64, "Duration on the GPU: `end_ns` - `start_ns`; null, and so in no sum, where the "
           "operation ends before it starts.", unit="ns"),
    Column("device", pl.Int64, "CUDA device ordinal, as the process numbers its devices."),
    GPU,
    Column("context", pl.Int64, "CUDA context ID within the process."),
    Column("stream", pl.Int64, "CUDA stream ID within the context."),
    Column("pid", pl.Int64, "ID of the process that launched the operation."),
    Column("tid", pl.Int64, "ID of the thread that launched the operation; null where the API call is not in the "
           "trace."),
    Column("api", pl.String, "CUDA API function that launched the operation, without version suffix; null where the "
           "call is not in the trace."),
    Column("api_start_ns", pl.Int64, "Start time of the API call on the CPU; null where it is not in the trace.",
           unit="ns"),
    Column("api_duration_ns", pl.Int64, "Duration of the API call on the CPU; null where it is not in the trace.",
           unit="ns"),
    Column("queue_ns", pl.Int64, "Time from the end of the API call to the start on the GPU, as nsys's queue duration; "
           "null where the operation started before the call ended.", unit="ns"),
    Column("grid_x", pl.Int64, "Grid size in x; null for other kinds than kernels.", unit="blocks"),
    Column("grid_y", pl.Int64, "Grid size in y; null for other kinds than kernels.", unit="blocks"),
    Column("grid_z", pl.Int64, "Grid size in z; null for other kinds than kernels.", unit="blocks"),
    Column("block_x", pl.Int64, "Block size in x; null for other kinds than kernels.", unit="threads"),
    Column("block_y", pl.Int64, "Block size in y; null for other kinds than kernels.", unit="threads"),
    Column("block_z", pl.Int64, "Block size in z; null for other kinds than kernels.", unit="threads"),
    Column("registers_per_thread", pl.Int64, "Registers per thread of the kernel.", unit="1/thread"),
    Column("static_shared_bytes", pl.Int64, "Static shared memory per block of the kernel.", unit="B/block"),
    Column("dynamic_shared_bytes", pl.Int64, "Dynamic shared memory per block of the kernel.", unit="B/block"),
    Column("size_bytes", pl.Int64, "Bytes copied or set; null for kernels and graphs.", unit="B"),
    Column("graph_id", pl.Int64, "CUDA graph ID; null for other kinds than `graph`."),
    Column("graph_node_id", pl.Int64, "CUDA graph node ID; null for operations that no graph launched."),
    Column("correlation_id", pl.Int64, "Correlation ID, which links the operation to its API call within the process."),
    Column("range_id", pl.Int64, "nsys's RangeId of the innermost range, negative for a range that a CUDA graph "
           "replays; null where there is none."),
    Column("range", pl.String, "Name of the innermost range, `(unnamed)` for a range without text; null where there is "
           "no range."),
    Column("group", pl.String, "Stable name of the innermost range, without what differs from call to call; null where "
           "there is no range."),
    Column("path", pl.String, "Groups of all ranges around the launch, outermost first, joined by `/`; null where "
           "there is no range."),
    Column("depth", pl.UInt32, "Number of ranges around the innermost one; null where there is no range."),
    Column("domain", pl.String, "NVTX domain of the innermost range; null for the default domain."),
    Column("attributed_by", pl.String, "How the range was found, or why there is none: a key of `REASONS`."),
    Column("module", pl.String, "Stable name of the innermost range that has a role, or of the forward call whose "
           "gradient it computes; null where there is none."),
    Column("module_id", pl.Int64, "RangeId of the innermost range that has a role; null where there is none. `flops` "
           "and `bytes` belong to this call as a whole, and are repeated on each of its operations."),
    *LABELS,
    doc="one row per GPU operation",
)  # fmt: skip

REASONS = {
    "launch": "the innermost range open on the launching thread when the call began",
    "graph_capture": "the innermost range open when the CUDA graph node was captured, repeated for the launch of the "
    "graph",
    "no_range_open": "the launching thread had no range open",
    "unified_memory": "a migration of unified memory: the driver moves pages, and no API call launches that",
    "launched_before_capture": "launched before the capture began, or before the part that was cut out of it",
    "no_api_call": "the capture holds no API call with this correlation id",
}
"""Meaning of each value of `attributed_by`: the first two come with a range, the others say why there is none."""


def attribute(trace: Trace, reader: RangeReader | None = None) -> pl.LazyFrame:
    """Attribute every GPU operation of a trace to the range that launched it.

    Nothing is read until the frame is collected, and then only the data that the selected columns depend on.

    Args:
        trace: an opened trace, filtered or not.
        reader: reads the ranges of this trace, where other queries read them too; None for one of its own.

    Returns:
        `OPS`: exactly one row per kernel, memcpy, memset and graph execution, attributed or not. Rows are in the order
        of these tables, and within each in the order of the export.
    """
    reader = reader or RangeReader(trace)
    return lazy(OPS.schema, lambda columns: iter([_attributed(trace, reader, {*columns})]))


def _attributed(trace: Trace, reader: RangeReader, wanted: set[str]) -> pl.DataFrame:
    """The `wanted` columns of `OPS`, reading and joining only what they depend on."""
    output = {name: expression for name, expression in _output().items() if name in wanted}
    used = {root for expression in output.values() for root in expression.meta.root_names()}
    used |= {ids for column, ids in _STRINGS.items() if column in wanted}
    used |= {"global_pid", "device_id"} if "gpu" in wanted else set()
    by_range = not wanted.isdisjoint(_FROM_RANGE)
    operations = _operations(trace)
    if by_range or not wanted.isdisjoint(_FROM_CALL):
        # The joins need these whatever is wanted: identity for the call, thread and time for the range.
        used |= {*IDENTITY, "global_tid", "api_start_ns", "graph_node_id"}
        calls = _some(api_calls(trace), used)
        ops = _launched(*pl.collect_all([_some(operations, used).with_row_index("_row"), calls]))
    else:
        ops = with_processes(api_calls(trace), _some(operations, used).collect())
    if by_range:
        ops = _in_ranges(trace, reader, ops, wanted)
    if "gpu" in wanted:
        ops = with_gpus(trace, ops)
    ops = _with_strings(trace, ops, wanted & _STRINGS.keys())
    return ops.select(expression.alias(name) for name, expression in output.items())


def _some(frame: pl.LazyFrame, names: set[str]) -> pl.LazyFrame:
    return frame.select(name for name in frame.collect_schema().names() if name in names)


# Columns of ranges that tell where operations belong.
_PLACED = ("index", "start_ns", "end_ns", "global_tid", "parent", "captured_id")
# By output column: what reads it from the kernel's name.
_READ = {"operator": classify, "variant": variant, "precision": precision}
# By output column: the column of string ids that its text comes from.
_STRINGS = {
    "kernel": "name_id", "kernel_short": "short_name_id", "api": "api_name_id", **dict.fromkeys(_READ, "name_id"),
}  # fmt: skip
# Columns of `OPS` by the join that provides them, which is skipped where none of them is wanted.
_FROM_MODULE = frozenset({"module", "module_id", *LABEL_NAMES})
_FROM_RANGE = frozenset({"range_id", "range", "group", "path", "depth", "domain", "attributed_by", *_FROM_MODULE})
_FROM_CALL = frozenset({"tid", "api", "api_start_ns", "api_duration_ns", "queue_ns"})


def _operations(trace: Trace) -> pl.LazyFrame:
    """The tables of GPU operations under one schema; operations other than kernels have their name in `_label`."""
    kinds = {
        "kernel": trace.kernels.with_columns(
            # An export may lack short names: then the full name serves.
            pl.coalesce("short_name_id", "name_id").alias("short_name_id"),
            pl.lit(None, pl.String).alias("_label"),
        ),
        "memcpy": trace.memcpys.with_columns(
            pl.format(
                "[CUDA memcpy {}]",
                pl.col("copy_kind").replace_strict(COPY_KINDS, default="Unknown", return_dtype=pl.String),
            ).alias("_label")
        ),
        "memset": trace.memsets.with_columns(pl.lit("[CUDA memset]").alias("_label")),
        "graph": trace.graph_launches.with_columns(
            # pl.format is null where an argument is null, and an operation must have a name.
            pl.format("[CUDA graph {}]", pl.col("graph_id").fill_null(-1)).alias("_label")
        ).drop("graph_exec_id"),
    }
    return pl.concat([frame.with_columns(pl.lit(kind).alias("kind")) for kind, frame in kinds.items()], how="diagonal")


def _launched(operations: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Add the API call of each operation, and the smallest correlation ID of its process.

    Two calls may carry the correlation ID of one operation: the one that begins first counts.
    """
    operations = with_processes(calls.lazy(), operations)
    ops = with_calls(operations, calls)
    # The rare case: the join has added rows, and `_row` puts the others back in order.
    if ops.height > operations.height:
        ops = ops.sort("api_start_ns", nulls_last=True).unique("_row", keep="first").sort("_row")
    process = process_of("global_tid").alias("global_pid")
    first = calls.group_by(process).agg(pl.col("correlation_id").min().alias("_first_correlation_id"))
    return ops.join(first, on="global_pid", how="left", maintain_order="left")


def _in_ranges(trace: Trace, reader: RangeReader, ops: pl.DataFrame, wanted: set[str]) -> pl.DataFrame:
    """Add the columns of the innermost range and of the innermost annotated range, and `_how` they were found."""
    own = ["range_id", "depth", "domain", *("name" for _ in {"range"} & wanted), *sorted({"group", "path"} & wanted)]
    # Labels cost a pass over all marks, and most callers want none.
    labels = LABEL_NAMES if not wanted.isdisjoint(_FROM_MODULE) else ()
    used = {*_PLACED, *own, *labels, *(["group"] if labels else [])}
    nested = reader.read(sorted(used))
    range_index = innermost(nested, ops["global_tid"], ops["api_start_ns"])
    how = pl.repeat("launch", ops.height, dtype=pl.String, eager=True)
    if trace.has("graph_nodes"):
        captured = ops.select("global_pid", "graph_node_id").join(
            capture_sites(trace.graph_nodes.collect()),
            on=["global_pid", "graph_node_id"],
            how="left",
            maintain_order="left",
        )
        capture_index = innermost(nested, captured["capture_tid"], captured["capture_ns"])
        launched_in, launches = range_index, ops.select("global_tid", "api_start_ns")
        range_index = replay_ranges(nested, launches, launched_in, capture_index)
        how = how.set(capture_index.is_not_null() & range_index.ne_missing(launched_in), "graph_capture")
    # A null index gives a row of nulls, so the name of a range without text must not be filled there.
    unnamed = [pl.when(range_index.is_not_null()).then(pl.col(text).fill_null(UNNAMED)).alias(text)
               for text in ("name", "group") if text in own]  # fmt: skip
    of_ranges = nested.select(own)[range_index].with_columns(unnamed)
    ops = ops.hstack(of_ranges.rename({"name": "range"}, strict=False)).with_columns(how.alias("_how"))
    return ops.hstack(_in_modules(nested, range_index)) if labels else ops


def _in_modules(nested: pl.DataFrame, range_index: pl.Series) -> pl.DataFrame:
    """Columns of the innermost annotated range; the innermost range itself may be one that a library opened in it."""
    position = pl.int_range(nested.height, dtype=pl.UInt32, eager=True)
    module = inherited(nested, position.zip_with(nested["role"].is_not_null(), pl.Series([None], dtype=pl.UInt32)))
    holder = extended(module, None).gather(range_index.fill_null(nested.height))
    of_module = [name for name in LABEL_NAMES if name not in OF_SURROUNDINGS]
    columns = nested.select(pl.col("group").alias("module"), pl.col("range_id").alias("module_id"), *of_module)[holder]
    columns = columns.hstack(nested.select(OF_SURROUNDINGS)[range_index])
    if columns["forward_id"].null_count() == columns.height:
        return columns
    # A gradient is told by the call that it belongs to.
    names = nested.select(pl.col("range_id").alias("forward_id"), pl.col("group").alias("_forward"))
    columns = columns.join(names, on="forward_id", how="left", maintain_order="left")
    return columns.with_columns(pl.coalesce("_forward", "module").alias("module")).drop("_forward")


def _with_strings(trace: Trace, ops: pl.DataFrame, wanted: set[str]) -> pl.DataFrame:
    """Add `_kernel`, `_operator` and so on: what the string ids of operations refer to, and what is read from it."""
    used = sorted({_STRINGS[column] for column in wanted})
    if not used:
        return ops
    needed = pl.concat([ops.select(pl.col(ids).alias("id")) for ids in used]).unique()
    # The strings are read once: they may be millions, of which operations have a few hundred.
    texts = trace.strings.join(needed.lazy(), on="id", how="semi").collect().unique("id", keep="first")
    for ids in used:
        columns = [column for column in _STRINGS if column in wanted and _STRINGS[column] == ids]
        value = pl.col("value")
        named = texts.join(ops.select(pl.col(ids).alias("id")).unique(), on="id", how="semi").select(
            pl.col("id").alias(ids), *(_READ.get(column, _itself)(value).alias(f"_{column}") for column in columns)
        )
        ops = ops.join(named, on=ids, how="left", maintain_order="left")
    return ops


def _itself(text: pl.Expr) -> pl.Expr:
    return text


def _output() -> dict[str, pl.Expr]:
    """Expression of each column of `OPS` over the joined columns."""
    duration = pl.col("end_ns") - pl.col("start_ns")
    waited = pl.col("start_ns") - pl.col("api_end_ns")
    reason = (
        pl.when(pl.col("range_id").is_not_null())
        .then("_how")
        .when(pl.col("global_tid").is_not_null())
        .then(pl.lit("no_range_open"))
        .when(pl.col("copy_kind").is_in(UNIFIED_KINDS))
        .then(pl.lit("unified_memory"))
        # Correlation IDs count up, so one below all that were recorded belongs to an earlier call.
        .when(pl.col("correlation_id") < pl.col("_first_correlation_id"))
        .then(pl.lit("launched_before_capture"))
        .otherwise(pl.lit("no_api_call"))
    )
    computed = {
        "kernel": pl.coalesce("_label", "_kernel"),
        "kernel_short": pl.coalesce("_label", "_kernel_short"),
        "operator": pl.when(pl.col("kind") == "kernel").then(pl.col("_operator").fill_null("other")).otherwise("kind"),
        "variant": pl.col("_variant"),
        "precision": pl.col("_precision"),
        "duration_ns": pl.when(duration >= 0).then(duration),
        "device": pl.col("device_id"),
        "context": pl.col("context_id"),
        "stream": pl.col("stream_id"),
        "pid": pid_of("global_pid"),
        "tid": tid_of("global_tid"),
        # cudaLaunchKernel_v7000 and cudaLaunchKernel_v11060 are one function to a reader.
        "api": pl.col("_api").str.replace(r"_v\d+$", ""),
        "api_duration_ns": pl.col("api_end_ns") - pl.col("api_start_ns"),
        # A kernel can start before its launch call returns: then it did not wait in a queue.
        "queue_ns": pl.when(waited >= 0).then(waited),
        "attributed_by": reason,
    }
    return {column.name: computed.get(column.name, pl.col(column.name)) for column in OPS.columns}
