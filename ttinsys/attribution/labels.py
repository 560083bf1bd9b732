"""Labels of annotated ranges, as columns: role, component, class, step, lengths, FLOPs and bytes.

    ttinsys.ranges(trace).filter(pl.col("role") == "temporal_attention")

Annotation writes them as NVTX marks, in the format of `annotate.labels`: marks that describe modules, by the name of
their ranges, and marks that hold the values of a call, by a number that is the payload of its ranges. A trace without
annotation has the same columns, all null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from parsers import Trace
from parsers.schema import Column
from parsers.tables import MARK_EVENT
from ttinsys.attribution.identity import process_of
from ttinsys.attribution.nesting import inherited, innermost

if TYPE_CHECKING:
    from annotate import labels
else:
    from ttinsys._annotate import labels

LABELS = (
    Column("role", pl.String, "What the module does, such as `spatial_attention` or `linear`; null where the range is "
           "not annotated."),
    Column("component", pl.String, "Part of the pipeline, such as `denoiser` or `vae`; null for the pipeline as a "
           "whole."),
    Column("class", pl.String, "Class of the module, or name of the function."),
    Column("attention", pl.String, "Role of the attention that the module is or is part of; null outside attention."),
    Column("parameters", pl.Int64, "Number of parameters of the module and of all modules in it."),
    Column("step", pl.Int64, "Number of the denoising step, decoded token or parallel-decoding iteration, from 0 "
           "in each run; null outside steps."),
    Column("step_id", pl.Int64, "RangeId of the step's range, which tells steps of several runs apart; null outside "
           "steps."),
    Column("phase", pl.String, "Phase of an autoregressive step: `prefill` or `decode`; null for other steps."),
    Column("q_len", pl.Int64, "Number of queries of an attention core, per head and batch entry; null for other "
           "modules."),
    Column("kv_len", pl.Int64, "Number of keys of an attention core, per head and batch entry; null for other "
           "modules."),
    Column("heads", pl.Int64, "Number of heads of an attention core; null for other modules."),
    Column("direction", pl.String, "`backward` for a call that computes gradients, `forward` for other calls of such a "
           "trace; null in a trace without gradients."),
    Column("forward_id", pl.Int64, "RangeId of the forward call whose gradient a backward call computes; null for "
           "others."),
    Column("labelled_by", pl.String, "Dialect that read the name of the range; `ttinsys` for annotated ranges, null "
           "where no dialect claims the name."),
    Column("dtype", pl.String, "Data type of the call's first tensor, such as `float16`."),
    Column("flops", pl.Int64, "Floating-point operations of the call, without those of annotated ranges in it; a "
           "multiply-add is two.", unit="FLOP"),
    Column("bytes", pl.Int64, "Least memory traffic of the call, without that of annotated ranges in it: inputs, "
           "weights and outputs, once each.", unit="B"),
)  # fmt: skip
"""Columns that come from annotation, of ranges and of operations (by their module); null where there is none."""

ATTENTION_ROLES, CONVOLUTION_ROLES = labels.ATTENTION_ROLES, labels.CONVOLUTION_ROLES
DOMAIN = labels.DOMAIN
"""NVTX domain of annotated ranges."""
load_json = labels.load_json

FAMILIES = {
    "attention": ATTENTION_ROLES,
    "convolution": CONVOLUTION_ROLES,
    "linear": ("linear",),
    "norm": ("group_norm", "layer_norm", "rms_norm", "batch_norm"),
}
"""Families of layers: roles that are summed up together."""
OTHER_FAMILY = "other"
"""Family of all other roles."""

ITEM_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1}
"""Bytes per element, by the `dtype` of a call or of a run."""
HALF = ("float16", "bfloat16")
"""16-bit floating-point types."""

LABEL_NAMES = tuple(column.name for column in LABELS)
OF_SURROUNDINGS = ("step", "step_id", "phase", "direction", "forward_id")
"""Labels that ranges inherit from those around them, whether they have a role or not."""
_OF_MODULE = {
    "role": pl.String(),
    "component": pl.String(),
    "class": pl.String(),
    "attention": pl.String(),
    "parameters": pl.Int64(),
}
_OF_STEP = ("step", "step_id", "phase")
_OF_CALL = ("q_len", "kv_len", "heads", "dtype", "flops", "bytes")
_DOMAIN = ("process", "domain_id")
_BY_NAME = {column.name: column for column in LABELS if column.name in {*_OF_MODULE, *_OF_STEP, *_OF_CALL}}

LABEL_SOURCES = ("captured_id", "global_tid", "start_ns", "end_ns", "domain_id", "name", "payload_int64", "range_id")
"""Columns of a range that its labels are derived from, beside its nesting."""


def labels_of_marks(trace: Trace | None, nested: pl.DataFrame) -> pl.DataFrame:
    """Labels that annotation wrote, as marks beside its ranges.

    Args:
        trace: the trace of the ranges; None where it has no mark.
        nested: ranges as `nest` returns them, with the columns `LABEL_SOURCES`.

    Returns:
        The columns of `LABELS` that annotation writes, in the order of the ranges.
    """
    marks_of_trace = marks(trace) if trace is not None else pl.DataFrame()
    if marks_of_trace.is_empty():
        return pl.DataFrame(schema={name: column.dtype for name, column in _BY_NAME.items()}).clear(nested.height)
    ranges = nested.select(*LABEL_SOURCES, "parent", process_of("global_tid").alias("process"))
    labelled = ranges.with_columns(_calls(marks_of_trace, nested).alias("call"))
    for table, key in ((_modules(marks_of_trace), "name"), (_values(marks_of_trace), "call")):
        labelled = labelled.join(table, on=[*_DOMAIN, key], how="left", maintain_order="left")
    # A range of another program may have a payload that is the number of a call: only ranges with a role have values.
    annotated = pl.col("role").is_not_null()
    labelled = labelled.with_columns(pl.when(pl.col("step").is_not_null()).then("range_id").alias("step_id"))
    labelled = labelled.with_columns(pl.when(annotated).then(pl.col(*_OF_CALL, *_OF_STEP)))
    # Only the range of a step carries its number: the ranges in it inherit it.
    steps = [inherited(nested, labelled[name]).alias(name) for name in _OF_STEP]
    # Words are written as positions in these lists, as payloads hold integers.
    return (
        labelled.with_columns(steps)
        .select(*_BY_NAME)
        .with_columns(
            pl.col(name).replace_strict(dict(enumerate(words)), default=None, return_dtype=pl.String)
            for name, words in (("phase", labels.PHASES), ("dtype", labels.DTYPES))
        )
    )


def marks(trace: Trace) -> pl.DataFrame:
    """Marks of annotation, of any version of the format, in the order of their time.

    Args:
        trace: an opened trace.

    Returns:
        `process`, `domain_id`, `text`, `call` (the category), `value` (the payload), `global_tid` and `start_ns`.
    """
    if not trace.nvtx_events.select((pl.col("event_type") == MARK_EVENT).any()).collect().item():
        # Most traces have none, and the texts of millions of ranges need not be read to find that out.
        return pl.DataFrame(schema=_MARKS)
    ours = pl.col("text").str.starts_with(labels.PREFIX)
    strings = trace.strings.select(pl.col("id").alias("text_id"), pl.col("value").alias("text")).filter(ours)
    events = trace.nvtx_events.filter(pl.col("event_type") == MARK_EVENT)
    registered = events.drop("text").join(strings, on="text_id", how="inner")
    columns = (
        process_of("global_tid").alias("process"),
        "domain_id",
        "text",
        pl.col("category_id").alias("call"),
        pl.col("payload_int64").alias("value"),
        "global_tid",
        "start_ns",
    )
    # A mark's text is a registered string or the event's own.
    return (
        pl.concat([registered.select(columns), events.filter(ours).select(columns)])
        .sort("start_ns", maintain_order=True)
        .collect()
    )


_MARKS = {
    "process": pl.Int64(),
    "domain_id": pl.Int64(),
    "text": pl.String(),
    "call": pl.Int64(),
    "value": pl.Int64(),
    "global_tid": pl.Int64(),
    "start_ns": pl.Int64(),
}


def run_descriptions(marks_of_trace: pl.DataFrame) -> list[dict[str, object]]:
    """Descriptions of the annotated runs: model, request, versions; each once.

    Args:
        marks_of_trace: what `marks` returns.
    """
    texts = marks_of_trace["text"].unique(maintain_order=True)
    return [run for run in map(labels.parse_run, texts) if run is not None]


def unread(marks_of_trace: pl.DataFrame) -> list[str]:
    """One sentence for each version of the format that the marks use and this package does not read.

    Args:
        marks_of_trace: what `marks` returns.
    """
    versions = {number for number in map(labels.version_of, marks_of_trace["text"].unique()) if number is not None}
    return [
        f"Annotated in format {number}, and this ttinsys reads {' and '.join(map(str, labels.READ_VERSIONS))}: roles, "
        "steps and costs are missing; upgrade ttinsys."
        for number in sorted(versions.difference(labels.READ_VERSIONS))
    ]


def _modules(marks_of_trace: pl.DataFrame) -> pl.DataFrame:
    """Labels of modules: one row per process, domain and name; of several marks for one name the last counts."""
    # A module is described once per process or capture: each distinct text is parsed once.
    texts = marks_of_trace.select("text").unique(maintain_order=True)
    rows = [
        (
            text,
            label.name,
            label.role if label.role in labels.ROLES else "other",
            label.component if label.component in labels.COMPONENTS else None,
            label.cls,
            label.attention if label.attention in ATTENTION_ROLES else None,
            _countable(label.parameters),
        )
        for text in texts["text"]
        if (label := labels.parse_module(text)) is not None
    ]
    schema = {"text": pl.String(), "name": pl.String(), **_OF_MODULE}
    parsed = pl.DataFrame(rows, schema=schema, orient="row")
    return (
        marks_of_trace.select(*_DOMAIN, "text")
        .join(parsed, on="text", how="inner", maintain_order="left")
        .unique([*_DOMAIN, "name"], keep="last")
        .drop("text")
    )


def _countable(number: int) -> int | None:
    """The number, or None where an Int64 column cannot hold it: a mark may come from any program."""
    return number if 0 <= number < 1 << 63 else None


def _values(marks_of_trace: pl.DataFrame) -> pl.DataFrame:
    """Values of calls: one row per process, domain and call, one column per field."""
    fields = {name: pl.col("text").is_in(labels.field_texts(name)) for name in ("step", "phase", *_OF_CALL)}
    # Every field is a count or a position in a list, so a negative value is damage.
    return (
        marks_of_trace.filter(pl.col("value") >= 0)
        .group_by(*_DOMAIN, "call")
        .agg(pl.col("value").filter(is_field).last().alias(name) for name, is_field in fields.items())
    )


def _calls(marks_of_trace: pl.DataFrame, nested: pl.DataFrame) -> pl.Series:
    """Number of the call of each range: its payload, or the payload of a `call` mark directly inside it."""
    call = nested["payload_int64"]
    call_marks = marks_of_trace.filter(pl.col("text").is_in(labels.CALL_TEXTS))
    range_index = innermost(nested, call_marks["global_tid"], call_marks["start_ns"])
    known = range_index.is_not_null()
    call = call.scatter(range_index.filter(known), call_marks["value"].filter(known))
    # A replay is a call as the captured one, whose marks were not repeated.
    captured = nested.select("captured_id").join(
        pl.DataFrame({"captured_id": nested["range_id"], "call": call}),
        on="captured_id",
        how="left",
        maintain_order="left",
    )["call"]
    return captured.zip_with(nested["captured_id"].is_not_null(), call)
