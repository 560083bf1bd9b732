"""How much of the GPU time is attributed to a range, and why the rest is not."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.attribute import REASONS
from ttinsys.attribution.coverage import coverage, coverage_sentence, percent
from ttinsys.checks import Finding, TraceTables, checking, counted

_ENOUGH, _HALF = 0.95, 0.5
"""Shares of the GPU time that ranges hold: enough for all questions by layer, and too little for any."""

_REMEDIES = {
    "no_range_open": "open a range around these launches, on the thread that makes them",
    "launched_before_capture": "synchronize before the capture begins, or begin it earlier (--delay, --capture-range)",
    "no_api_call": "profile with --trace=cuda, from the start of the process",
}
_OTHERWISE = "profile the whole program with --trace=cuda,nvtx"


def _measure(tables: TraceTables) -> pl.LazyFrame:
    ranges = tables["ranges"].select(pl.len().alias("ranges"))
    return coverage(tables["ops"]).join(ranges, how="cross")


@checking(_measure)
def attributed(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether nearly all GPU time is attributed; where there are no ranges at all, `captured_tables` says so."""
    if numbers.is_empty() or not numbers["ranges"][0]:
        return
    whole_ns = int(numbers["sum_ns"].sum())
    missing = numbers.filter(~pl.col("attributed") & (pl.col("sum_ns") > 0))
    lost, whole = int(missing["sum_ns"].sum()), whole_ns
    if whole_ns <= 0:
        # Times that mean nothing, as `clock_order` tells: operations count instead.
        missing = numbers.filter(~pl.col("attributed"))
        lost, whole = int(missing["ops"].sum()), int(numbers["ops"].sum())
    share = 1 - lost / whole
    if share >= _ENOUGH:
        yield Finding("sound", f"{coverage_sentence(numbers)}.", share=share)
        return
    reason, ops, ns = missing.sort("sum_ns", descending=True).select("attributed_by", "ops", "sum_ns").row(0)
    yield Finding(
        "warning" if share >= _HALF else "problem",
        f"Only {percent(share, 1)} of the GPU time is attributed to a range. The main reason is {reason}, for "
        f"{percent(ns, whole_ns)} ({counted(ops, 'operation')}): {REASONS.get(reason, 'no range is known')}.",
        ("layers", "ranges_by_name", "breakdown"),
        _REMEDIES.get(reason, _OTHERWISE),
        int(missing["ops"].sum()),
        1 - share,
    )
