"""The tables of all traces on a page, read once, and the results that each view shows."""

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
from ttinsys.tables.registry import CAPTURE_TABLES, tables_of


@dataclass(frozen=True, slots=True)
class Shown:
    """A result on the page: of one trace, or of all traces together.

    Args:
        name: Name of the analysis and of its figure.
        returns: Declaration of the columns.
        trace: Name of the trace; None where the analysis takes all traces together.
        frame: The result; empty where something is lacking.
        lacking: Why there is no result, a sentence per trace; empty where there is one.
        tree: Whether the rows form a tree by `depth`.
    """

    name: str
    returns: Table
    trace: str | None
    frame: pl.DataFrame
    lacking: tuple[str, ...] = ()
    tree: bool = False


@dataclass(frozen=True, slots=True)
class Gathered:
    """Traces whose tables are read.

    Args:
        overviews: The overview of each trace, by its name.
        tables: The tables of each trace, by its name and theirs.
    """

    overviews: Mapping[str, Overview]
    tables: Mapping[str, Tables]
    _results: dict[Any, pl.DataFrame] = field(default_factory=dict)

    def result(self, name: str, traces: Sequence[str], **options: Any) -> pl.DataFrame:
        """The table of an analysis of some of the traces; it is computed once.

        Args:
            name: Name of the analysis.
            traces: Names of the traces; the first is the baseline.
            options: Options of the analysis.
        """
        key = (name, *traces, *sorted(options.items()))
        if key not in self._results:
            tables = {trace: self.tables[trace] for trace in traces}
            self._results[key] = run_analysis(find(name), tables, options).frame
        return self._results[key]

    def has(self, trace: str, name: str) -> bool:
        """Whether a trace has all that an analysis needs."""
        return not lacking(find(name), {trace: self.tables[trace]})

    def shown(self, view: View) -> Iterator[Shown]:
        """The results that a view shows: one of all traces, or one per trace."""
        analysis = find(view.analysis)
        missing = lacking(analysis, self.tables)
        if analysis.across:
            complete = [name for name in self.tables if name not in missing]
            enough = len(complete) >= analysis.least
            yield self._shown(analysis, view, complete if enough else [], None, tuple(missing.values()))
            return
        for name in self.tables:
            reasons = (missing[name],) if name in missing else ()
            yield self._shown(analysis, view, [] if reasons else [name], name, reasons)

    def _shown(
        self, analysis: Analysis, view: View, traces: Sequence[str], trace: str | None, lacking: tuple[str, ...]
    ) -> Shown:
        empty = pl.DataFrame(schema=analysis.returns.schema)
        frame = self.result(analysis.name, traces, **view.options) if traces else empty
        return Shown(analysis.name, analysis.returns, trace, frame, lacking, tree=analysis.tree is not None)


def gathered(traces: Mapping[str, Trace]) -> Gathered:
    """Read all that a page needs, each table once.

    Args:
        traces: Opened traces by their names on the page, in order.
    """
    overviews, tables = {}, {}
    for name, trace in traces.items():
        plans = tables_of(trace)
        # The reader of ranges keeps them, in less room than a table with all their texts.
        read = [table for table in plans if table not in {*CAPTURE_TABLES, "ranges"}]
        # A range's own name may be unique to the call, and no page asks for it.
        frames = pl.collect_all([plans[table].drop("range") if table == "ops" else plans[table] for table in read])
        tables[name] = plans | {table: frame.lazy() for table, frame in zip(read, frames, strict=True)}
        overviews[name] = overview(trace, tables[name])
    return Gathered(overviews, tables)
