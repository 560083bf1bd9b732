"""Summaries of durations, rounded as `nsys stats` rounds them."""

from __future__ import annotations

import polars as pl


def summary(value: str, prefix: str = "") -> list[pl.Expr]:
    """Average, median, minimum, maximum and sample standard deviation of a column, as nsys's columns.

    Args:
        value: name of a column of ns.
        prefix: prefix of the names of the columns, such as `"Proj "`.
    """
    column = pl.col(value)
    return [
        # Not mean(): every report also needs the sum, which Polars then computes only once.
        (column.sum() / pl.len()).alias(f"{prefix}Avg (ns)"),
        column.median().alias(f"{prefix}Med (ns)"),
        column.min().alias(f"{prefix}Min (ns)"),
        column.max().alias(f"{prefix}Max (ns)"),
        # A single value has no sample deviation: nsys prints 0.
        column.std().fill_null(0.0).alias(f"{prefix}StdDev (ns)"),
    ]


def rounded(name: str) -> pl.Expr:
    """A column of non-negative floats, rounded to one decimal as SQLite in nsys does: to the nearest, ties upward.

    A mean that is exactly halfway between two decimals, such as 12735.05, may be slightly less as a float. SQLite
    before 3.43 therefore adds 3e-16 of the value (`sqlite3_str_vappendf`); this function does the same.

    Args:
        name: name of the column.
    """
    whole = pl.col(name).floor()
    fraction = pl.col(name) - whole + pl.col(name) * 3e-16
    tenths = whole.cast(pl.Int64) * 10 + pl.sum_horizontal((fraction >= tie).cast(pl.Int64) for tie in _TIES)
    # Polars multiplies by the inverse instead of dividing by a constant, which is inexact. So join the digits as text.
    return pl.concat_str(tenths // 10, pl.lit("."), tenths % 10).cast(pl.Float64).alias(name)


_TIES = [(2 * tenth + 1) / 20 for tenth in range(10)]
