"""The tables of the traces of a page, read once, and what each view has to show of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from parsers import Trace
from parsers.schema import Table
from ttinsys.pages.sections import View
from ttinsys.runner.registry import Analysis, find
from ttinsys.runner.run import Tables, lacking, run_analysis
from ttinsys.tables.overview import Overview, overview
from ttinsys.tables.registry import tables_of


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
    _made: dict[Any, pl.DataFrame] = field(default_factory=dict)

    def result(self, name: str, traces: Sequence[str], **options: Any) -> pl.DataFrame:
        """The table of an analysis of some of the traces, made once.

        Args:
            name: of the analysis.
            traces: their names, in order.
            options: of the analysis.
        """
        key = (name, *traces, *sorted(options.items()))
        if key not in self._made:
            tables = {trace: self.tables[trace] for trace in traces}
            self._made[key] = run_analysis(find(name), tables, options).frame
        return self._made[key]

    def has(self, trace: str, name: str) -> bool:
        """Whether a trace has what an analysis needs."""
        return not lacking(find(name), {trace: self.tables[trace]})

    def shown(self, view: View) -> Iterator[Shown]:
        """What a view has to show: once for all traces, or trace by trace."""
        analysis = find(view.analysis)
        missing = lacking(analysis, self.tables)
        if analysis.across:
            sound = [name for name in self.tables if name not in missing]
            enough = len(sound) >= analysis.least
            yield self._shown(analysis, view, sound if enough else [], None, tuple(missing.values()))
            return
        for name in self.tables:
            reasons = (missing[name],) if name in missing else ()
            yield self._shown(analysis, view, [] if reasons else [name], name, reasons)

    def _shown(
        self, analysis: Analysis, view: View, of: Sequence[str], trace: str | None, lacking: tuple[str, ...]
    ) -> Shown:
        empty = pl.DataFrame(schema=analysis.returns.schema)
        frame = self.result(analysis.name, of, **view.options) if of else empty
        return Shown(analysis.name, analysis.returns, trace, frame, lacking, tree=analysis.tree is not None)


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
