"""GPU projections of NVTX ranges.

The projection of a range lasts from the start of the first GPU operation that was launched inside it to the end of the
last one.
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.launches import api_calls
from ttinsys.attribution.nesting import calls_inside, nest, trail
from ttinsys.stats.launches import launches, launches_outside
from ttinsys.stats.nvtx_names import finished, styled

NEEDS = (("nvtx_events",), ("api_calls",), ("kernels", "memcpys", "memsets"))
"""Tables that projections need: of the tables in one entry, any one is enough."""


def projections(trace: Trace) -> pl.DataFrame:
    """Ranges that launched GPU operations, with their projections, and one row for operations outside every range.

    Args:
        trace: an opened trace.

    Returns:
        `name`, `Style`, `start_ns`, `duration_ns`, `range_id`, `parent_id`, `depth`, `stack` (RangeIds from the
        outermost range to this one), `pid`, `tid`, `projected_start_ns`, `projected_ns`, `ops` (number of distinct
        correlation IDs) and `children` (number of ranges directly inside that launched operations), by RangeId.
    """
    columns = ["start_ns", "end_ns", "global_pid", "correlation_id"]
    operations = pl.concat([frame.select(columns) for frame in (trace.kernels, trace.memcpys, trace.memsets)])
    launched, called, opened = pl.collect_all([operations, api_calls(trace), styled(trace, ["row_id", "range_id"])])
    calls, ranges = launches(launched, called, unlaunched=False), _stacks(nest(finished(opened)))
    pairs = calls_inside(ranges.select("global_tid", "start_ns", "end_ns"), calls)
    calls = calls.with_row_index("call")
    outside = launches_outside(calls, pairs).select(pl.lit(None, pl.UInt32).alias("range"), "call")
    # A null range stands for "outside every range", so that one group_by projects both.
    all_pairs = pl.concat([pairs, outside])
    launched = all_pairs.with_columns(
        calls[name].gather(all_pairs["call"]) for name in ("start_ns", "end_ns", "correlation_id", "global_tid")
    )
    projected = launched.group_by("range").agg(
        pl.col("start_ns").min().alias("projected_start_ns"),
        (pl.col("end_ns").max() - pl.col("start_ns").min()).alias("projected_ns"),
        pl.col("correlation_id").n_unique().alias("ops"),
        # For operations outside every range, nsys gives the thread of the operation that ends last.
        pl.col("global_tid").get(pl.col("end_ns").arg_max()),
    )
    ranged = projected.join(ranges.drop("global_tid"), left_on="range", right_on="index", how="left")
    children = ranged.group_by("parent").agg(pl.len().alias("children")).drop_nulls("parent")
    return (
        ranged.join(children, left_on="range", right_on="parent", how="left")
        .with_columns(
            pl.col("children").fill_null(0),
            (pl.col("end_ns") - pl.col("start_ns")).alias("duration_ns"),
            pid_of("global_tid").alias("pid"),
            tid_of("global_tid").alias("tid"),
        )
        # nsys 2023.4 orders by a literal, which leaves its groups in order: by RangeId, the null first.
        .sort("range_id")
    )


def _stacks(nested: pl.DataFrame) -> pl.DataFrame:
    """Add `parent_id` and `stack`; drop `row_id`, which only nesting needs."""
    ids = nested["range_id"]
    stack = trail(nested, ":" + ids.cast(pl.String))
    return nested.with_columns(ids.gather(nested["parent"]).alias("parent_id"), stack.alias("stack")).drop("row_id")
