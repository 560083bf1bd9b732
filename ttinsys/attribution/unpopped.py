"""Pushes without pops: ranges that a program opens over and over and never closes.

Each would nest in the one before, and paths would grow without end. Where so many ranges of one name are open on one
thread that no stack of layers explains it, a push is read as taking the place of the last one of its name.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.nesting import depths, extended, previous_longer

LEAST = 32
"""Open ranges of one name on one thread that no program nests: the deepest trees of modules have half as many."""

_NAME = ["global_tid", "domain_id", pl.col("name").str.replace_all(r"\d+", "#").alias("folded")]


def may_leak(nested: pl.DataFrame) -> bool:
    """Whether there are enough ranges that never closed, which is soon known."""
    return nested["end_ns"].null_count() >= LEAST


def leaks(ranges: pl.LazyFrame) -> pl.LazyFrame:
    """The names of ranges that were pushed and not popped.

    Args:
        ranges: `global_tid`, `domain_id`, `name` and `end_ns`.

    Returns:
        `global_tid`, `domain_id`, `folded` (the name, with `#` for numbers), `name` (of the first) and `pushes`; the
        most frequent first.
    """
    return (
        ranges.filter(pl.col("end_ns").is_null())
        .group_by(_NAME, maintain_order=True)
        .agg(pl.col("name").first(), pl.len().alias("pushes"))
        .filter(pl.col("pushes") >= LEAST)
        .sort("pushes", descending=True, maintain_order=True)
    )


def without_leaks(nested: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Put each of the open ranges of a thread with leaks beside the last one of its name, not into it.

    Of the names that are open on such a thread, one that appeared earlier encloses one that appeared later. So pushes
    of `a`, `b`, `a`, `b` are two of `a`, with a `b` in each.

    Args:
        nested: ranges as `nest` returns them, with `name_key` and `domain_id`.
        names: distinct names by `name_key`: `name`.

    Returns:
        The same rows, with other parents and depths.
    """
    if not may_leak(nested):
        return nested
    open_ = nested.filter(pl.col("end_ns").is_null()).select("index", "global_tid", "domain_id", "end_ns", "name_key")
    open_ = open_.with_columns(names["name"].gather(open_["name_key"]).alias("name"))
    leaking = leaks(open_.lazy()).select("global_tid").unique().collect()
    if leaking.is_empty():
        return nested
    open_ = open_.join(leaking, on="global_tid", how="semi", maintain_order="left")
    first = pl.col("index").min().over(_NAME)
    # The key of an earlier range is the greater one only if its name appeared earlier: equal names never nest.
    keys = open_.select(-(first.cast(pl.Int64) * nested.height) + pl.int_range(pl.len(), dtype=pl.Int64))
    holder = previous_longer(open_["global_tid"], keys.to_series())
    above = extended(open_["index"], nested.height).gather(holder)
    parent = nested["parent"].fill_null(nested.height).scatter(open_["index"], above)
    return nested.with_columns(parent.replace(nested.height, None).alias("parent"), depths(parent).alias("depth"))
