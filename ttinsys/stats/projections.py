"""NVTX ranges projected onto the GPU: from the start of the first operation launched inside to the end of the last."""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.launches import api_calls
from ttinsys.attribution.nesting import calls_inside, nest, trail
from ttinsys.stats.launches import launches, launches_outside
from ttinsys.stats.nvtx_names import finished, styled

NEEDS = (("nvtx_events",), ("api_calls",), ("kernels", "memcpys", "memsets"))
"""Tables without which nothing is projected."""


def projections(trace: Trace) -> pl.DataFrame:
    """Ranges that launched something, with where on the GPU it ran; one more row for what no range launched.

    Args:
        trace: an opened trace.

    Returns:
        `name`, `Style`, `start_ns`, `duration_ns`, `range_id`, `parent_id`, `depth`, `stack` (ids of the range and
        all around it), `pid`, `tid`, `projected_start_ns`, `projected_ns`, `ops` (distinct correlation ids),
        `children` (ranges right inside that launched something), by RangeId.
    """
    columns = ["start_ns", "end_ns", "global_pid", "correlation_id"]
    operations = pl.concat([frame.select(columns) for frame in (trace.kernels, trace.memcpys, trace.memsets)])
    launched, called, opened = pl.collect_all([operations, api_calls(trace), styled(trace, ["row_id", "range_id"])])
    calls, ranges = launches(launched, called, unlaunched=False), _stacks(nest(finished(opened)))
    pairs = calls_inside(ranges.select("global_tid", "start_ns", "end_ns"), calls)
    calls = calls.with_row_index("call")
    rest = launches_outside(calls, pairs).select(pl.lit(None, pl.UInt32).alias("range"), "call")
    everything = pl.concat([pairs, rest])
    launched = everything.with_columns(
        calls[name].gather(everything["call"]) for name in ("start_ns", "end_ns", "correlation_id", "global_tid")
    )
    projected = launched.group_by("range").agg(
        pl.col("start_ns").min().alias("projected_start_ns"),
        (pl.col("end_ns").max() - pl.col("start_ns").min()).alias("projected_ns"),
        pl.col("correlation_id").n_unique().alias("ops"),
        # Where no range is, nsys names the thread of the operation that ends last.
        pl.col("global_tid").get(pl.col("end_ns").arg_max()),
    )
    found = projected.join(ranges.drop("global_tid"), left_on="range", right_on="index", how="left")
    children = found.group_by("parent").agg(pl.len().alias("children")).drop_nulls("parent")
    return (
        found.join(children, left_on="range", right_on="parent", how="left")
        .with_columns(
            pl.col("children").fill_null(0),
            (pl.col("end_ns") - pl.col("start_ns")).alias("duration_ns"),
            pid_of("global_tid").alias("pid"),
            tid_of("global_tid").alias("tid"),
        )
        # nsys 2023.4 orders by a literal, so its rows stay as it groups them: by RangeId, without a range first.
        .sort("range_id")
    )


def _stacks(nested: pl.DataFrame) -> pl.DataFrame:
    """Add `parent_id` and `stack`, and drop what is needed no more."""
    ids = nested["range_id"]
    stack = trail(nested, ":" + ids.cast(pl.String))
    return nested.with_columns(ids.gather(nested["parent"]).alias("parent_id"), stack.alias("stack")).drop("row_id")
