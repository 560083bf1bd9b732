"""Show GPU and CPU time as a tree of layers, with and without their children.

ttinsys layers run.sqlite
ttinsys layers run.sqlite --depth 2 --range 'unet*'
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.nesting import extended, lift, trail
from ttinsys.measures.dimensions import outside_ranges, share_of_gpu_time
from ttinsys.measures.options import Option
from ttinsys.measures.sums import known_sum
from ttinsys.runner.registry import analysis

LAYERS = Table(
    "layers",
    Column("name", pl.String, "Last part of the path; `(reason)` for GPU operations without a range."),
    Column("depth", pl.UInt32, "Number of enclosing ranges."),
    Column("instances", pl.UInt32, "Number of ranges with this path; null without a range."),
    Column("ops", pl.UInt32, "Number of GPU operations launched in the range, those of nested ranges included."),
    Column("self_ns", pl.Int64, "Sum of GPU durations launched in the range, without those of nested ranges.",
           unit="ns"),
    Column("total_ns", pl.Int64, "Sum of GPU durations launched in the range, those of nested ranges included.",
           unit="ns"),
    Column("share", pl.Float64, "`total_ns` divided by the GPU time of the trace; null where that is 0.", unit="ratio"),
    Column("cpu_ns", pl.Int64, "Sum of durations of the ranges on the CPU; null where no range was closed.", unit="ns"),
    Column("role", pl.String, "What the annotated module does, such as `linear`; null for other ranges."),
    Column("path", pl.String, "Names from the outermost range to this one, joined by `/`; null without a range."),
    doc="one row per path of nested ranges, parents before children, and one per reason why an operation has no range",
)  # fmt: skip


@analysis(returns=LAYERS, options=(Option("depth", "List no level deeper than this; 0 is the top."),), tree="total_ns")
def layers(ops: pl.LazyFrame, ranges: pl.LazyFrame, *, depth: int | None = None) -> pl.LazyFrame:
    """Sum up GPU and CPU time by path of nested ranges.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.
        depth: Deepest level returned; None for all.

    Returns:
        `LAYERS`, children under their parent, the longest total first. `self_ns` over all levels adds up to the sum
        over `ops`, and so does `total_ns` over depth 0.
    """
    launched = (
        ops.filter(pl.col("range_id").is_not_null())
        .group_by("path", "depth")
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("self_ns"))
    )
    cpu = (pl.col("end_ns") - pl.col("start_ns")).alias("cpu_ns")
    tree = (
        ranges.select("path", "depth", "parent", "role", cpu)
        .map_batches(_by_path, schema=_BY_PATH)
        .join(launched, on=["path", "depth"], how="left")
        .with_columns(pl.col("ops", "self_ns").fill_null(0))
        .map_batches(_rolled_up, schema=_ROLLED_UP)
    )
    without_range = (
        outside_ranges(ops, "name")
        .with_columns(pl.lit(0, pl.UInt32).alias("depth"))
        .sort(pl.col("total_ns").neg(), "name")
    )
    rows = pl.concat([tree, without_range], how="diagonal").with_columns(share_of_gpu_time("total_ns"))
    return rows if depth is None else rows.filter(pl.col("depth") <= depth)


def _by_path(ranges: pl.DataFrame) -> pl.DataFrame:
    """Fold ranges by their path, and find the path around each."""
    paths = ranges.group_by("path", "depth").agg(
        pl.col("parent").first(),
        pl.col("role").drop_nulls().first(),
        pl.len().alias("instances"),
        known_sum("cpu_ns").alias("cpu_ns"),
    )
    above = extended(ranges["path"], None).gather(paths["parent"].fill_null(ranges.height)).alias("_above")
    name = pl.col("path").str.strip_prefix(pl.col("_above").fill_null("") + "/").alias("name")
    return paths.with_columns(above).select(*_BY_PATH.keys() - {"name"}, name).select(_BY_PATH.keys())


def _rolled_up(stacks: pl.DataFrame) -> pl.DataFrame:
    """Add up counts and times over subtrees, and sort the rows as a printed tree."""
    stacks = stacks.with_row_index("index")
    above = stacks.select("index", pl.col("path").alias("_above"), (pl.col("depth") + 1).alias("depth"))
    stacks = stacks.join(above.rename({"index": "parent"}), on=["_above", "depth"], how="left", maintain_order="left")
    stacks = stacks.with_columns(
        lift(stacks, stacks["ops"]).alias("ops"), lift(stacks, stacks["self_ns"]).alias("total_ns")
    )
    return stacks.sort(_printed_order(stacks)).select(_ROLLED_UP.keys())


def _printed_order(stacks: pl.DataFrame) -> pl.Series:
    """A sort key that puts children under their parent, the longest total first."""
    ranked = stacks.sort("total_ns", "cpu_ns", "path", descending=[True, True, False], nulls_last=True)
    # Numbers of one width, so that keys of text sort as the numbers do.
    rank = ranked.select("index", pl.int_range(pl.len()).cast(pl.String).str.zfill(9).alias("rank"))
    return trail(stacks, rank.sort("index")["rank"])


_BY_PATH = {
    "path": pl.String(),
    "depth": pl.UInt32(),
    "_above": pl.String(),
    "name": pl.String(),
    "role": pl.String(),
    "instances": pl.UInt32(),
    "cpu_ns": pl.Int64(),
}
_ROLLED_UP = {
    "name": pl.String(),
    "depth": pl.UInt32(),
    "instances": pl.UInt32(),
    "ops": pl.UInt32(),
    "self_ns": pl.Int64(),
    "total_ns": pl.Int64(),
    "cpu_ns": pl.Int64(),
    "role": pl.String(),
    "path": pl.String(),
}
