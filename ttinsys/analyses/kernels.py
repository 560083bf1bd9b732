"""Rank kernels by GPU time: what they compute, how often and how long they run.

ttinsys kernels run.sqlite
ttinsys kernels run.sqlite --range 'unet.down_blocks.*' --format csv
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.kernel_names import display_name
from ttinsys.measures.sums import share
from ttinsys.runner.registry import analysis

KERNELS_BY_NAME = Table(
    "kernels",
    Column("kind", pl.String, "Kind of operation: `kernel`, `memcpy`, `memset` or `graph`."),
    Column("operator", pl.String, "What the kernel computes, read from its name; the kind for other operations."),
    Column("variant", pl.String, "Variant of the operator, such as `sparse_attention`; null where names tell none."),
    Column("precision", pl.String, "Precision of the operands, such as `bf16`; null where the name does not tell it."),
    Column("instances", pl.UInt32, "Number of executions."),
    Column("sum_ns", pl.Int64, "Sum of durations.", unit="ns"),
    Column("share", pl.Float64, "`sum_ns` divided by that of all GPU operations.", unit="ratio"),
    Column("mean_ns", pl.Float64, "Mean duration.", unit="ns"),
    Column("median_ns", pl.Float64, "Median duration.", unit="ns"),
    Column("min_ns", pl.Int64, "Shortest duration.", unit="ns"),
    Column("max_ns", pl.Int64, "Longest duration.", unit="ns"),
    Column("kernel", pl.String, "Kernel name with template arguments; nsys's `[CUDA ...]` name for other operations."),
    Column("name", pl.String, "Kernel name that tells kernels apart in little room: functor and launcher for PyTorch's "
           "elementwise kernels and reductions, others without namespaces and parameters."),
    doc="one row per kernel name, and per kind of copy, fill and graph",
)  # fmt: skip


@analysis(returns=KERNELS_BY_NAME)
def kernels(ops: pl.LazyFrame) -> pl.LazyFrame:
    """Sum up GPU operations by kernel name.

    Args:
        ops: `OPS`, one row per GPU operation.

    Returns:
        `KERNELS_BY_NAME`, the longest sum first; the sums add up to the sum over `ops`.
    """
    duration = pl.col("duration_ns")
    return (
        ops.group_by("kind", "operator", "variant", "precision", "kernel")
        .agg(
            pl.len().alias("instances"),
            duration.sum().alias("sum_ns"),
            duration.mean().alias("mean_ns"),
            duration.median().alias("median_ns"),
            duration.min().alias("min_ns"),
            duration.max().alias("max_ns"),
        )
        .with_columns(share("sum_ns").alias("share"), display_name(pl.col("kernel")).alias("name"))
        .sort(pl.col("sum_ns").neg(), "kernel", "kind", "operator")
    )
