"""Ranges that never closed: pushes without pops, and those that the end of the capture cut off."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import Finding, TraceTables, checking, counted

_REPEATED = 5
"""Ranges of one name on one thread that are all open: a capture cuts off one stack, not the same name so often."""


def _measure(tables: TraceTables) -> pl.LazyFrame:
    is_open = pl.col("end_ns").is_null()
    ranges = tables["ranges"].select("name", "global_tid", "end_ns", "depth")
    return (
        ranges.group_by("name", "global_tid")
        .agg(pl.len().alias("ranges"), is_open.sum().alias("open"), pl.col("depth").max())
        .select(
            pl.col("ranges").sum(),
            pl.col("open").sum(),
            pl.col("depth").max().alias("deepest"),
            pl.col("open").max().alias("repeated"),
            pl.col("name").sort_by("open", "name").last().alias("name"),
        )
    )


@checking(_measure)
def unclosed_ranges(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether ranges are open at the end of the capture, and whether pushes lack their pops."""
    have = numbers.row(0, named=True)
    if not have["ranges"]:
        return
    if have["repeated"] and have["repeated"] >= _REPEATED:
        yield Finding(
            "problem",
            f"{have['open']:,} of {counted(have['ranges'], 'range')} never close, {have['repeated']:,} of them named "
            f"{have['name'] or '(unnamed)'!r} on one thread, {have['deepest'] + 1:,} levels deep: pushes lack their "
            "pops, so that later operations count in ranges that they are not part of.",
            ("layers", "ranges_by_name"),
            "pop what the program pushes, on the same thread: with torch.cuda.nvtx.range(...) does",
            have["open"],
        )
    elif have["open"]:
        yield Finding(
            "warning" if have["open"] > 1 else "note",
            f"{have['open']:,} of {counted(have['ranges'], 'range')} never close, such as "
            f"{have['name'] or '(unnamed)'!r}: they count as open to the end of the capture.",
            ("layers", "ranges_by_name"),
            "stop the capture after the ranges close, or close them",
            have["open"],
        )
    else:
        yield Finding("sound", f"No range of {have['ranges']:,} is open at the end of the capture.")
