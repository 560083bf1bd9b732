"""What an analysis is: a pure function from the tables of a trace, or of several, to one table.

    @analysis(returns=KERNELS_BY_NAME)
    def kernels(ops: pl.LazyFrame) -> pl.LazyFrame:
        ...

One file in `ttinsys/analyses` is one analysis, one subcommand and one page of help. A parameter with the name of a
table (`ANALYSIS_TABLES`) receives it; keyword-only parameters are the options declared beside it. An analysis
`across` traces receives each table of all of them at once, behind a column `trace` that sorts in their order.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

import polars as pl

from parsers import Trace
from parsers.schema import Table
from ttinsys.measures.options import Option
from ttinsys.tables.needs import Lacking, Need, present
from ttinsys.tables.registry import ANALYSIS_TABLES, distinct_names, stack_traces, tables_of


@dataclass(frozen=True)
class Analysis:
    """A registered analysis.

    Args:
        function: the function itself.
        returns: the table it returns.
        options: its keyword-only parameters.
        tree: for a table whose rows form a tree by `depth`: the column whose greatest values are shown first where
            there is no room for all.
        needs: what every trace must have.
        across: whether it takes the tables of all traces at once.
        least: number of traces that it takes at least.
        verdict: from its result and options, the sentences for which the command ends with exit status 1.
        judged_by: options of the verdict, which the function does not take.
        remarks: from its result, sentences that a reader must know before trusting it.
    """

    function: Callable[..., pl.LazyFrame]
    returns: Table
    options: tuple[Option, ...] = ()
    tree: str | None = None
    needs: tuple[Need, ...] = ()
    across: bool = False
    least: int = 1
    verdict: Callable[..., list[str]] | None = None
    judged_by: tuple[Option, ...] = ()
    remarks: Callable[[pl.DataFrame], list[str]] | None = None

    @property
    def name(self) -> str:
        """Name of the function, of its file and, with dashes, of its subcommand."""
        return self.function.__name__

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """Names of the tables it takes."""
        return tuple(name for name in inspect.signature(self.function).parameters if name in ANALYSIS_TABLES)

    @property
    def help(self) -> str:
        """The module's docstring: its first line says what the analysis answers."""
        return import_module(self.function.__module__).__doc__ or ""

    def run(self, *traces: Trace, **options: Any) -> pl.LazyFrame:
        """The analysis of one trace, or of several named `0`, `1` and so on, as `returns` declares it."""
        return self.of({str(number): tables_of(trace) for number, trace in enumerate(traces)}, **options)

    def checked(self, *traces: Trace, **options: Any) -> pl.DataFrame:
        """As `run`, collected, once every trace has been seen to have what is needed.

        Raises:
            Lacking: one has not; the error tells how to capture one that has.
        """
        names = distinct_names([str(trace.path) for trace in traces])
        tables = {name: tables_of(trace) for name, trace in zip(names, traces, strict=True)}
        for name, of in tables.items():
            for need in self.needs:
                if not present(need, of).collect().item():
                    raise Lacking(f"{name} {need.lacking}")
        return self.of(tables, **options).collect()

    def on(self, tables: Mapping[str, pl.LazyFrame], **options: Any) -> pl.LazyFrame:
        """The same on the tables of one trace, by name; ones it does not take are not looked at."""
        return self.of({"0": tables}, **options)

    def of(self, tables: Mapping[str, Mapping[str, pl.LazyFrame]], **options: Any) -> pl.LazyFrame:
        """The same on the tables of traces, by the name of the trace and of the table.

        Args:
            tables: in the order of the traces: what is compared is compared with the first.
            options: the keyword-only parameters.

        Returns:
            `returns`. Of several traces that are analysed one by one, their rows in turn, behind a column `trace`.
        """
        columns = self.returns.schema.names()
        if self.across:
            taken = {name: stack_traces(tables, name) for name in self.takes}
            traced = [pl.col("trace").cast(pl.String)] if "trace" in columns else []
            return self.function(**taken, **options).select(columns).with_columns(traced)
        single = {
            trace: self.function(**{name: of[name] for name in self.takes}, **options).select(columns)
            for trace, of in tables.items()
        }
        if len(single) == 1:
            return next(iter(single.values()))
        return pl.concat([frame.select(pl.lit(trace).alias("trace"), pl.all()) for trace, frame in single.items()])


def analysis(
    *,
    returns: Table,
    options: tuple[Option, ...] = (),
    tree: str | None = None,
    needs: tuple[Need, ...] = (),
    across: bool = False,
    least: int = 1,
    verdict: Callable[..., list[str]] | None = None,
    judged_by: tuple[Option, ...] = (),
    remarks: Callable[[pl.DataFrame], list[str]] | None = None,
) -> Callable[[Callable[..., pl.LazyFrame]], Callable[..., pl.LazyFrame]]:
    """Register the decorated function; arguments as for `Analysis`."""

    def register(function: Callable[..., pl.LazyFrame]) -> Callable[..., pl.LazyFrame]:
        REGISTRY[function.__name__] = Analysis(
            function, returns, options, tree, needs, across, least, verdict, judged_by, remarks
        )
        return function

    return register


REGISTRY: dict[str, Analysis] = {}

_ANALYSES = "ttinsys.analyses"


def find(name: str) -> Analysis:
    """The analysis called `name`, its module imported on demand.

    Raises:
        KeyError: there is none.
    """
    if name not in analysis_names():
        raise KeyError(name)
    import_module(f"{_ANALYSES}.{name}")
    return REGISTRY[name]


def analysis_names() -> list[str]:
    """Names of all analyses: the modules of `ttinsys.analyses`."""
    return sorted(module.name for module in pkgutil.iter_modules(import_module(_ANALYSES).__path__))
