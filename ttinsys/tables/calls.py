"""Calls of annotated modules: lengths, FLOPs and bytes as annotation told them, beside the GPU time they launched.

A call is one range of an annotated module. Its FLOPs, its bytes and its GPU time are all of what is outside the
annotated ranges in it, so that each adds up over any group of calls without regard to nesting.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import LABELS

CALLS = Table(
    "calls",
    Column("range_id", pl.Int64, "nsys's RangeId"),
    Column("module", pl.String, "name of the range: the module's path in the pipeline"),
    Column("path", pl.String, "names of the ranges around it and its own"),
    Column("depth", pl.UInt32, "number of enclosing ranges"),
    *LABELS,
    Column("cpu_start_ns", pl.Int64, "opening of the range", unit="ns"),
    Column("cpu_ns", pl.Int64, "its duration; null where it was never closed", unit="ns"),
    Column("executions", pl.UInt32, "times that it ran: of a captured call, replays of its CUDA graph; else 1"),
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
    # Each node of a graph runs once in a replay.
    captured = pl.when(pl.col("attributed_by") == "graph_capture").then("graph_node_id").alias("node")
    launched = (
        ops.filter(pl.col("module_id").is_not_null())
        .group_by(pl.col("module_id").alias("range_id"), captured)
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("gpu_ns"))
        .group_by("range_id")
        .agg(
            pl.when(pl.col("node").is_not_null()).then("ops").otherwise(1).max().cast(pl.UInt32).alias("executions"),
            pl.col("ops", "gpu_ns").sum(),
        )
    )
    return (
        ranges.filter(pl.col("role").is_not_null())
        .join(launched, on="range_id", how="left", maintain_order="left")
        .with_columns(
            pl.col("name").alias("module"),
            pl.col("start_ns").alias("cpu_start_ns"),
            (pl.col("end_ns") - pl.col("start_ns")).alias("cpu_ns"),
            pl.col("executions").fill_null(1),
            pl.col("ops", "gpu_ns").fill_null(0),
        )
        .select(CALLS.schema.names())
    )


def executed(name: str) -> pl.Expr:
    """A cost of calls, `flops` or `bytes`, as often as they ran: what the time of their operations is to be held by."""
    return pl.col(name) * pl.col("executions")


def cores(calls: pl.LazyFrame) -> pl.LazyFrame:
    """The calls of attention cores in the order of their opening.

    The length of self-attention is its keys, which are the tokens so far where a decoder writes one at a time; that
    of attention whose keys hold the text, its queries.

    Args:
        calls: `CALLS`.

    Returns:
        `CALLS` with `call`, their number, and `length`; `gpu_ns` is null where they launched nothing.
    """
    with_text = pl.col("role").is_in(["cross_attention", "joint_attention"])
    return (
        calls.filter(pl.col("q_len").is_not_null())
        .sort("cpu_start_ns", maintain_order=True)
        .with_row_index("call")
        .with_columns(
            pl.when(with_text).then("q_len").otherwise(pl.coalesce("kv_len", "q_len")).alias("length"),
            pl.when(pl.col("ops") > 0).then("gpu_ns").alias("gpu_ns"),
        )
    )
