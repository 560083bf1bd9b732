"""What an analysis is: a pure function from the tables of a trace to one table.

    @analysis(returns=KERNELS_BY_NAME)
    def kernels(ops: pl.LazyFrame) -> pl.LazyFrame:
        ...

One file in `ttinsys/analyses` is one analysis, one subcommand and one page of help. A parameter called `ops` or
`ranges` receives that table of the trace; keyword-only parameters are the options declared beside it.
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
from ttinsys import analyses
from ttinsys.attribution import attribute
from ttinsys.nvtx import ranges

TABLES: dict[str, Callable[[Trace], pl.LazyFrame]] = {"ops": attribute, "ranges": ranges}
"""What an analysis may ask for, by the name of its parameter."""


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword-only parameter of an analysis, and the command-line option that sets it.

    Args:
        name: the parameter's name.
        type: `int`, `float`, `str` or `bool`.
        default: its value where the person gives none.
        help: one line.
    """

    name: str
    type: type
    default: Any
    help: str


@dataclass(frozen=True)
class Analysis:
    """A registered analysis.

    Args:
        function: the function itself.
        returns: the table it returns.
        options: its keyword-only parameters.
        tree: for a table whose rows form a tree by `depth`: the column whose greatest values are shown first where
            there is no room for all.
    """

    function: Callable[..., pl.LazyFrame]
    returns: Table
    options: tuple[Option, ...] = ()
    tree: str | None = None

    @property
    def name(self) -> str:
        """Name of the function, of its file and, with dashes, of its subcommand."""
        return self.function.__name__

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """Names of the tables it takes."""
        return tuple(name for name in inspect.signature(self.function).parameters if name in TABLES)

    @property
    def help(self) -> str:
        """The module's docstring: its first line says what the analysis answers."""
        return import_module(self.function.__module__).__doc__ or ""

    def run(self, trace: Trace, **options: Any) -> pl.LazyFrame:
        """The analysis of one trace, as `returns` declares it."""
        return self.on({name: TABLES[name](trace) for name in self.needs}, **options)

    def on(self, tables: Mapping[str, pl.LazyFrame], **options: Any) -> pl.LazyFrame:
        """The same on tables that are there already, by name; ones it does not need are not looked at."""
        needed = {name: tables[name] for name in self.needs}
        return self.function(**needed, **options).select(self.returns.schema.names())


def analysis(
    *, returns: Table, options: tuple[Option, ...] = (), tree: str | None = None
) -> Callable[[Callable[..., pl.LazyFrame]], Callable[..., pl.LazyFrame]]:
    """Register the decorated function; arguments as for `Analysis`."""

    def register(function: Callable[..., pl.LazyFrame]) -> Callable[..., pl.LazyFrame]:
        REGISTRY[function.__name__] = Analysis(function, returns, options, tree)
        return function

    return register


REGISTRY: dict[str, Analysis] = {}


def find(name: str) -> Analysis:
    """The analysis called `name`, its module imported on demand.

    Raises:
        KeyError: there is none.
    """
    if name not in names():
        raise KeyError(name)
    import_module(f"{analyses.__name__}.{name}")
    return REGISTRY[name]


def names() -> list[str]:
    """Names of all analyses: the modules of `ttinsys.analyses`."""
    return sorted(module.name for module in pkgutil.iter_modules(analyses.__path__))
