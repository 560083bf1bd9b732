"""NVTX ranges: named, nested, each with its path.

    ttinsys.ranges(ttinsys.load("run.sqlite")).filter(pl.col("depth") == 0).collect()

Text, domain and category are looked up in the events that registered them. `ttinsys.attribution.nesting` finds which
range encloses which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from parsers import Trace
from parsers.scan import lazy
from parsers.schema import Column, Table
from parsers.tables import CATEGORY_EVENT, DOMAIN_CREATE_EVENT, PUSH_POP_TYPES, RANGE_TYPES
from ttinsys.attribution.identity import pid_of, process_of, tid_of
from ttinsys.attribution.labels import LABEL_NAMES, LABEL_SOURCES, LABELS, with_labels
from ttinsys.attribution.nesting import extended, nest, trail
from ttinsys.attribution.replays import with_replays
from ttinsys.attribution.unpopped import may_leak, without_leaks

UNNAMED = "(unnamed)"
"""Name in a path of a range without text."""
CROSS_THREAD = "cross_thread"
"""`kind` of a start/end range that closes on another thread."""

RANGES = Table(
    "ranges",
    Column("index", pl.UInt32, "Position of the range: by thread, then by the order in which ranges open."),
    Column("range_id", pl.Int64, "nsys's RangeId: the row number of the event in the export, from 1; negative for "
           "replays, which are no events."),
    Column("kind", pl.String, "`push_pop` for a range of a thread's stack, `start_end` for a process range, "
           "`cross_thread` for one that closes on another thread than it opens on, "
           "`graph_replay` for a captured range, once more for each launch of its CUDA graph."),
    Column("global_tid", pl.Int64, "nsys's global ID of the thread that opened the range, which contains its process."),
    Column("pid", pl.Int64, "ID of the process that opened the range."),
    Column("tid", pl.Int64, "ID of the thread that opened the range."),
    Column("domain", pl.String, "Name of the NVTX domain; null for the default domain."),
    Column("domain_id", pl.Int64, "ID of the NVTX domain within the process; 0 is the default domain."),
    Column("category", pl.String, "Name of the NVTX category; null where the range has none."),
    Column("name", pl.String, "Text of the range; null where it has none."),
    Column("start_ns", pl.Int64, "Time on the CPU when the range opened.", unit="ns"),
    Column("end_ns", pl.Int64, "Time on the CPU when the range closed; null where it never did. A replay takes no time "
           "on the CPU: it opens and closes when its launch begins.", unit="ns"),
    Column("captured_id", pl.Int64, "RangeId of the captured range that a replay repeats; null for other ranges."),
    Column("parent", pl.UInt32, "`index` of the enclosing range on the same thread; null at the top."),
    Column("depth", pl.UInt32, "Number of enclosing ranges."),
    Column("path", pl.String, "Names from the outermost range to this one, joined by `/`. A range that is named after "
           "its parent adds only the rest of its name: `unet.mid` in `unet` adds `mid`."),
    Column("payload_int64", pl.Int64, "Payload of the range, where it is a signed integer; else null."),
    Column("payload_uint64", pl.UInt64, "Payload of the range, where it is an unsigned integer; else null."),
    Column("payload_double", pl.Float64, "Payload of the range, where it is a floating-point number; else null."),
    *LABELS,
    doc="one row per NVTX range that opens and closes on one thread, or never closes, and per captured range and "
    "launch of its CUDA graph",
    sources=("NVTX_EVENTS",),
)  # fmt: skip


def ranges(trace: Trace) -> pl.LazyFrame:
    """The ranges of a trace, nested per thread.

    A range encloses another range of its thread, of any domain, if it opens no later and closes no earlier. Start/end
    ranges that close on another thread belong to no stack and are left out, as in nsys's reports; `all_ranges` has
    them. Nothing is read until the frame is collected, and then only the data that the selected columns depend on.

    Args:
        trace: an opened trace.

    Returns:
        `RANGES`, sorted by `index`.
    """
    return lazy(RANGES.schema, lambda columns: iter([_nested(trace, {*columns})[0]]))


def all_ranges(trace: Trace) -> pl.LazyFrame:
    """The ranges of a trace, and after them the start/end ranges that close on another thread.

    These are of the kind `cross_thread`, enclose nothing, and their paths say what they are.

    Args:
        trace: an opened trace.

    Returns:
        `RANGES`, sorted by `index`.
    """

    def read(columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        nested, apart = _nested(trace, {*columns})
        if apart.height:
            index = pl.int_range(nested.height, nested.height + apart.height, dtype=pl.UInt32, eager=True)
            computed = {
                "index": pl.lit(index),
                "depth": pl.lit(0, pl.UInt32),
                "kind": pl.lit(CROSS_THREAD),
                "path": across_threads(pl.col("name").fill_null(UNNAMED)),
            }
            known = {*computed, *apart.columns}
            marked = apart.select(
                computed.get(name, pl.col(name)).alias(name) for name in nested.columns if name in known
            )
            nested = pl.concat([nested, marked], how="diagonal")
        yield nested

    return lazy(RANGES.schema, read)


def across_threads(name: pl.Expr) -> pl.Expr:
    """What a range that closes on another thread is called where ranges of one name are added up."""
    return pl.format("{} (closes on another thread)", name)


def _nested(trace: Trace, wanted: set[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Ranges with at least the `wanted` columns of `RANGES`, and those that close on another thread, not nested."""
    labelled = not wanted.isdisjoint(LABEL_NAMES)
    needed = {*wanted, "global_tid", "start_ns", "end_ns", "row_id"}
    needed |= {"name"} if "path" in wanted else set()
    needed |= {*LABEL_SOURCES} if labelled else set()
    needed |= {"name", "domain_id"} if trace.has("graph_nodes") else set()
    columns = [name for name in _UNNESTED if name in needed]
    opened = _named(trace, columns).collect()
    apart = opened.filter(_ENDS_ELSEWHERE).select(columns)
    nested = nest((opened.filter(~_ENDS_ELSEWHERE) if apart.height else opened).select(columns))
    if may_leak(nested):
        if not {"name", "domain_id"} <= needed:
            return _nested(trace, wanted | {"name", "domain_id"})
        nested = without_leaks(nested)
    nested = with_replays(trace, nested)
    if "path" in wanted:
        nested = with_paths(nested)
    return with_labels(trace, nested) if labelled else nested, apart


def nestable_ranges(trace: Trace, columns: Sequence[str] = ()) -> pl.LazyFrame:
    """The ranges that can be nested, with their names, not yet nested.

    Args:
        trace: an opened trace.
        columns: columns of `RANGES` to read, of those that do not come from nesting; all of them if empty.
    """
    return _named(trace, columns).filter(~_ENDS_ELSEWHERE).select(columns or _UNNESTED.keys())


def crossing(trace: Trace) -> pl.LazyFrame:
    """The start/end ranges that close on another thread than they open on.

    Args:
        trace: an opened trace.

    Returns:
        The columns of `RANGES` that do not come from nesting.
    """
    return _named(trace).filter(_ENDS_ELSEWHERE)


# A null end thread means that the range closes on its own thread, or never.
_ENDS_ELSEWHERE = (pl.col("end_global_tid") != pl.col("global_tid")).fill_null(value=False)


def _named(trace: Trace, columns: Sequence[str] = ()) -> pl.LazyFrame:
    """All ranges, with text, domain and category looked up."""
    schema = {name: dtype for name, dtype in _UNNESTED.items() if name in (*(columns or _UNNESTED), "global_tid")}
    schema["end_global_tid"] = pl.Int64()
    strings = trace.strings.select(pl.col("id").alias("text_id"), pl.col("value").alias("_registered"))
    # Columns of the export are read only where a wanted column depends on them.
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
    """The `columns` of the ranges among NVTX events; events that name domains and categories are looked up in."""
    namings = events.filter(pl.col("event_type").is_in([CATEGORY_EVENT, DOMAIN_CREATE_EVENT])).sort("start_ns")
    # Without naming events, all events are ranges: no need to copy them.
    opened = events if namings.is_empty() else events.filter(pl.col("event_type").is_in(RANGE_TYPES))
    is_domain = namings["event_type"] == DOMAIN_CREATE_EVENT
    opened = _with_domains(opened, namings.filter(is_domain)) if "domain" in columns else opened
    opened = _with_categories(opened, namings.filter(~is_domain)) if "category" in columns else opened
    kind = pl.when(pl.col("event_type").is_in(PUSH_POP_TYPES)).then(pl.lit("push_pop")).otherwise(pl.lit("start_end"))
    computed = {
        "range_id": pl.col("row_id"),
        "kind": kind,
        "pid": pid_of("global_tid"),
        "tid": tid_of("global_tid"),
    }
    return opened.select(computed.get(name, pl.col(name)).alias(name) for name in columns)


def _with_domains(opened: pl.DataFrame, domains: pl.DataFrame) -> pl.DataFrame:
    """Add `domain`: the name that its id was last created with before the range opened, as ids are reused.

    In a trimmed report the creation may come only later: then the first one counts.
    """
    if domains.is_empty():
        return opened.with_columns(pl.lit(None, pl.String).alias("domain"))
    identity = ["process", "domain_id"]
    first = domains.group_by(identity, maintain_order=True).agg(pl.col("name").first().alias("_first"))
    latest = domains.select("start_ns", *identity, pl.col("name").alias("_latest"))
    return (
        opened.sort("start_ns")
        # Both are sorted; within `by` groups Polars cannot check that, and would warn.
        .join_asof(latest, on="start_ns", by=identity, check_sortedness=False)
        .join(first, on=identity, how="left", maintain_order="left")
        .with_columns(pl.coalesce("_latest", "_first").alias("domain"))
    )


def _with_categories(opened: pl.DataFrame, categories: pl.DataFrame) -> pl.DataFrame:
    """Add `category`: the last name given to the category in its domain."""
    if categories.is_empty():
        return opened.with_columns(pl.lit(None, pl.String).alias("category"))
    identity = ["process", "domain_id", "category_id"]
    last = categories.group_by(identity, maintain_order=True).agg(pl.col("name").last().alias("category"))
    return opened.join(last, on=identity, how="left", maintain_order="left")


def with_paths(nested: pl.DataFrame) -> pl.DataFrame:
    """Add `path`. A range that is named after its parent, as `unet.mid` in `unet`, adds only the rest of its name.

    Args:
        nested: ranges as `nest` returns them, with `name`.
    """
    names = nested["name"].fill_null(UNNAMED)
    above = extended(names, None).gather(nested["parent"].fill_null(nested.height))
    pair = pl.DataFrame([names.alias("name"), pl.Series("above", above + ".")])
    rest = pl.col("name").str.strip_prefix(pl.col("above"))
    # A range whose name is its parent's and a dot keeps its name: an empty part would read as nothing.
    parts = pair.select(pl.when((rest != "").fill_null(value=False)).then(rest).otherwise("name"))["name"]
    return nested.with_columns(trail(nested, parts, separator="/").alias("path"))


_COMPUTED = ("index", "parent", "depth", "captured_id", "path", *LABEL_NAMES)
_UNNESTED = {**{name: dtype for name, dtype in RANGES.schema.items() if name not in _COMPUTED}, "row_id": pl.Int64()}
