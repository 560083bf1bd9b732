"""Attribute every GPU kernel to the model layer that launched it.

    trace = ttinsys.load("run.sqlite")
    ops = ttinsys.attribute(trace)
    ops.group_by("path").agg(pl.col("duration_ns").sum()).collect()

`load` opens what Nsight Systems exports; `attribute` and `ranges` return `polars.LazyFrame`s, whose columns `OPS` and
`RANGES` describe; `TraceError` is what a file that cannot serve raises.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parsers import TraceError, load
    from ttinsys.attribution.attribute import OPS, attribute
    from ttinsys.attribution.nvtx import RANGES, ranges

__all__ = ["OPS", "RANGES", "TraceError", "__version__", "attribute", "load", "ranges"]
__version__ = "0.1.0"

_HOMES = {
    "OPS": "ttinsys.attribution.attribute",
    "RANGES": "ttinsys.attribution.nvtx",
    "TraceError": "parsers",
    "attribute": "ttinsys.attribution.attribute",
    "load": "parsers",
    "ranges": "ttinsys.attribution.nvtx",
}


def __getattr__(name: str) -> Any:
    # Polars takes longer to import than `ttinsys --help` may take: names are fetched when first used.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
