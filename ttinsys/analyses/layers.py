"""GPU and CPU time by layer, as a tree: each stack of ranges, and what it launched itself and in total.

ttinsys layers run.sqlite
ttinsys layers run.sqlite --depth 2 --range 'unet*'
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.nesting import lift, trail
from ttinsys.measures.dimensions import outside_ranges, share_of_gpu_time
from ttinsys.measures.options import Option
from ttinsys.measures.sums import known_sum
from ttinsys.runner.registry import analysis

LAYERS = Table(
    "layers",
    Column("name", pl.String, "last part of the path; `(reason)` for GPU operations without a range"),
    Column("depth", pl.UInt32, "number of ranges around it"),
    Column("instances", pl.UInt32, "ranges with this stack"),
    Column("ops", pl.UInt32, "GPU operations launched inside, nested ranges included"),
    Column("self_ns", pl.Int64, "GPU durations launched right inside, added up", unit="ns"),
    Column("total_ns", pl.Int64, "the same with nested ranges included", unit="ns"),
    Column("share", pl.Float64, "total of all GPU time added up", unit="ratio"),
    Column("cpu_ns", pl.Int64, "durations of the ranges on the CPU, added up; null where none was closed", unit="ns"),
    Column("role", pl.String, "what the annotated module does; null for other ranges"),
    Column("path", pl.String, "names from the outermost range to this one; null without a range"),
    doc="one row per stack of ranges, parents before children, and one per reason why an operation has no range",
)


@analysis(returns=LAYERS, options=(Option("depth", "List no level deeper than this; 0 is the top."),), tree="total_ns")
def layers(ops: pl.LazyFrame, ranges: pl.LazyFrame, *, depth: int | None = None) -> pl.LazyFrame:
    """Add up GPU and CPU time by stack of ranges.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.
        depth: deepest level returned; None for all.

    Returns:
        `LAYERS`: children under their parent, the longest total first. `self_ns` over all levels adds up to the sum
        over `ops`, and so does `total_ns` over depth 0.
    """
    launched = (
        ops.filter(pl.col("range_id").is_not_null())
        .group_by("path", "depth")
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("self_ns"))
    )
    above = ranges.select(pl.col("index").alias("parent"), pl.col("path").alias("_above"))
    tree = (
        ranges.join(above, on="parent", how="left", maintain_order="left")
        .group_by("path", "depth")
        .agg(
            pl.col("_above").first(),
            pl.col("role").first(),
            pl.len().alias("instances"),
            known_sum(pl.col("end_ns") - pl.col("start_ns")).alias("cpu_ns"),
        )
        .join(launched, on=["path", "depth"], how="left")
        .with_columns(
            pl.col("path").str.strip_prefix(pl.col("_above").fill_null("") + "/").alias("name"),
            pl.col("ops", "self_ns").fill_null(0),
        )
        .map_batches(_rolled_up, schema=_ROLLED_UP)
    )
    none = (
        outside_ranges(ops, "name")
        .with_columns(pl.lit(0, pl.UInt32).alias("depth"))
        .sort(pl.col("total_ns").neg(), "name")
    )
    listed = pl.concat([tree, none], how="diagonal").with_columns(share_of_gpu_time("total_ns"))
    return listed if depth is None else listed.filter(pl.col("depth") <= depth)


def _rolled_up(stacks: pl.DataFrame) -> pl.DataFrame:
    """Totals over subtrees, and the rows in the order of a printed tree."""
    stacks = stacks.with_row_index("index")
    above = stacks.select("index", pl.col("path").alias("_above"), (pl.col("depth") + 1).alias("depth"))
    stacks = stacks.join(above.rename({"index": "parent"}), on=["_above", "depth"], how="left", maintain_order="left")
    stacks = stacks.with_columns(
        lift(stacks, stacks["ops"]).alias("ops"), lift(stacks, stacks["self_ns"]).alias("total_ns")
    )
    return stacks.sort(_printed_order(stacks)).select(_ROLLED_UP.keys())


def _printed_order(stacks: pl.DataFrame) -> pl.Series:
    """A key per row that sorts children under their parent, the longest total first."""
    ranked = stacks.sort("total_ns", "cpu_ns", "path", descending=[True, True, False], nulls_last=True)
    rank = ranked.select("index", pl.int_range(pl.len()).cast(pl.String).str.zfill(9).alias("rank"))
    return trail(stacks, rank.sort("index")["rank"])


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
