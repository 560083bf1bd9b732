"""Calls of annotated modules: the lengths, FLOPs and bytes of their annotation, beside their GPU time.

A call is one range of an annotated module. Its FLOPs, bytes and GPU time are exclusive: those of annotated ranges in it
belong to these. So each of the three adds up over any group of calls, whether or not the calls nest.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import ATTENTION_ROLES, LABELS

CALLS = Table(
    "calls",
    Column("range_id", pl.Int64, "nsys's RangeId of the call's range."),
    Column("module", pl.String, "Stable name of the range: the module's path in the pipeline, or an operation."),
    Column("path", pl.String, "Names of all ranges around the call and its own, outermost first, joined by `/`."),
    Column("depth", pl.UInt32, "Number of enclosing ranges."),
    *LABELS,
    Column("cpu_start_ns", pl.Int64, "Time on the CPU when the range opened.", unit="ns"),
    Column("cpu_ns", pl.Int64, "Duration of the range on the CPU; null where it never closed.", unit="ns"),
    Column("executions", pl.UInt32, "Number of times that the call ran on the GPU: 1, or if it was captured into a "
           "CUDA graph whose launches are not in the trace, the replays of the graph."),
    Column("ops", pl.UInt32, "Number of GPU operations launched in the range, outside annotated ranges in it."),
    Column("gpu", pl.Int64, "Number of the GPU on which the call spent most time; null where that is unknown."),
    Column("gpu_ns", pl.Int64, "Sum of the durations of these operations; 0 where there is none.", unit="ns"),
    doc="one row per call of an annotated module, by thread and time of opening; each replay of a CUDA graph is one",
)  # fmt: skip


def calls(ops: pl.LazyFrame, ranges: pl.LazyFrame) -> pl.LazyFrame:
    """The calls of annotated modules.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.

    Returns:
        `CALLS`; `gpu_ns` adds up to the time of the operations that have a `module_id`.
    """
    # A node of a graph runs once in each replay, so the operations of one node count the replays in one range.
    captured = pl.when(pl.col("attributed_by") == "graph_capture").then("graph_node_id").alias("node")
    launched = (
        ops.filter(pl.col("module_id").is_not_null())
        .group_by(pl.col("module_id").alias("range_id"), captured, "gpu")
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("gpu_ns"))
        .sort("gpu_ns", "gpu", descending=[True, False])
        .group_by("range_id")
        .agg(
            pl.col("gpu").first(),
            pl.when(pl.col("node").is_not_null()).then("ops").otherwise(1).max().cast(pl.UInt32).alias("executions"),
            pl.col("ops", "gpu_ns").sum(),
        )
    )
    is_replayed = pl.col("range_id").is_in(pl.col("captured_id").drop_nulls().unique().implode())
    return (
        ranges.with_columns(is_replayed.alias("_is_replayed"))
        .filter(pl.col("role").is_not_null())
        .join(launched, on="range_id", how="left", maintain_order="left")
        # What was captured runs when it is replayed, and not when it is captured.
        .filter(~pl.col("_is_replayed") | pl.col("ops").is_not_null())
        .with_columns(
            pl.col("group").alias("module"),
            pl.col("start_ns").alias("cpu_start_ns"),
            (pl.col("end_ns") - pl.col("start_ns")).alias("cpu_ns"),
            pl.col("executions").fill_null(1),
            pl.col("ops", "gpu_ns").fill_null(0),
        )
        .select(CALLS.schema.names())
    )


def executed(name: str) -> pl.Expr:
    """A cost of calls over all their executions, which is the cost that belongs to `gpu_ns`.

    Args:
        name: `flops` or `bytes`.
    """
    return pl.col(name) * pl.col("executions")


def is_core() -> pl.Expr:
    """Whether a row of `CALLS` is an attention core; its lengths are unknown where a dialect writes no sizes."""
    is_operation = (pl.col("labelled_by") == "pytorch") & pl.col("class").is_null()
    return pl.col("q_len").is_not_null() | (is_operation & pl.col("role").is_in(ATTENTION_ROLES)).fill_null(value=False)


def cores(calls: pl.LazyFrame) -> pl.LazyFrame:
    """The calls of attention cores, in the order in which they open.

    The sequence length of self-attention is its number of keys: when a decoder generates one token at a time, these are
    the tokens so far. The keys of cross-attention and joint attention include the text, so their length is the number
    of queries.

    Args:
        calls: `CALLS`.

    Returns:
        `CALLS` with `call` (the number of the call, from 0) and `length`; `gpu_ns` is null where the call launched
        nothing.
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
