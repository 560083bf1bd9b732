"""NVTX ranges: named, nested, each with its path.

    ttinsys.ranges(ttinsys.load("run.sqlite")).filter(pl.col("depth") == 0).collect()

Text, domain and category are looked up in the events that registered them. `ttinsys.attribution.nesting` finds which
range encloses which.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from threading import Lock

import polars as pl

from parsers import Trace
from parsers.scan import lazy
from parsers.schema import Column, Table
from parsers.tables import CATEGORY_EVENT, DOMAIN_CREATE_EVENT, MARK_EVENT, PUSH_POP_TYPES, RANGE_TYPES
from ttinsys.attribution.crossing import with_crossing
from ttinsys.attribution.identity import pid_of, process_of, tid_of
from ttinsys.attribution.labels import LABEL_NAMES, LABEL_SOURCES, LABELS
from ttinsys.attribution.meaning import with_labels, with_readings
from ttinsys.attribution.nesting import extended, nest
from ttinsys.attribution.paths import with_paths
from ttinsys.attribution.replays import with_replays
from ttinsys.attribution.texts import TEXTS, number_names, sparse, with_texts
from ttinsys.attribution.unpopped import without_leaks

RANGES = Table(
    "ranges",
    Column("index", pl.UInt32, "Position of the range: by thread, then by the order in which ranges open."),
    Column("range_id", pl.Int64, "nsys's RangeId: the row number of the event in the export, from 1; negative for "
           "replays, which are no events."),
    Column("kind", pl.String, "`push_pop` for a range of a thread's stack, `start_end` for a process range, "
           "`cross_thread` for one that closes on another thread than it opens on, "
           "`graph_replay` for a captured range, once more for each launch of its CUDA graph, `spelt_out` for one that "
           "is added around an attention or a norm that is spelt out in operations."),
    Column("global_tid", pl.Int64, "nsys's global ID of the thread that opened the range, which contains its process."),
    Column("pid", pl.Int64, "ID of the process that opened the range."),
    Column("tid", pl.Int64, "ID of the thread that opened the range."),
    Column("domain", pl.String, "Name of the NVTX domain; null for the default domain."),
    Column("domain_id", pl.Int64, "ID of the NVTX domain within the process; 0 is the default domain."),
    Column("category", pl.String, "Name of the NVTX category; null where the range has none."),
    Column("name", pl.String, "Text of the range; null where it has none."),
    Column("group", pl.String, "Stable name of the range: its text without what differs from call to call, as a "
           "dialect reads it; the text where none does."),
    Column("start_ns", pl.Int64, "Time on the CPU when the range opened.", unit="ns"),
    Column("end_ns", pl.Int64, "Time on the CPU when the range closed; null where it never did. A replay takes no time "
           "on the CPU: it opens and closes when its launch begins.", unit="ns"),
    Column("captured_id", pl.Int64, "RangeId of the captured range that a replay repeats; null for other ranges."),
    Column("parent", pl.UInt32, "`index` of the enclosing range on the same thread; null at the top."),
    Column("depth", pl.UInt32, "Number of enclosing ranges."),
    Column("path", pl.String, "Groups from the outermost range to this one, joined by `/`. A range that is named after "
           "its parent adds only the rest of its name: `unet.mid` in `unet` adds `mid`."),
    Column("payload_json", pl.String, "Structured payload of the range, as JSON; null where it has none."),
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
    return RangeReader(trace).scan()


def all_ranges(trace: Trace) -> pl.LazyFrame:
    """`ranges`, and after them the start/end ranges that close on another thread: see `with_crossing`.

    Args:
        trace: an opened trace.
    """
    return RangeReader(trace).scan(crossing=True)


class RangeReader:
    """Reads the ranges of a trace, for one query or for several.

    Args:
        trace: an opened trace.
        keep: whether to keep what was read for the queries that follow. Names are then read into labels for whoever
            asks first, because the next one likely wants them.
    """

    def __init__(self, trace: Trace, *, keep: bool = False) -> None:
        self._trace = trace
        self._keep = keep
        self._kept = pl.DataFrame()
        self._stacked = 0
        self._lock = Lock()

    def scan(self, *, crossing: bool = False) -> pl.LazyFrame:
        """`RANGES`, lazily; arguments as for `read`."""
        return lazy(RANGES.schema, lambda columns: iter([self.read(columns, crossing=crossing)]))

    def read(self, columns: Iterable[str], *, crossing: bool = False) -> pl.DataFrame:
        """Columns of `RANGES`.

        Args:
            columns: their names.
            crossing: whether ranges that close on another thread follow those that nest, see `with_crossing`.
        """
        wanted = list(dict.fromkeys(columns))
        if not self._keep:
            ranges, stacked = _nested(self._trace, {*wanted})
            return _texts(ranges if crossing else ranges.head(stacked), wanted)
        with self._lock:
            if not {*wanted} - _OF_THREAD.keys() <= {*self._kept.columns}:
                more = {*wanted, *self._kept.columns} & RANGES.schema.keys() - _OF_THREAD.keys()
                more |= {*_NESTING} if more.isdisjoint({"group", "path", *LABEL_NAMES}) else {*_NESTING, *_FROM_NAMES}
                ranges, self._stacked = _nested(self._trace, more)
                self._kept = _categories(ranges.select(name for name in RANGES.schema if name in more))
            return _texts(self._kept if crossing else self._kept.head(self._stacked), wanted)


def _nested(trace: Trace, wanted: set[str]) -> tuple[pl.DataFrame, int]:
    """Ranges with at least the `wanted` columns of `RANGES`, and how many of them nest: the first.

    Texts that repeat may be categorical.
    """
    labelled = not wanted.isdisjoint(LABEL_NAMES)
    # Names are read whatever is wanted: they tell what was never popped, what a graph replays, and what is spelt out.
    needed = {*wanted, "global_tid", "start_ns", "end_ns", "row_id", "range_id", "domain_id", "domain", *TEXTS}
    needed |= {*LABEL_SOURCES} if labelled else set()
    events = sparse(_events(trace, needed).collect())
    texts = trace.strings.select("id", "value").collect()
    namings = with_texts(events.filter(pl.col("event_type").is_in(_NAMING)), texts)
    is_range = pl.col("event_type").is_in(RANGE_TYPES)
    opened, apart = events.filter(is_range & ~_ENDS_ELSEWHERE), events.filter(is_range & _ENDS_ELSEWHERE)
    has_marks = (events["event_type"] == MARK_EVENT).any()
    # Millions of rows: what is done with is dropped, for a quarter less memory at the peak.
    del events
    columns = [name for name in (*_UNNESTED, *TEXTS) if name in needed - {"name", "payload_json"}]
    found, apart = (_resolved(some, namings, columns) for some in (opened, apart))
    del opened
    key, names = number_names(found, texts)
    apart = with_texts(apart, texts) if apart.height else apart
    del texts
    nested = without_leaks(nest(found.drop("domain", *TEXTS).with_columns(key)), names)
    del found
    nested, names, around = with_readings(nested, names, sized=labelled)
    nested = with_replays(trace, nested)
    if labelled:
        nested = with_labels(trace if has_marks else None, nested, names, around)
    # A range that was added around spelt-out attention has no text.
    nested = nested.with_columns(
        extended(names[name], None).gather(nested["name_key"].fill_null(names.height)).alias(name)
        for name in ("name", "payload_json", "domain")
        if name in wanted
    )
    nested = with_paths(nested) if "path" in wanted else nested
    return with_crossing(nested, apart) if apart.height else nested, nested.height


_OF_THREAD = {"pid": pid_of("global_tid"), "tid": tid_of("global_tid")}
"""Columns that another one holds: they are worked out for whoever asks."""
_NESTING = (
    "index",
    "range_id",
    "captured_id",
    "kind",
    "global_tid",
    "domain_id",
    "start_ns",
    "end_ns",
    "parent",
    "depth",
)
_FROM_NAMES = ("domain", "group", "path", *LABEL_NAMES)


def _texts(ranges: pl.DataFrame, wanted: Sequence[str]) -> pl.DataFrame:
    """The `wanted` columns, categories as text."""
    return ranges.select(_OF_THREAD.get(name, pl.col(name)).cast(RANGES.schema[name]).alias(name) for name in wanted)


def _categories(ranges: pl.DataFrame) -> pl.DataFrame:
    """The ranges in little room: texts that repeat as categories, columns without a value as one value."""
    repeated = (*LABEL_NAMES, "group", "path", "domain", "category", "kind")
    texts = [name for name in repeated if ranges.schema.get(name) == pl.String]
    return sparse(ranges).with_columns(pl.col(texts).cast(pl.Categorical))


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


_NAMING = (CATEGORY_EVENT, DOMAIN_CREATE_EVENT)


def _named(trace: Trace, columns: Sequence[str] = ()) -> pl.LazyFrame:
    """All ranges, with text, domain and category looked up."""
    schema = {name: dtype for name, dtype in _UNNESTED.items() if name in (*(columns or _UNNESTED), "global_tid")}
    schema["end_global_tid"] = pl.Int64()

    def resolved(events: pl.DataFrame) -> pl.DataFrame:
        namings = events.filter(pl.col("event_type").is_in(_NAMING))
        opened = events.filter(pl.col("event_type").is_in(RANGE_TYPES))
        return _resolved(opened, namings, [*schema])

    return with_texts(_events(trace, {*schema, *TEXTS}), trace.strings).map_batches(resolved, schema=schema)


def _events(trace: Trace, columns: Container[str]) -> pl.LazyFrame:
    """NVTX events of ranges, of marks and of names; columns of the export are read only where one wanted needs them."""
    raw = ["event_type", "start_ns", "end_ns", "global_tid", "end_global_tid", "domain_id"]
    raw += [name for name in ("payload_int64", "payload_uint64", "payload_double", *TEXTS) if name in columns]
    raw += ["row_id"] if "row_id" in columns or "range_id" in columns else []
    raw += ["category_id"] if "category" in columns else []
    kinds = pl.col("event_type").is_in([*RANGE_TYPES, *_NAMING, MARK_EVENT])
    return trace.nvtx_events.filter(kinds).select(*raw, process_of("global_tid").alias("process"))


def _resolved(opened: pl.DataFrame, namings: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The `columns` of ranges; `namings` are the events that name domains and categories."""
    namings = namings.sort("start_ns")
    is_domain = namings["event_type"] == DOMAIN_CREATE_EVENT
    opened = _with_domains(opened, namings.filter(is_domain)) if "domain" in columns else opened
    opened = _with_categories(opened, namings.filter(~is_domain)) if "category" in columns else opened
    kind = pl.when(pl.col("event_type").is_in(PUSH_POP_TYPES)).then(pl.lit("push_pop")).otherwise(pl.lit("start_end"))
    computed = {
        "range_id": pl.col("row_id"),
        "kind": kind,
        **_OF_THREAD,
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


_COMPUTED = ("index", "parent", "depth", "captured_id", "group", "path", *LABEL_NAMES)
_UNNESTED = {**{name: dtype for name, dtype in RANGES.schema.items() if name not in _COMPUTED}, "row_id": pl.Int64()}
