"""Time of intervals that may overlap.

Intervals are rows with `start_ns` and `end_ns`; an end belongs to none of them. The expressions look at rows that are
sorted by `start_ns` and are of one device, or are evaluated `over` it: time on two devices is not one time.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def covered_until() -> pl.Expr:
    """Latest end of the intervals that come before each; null for the first."""
    return pl.col("end_ns").cum_max().shift(1)


def claimed() -> pl.Expr:
    """Nanoseconds of each interval that none before it covers, so that every covered one counts once."""
    return (pl.col("end_ns") - pl.max_horizontal("start_ns", covered_until())).clip(lower_bound=0)


def gap() -> pl.Expr:
    """Nanoseconds that lie between all intervals before each and its start: covered by none."""
    return (pl.col("start_ns") - covered_until()).clip(lower_bound=0).fill_null(0)


def busy() -> pl.Expr:
    """Nanoseconds that at least one of the intervals covers.

    To aggregate with, over rows with `start_ns` and `end_ns` that are sorted by `start_ns` and are of one device:
    time on two devices is not one time.
    """
    return claimed().sum()


def busy_by(ops: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """Nanoseconds that operations cover, on each device, added up over the devices.

    Args:
        ops: `device`, `start_ns`, `end_ns` and the columns `keys`; in any order.
        keys: what the operations of a row have in common.

    Returns:
        `keys` and `busy_ns`.
    """
    return (
        ops.select(*keys, "device", "start_ns", "end_ns")
        .sort("start_ns")
        .group_by(*keys, "device", maintain_order=True)
        .agg(busy().alias("busy_ns"))
        .group_by(*keys)
        .agg(pl.col("busy_ns").sum())
    )


def span() -> pl.Expr:
    """Nanoseconds from the first start to the last end; to aggregate with."""
    return pl.col("end_ns").max() - pl.col("start_ns").min()


def cumulative_cover(intervals: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """How much the intervals cover as time goes by, for `covered`.

    Args:
        intervals: `start_ns`, `end_ns` and the columns `by`; in any order.
        by: what intervals must have in common to cover the same time, as the device.

    Returns:
        `by`, `at_ns`, `covered_ns` (by all that begin no later) and `until_ns` (latest end of these), sorted by
        `at_ns`.
    """
    return (
        intervals.select(*by, "start_ns", "end_ns")
        .sort("start_ns")
        .select(
            *by,
            pl.col("start_ns").alias("at_ns"),
            claimed().cum_sum().over(by).alias("covered_ns"),
            pl.col("end_ns").cum_max().over(by).alias("until_ns"),
        )
    )


def with_cover(points: pl.LazyFrame, at: str, of: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """Add what intervals cover before a moment of each row: two of them tell what they cover of the time between.

    Args:
        points: a column `at` and the columns `by`.
        at: which column holds the moments.
        of: what `coverage` returns.
        by: as for `coverage`.

    Returns:
        The rows, sorted by `at`, with `covered_ns`, and `until_ns`: until when those go on that begin no later than
        the moment; null where none does.
    """
    # Past the moment, what began before it covers one piece: up to the latest of its ends.
    beyond = (pl.col("until_ns") - pl.col(at)).clip(lower_bound=0)
    return (
        points.sort(at)
        .join_asof(of, left_on=at, right_on="at_ns", by=list(by), strategy="backward", check_sortedness=False)
        .with_columns((pl.col("covered_ns") - beyond).fill_null(0).alias("covered_ns"))
        .drop("at_ns", strict=False)
    )


def concurrent(intervals: pl.LazyFrame, lane: Sequence[str], by: Sequence[str]) -> pl.LazyFrame:
    """Time in which two lanes or more are busy, by the interval that began last.

    Args:
        intervals: `start_ns`, `end_ns`, `index` (of the row) and the columns `lane` and `by`; sorted by `start_ns`.
        lane: columns that say which lane an interval is in: those of one lane do not count as two.
        by: what lanes must have in common, as the device.

    Returns:
        `index` and `concurrent_ns`, for intervals that have any.
    """
    # Most work overlaps with none, and is not looked at again.
    overlaps = (pl.col("start_ns") < covered_until()).fill_null(value=False)
    # Within a lane, pieces that do not overlap: then the number of pieces is the number of busy lanes.
    begin = pl.max_horizontal("start_ns", covered_until().over(*by, *lane))
    pieces = (
        intervals.filter((overlaps | overlaps.shift(-1, fill_value=False)).over(by))
        .select(*by, "index", begin.alias("start_ns"), "end_ns")
        .filter(pl.col("end_ns") > pl.col("start_ns"))
    )
    one = pl.lit(1, pl.Int32)
    events = pl.concat(
        [
            pieces.select(*by, pl.col("start_ns").alias("at_ns"), one.alias("change"), "index"),
            pieces.select(*by, pl.col("end_ns").alias("at_ns"), (-one).alias("change"), pl.lit(None).alias("index")),
        ],
        how="vertical_relaxed",
    ).sort(*by, "at_ns", "index", nulls_last=False)
    return (
        events.select(
            pl.col("index").forward_fill().over(by),
            pl.col("change").cum_sum().over(by).alias("busy"),
            (pl.col("at_ns").shift(-1).over(by) - pl.col("at_ns")).alias("concurrent_ns"),
        )
        .filter((pl.col("busy") > 1) & (pl.col("concurrent_ns") > 0))
        .group_by("index")
        .agg(pl.col("concurrent_ns").sum())
    )
