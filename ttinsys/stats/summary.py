"""Summaries of durations, rounded the way `nsys stats` rounds."""

from __future__ import annotations

import polars as pl


def summary(value: str, prefix: str = "") -> list[pl.Expr]:
    """Average, median, least, greatest and sample standard deviation of a column of nanoseconds.

    Args:
        value: the column.
        prefix: what nsys puts before each name, such as `"Proj "`.
    """
    column = pl.col(value)
    return [
        # By the sum, which a report wants too, and Polars adds up once.
        (column.sum() / pl.len()).alias(f"{prefix}Avg (ns)"),
        column.median().alias(f"{prefix}Med (ns)"),
        column.min().alias(f"{prefix}Min (ns)"),
        column.max().alias(f"{prefix}Max (ns)"),
        # One value has no deviation; nsys prints 0.
        column.std().fill_null(0.0).alias(f"{prefix}StdDev (ns)"),
    ]


def rounded(name: str) -> pl.Expr:
    """A non-negative float column to one decimal as nsys's SQLite gives it: to the nearest tenth, ties upward.

    A mean that is a tie as a fraction, such as 12735.05, may be a little less as a float. SQLite before 3.43 adds
    3e-16 of the value for that (`sqlite3_str_vappendf`), and so do we.
    """
    whole = pl.col(name).floor()
    fraction = pl.col(name) - whole + pl.col(name) * 3e-16
    tenths = whole.cast(pl.Int64) * 10 + pl.sum_horizontal((fraction >= tie).cast(pl.Int64) for tie in _TIES)
    # Polars divides by a constant by multiplying with its inverse, which is not exact: the digits are.
    return pl.concat_str(tenths // 10, pl.lit("."), tenths % 10).cast(pl.Float64).alias(name)


_TIES = [(2 * tenth + 1) / 20 for tenth in range(10)]
