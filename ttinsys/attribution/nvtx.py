"""NVTX ranges: named, nested, each with its path.

    ttinsys.ranges(ttinsys.load("run.sqlite")).filter(pl.col("depth") == 0).collect()

Text, domain and category come from the events that registered them; nesting from `ttinsys.attribution.nesting`.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from parsers import Trace
from parsers.scan import lazy
from parsers.schema import Column, Table
from parsers.tables import CATEGORY_EVENT, DOMAIN_CREATE_EVENT, PUSH_POP_TYPES, RANGE_TYPES
from ttinsys.attribution.identity import pid_of, process_of, tid_of
from ttinsys.attribution.labels import LABEL_NAMES, LABEL_SOURCES, LABELS, with_labels
from ttinsys.attribution.nesting import extended, nest, trail

UNNAMED = "(unnamed)"
"""What stands in a path for a range without text."""

RANGES = Table(
    "ranges",
    Column("index", pl.UInt32, "position: by thread, then by opening"),
    Column("range_id", pl.Int64, "row number in the export: nsys's RangeId"),
    Column("kind", pl.String, "`push_pop` or `start_end`"),
    Column("global_tid", pl.Int64, "thread that opened it, with its process"),
    Column("pid", pl.Int64, "process that opened it"),
    Column("tid", pl.Int64, "thread that opened it"),
    Column("domain", pl.String, "NVTX domain; null for the default one"),
    Column("domain_id", pl.Int64, "its id, in its process; 0 is the default one"),
    Column("category", pl.String, "NVTX category; null where it has none"),
    Column("name", pl.String, "text; null where it has none"),
    Column("start_ns", pl.Int64, "start", unit="ns"),
    Column("end_ns", pl.Int64, "end; null where it was never closed", unit="ns"),
    Column("parent", pl.UInt32, "`index` of the enclosing range on the thread; null at the top"),
    Column("depth", pl.UInt32, "number of enclosing ranges"),
    Column(
        "path",
        pl.String,
        "names from the outermost range to this one, joined by `/`; `unet.mid` in `unet` adds `mid`",
    ),
    Column("payload_int64", pl.Int64, "payload, where it is a signed integer"),
    Column("payload_uint64", pl.UInt64, "payload, where it is an unsigned integer"),
    Column("payload_double", pl.Float64, "payload, where it is a double"),
    *LABELS,
    doc="one row per NVTX range that opens and closes on one thread, or never closes",
    sources=("NVTX_EVENTS",),
)


def ranges(trace: Trace) -> pl.LazyFrame:
    """The ranges of a trace, nested per thread.

    A range encloses another of its thread, of whatever domain, if it opened no later and closes no earlier. Start/end
    ranges that close on another thread belong to no stack and are left out, as in nsys's reports; `crossing` has them.
    Nothing is read until the frame is collected, and then only what the columns asked for depend on.

    Args:
        trace: an opened trace.

    Returns:
        `RANGES`, sorted by `index`.
    """
    return lazy(RANGES.schema, lambda columns: iter([_nested(trace, {*columns})]))


def _nested(trace: Trace, wanted: set[str]) -> pl.DataFrame:
    """`RANGES`, or at least its columns `wanted`."""
    labelled = not wanted.isdisjoint(LABEL_NAMES)
    needed = {*wanted, "global_tid", "start_ns", "end_ns", "row_id"}
    needed |= {"name"} if "path" in wanted else set()
    needed |= {*LABEL_SOURCES} if labelled else set()
    nested = nest(nestable_ranges(trace, [name for name in _UNNESTED if name in needed]).collect())
    if "path" in wanted:
        nested = with_paths(nested)
    return with_labels(trace, nested) if labelled else nested


def nestable_ranges(trace: Trace, columns: Sequence[str] = ()) -> pl.LazyFrame:
    """The ranges that take part in nesting, named, not yet nested.

    Args:
        trace: an opened trace.
        columns: what to read of `RANGES` but what nesting computes; all of it if empty.
    """
    return _named(trace, columns).filter(~_ENDS_ELSEWHERE).select(columns or _UNNESTED.keys())


def crossing(trace: Trace) -> pl.LazyFrame:
    """The start/end ranges that close on another thread than the one that opened them, as `RANGES` without nesting."""
    return _named(trace).filter(_ENDS_ELSEWHERE)


_ENDS_ELSEWHERE = (pl.col("end_global_tid") != pl.col("global_tid")).fill_null(value=False)


def _named(trace: Trace, columns: Sequence[str] = ()) -> pl.LazyFrame:
    """All ranges with their text, domain and category resolved."""
    schema = {name: dtype for name, dtype in _UNNESTED.items() if name in (*(columns or _UNNESTED), "global_tid")}
    schema["end_global_tid"] = pl.Int64()
    strings = trace.strings.select(pl.col("id").alias("text_id"), pl.col("value").alias("_registered"))
    # What resolves to a wanted column is read, and nothing else.
    raw = [*_ALWAYS, *(name for name in schema if name.startswith("payload_"))]
    raw += ["row_id"] if schema.keys() & {"row_id", "range_id"} else []
    raw += ["category_id"] if "category" in schema else []
    return (
        trace.nvtx_events.filter(pl.col("event_type").is_in([*RANGE_TYPES, CATEGORY_EVENT, DOMAIN_CREATE_EVENT]))
        .join(strings, on="text_id", how="left", maintain_order="left")
        .select(
            *raw,
            process_of("global_tid").alias("process"),
            pl.coalesce("_registered", "text").alias("name"),
        )
        .map_batches(lambda events: _resolved(events, [*schema]), schema=schema)
    )


_ALWAYS = ("event_type", "start_ns", "end_ns", "global_tid", "end_global_tid", "domain_id")


def _resolved(events: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Split NVTX events into ranges and the events that name domains and categories; give `columns` of the ranges."""
    namings = events.filter(pl.col("event_type").is_in([CATEGORY_EVENT, DOMAIN_CREATE_EVENT])).sort("start_ns")
    found = events if namings.is_empty() else events.filter(pl.col("event_type").is_in(RANGE_TYPES))
    is_domain = namings["event_type"] == DOMAIN_CREATE_EVENT
    found = _with_domains(found, namings.filter(is_domain)) if "domain" in columns else found
    found = _with_categories(found, namings.filter(~is_domain)) if "category" in columns else found
    kind = pl.when(pl.col("event_type").is_in(PUSH_POP_TYPES)).then(pl.lit("push_pop")).otherwise(pl.lit("start_end"))
    computed = {
        "range_id": pl.col("row_id"),
        "kind": kind,
        "pid": pid_of("global_tid"),
        "tid": tid_of("global_tid"),
    }
    return found.select(computed.get(name, pl.col(name)).alias(name) for name in columns)


def _with_domains(found: pl.DataFrame, domains: pl.DataFrame) -> pl.DataFrame:
    """Add `domain`. The latest creation of its id before the range counts: an id may be destroyed and made again.

    A trimmed report may have the creation only later: then the first one counts.
    """
    if domains.is_empty():
        return found.with_columns(pl.lit(None, pl.String).alias("domain"))
    identity = ["process", "domain_id"]
    first = domains.group_by(identity, maintain_order=True).agg(pl.col("name").first().alias("_first"))
    latest = domains.select("start_ns", *identity, pl.col("name").alias("_latest"))
    return (
        found.sort("start_ns")
        .join_asof(latest, on="start_ns", by=identity, check_sortedness=False)
        .join(first, on=identity, how="left", maintain_order="left")
        .with_columns(pl.coalesce("_latest", "_first").alias("domain"))
    )


def _with_categories(found: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """Add `category`: the last name that a category of its domain was given."""
    if categories.is_empty():
        return found.with_columns(pl.lit(None, pl.String).alias("category"))
    identity = ["process", "domain_id", "category_id"]
    last = categories.group_by(identity, maintain_order=True).agg(pl.col("name").last().alias("category"))
    return found.join(last, on=identity, how="left", maintain_order="left")


def with_paths(nested: pl.DataFrame) -> pl.DataFrame:
    """Add `path`. What is named after the range around it, as `unet.mid` in `unet`, adds only the rest to it.

    Args:
        nested: ranges as `nest` returns them, with `name`.
    """
    names = nested["name"].fill_null(UNNAMED)
    above = extended(names, None).gather(nested["parent"].fill_null(nested.height))
    pair = pl.DataFrame([names.alias("name"), pl.Series("above", above + ".")])
    rest = pl.col("name").str.strip_prefix(pl.col("above"))
    steps = pair.select(pl.when((rest != "").fill_null(value=False)).then(rest).otherwise("name"))["name"]
    return nested.with_columns(trail(nested, steps, separator="/").alias("path"))


_COMPUTED = ("index", "parent", "depth", "path", *LABEL_NAMES)
_UNNESTED = {**{name: dtype for name, dtype in RANGES.schema.items() if name not in _COMPUTED}, "row_id": pl.Int64()}
