"""Time that nsys itself took from the program while the GPU was in use."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.coverage import percent
from ttinsys.checks import Finding, TraceTables, checking, milliseconds_of

_NOTICED = 0.05
"""Share of the time from the first operation to the last that makes it a warning."""


def _measure(tables: TraceTables) -> pl.LazyFrame:
    window = tables["ops"].select(pl.col("start_ns").min().alias("first_ns"), pl.col("end_ns").max().alias("last_ns"))
    names = tables["strings"].select(pl.col("id").alias("name_id"), pl.col("value").alias("name"))
    clipped_ns = pl.min_horizontal("end_ns", "last_ns") - pl.max_horizontal("start_ns", "first_ns")
    return (
        tables["overheads"]
        .join(window, how="cross")
        .with_columns(clipped_ns.alias("clipped_ns"))
        .join(names, on="name_id", how="left")
        .group_by("global_tid")
        .agg(
            pl.len().alias("intervals"),
            pl.col("clipped_ns").clip(0).sum().alias("overhead_ns"),
            pl.col("name").sort_by("clipped_ns", nulls_last=False).last(),
            (pl.col("last_ns") - pl.col("first_ns")).first().alias("span_ns"),
        )
        # Threads are held at the same time: the one that is held longest counts.
        .sort("overhead_ns", "global_tid", descending=[True, False])
        .head(1)
    )


@checking(_measure)
def profiler_time(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether tracing held up the program; an export without this table says nothing of it."""
    if numbers.is_empty() or not numbers["span_ns"][0]:
        return
    have = numbers.row(0, named=True)
    part = (
        f"{milliseconds_of(have['overhead_ns'])}, {percent(have['overhead_ns'], have['span_ns'])} of the time from the "
        "first operation to the last"
    )
    if have["overhead_ns"] >= _NOTICED * have["span_ns"]:
        yield Finding(
            "warning",
            f"nsys held a thread of the program for {part}, mostly for {have['name'] or 'an unnamed reason'}.",
            ("gaps", "speedup"),
            "trace less (--trace=cuda,nvtx --sample=none --cpuctxsw=none), and begin the capture after a warm-up",
            have["intervals"],
        )
    else:
        yield Finding("sound", f"nsys held no thread of the program for more than {part}.")
