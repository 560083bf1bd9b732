"""What annotated ranges say beside their names: role, component, class, step, lengths, FLOPs and bytes.

    ttinsys.ranges(trace).filter(pl.col("role") == "temporal_attention")

`annotate.labels` says how it is written: marks that describe modules, and marks that give the values of calls, which
ranges refer to by number. A trace without them has the same columns, all null.
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
    Column("role", pl.String, "what the module does, as `spatial_attention` or `linear`"),
    Column("component", pl.String, "part of the pipeline, as `denoiser` or `vae`"),
    Column("class", pl.String, "class of the module, or name of the function"),
    Column("attention", pl.String, "role of the attention that it is or is part of; null outside"),
    Column("parameters", pl.Int64, "of the module, with those of the modules in it"),
    Column("step", pl.Int64, "denoising step, decoded token or parallel-decoding iteration around it, from 0"),
    Column("step_id", pl.Int64, "RangeId of that step's range: the number starts over with every run"),
    Column("phase", pl.String, "`prefill` or `decode`, of an autoregressive step"),
    Column("q_len", pl.Int64, "queries of an attention core"),
    Column("kv_len", pl.Int64, "keys of an attention core"),
    Column("heads", pl.Int64, "heads of an attention core"),
    Column("dtype", pl.String, "type of the call's first tensor, as `float16`"),
    Column("flops", pl.Int64, "floating-point operations of the call outside the annotated ranges in it", unit="FLOP"),
    Column("bytes", pl.Int64, "least traffic of the call outside the annotated ranges in it", unit="B"),
)
"""Columns that come from annotation; null where a trace has none."""

ATTENTION_ROLES, CONVOLUTION_ROLES = labels.ATTENTION_ROLES, labels.CONVOLUTION_ROLES
DOMAIN = labels.DOMAIN
"""NVTX domain of annotated ranges."""
load_json = labels.load_json

FAMILIES = {
    "attention": ATTENTION_ROLES,
    "convolution": CONVOLUTION_ROLES,
    "linear": ("linear",),
    "norm": ("group_norm", "layer_norm", "rms_norm"),
}
"""Roles that a reader takes together."""
OTHER_FAMILY = "other"
"""Of all other roles."""

ITEM_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1, "int8": 1}
"""Bytes of a number, by the `dtype` of a call or of a run."""
HALF = ("float16", "bfloat16")
"""Types of 16-bit floats."""

LABEL_NAMES = tuple(column.name for column in LABELS)
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
_EMPTY = {column.name: pl.lit(None, column.dtype) for column in LABELS}

LABEL_SOURCES = ("global_tid", "start_ns", "end_ns", "domain_id", "name", "payload_int64", "range_id")
"""What of a range its labels are found by, beside its nesting."""


def with_labels(trace: Trace, nested: pl.DataFrame) -> pl.DataFrame:
    """Add the columns `LABELS`.

    Args:
        trace: the trace of the ranges.
        nested: ranges as `nest` returns them, with the columns `NEEDED`.
    """
    said = marks(trace)
    if said.is_empty():
        return nested.with_columns(value.alias(name) for name, value in _EMPTY.items())
    ranges = nested.select(*LABEL_SOURCES, "parent", process_of("global_tid").alias("process"))
    told = ranges.with_columns(_calls(said, nested).alias("call"))
    for table, on in ((_modules(said), "name"), (_values(said), "call")):
        told = told.join(table, on=[*_DOMAIN, on], how="left", maintain_order="left")
    # Both are null where the range is none of ours: then a number that happens to be a call's says nothing.
    ours = pl.col("role").is_not_null()
    told = told.with_columns(pl.when(pl.col("step").is_not_null()).then("range_id").alias("step_id"))
    told = told.with_columns(pl.when(ours).then(pl.col(*_OF_CALL, *_OF_STEP)))
    down = [inherited(nested, told[name]).alias(name) for name in _OF_STEP]
    return nested.hstack(told.with_columns(down).select(LABEL_NAMES)).with_columns(
        pl.col(name).replace_strict(dict(enumerate(words)), default=None, return_dtype=pl.String)
        for name, words in (("phase", labels.PHASES), ("dtype", labels.DTYPES))
    )


def marks(trace: Trace) -> pl.DataFrame:
    """Marks of annotation, of whatever version: `process`, `domain_id`, `text`, `call`, `value`, thread and time."""
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
    both = [registered.select(columns), events.filter(ours).select(columns)]
    return pl.concat(both).sort("start_ns", maintain_order=True).collect()


def run_descriptions(said: pl.DataFrame) -> list[dict[str, object]]:
    """What runs say of themselves, in marks: model, request, versions; each once."""
    texts = said["text"].unique(maintain_order=True)
    return [run for run in map(labels.parse_run, texts) if run is not None]


def unread(said: pl.DataFrame) -> list[str]:
    """A sentence for each version of the format that marks are written in and that is not read here."""
    found = {number for number in map(labels.version_of, said["text"].unique()) if number is not None}
    return [
        f"Annotated in format {number}, and this ttinsys reads {labels.VERSION}: roles, steps and costs are missing; "
        "upgrade ttinsys."
        for number in sorted(found - {labels.VERSION})
    ]


def _modules(said: pl.DataFrame) -> pl.DataFrame:
    """What is said of modules: one row per process, domain and name; the last counts."""
    texts = said.select("text").unique(maintain_order=True)
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
        said.select(*_DOMAIN, "text")
        .join(parsed, on="text", how="inner", maintain_order="left")
        .unique([*_DOMAIN, "name"], keep="last")
        .drop("text")
    )


def _countable(number: int) -> int | None:
    """A number, where it is one that a column of integers holds: a stranger may have written it."""
    return number if 0 <= number < 1 << 63 else None


def _values(said: pl.DataFrame) -> pl.DataFrame:
    """Values of calls: one row per process, domain and call."""
    value = {name: pl.col("text") == labels.field_text(name) for name in ("step", "phase", *_OF_CALL)}
    # All of them count something: a negative one says nothing.
    return (
        said.filter(pl.col("value") >= 0)
        .group_by(*_DOMAIN, "call")
        .agg(pl.col("value").filter(of).last().alias(name) for name, of in value.items())
    )


def _calls(said: pl.DataFrame, nested: pl.DataFrame) -> pl.Series:
    """The call of each range: its payload, unless a mark directly inside gives it another."""
    call = nested["payload_int64"]
    told = said.filter(pl.col("text") == labels.CALL_TEXT)
    at = innermost(nested, told["global_tid"], told["start_ns"])
    known = at.is_not_null()
    return call.scatter(at.filter(known), told["value"].filter(known))
