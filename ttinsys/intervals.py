"""Time of intervals that may overlap."""

from __future__ import annotations

import polars as pl


def busy() -> pl.Expr:
    """Nanoseconds that at least one of the intervals covers.

    To aggregate with, over rows with `start_ns` and `end_ns` that are sorted by `start_ns` and are of one device:
    time on two devices is not one time.
    """
    start, end = pl.col("start_ns"), pl.col("end_ns")
    covered_until = end.cum_max().shift(1)
    return (end - pl.max_horizontal(start, covered_until)).clip(lower_bound=0).sum()


def span() -> pl.Expr:
    """Nanoseconds from the first start to the last end; to aggregate with."""
    return pl.col("end_ns").max() - pl.col("start_ns").min()
