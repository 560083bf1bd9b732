"""Attribute every GPU kernel to the model layer that launched it.

    trace = ttinsys.load("run.sqlite")
    ttinsys.breakdown(trace, by="role")

`load` opens what Nsight Systems exports. Every analysis is a function of opened traces that returns a
`polars.DataFrame`: `dir(ttinsys)` lists them, `help(ttinsys.breakdown)` shows options and columns. `attribute` and
`ranges` return `polars.LazyFrame`s, whose columns `OPS` and `RANGES` describe. `select` keeps a part of a trace, `plot`
draws a table, `report` writes a page, `add_dialect` reads the names of your own ranges. `TraceError` is what a file
that cannot serve raises.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "OPS": "ttinsys.attribution.attribute",
    "RANGES": "ttinsys.attribution.nvtx",
    "Trace": "parsers",
    "TraceError": "parsers",
    "add_dialect": "ttinsys.attribution.dialects",
    "attribute": "ttinsys.attribution.attribute",
    "load": "parsers",
    "plot": "ttinsys.pages.plot",
    "ranges": "ttinsys.attribution.nvtx",
    "report": "ttinsys.pages.report",
    "select": "ttinsys.attribution.select",
}
"""Module of each public name that is not an analysis."""


def _analyses() -> list[str]:
    """Names of the analyses, from their files: importing them would import Polars."""
    from pkgutil import iter_modules

    return [module.name for module in iter_modules(import_module("ttinsys.analyses").__path__)]


def __getattr__(name: str) -> Any:
    # Polars takes longer to import than `ttinsys --help` may take: names are fetched when first used.
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif not name.startswith("_") and name in _analyses():
        from ttinsys.runner.door import analysis_function

        value = analysis_function(name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_hint(name)}")
    globals()[name] = value
    return value


def _hint(name: str) -> str:
    """The nearest public name, for what is neither private nor a module: those are asked for by Python itself."""
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is not None:
        return ""
    from parsers.errors import did_you_mean

    return did_you_mean(name, [*_HOMES, *_analyses()])


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOMES, *_analyses()])
