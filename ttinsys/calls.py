"""Calls of annotated modules: lengths, FLOPs and bytes as annotation told them, beside the GPU time they launched.

A call is one range of an annotated module. Its FLOPs, its bytes and its GPU time are all of what is outside the
annotated ranges in it, so that each adds up over any group of calls without regard to nesting.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.labels import LABELS

CALLS = Table(
    "calls",
    Column("range_id", pl.Int64, "nsys's RangeId"),
    Column("module", pl.String, "name of the range: the module's path in the pipeline"),
    Column("path", pl.String, "names of the ranges around it and its own"),
    Column("depth", pl.UInt32, "number of enclosing ranges"),
    *LABELS,
    Column("cpu_start_ns", pl.Int64, "opening of the range", unit="ns"),
    Column("cpu_ns", pl.Int64, "its duration; null where it was never closed", unit="ns"),
    Column("ops", pl.UInt32, "GPU operations launched outside the annotated ranges in it"),
    Column("gpu_ns", pl.Int64, "their durations, added up", unit="ns"),
    doc="one row per call of an annotated module, in the order of opening by thread",
)


def calls(ops: pl.LazyFrame, ranges: pl.LazyFrame) -> pl.LazyFrame:
    """The calls of annotated modules.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.

    Returns:
        `CALLS`; `gpu_ns` adds up to the time of the operations that have a `module_id`.
    """
    launched = (
        ops.filter(pl.col("module_id").is_not_null())
        .group_by(pl.col("module_id").alias("range_id"))
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("gpu_ns"))
    )
    return (
        ranges.filter(pl.col("role").is_not_null())
        .join(launched, on="range_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("name").alias("module"),
            pl.col("start_ns").alias("cpu_start_ns"),
            (pl.col("end_ns") - pl.col("start_ns")).alias("cpu_ns"),
            pl.col("ops", "gpu_ns").fill_null(0),
        )
        .select(CALLS.schema.names())
    )
