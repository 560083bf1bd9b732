"""Intervals on a line: which encloses which, which is innermost at a moment, and which calls lie inside which.

Ranges of one thread are sorted by start, longer first. Push/pop ranges of one domain nest; ranges of several domains,
and start/end ranges, may cross. Nothing here needs them to nest: everything follows from one question, "which earlier
range is still open", answered for all ranges at once by pointer jumping over whole columns.

Every function takes and returns eager frames, because each needs a whole thread at a time.
"""

from __future__ import annotations

import polars as pl

FOREVER = 2**63 - 1
"""End of a range that was never closed."""


def nest(ranges: pl.DataFrame) -> pl.DataFrame:
    """Sort ranges into the order of their opening and find what encloses each.

    Args:
        ranges: `global_tid`, `start_ns`, `end_ns` (null: never closed), `row_id` and anything else.

    Returns:
        The same rows, sorted by thread, start, end (longest first) and `row_id`, with
        `index` (UInt32, the position), `parent` (UInt32, the index of the latest range before this one, on its thread,
        that ends no earlier; null at the top) and `depth` (UInt32, the number of enclosing ranges).
    """
    ranges = (
        ranges.with_columns(pl.col("end_ns").fill_null(FOREVER).alias("_end"))
        .sort("global_tid", "start_ns", "_end", "row_id", descending=[False, False, True, False], nulls_last=True)
        .with_row_index("index")
    )
    parent = _previous_longer(ranges["global_tid"], ranges["_end"])
    return ranges.with_columns(parent.replace(ranges.height, None).alias("parent"), _depth(parent).alias("depth")).drop(
        "_end"
    )


def innermost(nested: pl.DataFrame, threads: pl.Series, moments: pl.Series) -> pl.Series:
    """The range innermost on a thread at a moment, for many at once.

    A range is open from its start up to, not including, its end. Of the open ones the latest to open is innermost.

    Args:
        nested: what `nest` returns.
        threads: Int64 global thread ids; null has no range.
        moments: Int64 nanoseconds, one for each of `threads`.

    Returns:
        `index` of the range (UInt32); null where none is open.
    """
    none = nested.height
    at = pl.repeat(none, threads.len(), dtype=pl.UInt32, eager=True)
    for thread, first, length in thread_runs(nested).iter_rows():
        here = (threads == thread).arg_true()
        starts = nested["start_ns"].slice(first, length)
        opened = starts.search_sorted(moments.gather(here), side="right").cast(pl.Int64)
        latest = (opened + (first - 1)).set(opened == 0, none).cast(pl.UInt32)
        at = at.scatter(here, latest)
    ends = extended(nested["end_ns"].fill_null(FOREVER), FOREVER)
    parents = extended(nested["parent"].fill_null(none), none)
    # The latest to open may have closed since: climb until one is found that has not. Nothing is innermost at null.
    at = at.set(moments.is_null(), none)
    unsure = (at != none).arg_true()
    while not unsure.is_empty():
        holder = at.gather(unsure)
        unsure = unsure.filter((holder != none) & (ends.gather(holder) <= moments.gather(unsure)))
        at = at.scatter(unsure, parents.gather(at.gather(unsure)))
    return at.set(at == none, None)


def calls_inside(ranges: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Every pair of a range and a call that lies wholly inside it, on one thread: nsys's rule of containment.

    Args:
        ranges: `global_tid`, `start_ns`, `end_ns`, and anything else, which is repeated for each pair.
        calls: `global_tid`, `api_start_ns`, `api_end_ns`, sorted by the first two.

    Returns:
        `range` and `call` (UInt32, row numbers in the arguments) and the other columns of `ranges`, by thread, range
        and call.
    """
    ranges = ranges.with_row_index("range")
    repeated = pl.exclude("global_tid", "start_ns", "end_ns")
    pairs = [ranges.clear().select(repeated, pl.lit(0, pl.UInt32).alias("call"))]
    for thread, first, length in thread_runs(calls).iter_rows():
        here = ranges.filter(pl.col("global_tid") == thread)
        starts, ends = calls["api_start_ns"].slice(first, length), calls["api_end_ns"].slice(first, length)
        # The calls that begin inside a range are one run of neighbours. Where no call outlasts a later one, those that
        # end inside it are too; else each has to be asked.
        orderly = ends.is_sorted()
        low = pl.lit(starts).search_sorted(pl.col("start_ns"), side="left")
        high = pl.lit(ends if orderly else starts).search_sorted(pl.col("end_ns"), side="right")
        inside = (
            # Polars works on expressions in parallel, on series one after the other.
            here.select(
                repeated, (low + first).cast(pl.UInt32).alias("low"), (high + first).cast(pl.UInt32).alias("high")
            )
            .filter(pl.col("low") < pl.col("high"))
            .select(pl.exclude("low", "high"), pl.int_ranges("low", "high", dtype=pl.UInt32).alias("call"))
            .explode("call", empty_as_null=False)
        )
        if not orderly:
            inside = inside.filter(
                calls["api_end_ns"].gather(inside["call"]) <= ranges["end_ns"].gather(inside["range"])
            )
        pairs.append(inside)
    return pl.concat(pairs)


def thread_runs(rows: pl.DataFrame) -> pl.DataFrame:
    """Where each thread's rows lie in a frame sorted by `global_tid`: thread, first row, number of rows."""
    threads = rows.select("global_tid").with_row_index("first")
    return threads.group_by("global_tid").agg(pl.col("first").min(), pl.len()).drop_nulls()


def _previous_longer(thread: pl.Series, end: pl.Series) -> pl.Series:
    """For each range, the position of the nearest one before it on its thread that ends no earlier.

    The number of ranges stands for "none". Each round, every range that is not yet content jumps to where its
    candidate points; all ranges in between end earlier, so none that qualifies is passed over.
    """
    count = end.len()
    position = pl.int_range(count, dtype=pl.UInt32, eager=True)
    starts_thread = thread.ne_missing(thread.shift(1)) | (position == 0)
    before = position.cast(pl.Int64) - 1
    pointer = before.zip_with(~starts_thread, pl.repeat(count, count, dtype=pl.Int64, eager=True)).cast(pl.UInt32)
    pointer = extended(pointer, count)
    ends = extended(end, FOREVER)
    unsure = position
    while not unsure.is_empty():
        candidate = pointer.gather(unsure)
        unsure = unsure.filter(ends.gather(candidate) < ends.gather(unsure))
        pointer = pointer.scatter(unsure, pointer.gather(pointer.gather(unsure)))
    return pointer.slice(0, count)


def _depth(parent: pl.Series) -> pl.Series:
    """Number of ancestors of each range; the number of ranges stands for "no parent"."""
    count = parent.len()
    hop = extended(parent, count)
    depth = (hop != count).cast(pl.UInt32)
    # After each round, `depth` counts the ancestors as far as `hop`, and `hop` is twice as far.
    while (hop != count).any():
        depth = depth + depth.gather(hop)
        hop = hop.gather(hop)
    return depth.slice(0, count)


def lift(nested: pl.DataFrame, values: pl.Series) -> pl.Series:
    """Sum `values`, one per range, over each range and everything inside it.

    Args:
        nested: `parent` and `depth`, as `nest` returns them.
        values: numbers, in the same order.

    Returns:
        Totals, in the same order and of the same dtype.
    """
    totals = values
    index = pl.int_range(nested.height, dtype=pl.UInt32, eager=True)
    frame = nested.select("parent", "depth").with_columns(index.alias("index"))
    for level in range(deepest(nested), 0, -1):
        here = frame.filter(pl.col("depth") == level)
        above = (
            here.select("parent", totals.gather(here["index"]).alias("total"))
            .group_by("parent")
            .agg(pl.col("total").sum())
        )
        totals = totals.scatter(above["parent"], totals.gather(above["parent"]) + above["total"])
    return totals


def trail(nested: pl.DataFrame, texts: pl.Series, separator: str = "") -> pl.Series:
    """Join each range's text behind those of all ranges around it, the outermost first, one level at a time.

    Args:
        nested: `index`, `parent` and `depth`, as `nest` returns them.
        texts: one String per range, in the same order.
        separator: what stands between two.

    Returns:
        The joined texts, in the same order.
    """
    own = nested.select("index", "parent", "depth", texts.alias("text"))
    above = own.filter(pl.col("depth") == 0).select("index", pl.col("text").alias("trail"))
    levels = [above]
    for level in range(1, deepest(nested) + 1):
        above = (
            own.filter(pl.col("depth") == level)
            .join(above, left_on="parent", right_on="index")
            .select("index", pl.concat_str("trail", "text", separator=separator).alias("trail"))
        )
        levels.append(above)
    return pl.concat(levels).sort("index")["trail"]


def sink(nested: pl.DataFrame, flags: pl.Series) -> pl.Series:
    """Which ranges are flagged themselves or lie inside one that is; arguments as for `lift`."""
    none = nested.height
    hop = extended(nested["parent"].fill_null(none), none)
    flags = extended(flags, value=False)
    # After each round, `flags` speaks for all ancestors nearer than `hop`, and `hop` is twice as far.
    while (hop != none).any():
        flags = flags | flags.gather(hop)
        hop = hop.gather(hop)
    return flags.slice(0, none)


def inherited(nested: pl.DataFrame, values: pl.Series) -> pl.Series:
    """Each range's value, or where that is null, the one of the nearest range around it that has one.

    Args:
        nested: `parent`, as `nest` returns it.
        values: one per range, in the same order.
    """
    none = nested.height
    hop = extended(nested["parent"].fill_null(none), none)
    values = extended(values, None)
    # After each round, `values` is the nearest one of all ancestors nearer than `hop`, and `hop` is twice as far.
    while (hop != none).any():
        values = values.zip_with(values.is_not_null(), values.gather(hop))
        hop = hop.gather(hop)
    return values.slice(0, none)


def deepest(nested: pl.DataFrame) -> int:
    """The greatest `depth`; 0 where there is no range."""
    deepest = nested["depth"].max()
    return deepest if isinstance(deepest, int) else 0


def extended(values: pl.Series, value: object) -> pl.Series:
    """`values` and one more: what a pointer past the end, meaning "none", finds there."""
    return pl.concat([values, pl.Series([value], dtype=values.dtype)])
