"""Times that cannot be: operations that start before their launch, or end before they start."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import EVERYTHING, Finding, TraceTables, checking, counted, milliseconds_of

_MANY = 0.01
"""Share of operations from which on a skewed clock is a problem, not an accident."""


def _measure(tables: TraceTables) -> pl.LazyFrame:
    ahead = pl.col("api_start_ns") - pl.col("start_ns")
    # Of a graph that is replayed, the launch may be that of another replay: only single launches show the clocks.
    of_graph = pl.col("graph_node_id").is_not_null()
    backwards = pl.col("end_ns") < pl.col("start_ns")
    ops = tables["ops"].select(
        pl.len().alias("ops"),
        pl.col("api_start_ns").filter(~of_graph).count().alias("launched"),
        # A kernel may well begin before its launch call returns, but not before the call begins.
        (ahead > 0).filter(~of_graph).sum().alias("ahead"),
        ahead.filter(~of_graph).max().alias("most_ahead_ns"),
        (ahead > 0).filter(of_graph).sum().alias("nodes_ahead"),
        backwards.sum().alias("backwards"),
        (pl.col("end_ns") == pl.col("start_ns")).sum().alias("empty"),
    )
    ranges = tables["ranges"].select(backwards.sum().alias("ranges_backwards"))
    calls = tables["api_calls"].select((pl.col("api_end_ns") < pl.col("api_start_ns")).sum().alias("calls_backwards"))
    return pl.concat([ops, ranges, calls], how="horizontal")


@checking(_measure)
def clock_order(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether the clocks of CPU and GPU agree as far as causes come before effects."""
    have = numbers.row(0, named=True)
    found = False
    if have["ahead"]:
        found = True
        yield Finding(
            "problem" if have["ahead"] >= _MANY * have["launched"] else "warning",
            f"The clocks of CPU and GPU disagree: {have['ahead']:,} of {counted(have['launched'], 'operation')} start "
            f"before their launch call begins, by up to {milliseconds_of(have['most_ahead_ns'])}.",
            ("gaps",),
            "update nsys and the driver, and capture again; durations are not affected",
            have["ahead"],
        )
    if have["backwards"]:
        found = True
        yield Finding(
            "problem",
            f"{have['backwards']:,} of {counted(have['ops'], 'operation')} end before they start: their durations mean "
            "nothing.",
            (EVERYTHING,),
            "capture again with another version of nsys; until then leave them out with --time",
            have["backwards"],
        )
    for name, noun in (("ranges_backwards", "NVTX range"), ("calls_backwards", "CUDA API call")):
        if have[name]:
            found = True
            yield Finding(
                "warning",
                f"{counted(have[name], noun)} end before they start.",
                ("layers", "gaps"),
                "capture again with another version of nsys",
                have[name],
            )
    if have["nodes_ahead"]:
        yield Finding(
            "note",
            f"{counted(have['nodes_ahead'], 'operation')} of CUDA graphs start before their replay is launched.",
            ("gaps",),
            "capture again: where single launches are in order, the replays are matched to the wrong launches",
            have["nodes_ahead"],
        )
    if have["empty"]:
        yield Finding("note", f"{counted(have['empty'], 'operation')} of zero length.", count=have["empty"])
    if have["ops"] and not found:
        yield Finding(
            "sound",
            f"None of {counted(have['launched'], 'launched operation')} starts before its launch call, and none of "
            f"{counted(have['ops'], 'operation')} ends before it starts.",
        )
