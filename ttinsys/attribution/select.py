"""Parts of a trace: by device, stream, time, NVTX domain or range.

    part = select(trace, Selection(streams=(7,), range="unet.down_blocks.*"))

A selection makes a smaller trace, so every analysis and report takes it. Selecting and attributing commute: what
remains of the operations is attributed as it was in the whole trace, except that ranges of other domains are not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl

from parsers import Trace, TraceError
from parsers.tables import RANGE_TYPES
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.nesting import lift, sink
from ttinsys.attribution.nvtx import nestable_ranges, ranges

DEFAULT_DOMAIN = "default"
"""The name under which a person asks for NVTX's nameless default domain."""

OPERATIONS = {"kernel": "kernels", "memcpy": "memcpys", "memset": "memsets", "graph": "graph_launches"}
"""The table of each kind of GPU operation."""


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
    """

    domains: tuple[str, ...] = ()
    range: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    devices: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is left out at all."""
        return self != Selection()


class NoSuchDomain(TraceError):
    """A domain that was asked for is not in the trace."""


def select(trace: Trace, selection: Selection) -> Trace:
    """The part of `trace` that `selection` keeps: lazy, like the trace itself.

    Raises:
        NoSuchDomain: none of the domains asked for is in the trace; the error names those that are.
    """
    if selection.domains:
        trace = _in_domains(trace, selection.domains)
    conditions = _conditions(selection)
    if conditions:
        trace = trace.having(**{table: getattr(trace, table).filter(conditions) for table in OPERATIONS.values()})
    if selection.range is not None:
        trace = _inside(trace, selection.range)
    return trace


def _conditions(selection: Selection) -> list[pl.Expr]:
    conditions = []
    if selection.devices:
        conditions.append(pl.col("device_id").is_in(selection.devices))
    if selection.streams:
        conditions.append(pl.col("stream_id").is_in(selection.streams))
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


def _inside(trace: Trace, glob: str) -> Trace:
    """Keep the ranges that match, what is inside them and around them, and the operations launched inside them."""
    marked = ranges(trace).map_batches(
        lambda nested: _mark(nested, glob),
        schema={"range_id": pl.Int64(), "inside": pl.Boolean(), "around": pl.Boolean()},
    )
    inside = marked.filter("inside").select("range_id")
    ops = attribute(trace).select("kind", "range_id").cache()
    kept = {
        table: _rows(getattr(trace, table), ops.filter(pl.col("kind") == kind), inside)
        for kind, table in OPERATIONS.items()
    }
    around = marked.filter(pl.col("inside") | pl.col("around")).select(pl.col("range_id").alias("row_id"))
    return _with_ranges(trace, around).having(**kept)


def _rows(table: pl.LazyFrame, ops: pl.LazyFrame, inside: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of `table` whose row of `ops`, in the same order, was launched in one of the ranges `inside`."""
    numbers = ops.select("range_id").with_row_index("_row").join(inside, on="range_id", how="semi").select("_row")
    return table.with_row_index("_row").join(numbers, on="_row", how="semi", maintain_order="left").drop("_row")


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
