"""Nesting of intervals: which encloses which, which is innermost at a moment, and which calls lie inside which.

Ranges of one thread are sorted by start, the longer one first. Push/pop ranges of one domain always nest; ranges of
several domains, and start/end ranges, may cross, and no function here requires them to nest. All of them rest on one
question, "which earlier range is still open", which pointer jumping answers for all ranges at once: each range points
to a candidate, and every round replaces the pointers of those that are not settled by the pointers of their candidates.
A round is a pass over whole columns, so that Python never loops over ranges.

Every function takes and returns eager frames, because each needs all ranges of a thread at once. The position one past
the last row stands for "none"; `extended` gives that position a value, so that gathers need no special case.
"""

from __future__ import annotations

import polars as pl

FOREVER = 2**63 - 1
"""End time of a range that never closed: the greatest Int64."""


def nest(ranges: pl.DataFrame) -> pl.DataFrame:
    """Sort ranges by the order in which they open, and find the range that encloses each.

    Args:
        ranges: `global_tid`, `start_ns`, `end_ns` (null: never closed), `row_id` and any other columns.

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
    return ranges.with_columns(parent.replace(ranges.height, None).alias("parent"), depths(parent).alias("depth")).drop(
        "_end"
    )


def innermost(nested: pl.DataFrame, threads: pl.Series, moments: pl.Series) -> pl.Series:
    """The innermost range that is open on a thread at a moment, for many pairs of thread and moment.

    A range is open from its start to its end, the end excluded. Of the open ranges, the last to open is the innermost.

    Args:
        nested: what `nest` returns.
        threads: global thread IDs (Int64); a null has no range.
        moments: times in ns (Int64), one for each of `threads`.

    Returns:
        `index` of the range (UInt32), in the order of `threads`; null where none is open.
    """
    none = nested.height
    candidates = pl.repeat(none, threads.len(), dtype=pl.UInt32, eager=True)
    for thread, first, length in thread_runs(nested).iter_rows():
        queries = (threads == thread).arg_true()
        starts = nested["start_ns"].slice(first, length)
        opened = starts.search_sorted(moments.gather(queries), side="right").cast(pl.Int64)
        latest = (opened + (first - 1)).set(opened == 0, none).cast(pl.UInt32)
        candidates = candidates.scatter(queries, latest)
    ends = extended(nested["end_ns"].fill_null(FOREVER), FOREVER)
    parents = extended(nested["parent"].fill_null(none), none)
    # The last range to open may have closed since: climb to its parents until one is still open.
    candidates = candidates.set(moments.is_null(), none)
    unsure = (candidates != none).arg_true()
    while not unsure.is_empty():
        holder = candidates.gather(unsure)
        unsure = unsure.filter((holder != none) & (ends.gather(holder) <= moments.gather(unsure)))
        candidates = candidates.scatter(unsure, parents.gather(candidates.gather(unsure)))
    return candidates.set(candidates == none, None)


def calls_inside(ranges: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Every pair of a range and an API call that lies wholly inside it on the same thread, as nsys's reports pair them.

    Args:
        ranges: `global_tid`, `start_ns`, `end_ns`, and any other columns, which are repeated for each pair.
        calls: `global_tid`, `api_start_ns`, `api_end_ns`, sorted by the first two.

    Returns:
        `range` and `call` (UInt32, row numbers in the arguments) and the other columns of `ranges`, by thread, range
        and call.
    """
    ranges = ranges.with_row_index("range")
    repeated = pl.exclude("global_tid", "start_ns", "end_ns")
    pairs = [ranges.clear().select(repeated, pl.lit(0, pl.UInt32).alias("call"))]
    for thread, first, length in thread_runs(calls).iter_rows():
        on_thread = ranges.filter(pl.col("global_tid") == thread)
        starts, ends = calls["api_start_ns"].slice(first, length), calls["api_end_ns"].slice(first, length)
        # Calls that begin inside a range are neighbours in the sorted column, so two binary searches find them. Where
        # no call ends after a later one does, the same holds for calls that end inside it; else ends are compared.
        orderly = ends.is_sorted()
        low = pl.lit(starts).search_sorted(pl.col("start_ns"), side="left")
        high = pl.lit(ends if orderly else starts).search_sorted(pl.col("end_ns"), side="right")
        inside = (
            # As expressions, not series: Polars evaluates several expressions in parallel.
            on_thread.select(
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
    """The rows of each thread in a frame that is sorted by `global_tid`.

    Args:
        rows: `global_tid`.

    Returns:
        One row per thread: `global_tid`, `first` (its first row) and `len` (its number of rows).
    """
    threads = rows.select("global_tid").with_row_index("first")
    return threads.group_by("global_tid").agg(pl.col("first").min(), pl.len()).drop_nulls()


def _previous_longer(thread: pl.Series, end: pl.Series) -> pl.Series:
    """For each range, the position of the nearest one before it on its thread that ends no earlier.

    The number of ranges stands for "none". A candidate that ends too early is replaced by the range that it points to:
    all ranges in between end earlier than the candidate, so none that qualifies is passed over.
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


def depths(parent: pl.Series) -> pl.Series:
    """Number of ancestors of each range.

    Args:
        parent: position of the parent of each range; the number of ranges stands for "none".
    """
    count = parent.len()
    hop = extended(parent, count)
    depth = (hop != count).cast(pl.UInt32)
    # Invariant: `depth` counts the ancestors up to `hop`. Each round doubles the distance to `hop`.
    while (hop != count).any():
        depth = depth + depth.gather(hop)
        hop = hop.gather(hop)
    return depth.slice(0, count)


def lift(nested: pl.DataFrame, values: pl.Series) -> pl.Series:
    """Total of each range: its own value and those of all ranges inside it.

    Args:
        nested: `parent` and `depth`, as `nest` returns them.
        values: one number per range, in the same order.

    Returns:
        Totals, in the same order and of the same dtype.
    """
    totals = values
    index = pl.int_range(nested.height, dtype=pl.UInt32, eager=True)
    frame = nested.select("parent", "depth").with_columns(index.alias("index"))
    for level in range(deepest(nested), 0, -1):
        of_level = frame.filter(pl.col("depth") == level)
        of_parents = (
            of_level.select("parent", totals.gather(of_level["index"]).alias("total"))
            .group_by("parent")
            .agg(pl.col("total").sum())
        )
        totals = totals.scatter(of_parents["parent"], totals.gather(of_parents["parent"]) + of_parents["total"])
    return totals


def trail(nested: pl.DataFrame, texts: pl.Series, separator: str = "") -> pl.Series:
    """Texts of all ranges around each range, the outermost first, followed by its own.

    Args:
        nested: `index`, `parent` and `depth`, as `nest` returns them.
        texts: one String per range, in the same order.
        separator: text between two of them.

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
    """Whether each range is flagged itself or lies inside a flagged range.

    Args:
        nested: `parent`, as `nest` returns it.
        flags: one Boolean per range, in the same order.

    Returns:
        Booleans, in the same order.
    """
    none = nested.height
    hop = extended(nested["parent"].fill_null(none), none)
    flags = extended(flags, value=False)
    # Invariant: `flags` covers all ancestors nearer than `hop`. Each round doubles the distance to `hop`.
    while (hop != none).any():
        flags = flags | flags.gather(hop)
        hop = hop.gather(hop)
    return flags.slice(0, none)


def inside(nested: pl.DataFrame, flags: pl.Series) -> pl.Series:
    """Whether each range lies inside a flagged range, its own flag not counted.

    Args:
        nested: `parent`, as `nest` returns it.
        flags: one Boolean per range, in the same order; null counts as false.

    Returns:
        Booleans, in the same order.
    """
    return of_parent(nested, sink(nested, flags.fill_null(value=False))).fill_null(value=False)


def of_parent(nested: pl.DataFrame, values: pl.Series) -> pl.Series:
    """The value of the range around each range; null at the top.

    Args:
        nested: `parent`, as `nest` returns it.
        values: one value per range, in the same order.
    """
    return extended(values, None).gather(nested["parent"].fill_null(nested.height))


def inherited(nested: pl.DataFrame, values: pl.Series) -> pl.Series:
    """Each range's value, or where it is null, the value of the nearest range around it that has one.

    Args:
        nested: `parent`, as `nest` returns it.
        values: one value per range, in the same order.

    Returns:
        Values, in the same order and of the same dtype; null where no range around has one.
    """
    none = nested.height
    hop = extended(nested["parent"].fill_null(none), none)
    values = extended(values, None)
    # Invariant: `values` is the nearest one among the ancestors before `hop`. Each round doubles the distance to `hop`.
    while (hop != none).any():
        values = values.zip_with(values.is_not_null(), values.gather(hop))
        hop = hop.gather(hop)
    return values.slice(0, none)


def deepest(nested: pl.DataFrame) -> int:
    """The greatest `depth`; 0 where there is no range."""
    greatest = nested["depth"].max()
    return greatest if isinstance(greatest, int) else 0


def extended(values: pl.Series, value: object) -> pl.Series:
    """`values` with `value` appended: what a pointer one past the end, which means "none", reads."""
    return pl.concat([values, pl.Series([value], dtype=values.dtype)])
