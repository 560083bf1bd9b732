"""Sums, quotients, means and percentiles that are null, rather than 0 or NaN, where no value is known."""

from __future__ import annotations

import polars as pl


def known_sum(value: pl.Expr | str) -> pl.Expr:
    """The sum of the known values; null where there is none, for which Polars gives 0. An aggregation."""
    values = pl.col(value) if isinstance(value, str) else value
    return pl.when(values.count() > 0).then(values.sum())


def exact_sum(seconds: pl.Expr) -> pl.Expr:
    """The sum of seconds, the same to the last digit in any order and with any number of threads. An aggregation.

    Sums of floats depend on both. Integers of 1e-24 s do not, and 128 bits hold 1e14 s of them.
    """
    return (seconds * 1e24).cast(pl.Int128).sum().cast(pl.Float64) / 1e24


def ascending_sum(value: pl.Expr) -> pl.Expr:
    """The sum of few floats of any magnitude, the same in any order and with any number of threads. An aggregation.

    It adds them in ascending order. `exact_sum` sums many faster, but only those that are neither huge nor tiny.
    """
    return value.sort().sum()


def ratio(value: pl.Expr | str, whole: pl.Expr | str) -> pl.Expr:
    """The quotient of two columns; null where the divisor is not above 0."""
    value, whole = (pl.col(each) if isinstance(each, str) else each for each in (value, whole))
    # Give each row its divisor: Polars divides by a scalar through its inverse, which changes the last digit.
    divisor = value - value + whole
    return pl.when(whole > 0).then(value / divisor)


def one_value(name: str) -> pl.Expr:
    """The value that all rows of a column have, nulls aside; null where they differ. An aggregation."""
    known = pl.col(name).drop_nulls()
    return pl.when(known.n_unique() == 1).then(known.first()).alias(name)


def share(value: str) -> pl.Expr:
    """Share of a column in its sum over all rows, or with `over` in that of a group; null where the sum is 0."""
    return ratio(value, pl.col(value).sum())


def weighted(value: str, weight: str) -> pl.Expr:
    """The mean of a column weighted by another, over the rows that have both; an aggregation."""
    known = pl.when(pl.col(value).is_not_null()).then(weight)
    return ratio((pl.col(value) * known).sum(), known.sum())


def percentile_95(value: str) -> pl.Expr:
    """The 95th percentile by nearest rank; null where no value is known. An aggregation.

    It is the smallest value that at least 95% of the values do not exceed: of n values in ascending order, the one of
    rank ceil(0.95 n), counted from 1. Of fewer than 20 values it is the greatest. Polars' `quantile(0.95, "nearest")`
    rounds 0.95 (n - 1) instead, and gives the 11th of 12 values, which only 92% do not exceed.
    """
    known = pl.col(value).drop_nulls()
    # In integers, for 0.95 n is inexact in floats.
    rank = (95 * known.len().cast(pl.Int64) + 99) // 100
    return known.sort().get(rank - 1, null_on_oob=True)
