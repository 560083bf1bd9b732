"""Rows for intervals that a viewer can only draw where none crosses another.

Perfetto drops a complete event that begins inside another of its row and ends outside it (google/perfetto#4280).
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.nesting import FOREVER, extended, nest


def lanes(intervals: pl.DataFrame) -> pl.Series:
    """Deal intervals out to lanes, so that no two of a lane overlap; one that overlaps nothing is in lane 0.

    Where some overlap, as many lanes are used as overlap at once, in turn: the i-th to begin takes the lane of the
    interval that was the (i - lanes)-th to end, which by then it has.

    Args:
        intervals: `row`, which keeps apart what is not on one row, `start_ns` and `end_ns`, sorted by the first two.

    Returns:
        The lane of each (UInt32), in the same order.
    """
    # What takes no time still takes room.
    placed = intervals.select("row", "start_ns", pl.max_horizontal("end_ns", pl.col("start_ns") + 1).alias("end_ns"))
    reached = pl.col("end_ns").cum_max().shift(1).over("row")
    begins = placed.select((pl.col("start_ns") >= reached).fill_null(value=True).alias("begins"))["begins"]
    placed = placed.with_columns(begins.cum_sum().alias("cluster")).with_row_index("at")
    crowded = placed.filter(pl.len().over("cluster") > 1)
    number = pl.zeros(placed.height, dtype=pl.UInt32, eager=True)
    if crowded.is_empty():
        return number
    return number.scatter(crowded["at"], _dealt(crowded.select("cluster", "start_ns", "end_ns")))


def _dealt(crowded: pl.DataFrame) -> pl.Series:
    """Lanes within clusters of intervals that overlap."""
    crowded = crowded.with_row_index("at").with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).over("cluster").alias("begun"),
        pl.col("at").first().over("cluster").alias("first"),
    )
    ends = crowded.select("cluster", pl.col("end_ns").alias("moment"), pl.lit(None, pl.UInt32).alias("at"))
    starts = crowded.select("cluster", pl.col("start_ns").alias("moment"), "at")
    # At one moment, ends come before starts: their key is the null.
    ended = (
        pl.concat([ends, starts])
        .sort("cluster", "moment", "at", nulls_last=False)
        .with_columns(pl.col("at").is_null().cum_sum().over("cluster").cast(pl.Int64).alias("ended"))
        .drop_nulls("at")
        .select("at", "ended")
    )
    crowded = crowded.join(ended, on="at", how="left", maintain_order="left").with_columns(
        (pl.col("begun") + 1 - pl.col("ended")).max().over("cluster").alias("lanes")
    )
    by_end = crowded.sort("cluster", "end_ns", "at")["at"]
    # Its place among the ends, and so what was there before; those that begin first have none, and are their own.
    place = crowded.select(
        pl.when(pl.col("begun") >= pl.col("lanes")).then(pl.col("first") + pl.col("begun") - pl.col("lanes"))
    ).to_series()
    before = by_end.gather(place).zip_with(place.is_not_null(), crowded["at"])
    while not (further := before.gather(before)).equals(before):
        before = further
    return crowded["begun"].gather(before).cast(pl.UInt32)


def nesting(intervals: pl.DataFrame, rounds: int = 8) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part intervals into those that nest and those that cross one of them.

    Args:
        intervals: `global_tid`, `start_ns`, `end_ns`, `row_id` and anything else.
        rounds: how often to look again once what crossed is gone; what still crosses then does not count as nesting,
            nor does anything else on its thread.

    Returns:
        The intervals that nest on their thread, in the order of `nest`, and the others.
    """
    names = intervals.columns
    crossing = intervals.clear()
    for _ in range(rounds):
        nested = nest(intervals)
        crosses = _crosses(nested)
        intervals = nested.select(names)
        if not crosses.any():
            return intervals, crossing
        crossing = pl.concat([crossing, intervals.filter(crosses)])
        intervals = intervals.filter(~crosses)
    nested = nest(intervals)
    tangled = nested.filter(_crosses(nested))["global_tid"].unique()
    apart = pl.col("global_tid").is_in(tangled.implode())
    return nested.filter(~apart).select(names), pl.concat([crossing, nested.filter(apart).select(names)])


def _crosses(nested: pl.DataFrame) -> pl.Series:
    """Which intervals begin inside an earlier one of their thread and end after it."""
    none = nested.height
    thread, starts = nested["global_tid"], nested["start_ns"]
    ends = extended(nested["end_ns"], FOREVER)
    parents = extended(nested["parent"].fill_null(none), none)
    position = pl.int_range(none, dtype=pl.Int64, eager=True)
    first = thread.ne_missing(thread.shift(1)) | (position == 0)
    before = (position - 1).set(first, none).cast(pl.UInt32)
    # The latest before it may have closed already: climb to one that has not.
    unsure = position.cast(pl.UInt32)
    while not unsure.is_empty():
        holder = before.gather(unsure)
        unsure = unsure.filter(ends.gather(holder) <= starts.gather(unsure))
        before = before.scatter(unsure, parents.gather(before.gather(unsure)))
    return ends.gather(before) < nested["end_ns"]
