"""GPU time by kernel: which kernels take it, what they do, how often they run.

ttinsys kernels run.sqlite
ttinsys kernels run.sqlite --range 'unet.down_blocks.*' --format csv
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.measures.sums import share
from ttinsys.runner.registry import analysis

KERNELS_BY_NAME = Table(
    "kernels",
    Column("kind", pl.String, "`kernel`, `memcpy`, `memset` or `graph`"),
    Column("operator", pl.String, "what it does"),
    Column("instances", pl.UInt32, "executions"),
    Column("sum_ns", pl.Int64, "durations added up", unit="ns"),
    Column("share", pl.Float64, "of all GPU time added up", unit="ratio"),
    Column("mean_ns", pl.Float64, "mean duration", unit="ns"),
    Column("median_ns", pl.Float64, "median duration", unit="ns"),
    Column("min_ns", pl.Int64, "shortest", unit="ns"),
    Column("max_ns", pl.Int64, "longest", unit="ns"),
    Column("kernel", pl.String, "name with templates"),
    doc="one row per kernel name, and per kind of copy, fill and graph",
)


@analysis(returns=KERNELS_BY_NAME)
def kernels(ops: pl.LazyFrame) -> pl.LazyFrame:
    """Add up GPU operations by name.

    Args:
        ops: `OPS`, one row per GPU operation.

    Returns:
        `KERNELS_BY_NAME`, the longest sum first; the sums add up to the sum over `ops`.
    """
    duration = pl.col("duration_ns")
    return (
        ops.group_by("kind", "operator", "kernel")
        .agg(
            pl.len().alias("instances"),
            duration.sum().alias("sum_ns"),
            duration.mean().alias("mean_ns"),
            duration.median().alias("median_ns"),
            duration.min().alias("min_ns"),
            duration.max().alias("max_ns"),
        )
        .with_columns(share("sum_ns").alias("share"))
        .sort(pl.col("sum_ns").neg(), "kernel", "kind", "operator")
    )
