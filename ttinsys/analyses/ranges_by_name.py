"""Sum GPU and CPU time by NVTX range name, with and without nested ranges.

ttinsys ranges run.sqlite
ttinsys ranges run.sqlite --domain default --format json
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.nesting import deepest, extended, lift
from ttinsys.attribution.paths import UNNAMED
from ttinsys.measures.dimensions import outside_ranges, share_of_gpu_time
from ttinsys.measures.sums import known_sum
from ttinsys.runner.registry import analysis

RANGES_BY_NAME = Table(
    "ranges_by_name",
    Column("domain", pl.String, "NVTX domain; null for the default domain."),
    Column("instances", pl.UInt32, "Number of ranges of this name; null without a range."),
    Column("ops", pl.UInt32, "Number of GPU operations launched in the ranges, those of nested ranges included."),
    Column("self_ns", pl.Int64, "Sum of GPU durations launched in the ranges, without those of nested ranges.",
           unit="ns"),
    Column("total_ns", pl.Int64, "Sum of GPU durations launched in the ranges, those of nested ranges included.",
           unit="ns"),
    Column("share", pl.Float64, "`total_ns` divided by the GPU time of the trace; null where that is 0.", unit="ratio"),
    Column("cpu_ns", pl.Int64, "Sum of durations of the ranges on the CPU; null where no range was closed.", unit="ns"),
    Column("role", pl.String, "What the annotated module does, such as `linear`; null for other ranges."),
    Column("range", pl.String, "Stable name of the range, the same for all its calls; `(reason)` for GPU operations "
           "without a range."),
    doc="one row per range name and domain, and one per reason why an operation has no range",
)  # fmt: skip


@analysis(returns=RANGES_BY_NAME)
def ranges_by_name(ops: pl.LazyFrame, ranges: pl.LazyFrame) -> pl.LazyFrame:
    """Sum up GPU and CPU time by range name.

    A range nested in another of the same name and domain counts as an instance, but its time counts once.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.

    Returns:
        `RANGES_BY_NAME`, the longest total first. `self_ns` adds up to the sum over `ops`; `total_ns` does not, because
        ranges nest.
    """
    launched = ops.group_by("range_id").agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("self_ns"))
    named = (
        ranges.join(launched.drop_nulls("range_id"), on="range_id", how="left", maintain_order="left")
        .with_columns(pl.col("ops", "self_ns").fill_null(0), pl.col("group").fill_null(UNNAMED).alias("name"))
        .select("domain", "name", "role", "parent", "depth", "ops", "self_ns", pl.col("end_ns") - pl.col("start_ns"))
        .map_batches(_totals, schema=_TOTALS)
        .group_by("domain", pl.col("name").alias("range"))
        .agg(
            pl.len().alias("instances"),
            pl.col("role").drop_nulls().first(),
            pl.col("ops").sum(),
            pl.col("self_ns").sum(),
            pl.col("total_ns").sum(),
            known_sum("cpu_ns").alias("cpu_ns"),
        )
    )
    return (
        pl.concat([named, outside_ranges(ops, "range")], how="diagonal")
        .with_columns(share_of_gpu_time("total_ns"))
        .sort(pl.col("total_ns").neg(), pl.col("cpu_ns").neg(), "range", "domain", nulls_last=True)
    )


def _totals(nested: pl.DataFrame) -> pl.DataFrame:
    """Add totals to each range; zero for a range nested in one of its name, which includes its time."""
    repeated = _inside_namesake(nested)

    def once(values: pl.Series) -> pl.Series:
        return values.zip_with(~repeated, pl.zeros(values.len(), dtype=values.dtype, eager=True))

    return nested.select(
        "domain",
        "name",
        "role",
        once(lift(nested, nested["ops"])).alias("ops"),
        "self_ns",
        once(lift(nested, nested["self_ns"])).alias("total_ns"),
        once(nested["end_ns"]).alias("cpu_ns"),
    )


def _inside_namesake(nested: pl.DataFrame) -> pl.Series:
    """Whether each range is nested in another of the same name and domain."""
    names = nested.select(pl.struct("domain", "name").rank("dense").alias("code"))["code"]
    # The row after the last stands for "no parent": it has code 0, which no name has, and itself as its parent.
    no_parent = nested.height
    codes = extended(names, 0)
    parent = extended(nested["parent"].fill_null(no_parent), no_parent)
    ancestor = parent.slice(0, no_parent)
    inside = pl.repeat(value=False, n=nested.height, dtype=pl.Boolean, eager=True)
    # One turn per level of nesting: each looks one ancestor further up, for all ranges at once.
    for _ in range(deepest(nested)):
        inside = inside | (codes.gather(ancestor) == names)
        ancestor = parent.gather(ancestor)
    return inside


_TOTALS = {
    "domain": pl.String(),
    "name": pl.String(),
    "role": pl.String(),
    "ops": pl.UInt32(),
    "self_ns": pl.Int64(),
    "total_ns": pl.Int64(),
    "cpu_ns": pl.Int64(),
}
