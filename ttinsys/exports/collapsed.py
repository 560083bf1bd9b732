"""Collapsed stacks: one line per stack, with frames joined by semicolons, a space, and GPU time in ns.

This is Brendan Gregg's format (github.com/brendangregg/FlameGraph), which flamegraph.pl, inferno and speedscope read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO

import polars as pl

from ttinsys.exports import Capture, stacks
from ttinsys.render import printable

COLUMNS = ("kernel",)


def writer(captures: Sequence[Capture]) -> Callable[[IO[bytes]], None]:
    """Collapsed stacks of captures.

    Args:
        captures: captures with `COLUMNS`; if there are several, each stack begins with the name of its capture.

    Returns:
        A function that writes the file. The numbers in it add up to the time of all operations.
    """
    parts = []
    for capture in captures:
        frame = stacks(capture, _spelled, ";")
        if len(captures) > 1:
            frame = frame.with_columns(pl.format("{};{}", pl.lit(_clean(capture.name)), "stack").alias("stack"))
        parts.append(frame)
    lines = pl.concat(parts).select(pl.format("{} {}\n", "stack", "sum_ns").alias("line"))["line"]

    def write(file: IO[bytes]) -> None:
        file.write(lines.str.join("").item().encode())

    return write


def _spelled(names: pl.Series) -> pl.Series:
    return names.replace_strict({name: _clean(name) for name in names.unique()}, return_dtype=pl.String)


def _clean(name: str) -> str:
    """A name without semicolons and line breaks, which delimit frames and stacks."""
    return printable(name).replace(";", ":").strip() or "(unnamed)"
