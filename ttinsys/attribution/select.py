"""Parts of a trace: by device, stream, process, time, NVTX domain or range.

    part = select(trace, Selection(streams=(7,), range="unet.down_blocks.*"))

A selection makes a smaller trace, so every analysis and report takes it. Selecting and attributing commute: the
operations that remain are attributed as in the whole trace, except that ranges of other domains are not there.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import polars as pl

from parsers import Trace, TraceError
from parsers.scan import lazy
from parsers.schema import Table
from parsers.tables import RANGE_TYPES, TABLES
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.identity import pid_of
from ttinsys.attribution.launches import IDENTITY, api_calls, with_calls
from ttinsys.attribution.nesting import innermost, lift, sink
from ttinsys.attribution.nvtx import nestable_ranges, ranges

DEFAULT_DOMAIN = "default"
"""The name by which NVTX's nameless default domain is selected."""

OPERATIONS = {"kernel": "kernels", "memcpy": "memcpys", "memset": "memsets", "graph": "graph_launches"}
"""The table of each kind of GPU operation that is attributed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to keep; None and empty keep everything.

    Args:
        domains: NVTX domains; `"default"` is the nameless one.
        range: a glob: operations launched inside a range whose name, or any enclosing range's name, matches.
        start_ns: operations that start on the GPU no earlier.
        end_ns: operations that start on the GPU earlier than this, so that adjoining windows share none.
        devices: CUDA devices.
        streams: CUDA streams.
        pids: processes; API calls and ranges of other processes stay.
    """

    domains: tuple[str, ...] = ()
    range: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    devices: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()
    pids: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is left out at all."""
        return self != Selection()


class NoSuchDomain(TraceError):
    """A domain that was asked for is not in the trace."""


def select(trace: Trace, selection: Selection) -> Trace:
    """The part of `trace` that `selection` keeps: lazy, like the trace itself.

    Filters apply to every table of activity on the GPU. A table without the column that a filter reads keeps no row.

    Raises:
        NoSuchDomain: none of the domains asked for is in the trace; the error names those that are.
    """
    if selection.domains:
        trace = _in_domains(trace, selection.domains)
    on_gpu = {name: table for name, table in TABLES.items() if table.is_gpu_activity and name in trace.frames}
    filtered = {
        name: trace.frames[name].filter(conditions)
        for name, table in on_gpu.items()
        if (conditions := _conditions(selection, table))
    }
    trace = trace.having(**filtered)
    return trace if selection.range is None else _inside(trace, selection.range, [*on_gpu])


def available(trace: Trace, selection: Selection) -> str:
    """What a trace has where filters leave no GPU operation.

    Args:
        trace: the whole trace, before `select`.
        selection: the filters.

    Returns:
        One sentence about the first filter that leaves nothing, without a full stop; empty where operations are left.

    Raises:
        NoSuchDomain: as `select`.
    """
    ops = pl.concat([trace.frames[name].select(_FILTERED) for name in OPERATIONS.values()]).collect()
    if ops.is_empty():
        return f"no GPU activity: {TABLES['kernels'].remedy}"
    subject = "no GPU operation"
    for noun, preposition, values in (
        ("device", "on", selection.devices),
        ("stream", "on", selection.streams),
        ("process", "in", selection.pids),
    ):
        if values:
            there = ops[noun].unique().drop_nulls().sort().to_list()
            ops = ops.filter(pl.col(noun).is_in(values))
            if ops.is_empty():
                verb = "are" if len(there) > 1 else "is"
                asked = f"{subject} is {preposition} {_listed(noun, values)}"
                return f"{asked}: there {verb} {_listed(noun, there) or 'none'}"
            subject += f" {preposition} {_listed(noun, values)}"
    times = _times(selection)
    if times:
        starts, window = ops["start_ns"].drop_nulls().sort(), _window(selection)
        if ops.filter(times).is_empty():
            if starts.is_empty():
                return f"{subject} starts {window}: no start is known"
            extent = f"the first starts at {_seconds(starts[0])}, the last at {_seconds(starts[-1])}"
            return f"{subject} starts {window}: {extent}"
        subject += f" that starts {window}"
    if selection.range is None:
        return ""
    part = select(trace, replace(selection, range=None))
    return _range_there_is(part, selection.range, subject)


def _range_there_is(part: Trace, glob: str, subject: str) -> str:
    """As `available`, of a part that all filters but `glob` have made."""
    inside = select(part, Selection(range=glob))
    if attribute(inside).select(pl.len()).collect().item():
        return ""
    names = _by_count(nestable_ranges(part, ["name"]), "name")
    if not names:
        return f"no range has a name: {TABLES['nvtx_events'].remedy}"
    if not any(fnmatchcase(name, glob) for name in names):
        near = _nearest(glob, names)
        hint = f"did you mean {_quoted(near)}?" if near else f"the most frequent names are {_quoted(names)}"
        return f"no range is named {glob!r}: {hint}"
    launching = _by_count(attribute(part), "range")
    where = f"most are in {_quoted(launching)}" if launching else "none is in any range"
    return f"{subject} was launched in a range named {glob!r}: {where}"


def _by_count(frame: pl.LazyFrame, column: str) -> list[str]:
    """The values of a column, the most frequent first."""
    counts = frame.drop_nulls(column).group_by(column).agg(pl.len().alias("count"))
    return counts.sort("count", column, descending=[True, False]).collect()[column].to_list()


def _nearest(glob: str, names: Sequence[str]) -> list[str]:
    """Names that contain the text of a glob, the shortest first, then names that are spelt alike."""
    text = glob.strip("*?").casefold()
    containing = sorted(
        (name for name in names if text and text in name.casefold()), key=lambda name: (len(name), name)
    )
    folded = {name.casefold(): name for name in reversed(names[:_COMPARED])}
    alike = [folded[name] for name in difflib.get_close_matches(text, folded, _SHOWN)]
    return [*dict.fromkeys([*containing, *alike])]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...") for name in names[:_SHOWN])


def _listed(noun: str, values: Sequence[int]) -> str:
    """`device 0`, or `devices 0, 1 and 2`; nothing where there is none."""
    if len(values) < 2:
        return "".join(f"{noun} {value}" for value in values)
    texts = [str(value) for value in values]
    if len(texts) > _MOST:
        texts = [*texts[:_MOST], f"{len(texts) - _MOST} more"]
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{plural} {', '.join(texts[:-1])} and {texts[-1]}"


def _window(selection: Selection) -> str:
    """The time of a selection, in words."""
    start, end = selection.start_ns, selection.end_ns
    if start is None or end is None:
        return f"at {_seconds(start)} or later" if start is not None else f"before {_seconds(end or 0)}"
    return f"from {_seconds(start)} to {_seconds(end)}"


def _seconds(ns: int) -> str:
    """A moment to the nanosecond, as `--time` takes it."""
    whole, rest = divmod(abs(ns), 10**9)
    return f"{'-' * (ns < 0)}{whole}.{rest:09}".rstrip("0").rstrip(".") + " s"


_FILTERED = (
    pl.col("device_id").alias("device"),
    pl.col("stream_id").alias("stream"),
    pid_of("global_pid").alias("process"),
    pl.col("start_ns"),
)
_SHOWN, _LONGEST = 3, 80
"""Names that an error shows, and characters of each."""
_COMPARED = 2000
"""Names that are compared letter by letter, which takes 10 ms for a thousand."""
_MOST = 10
"""Numbers that an error shows."""


def _conditions(selection: Selection, table: Table) -> list[pl.Expr]:
    """What the rows of a table of activity on the GPU have to meet."""
    conditions = []
    if selection.devices:
        conditions.append(pl.col("device_id").is_in(selection.devices))
    if selection.streams:
        conditions.append(pl.col("stream_id").is_in(selection.streams))
    if selection.pids:
        conditions.append(pid_of("global_pid").is_in(selection.pids))
    conditions += _times(selection)
    lacking = {root for condition in conditions for root in condition.meta.root_names()} - table.schema.keys()
    return [pl.lit(value=False)] if lacking else conditions


def _times(selection: Selection) -> list[pl.Expr]:
    conditions = []
    if selection.start_ns is not None:
        conditions.append(pl.col("start_ns") >= selection.start_ns)
    if selection.end_ns is not None:
        conditions.append(pl.col("start_ns") < selection.end_ns)
    return conditions


def _in_domains(trace: Trace, domains: tuple[str, ...]) -> Trace:
    named = nestable_ranges(trace, ["row_id", "domain"]).with_columns(pl.col("domain").fill_null(DEFAULT_DOMAIN))
    present = named.select(pl.col("domain").unique().sort()).collect()["domain"].to_list()
    if not set(domains).intersection(present):
        raise NoSuchDomain(
            f"{trace.path} has no range in the domain {' or '.join(domains)}: it has {', '.join(present) or 'no range'}"
        )
    return _with_ranges(trace, named.filter(pl.col("domain").is_in(domains)).select("row_id"))


def _inside(trace: Trace, glob: str, on_gpu: Sequence[str]) -> Trace:
    """Keep the ranges that match, what is inside them and around them, and the activity launched inside them."""
    marked = ranges(trace).map_batches(
        lambda nested: _mark(nested, glob),
        schema={"range_id": pl.Int64(), "inside": pl.Boolean(), "around": pl.Boolean()},
    )
    inside = marked.filter("inside").select("range_id")
    ops = attribute(trace).select("kind", "range_id").cache()
    launched_in = {table: ops.filter(pl.col("kind") == kind) for kind, table in OPERATIONS.items()}
    launched_in |= {name: _launched_in(trace, name) for name in on_gpu if name not in launched_in}
    kept = {name: _rows(trace.frames[name], launched_in[name], inside) for name in on_gpu}
    around = marked.filter(pl.col("inside") | pl.col("around")).select(pl.col("range_id").alias("row_id"))
    return _with_ranges(trace, around).having(**kept)


def _launched_in(trace: Trace, name: str) -> pl.LazyFrame:
    """For each row of a table of activity on the GPU: the innermost range open when its API call began."""
    schema = pl.Schema({"range_id": pl.Int64()})
    if not set(IDENTITY) <= TABLES[name].schema.keys():
        return pl.LazyFrame(schema=schema)

    def read(_: Sequence[str]) -> Iterator[pl.DataFrame]:
        rows, calls, nested = pl.collect_all(
            [
                trace.frames[name].select(IDENTITY).with_row_index("_row"),
                api_calls(trace).select("correlation_id", "global_tid", "api_start_ns"),
                ranges(trace).select("start_ns", "end_ns", "global_tid", "parent", "range_id"),
            ]
        )
        # Where a call has two rows, the first to begin counts, as in `attribute`.
        called = with_calls(rows, calls).sort("_row", "api_start_ns", nulls_last=True).unique("_row", keep="first")
        called = called.sort("_row")
        yield nested.select("range_id")[innermost(nested, called["global_tid"], called["api_start_ns"])]

    return lazy(schema, read)


def _rows(table: pl.LazyFrame, launched_in: pl.LazyFrame, inside: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of `table` that were launched in one of the ranges `inside`; `launched_in` has its rows' ranges."""
    numbers = launched_in.select("range_id").with_row_index("_row").join(inside, on="range_id", how="semi")
    return (
        table.with_row_index("_row").join(numbers.select("_row"), on="_row", how="semi", maintain_order="left")
    ).drop("_row")


def _with_ranges(trace: Trace, kept: pl.LazyFrame) -> Trace:
    """Drop the ranges whose `row_id` is not in `kept`; domains and categories keep their names."""
    is_range = pl.col("event_type").is_in(RANGE_TYPES)
    dropped = trace.nvtx_events.filter(is_range).select("row_id").join(kept, on="row_id", how="anti")
    events = trace.nvtx_events.join(dropped, on="row_id", how="anti", maintain_order="left")
    return trace.having(nvtx_events=events)


def _mark(nested: pl.DataFrame, glob: str) -> pl.DataFrame:
    names = nested["name"].unique().drop_nulls()
    matching = [name for name in names if fnmatchcase(name, glob)]
    inside = sink(nested, nested["name"].is_in(matching).fill_null(value=False))
    around = lift(nested, inside.cast(pl.UInt32)) > 0
    return nested.select("range_id", inside.alias("inside"), around.alias("around"))


def available(trace: Trace, selection: Selection) -> str:
    """What a trace has where a selection leaves nothing of it."""
    return f"{trace.path}: no GPU operation is left by the filters"
