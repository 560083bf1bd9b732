"""The tables of the traces of a page, read once, and what each view has to show of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from parsers import Trace
from parsers.schema import Table
from ttinsys.analysis import Analysis, find
from ttinsys.needs import present
from ttinsys.overview import Overview, overview
from ttinsys.report.sections import View
from ttinsys.tables import tables_of

Tables = Mapping[str, pl.LazyFrame]


@dataclass(frozen=True, slots=True)
class Shown:
    """A table on the page: of one trace, or of all at once.

    Args:
        name: of the analysis, and of its figure.
        returns: what its columns mean.
        trace: name of the trace; None where all were taken at once.
        frame: the result; empty where something is lacking.
        lacking: why there is no result, a sentence per trace; empty where there is one.
        tree: whether its rows form a tree by `depth`.
    """

    name: str
    returns: Table
    trace: str | None
    frame: pl.DataFrame
    lacking: tuple[str, ...] = ()
    tree: bool = False


@dataclass(frozen=True, slots=True)
class Gathered:
    """Traces, read.

    Args:
        overviews: of each trace, by its name.
        tables: the tables of each, by its name.
    """

    overviews: Mapping[str, Overview]
    tables: Mapping[str, Tables]

    def shown(self, view: View) -> Iterator[Shown]:
        """What a view has to show: once for all traces, or trace by trace."""
        analysis = find(view.analysis)
        lacking = {name: self.lacking(analysis, name) for name in self.tables}
        if analysis.across:
            sound = {name: tables for name, tables in self.tables.items() if not lacking[name]}
            said = tuple(sentence for sentence in lacking.values() if sentence)
            yield self._result(analysis, view, sound if len(sound) >= analysis.least else {}, None, said)
            return
        for name, tables in self.tables.items():
            said = (lacking[name],) if lacking[name] else ()
            yield self._result(analysis, view, {} if said else {name: tables}, name, said)

    def _result(
        self, analysis: Analysis, view: View, of: Mapping[str, Tables], trace: str | None, lacking: tuple[str, ...]
    ) -> Shown:
        empty = pl.DataFrame(schema=analysis.returns.schema)
        frame = analysis.of(of, **view.options).collect() if of else empty
        return Shown(analysis.name, analysis.returns, trace, frame, lacking, tree=analysis.tree is not None)

    def lacking(self, analysis: Analysis, name: str) -> str:
        """What a trace lacks for an analysis, in a sentence; empty where it lacks nothing."""
        tables = self.tables[name]
        missing = (need for need in analysis.needs if not present(need, tables).collect().item())
        return next((f"{name} {need.lacking}" for need in missing), "")


def gathered(traces: Mapping[str, Trace]) -> Gathered:
    """Read all that a page needs, each table once.

    Args:
        traces: opened, by their names on the page, in order.
    """
    overviews, tables = {}, {}
    for name, trace in traces.items():
        of = tables_of(trace)
        read = pl.collect_all([of[table] for table in of])
        tables[name] = {table: frame.lazy() for table, frame in zip(of, read, strict=True)}
        overviews[name] = overview(trace, tables[name])
    return Gathered(overviews, tables)
