"""Launches of kernels that are not in the trace."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.identity import pid_of


def lost_launches(ops: pl.LazyFrame, api_calls: pl.LazyFrame) -> pl.LazyFrame:
    """Count the calls that launch kernels, and those whose kernel is not in the trace.

    A trace with CUDA graphs has no row: a launch that is captured into a graph rightly has no kernel.

    Args:
        ops: `OPS` with a column `trace`.
        api_calls: API calls with a column `trace`.

    Returns:
        `trace`, `launches`, `lost`, and of these `lost_inside`: lost before the last call whose kernel is there.
    """
    call = ["trace", "pid", "correlation_id"]
    graphs = ops.group_by("trace").agg(
        ((pl.col("kind") == "graph") | pl.col("graph_node_id").is_not_null()).any().alias("has_graphs")
    )
    calls = api_calls.select(
        "trace", pid_of("global_tid").alias("pid"), "correlation_id", "api_name_id", "api_start_ns"
    )
    kernels = ops.filter(pl.col("kind") == "kernel").select(call).unique().with_columns(pl.lit(value=True).alias("ran"))
    # Functions that launch kernels are those of which at least one call has a kernel: names differ between versions.
    launches = (
        calls.join(kernels, on=call, how="left")
        .with_columns(pl.col("ran").fill_null(value=False))
        .filter(pl.col("ran").any().over("trace", "api_name_id"))
        .with_columns(pl.col("api_start_ns").filter("ran").max().over("trace").alias("last_ns"))
    )
    lost = ~pl.col("ran")
    return (
        launches.group_by("trace")
        .agg(
            pl.len().cast(pl.Int64).alias("launches"),
            lost.sum().cast(pl.Int64).alias("lost"),
            (lost & (pl.col("api_start_ns") < pl.col("last_ns"))).sum().cast(pl.Int64).alias("lost_inside"),
        )
        .join(graphs.filter(~pl.col("has_graphs")), on="trace", how="semi")
    )
