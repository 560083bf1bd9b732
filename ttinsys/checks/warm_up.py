"""Warm-up in the capture: a first iteration that takes longer than the others."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import Finding, TraceTables, checking, milliseconds_of

_LONGER = 1.5
"""Time of the first iteration, as a multiple of the median of the others, that makes it a warm-up."""
_NOTICED_NS = 1_000_000
"""Difference below which it does not matter."""
_HELD = 0.5
"""Share of the kernels that iterations hold: other ranges that repeat are parts of one, or beside them."""
_LEAST = 3
"""Ranges of one name that make iterations: two may well do different work."""
_CANDIDATES = 50
"""Names that are looked at, those with the most time."""
_DIGITS = r"\d+"


def _measure(tables: TraceTables) -> pl.LazyFrame:
    kernels = tables["ops"].filter(pl.col("kind") != "memcpy")
    whole = kernels.select(pl.len().alias("launches"))
    # Iterations may carry their number in their name; prefill and decode are different work.
    folded = pl.col("path").str.replace_all(_DIGITS, "N")
    repeated = (
        tables["ranges"]
        .filter(pl.col("end_ns").is_not_null())
        .select("global_tid", "phase", "start_ns", "depth", (pl.col("end_ns") - pl.col("start_ns")).alias("ns"),
                folded.alias("iteration"))
        .sort("start_ns")
        .group_by("global_tid", "phase", "iteration", maintain_order=True)
        .agg(
            pl.len().alias("iterations"),
            pl.col("ns").first().alias("first_ns"),
            pl.col("ns").slice(1).median().alias("median_ns"),
            pl.col("ns").sum().alias("sum_ns"),
            pl.col("depth").min(),
        )
        .filter(pl.col("iterations") >= _LEAST)
        .sort("sum_ns", "iteration", descending=[True, False])
        .head(_CANDIDATES)
    )  # fmt: skip
    launched = kernels.drop_nulls("path").group_by(folded.alias("path")).agg(pl.len().alias("held"))
    inside = (pl.col("path") == pl.col("iteration")) | pl.col("path").str.starts_with(pl.col("iteration") + "/")
    held = (
        repeated.select("iteration").unique().join(launched, how="cross").filter(inside)
        .group_by("iteration").agg(pl.col("held").sum())
    )  # fmt: skip
    found = (
        repeated.join(held, on="iteration")
        .join(whole, how="cross")
        .filter(pl.col("held") >= _HELD * pl.col("launches"))
        .sort("depth", "sum_ns", "iteration", descending=[False, True, False])
        .head(1)
    )
    return pl.concat([whole, found], how="diagonal")


@checking(_measure)
def warm_up(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether the first iteration is like the others, where ranges show iterations."""
    have = numbers.row(-1, named=True)
    if not have["launches"]:
        return
    if have["iteration"] is None:
        yield Finding(
            "note",
            f"No range that repeats {_LEAST} times holds half of the kernels, so a warm-up would not be noticed.",
            ("diff", "speedup"),
            "open a range around each iteration, run a warm-up before the capture, and capture several iterations",
        )
        return
    name, others = have["iteration"].rpartition("/")[2], have["iterations"] - 1
    longer = have["first_ns"] / max(have["median_ns"], 1)
    times = f"{milliseconds_of(have['first_ns'])}, {longer:.2f} times as long as the median of the {others:,} others"
    if longer > _LONGER and have["first_ns"] - have["median_ns"] >= _NOTICED_NS:
        yield Finding(
            "warning",
            f"The first of {have['iterations']:,} iterations {name!r} takes {times}: the capture holds a warm-up.",
            ("diff", "speedup", "gaps", "breakdown"),
            "run a warm-up before the capture (--capture-range=cudaProfilerApi), or leave it out with --time",
            1,
        )
    else:
        yield Finding("sound", f"The first of {have['iterations']:,} iterations {name!r} takes {times}.")
