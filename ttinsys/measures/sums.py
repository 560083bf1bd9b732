"""Sums, quotients and means that are null where nothing is known, and not 0 or NaN."""

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
