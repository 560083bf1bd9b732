"""The tables of a trace that analyses ask for, and those of several traces stacked into one.

tables = tables_of(ttinsys.load("run.sqlite"))
tables["ops"].collect()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from parsers import Trace
from parsers.schema import Column, Table
from parsers.tables import EXPORT_INFO, STRINGS
from parsers.tables.diagnostic_events import DIAGNOSTIC_EVENTS
from parsers.tables.profiler_overheads import PROFILER_OVERHEADS
from ttinsys.attribution.attribute import OPS, attribute
from ttinsys.attribution.devices import NUMBERED_GPUS, numbered_gpus
from ttinsys.attribution.launches import api_calls
from ttinsys.attribution.nvtx import RANGES, RangeReader
from ttinsys.tables.calls import CALLS, calls
from ttinsys.tables.runs import RUNS, runs

SOURCES = Table(
    "sources",
    Column("table", pl.String, "Name of the table."),
    Column("source", pl.String, "Name that nsys gives it."),
    doc="one row per table that the export has",
)

ANALYSIS_TABLES: dict[str, Table | None] = {
    "ops": OPS, "ranges": RANGES, "calls": CALLS, "runs": RUNS, "gpus": NUMBERED_GPUS, "api_calls": None,
    "strings": STRINGS, "diagnostics": DIAGNOSTIC_EVENTS, "overheads": PROFILER_OVERHEADS, "sources": SOURCES,
    "export_info": EXPORT_INFO,
}  # fmt: skip
"""What an analysis may ask for, by the name of its parameter, and the declaration of its columns."""


def tables_of(trace: Trace) -> dict[str, pl.LazyFrame]:
    """The tables of a trace, by name. Nothing is read before one is collected; what several plans share is read once.

    Args:
        trace: an opened trace, filtered or not.
    """
    reader = RangeReader(trace, keep=True)
    ops, nested = attribute(trace, reader).cache(), reader.scan().cache()
    return {
        "ops": ops,
        "ranges": nested,
        "calls": calls(ops, nested).cache(),
        "runs": runs(trace),
        "gpus": numbered_gpus(trace),
        "api_calls": api_calls(trace),
        "strings": trace.strings,
        "diagnostics": trace.frames["diagnostic_events"],
        "overheads": trace.frames["profiler_overheads"],
        "sources": pl.LazyFrame([*trace.sources.items()], schema=SOURCES.schema, orient="row"),
        "export_info": trace.export_info,
    }


def stack_traces(tables: Mapping[str, Mapping[str, pl.LazyFrame]], name: str) -> pl.LazyFrame:
    """One table of several traces: their rows, one trace after the other, behind a column `trace`.

    Args:
        tables: by the name of the trace, in their order.
        name: which table.

    Returns:
        The table with a first column `trace`, an Enum of the names, so that it sorts in the order of the traces.
    """
    names = pl.Enum(list(tables))
    parts = [of[name].select(pl.lit(trace, names).alias("trace"), pl.all()) for trace, of in tables.items()]
    return pl.concat(parts)


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names, made distinct: a trace may be compared with itself."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result
