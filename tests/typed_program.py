"""A program for type checkers, which nobody runs: mypy reports each `type: ignore` below that hides no error."""

from __future__ import annotations

import polars as pl

import ttinsys


def program() -> pl.DataFrame:
    """Calls of the library, right and wrong."""
    trace = ttinsys.load("run.sqlite")
    frame: pl.DataFrame = ttinsys.breakdown(trace, by=("role", "step"), projections="attention")
    ttinsys.breakdown(trace, by="rol")  # type: ignore[arg-type]
    ttinsys.gaps(trace, bye="step")  # type: ignore[call-arg]
    ttinsys.brekdown(trace)  # type: ignore[attr-defined]
    return frame
