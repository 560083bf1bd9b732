"""Parts of a trace: by device, stream, process, time, NVTX domain or range.

    part = ttinsys.select(trace, stream=7, range="unet.down_blocks.*")

A selection makes a smaller trace, so every analysis and report takes it. Selecting and attributing commute: the
operations that remain are attributed as in the whole trace, except that ranges of other domains are not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl

from parsers import Trace, TraceError
from parsers.scan import lazy
from parsers.schema import Table
from parsers.tables import RANGE_TYPES, TABLES
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.devices import settled_devices
from ttinsys.attribution.identity import pid_of
from ttinsys.attribution.launches import IDENTITY, api_calls, with_calls
from ttinsys.attribution.nesting import innermost, lift, sink
from ttinsys.attribution.nvtx import nestable_ranges, ranges
from ttinsys.attribution.window import Window, parse_window

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


def select(
    trace: Trace,
    *,
    range: str | None = None,
    time: str | Window | None = None,
    device: int | Iterable[int] = (),
    stream: int | Iterable[int] = (),
    domain: str | Iterable[str] = (),
    pid: int | Iterable[int] = (),
) -> Trace:
    """Keep a part of a trace: lazy, like the trace itself, and taken by every analysis.

        ttinsys.select(trace, range="unet.down_blocks.*", time="1.5s/2s")

    Args:
        trace: An opened trace.
        range: A glob: operations launched inside a range whose name, or any enclosing range's name, matches.
        time: Operations that start on the GPU within it: `"1.5s/2s"`, or start and end in ns, None where open.
        device: CUDA devices, one or several.
        stream: CUDA streams.
        domain: NVTX domains; `"default"` is the nameless one.
        pid: Processes whose operations are kept; API calls and ranges of others stay.

    Raises:
        NoSuchDomain: None of the domains is in the trace; the error names those that are.
        ValueError: `time` is no window.
    """
    start_ns, end_ns = parse_window(time) if isinstance(time, str) else time or (None, None)
    domains = (domain,) if isinstance(domain, str) else tuple(domain)
    devices, streams, pids = ((each,) if isinstance(each, int) else tuple(each) for each in (device, stream, pid))
    return apply_selection(trace, Selection(domains, range, start_ns, end_ns, devices, streams, pids))


def apply_selection(trace: Trace, selection: Selection) -> Trace:
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
    if filtered or selection.range is not None:
        # A part may lack the processes from which a GPU is known to be in doubt.
        trace = trace.having(**filtered, cuda_devices=settled_devices(trace))
    return trace if selection.range is None else _inside(trace, selection.range, [*on_gpu])


def _conditions(selection: Selection, table: Table) -> list[pl.Expr]:
    """What the rows of a table of activity on the GPU have to meet."""
    conditions = []
    if selection.devices:
        conditions.append(pl.col("device_id").is_in(selection.devices))
    if selection.streams:
        conditions.append(pl.col("stream_id").is_in(selection.streams))
    if selection.pids:
        conditions.append(pid_of("global_pid").is_in(selection.pids))
    conditions += start_conditions(selection)
    lacking = {root for condition in conditions for root in condition.meta.root_names()} - table.schema.keys()
    return [pl.lit(value=False)] if lacking else conditions


def start_conditions(selection: Selection) -> list[pl.Expr]:
    """The conditions of a selection's time window on `start_ns`."""
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
        schema={"range_id": pl.Int64(), "event_id": pl.Int64(), "inside": pl.Boolean(), "around": pl.Boolean()},
    )
    inside = marked.filter("inside").select("range_id")
    ops = attribute(trace).select("kind", "range_id").cache()
    launched_in = {table: ops.filter(pl.col("kind") == kind) for kind, table in OPERATIONS.items()}
    launched_in |= {name: _launched_in(trace, name) for name in on_gpu if name not in launched_in}
    kept = {name: _rows(trace.frames[name], launched_in[name], inside) for name in on_gpu}
    around = marked.filter(pl.col("inside") | pl.col("around")).select(pl.col("event_id").unique().alias("row_id"))
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
    # A replay is no event: what it repeats is kept.
    event = pl.coalesce("captured_id", "range_id").alias("event_id")
    return nested.select("range_id", event, inside.alias("inside"), around.alias("around"))
