"""Summaries of durations, rounded the way `nsys stats` rounds."""

from __future__ import annotations

import math
from fractions import Fraction

import polars as pl


def summary(value: str, prefix: str = "") -> list[pl.Expr]:
    """Average, median, least, greatest and sample standard deviation of a column of nanoseconds.

    Args:
        value: the column.
        prefix: what nsys puts before each name, such as `"Proj "`.
    """
    column = pl.col(value)
    return [
        column.mean().alias(f"{prefix}Avg (ns)"),
        column.median().alias(f"{prefix}Med (ns)"),
        column.min().alias(f"{prefix}Min (ns)"),
        column.max().alias(f"{prefix}Max (ns)"),
        # One value has no deviation; nsys prints 0.
        column.std().fill_null(0.0).alias(f"{prefix}StdDev (ns)"),
    ]


def rounded(name: str) -> pl.Expr:
    """A non-negative float column to one decimal as SQLite's `round(x, 1)` gives it: exactly, ties upward.

    Multiplying by ten and rounding is not exact: 0.15 is a little less than 3/20, and 0.15 * 10 is 1.5.
    """
    whole = pl.col(name).floor()
    fraction = pl.col(name) - whole
    tenths = whole.cast(pl.Int64) * 10 + pl.sum_horizontal((fraction >= tie).cast(pl.Int64) for tie in _TIES)
    # Polars divides by a constant by multiplying with its inverse, which is not exact either: the digits are.
    return pl.concat_str(tenths // 10, pl.lit("."), tenths % 10).cast(pl.Float64).alias(name)


def _least_float_from(value: Fraction) -> float:
    """The least float that is not below `value`."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


_TIES = [_least_float_from(Fraction(2 * tenth + 1, 20)) for tenth in range(10)]
