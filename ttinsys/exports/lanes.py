"""Lanes: how to draw intervals that overlap in a viewer whose rows can only hold nested slices.

Perfetto drops a complete event that begins inside another of its row and ends outside it (google/perfetto#4280).
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.nesting import FOREVER, extended, nest


def lanes(intervals: pl.DataFrame) -> pl.Series:
    """Assign intervals to lanes, so that no two intervals of a lane overlap; one that overlaps nothing is in lane 0.

    A cluster of overlapping intervals uses as many lanes as intervals overlap at once, which is the minimum. The i-th
    interval to begin takes the lane of the (i - lanes)-th to end, which has ended by then.

    Args:
        intervals: `row` (intervals of different rows do not overlap), `start_ns` and `end_ns`, sorted by the first two.

    Returns:
        The lane of each (UInt32), in the same order.
    """
    # An interval without duration still needs room to be drawn.
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
    """Lanes of the intervals in clusters."""
    crowded = crowded.with_row_index("at").with_columns(
        pl.int_range(pl.len(), dtype=pl.Int64).over("cluster").alias("begun"),
        pl.col("at").first().over("cluster").alias("first"),
    )
    ends = crowded.select("cluster", pl.col("end_ns").alias("moment"), pl.lit(None, pl.UInt32).alias("at"))
    starts = crowded.select("cluster", pl.col("start_ns").alias("moment"), "at")
    # Of one moment, ends sort before starts, as only ends have a null `at`.
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
    # Row of the interval whose lane each takes over; the first intervals of a cluster open lanes, and take their own.
    predecessor = crowded.select(
        pl.when(pl.col("begun") >= pl.col("lanes")).then(pl.col("first") + pl.col("begun") - pl.col("lanes"))
    ).to_series()
    before = by_end.gather(predecessor).zip_with(predecessor.is_not_null(), crowded["at"])
    # Follow the lanes back to the interval that opened each, in jumps that double.
    while not (further := before.gather(before)).equals(before):
        before = further
    return crowded["begun"].gather(before).cast(pl.UInt32)


def nesting(intervals: pl.DataFrame, rounds: int = 8) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split intervals into those that nest on their thread and those that cross one of them.

    Args:
        intervals: `global_tid`, `start_ns`, `end_ns`, `row_id` and any other columns.
        rounds: number of times to remove the intervals that cross and nest the others anew. A thread on which some
            still cross then is given up: none of its intervals count as nesting.

    Returns:
        The intervals that nest, in the order of `nest`, and the others.
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
    """Whether each interval begins inside an earlier interval of its thread and ends after it."""
    none = nested.height
    thread, starts = nested["global_tid"], nested["start_ns"]
    ends = extended(nested["end_ns"], FOREVER)
    parents = extended(nested["parent"].fill_null(none), none)
    position = pl.int_range(none, dtype=pl.Int64, eager=True)
    first = thread.ne_missing(thread.shift(1)) | (position == 0)
    before = (position - 1).set(first, none).cast(pl.UInt32)
    # The interval before it may have ended already: climb to its parents until one has not.
    unsure = position.cast(pl.UInt32)
    while not unsure.is_empty():
        holder = before.gather(unsure)
        unsure = unsure.filter(ends.gather(holder) <= starts.gather(unsure))
        before = before.scatter(unsure, parents.gather(before.gather(unsure)))
    return ends.gather(before) < nested["end_ns"]
