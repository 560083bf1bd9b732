"""The declaration of an analysis, and the registry that finds analyses: one per file of `ttinsys/analyses`.

    @analysis(returns=KERNELS_BY_NAME, needs=[OPS], options=[Option("top", "Rows kept, longest first.")])
    def kernels(ops: pl.LazyFrame, *, top: int = 20) -> pl.LazyFrame:
        ...

A parameter named after a table (`ttinsys.tables.registry.ANALYSIS_TABLES`) receives that table; keyword-only parameters
are options. The file, the function, the Python function `ttinsys.kernels` and the command `ttinsys kernels` share one
name. An analysis `across` traces receives each table of all traces at once, behind a column `trace` that sorts in their
order. `ttinsys.runner.run` runs analyses.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, get_args

import polars as pl

from parsers.errors import did_you_mean
from parsers.schema import Table
from ttinsys.measures.options import Option, OptionError, Setting, settings_of
from ttinsys.tables.needs import Need, need_of
from ttinsys.tables.registry import ANALYSIS_TABLES, stack_traces
from ttinsys.tables.structure import STEPS_FROM, StepSource, with_steps_of_structure

_ANALYSES = "ttinsys.analyses"

REGISTRY: dict[str, Analysis] = {}


class UnknownAnalysis(KeyError):
    """No analysis has this name; `str(error)` is one line for a person."""

    def __str__(self) -> str:
        return str(self.args[0])


class TooFewTraces(ValueError):
    """An analysis that compares traces got too few; `str(error)` is one line for a person."""


@dataclass(frozen=True)
class Analysis:
    """A registered analysis.

    Args:
        function: Takes tables and returns a table, without side effects.
        returns: The table that the function returns.
        options: One option per keyword-only parameter.
        needs: What every trace must have.
        tree: For a table whose rows form a tree by `depth`: the column whose greatest values are shown first where not
            all rows have room.
        across: Whether the function takes the tables of all traces at once.
        least: Least number of traces.
        verdict: Maps the result and the options `judged_by` to the sentences for which the command exits with status 1.
        judged_by: Options of the verdict, which the function does not take.
        remarks: Maps the result to sentences that a reader needs before trusting it.
        steps: Whether the result depends on steps, which the option `steps_from` then chooses.
    """

    function: Callable[..., pl.LazyFrame]
    returns: Table
    options: tuple[Option, ...] = ()
    needs: tuple[Need, ...] = ()
    tree: str | None = None
    across: bool = False
    least: int = 1
    verdict: Callable[..., list[str]] | None = None
    judged_by: tuple[Option, ...] = ()
    remarks: Callable[[pl.DataFrame], list[str]] | None = None
    steps: bool = False

    @property
    def name(self) -> str:
        """Name of the function, of its file and, with dashes for underscores, of its command."""
        return self.function.__name__

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that the function takes."""
        return tuple(name for name in inspect.signature(self.function).parameters if name in ANALYSIS_TABLES)

    @cached_property
    def settings(self) -> dict[str, Setting]:
        """Options with their types and defaults, by name: those of the function, and `steps_from` where it counts."""
        source = {STEPS_FROM.name: Setting(STEPS_FROM, str, "annotation", multiple=False, choices=get_args(StepSource))}
        return settings_of(self.function, self.options) | (source if self.steps else {})

    @cached_property
    def verdict_settings(self) -> dict[str, Setting]:
        """Options of the verdict with their types and defaults, by name."""
        return settings_of(self.verdict, self.judged_by) if self.verdict is not None else {}

    @property
    def too_few(self) -> str:
        """The error where there are fewer traces than `least`."""
        return f"{self.name} compares {_counted(self.least)}: name them all"

    @property
    def documentation(self) -> str:
        """The docstring of the module, whose first line says what the analysis answers."""
        return inspect.cleandoc(import_module(self.function.__module__).__doc__ or "")

    def checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Check the values of options and fill in defaults, those of the verdict included.

        Raises:
            OptionError: An option is unknown, or has a value that it does not take.
        """
        settings = {**self.settings, **self.verdict_settings}
        for name in options:
            if name not in settings:
                known = f"it takes {', '.join(settings)}" if settings else "it takes none"
                raise OptionError(f"{self.name} has no option {name}{did_you_mean(name, settings)}: {known}")
        try:
            values = {name: settings[name].value(value) for name, value in options.items()}
        except OptionError as error:
            raise OptionError(f"{self.name}: {error}") from error
        return {name: values.get(name, setting.default) for name, setting in settings.items()}

    def plan(self, tables: Mapping[str, Mapping[str, pl.LazyFrame]], **options: Any) -> pl.LazyFrame:
        """The lazy result for the tables of one trace or several.

        Args:
            tables: By the name of the trace, then of the table; the first trace is the baseline. Tables that the
                analysis does not take are ignored.
            options: Options of the function, by name.

        Returns:
            `returns`. Where several traces are analysed one by one, their rows follow in turn, with a column `trace`.

        Raises:
            OptionError: An option is unknown, or has a value that it does not take.
            TooFewTraces: There are fewer traces than `least`.
        """
        if len(tables) < self.least:
            raise TooFewTraces(self.too_few)
        values = self.checked_options(options)
        arguments = {name: values[name] for name in self.settings if name != STEPS_FROM.name}
        if values.get(STEPS_FROM.name) == "structure":
            tables = {trace: with_steps_of_structure(of_trace) for trace, of_trace in tables.items()}
        columns = self.returns.schema.names()
        if self.across:
            stacked = {name: stack_traces(tables, name) for name in self.tables}
            # Inside, the column is an Enum, which sorts traces in their order; outside, it is text.
            as_text = [pl.col("trace").cast(pl.String)] if "trace" in columns else []
            return self.function(**stacked, **arguments).select(columns).with_columns(as_text)
        single = {
            trace: self.function(**{name: of_trace[name] for name in self.tables}, **arguments).select(columns)
            for trace, of_trace in tables.items()
        }
        if len(single) == 1:
            return next(iter(single.values()))
        return pl.concat([frame.select(pl.lit(trace).alias("trace"), pl.all()) for trace, frame in single.items()])


def analysis(
    *,
    returns: Table,
    options: Sequence[Option] = (),
    needs: Sequence[Need | Table] = (),
    tree: str | None = None,
    across: bool = False,
    least: int = 1,
    verdict: Callable[..., list[str]] | None = None,
    judged_by: Sequence[Option] = (),
    remarks: Callable[[pl.DataFrame], list[str]] | None = None,
    steps: bool = False,
) -> Callable[[Callable[..., pl.LazyFrame]], Callable[..., pl.LazyFrame]]:
    """Register the decorated function as an analysis; the arguments are those of `Analysis`.

    A table among `needs` must have at least one row.
    """
    needed = tuple(need_of(need) if isinstance(need, Table) else need for need in needs)

    def register(function: Callable[..., pl.LazyFrame]) -> Callable[..., pl.LazyFrame]:
        REGISTRY[function.__name__] = Analysis(
            function, returns, tuple(options), needed, tree, across, least, verdict, tuple(judged_by), remarks, steps
        )
        return function

    return register


def find(name: str) -> Analysis:
    """The analysis called `name`; its module is imported on demand.

    Raises:
        UnknownAnalysis: No analysis has this name; the message suggests the nearest and lists all.
        TypeError: The file of this name registers another one.
    """
    known = analysis_names()
    if name not in known:
        raise UnknownAnalysis(f"no analysis {name}{did_you_mean(name, known)}: there are {', '.join(known)}")
    import_module(f"{_ANALYSES}.{name}")
    if name not in REGISTRY:
        home = f"{_ANALYSES}.{name}"
        others = [other for other, registered in REGISTRY.items() if registered.function.__module__ == home]
        raise TypeError(f"{home} registers {' and '.join(others) or 'nothing'}: call its function {name}")
    return REGISTRY[name]


def analysis_names() -> list[str]:
    """Names of all analyses: those of the modules of `ttinsys.analyses`."""
    return sorted(module.name for module in pkgutil.iter_modules(import_module(_ANALYSES).__path__))


def _counted(traces: int) -> str:
    return {1: "one trace", 2: "two traces"}.get(traces, f"{traces} traces")
