"""Sums, quotients, means and percentiles that are null, rather than 0 or NaN, where no value is known."""

from __future__ import annotations

import polars as pl


def known_sum(value: pl.Expr | str) -> pl.Expr:
    """The sum of the values that are known; null where none is, and Polars says 0. To aggregate with."""
    values = pl.col(value) if isinstance(value, str) else value
    return pl.when(values.count() > 0).then(values.sum())


def ratio(value: pl.Expr | str, whole: pl.Expr | str) -> pl.Expr:
    """The quotient of two columns; null where there is nothing to divide by."""
    value, whole = (pl.col(each) if isinstance(each, str) else each for each in (value, whole))
    # One divisor per row: by a scalar, Polars multiplies with the inverse, and the last digit depends on a row's place.
    divisor = value - value + whole
    return pl.when(whole > 0).then(value / divisor)


def share(value: str) -> pl.Expr:
    """A column's part of its sum over all rows, or, with `over`, over those of a group; null where that is 0."""
    return ratio(value, pl.col(value).sum())


def weighted(value: str, weight: str) -> pl.Expr:
    """The mean of a column weighted by another, over the rows that have both; to aggregate with."""
    known = pl.when(pl.col(value).is_not_null()).then(weight)
    return ratio((pl.col(value) * known).sum(), known.sum())


def percentile_95(value: str) -> pl.Expr:
    """The 95th percentile by nearest rank, to aggregate with; null where no value is known.

    It is the smallest value that at least 95% of the values do not exceed: of n values in ascending order, the one of
    rank ceil(0.95 n), counted from 1. Of fewer than 20 values it is the greatest. Polars' `quantile(0.95, "nearest")`
    rounds 0.95 (n - 1) instead, and gives the 11th of 12 values, which only 92% do not exceed.
    """
    known = pl.col(value).drop_nulls()
    # In integers, for 0.95 n is inexact in floats.
    rank = (95 * known.len().cast(pl.Int64) + 99) // 100
    return known.sort().get(rank - 1, null_on_oob=True)
