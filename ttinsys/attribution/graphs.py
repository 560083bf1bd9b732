"""CUDA graphs: where and when the node of a replayed graph was captured."""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.identity import process_of


def capture_sites(nodes: pl.DataFrame) -> pl.DataFrame:
    """Follow each graph node through its clones to the one that was captured.

    Instantiating a graph clones its nodes, and kernels carry the IDs of the clones. A clone may be cloned again.

    Args:
        nodes: the table `graph_nodes`: one row per node that was created, with the ID of its original, if any.

    Returns:
        One row per node: `global_pid`, `graph_node_id`; `capture_tid` and `capture_ns`, the thread (global ID) and the
        time at which its first original was created; and `instantiated_ns`, when that was first cloned: null for a node
        that was captured itself.
    """
    identity = ["global_pid", "graph_node_id"]
    nodes = (
        nodes.filter(pl.col("graph_node_id").is_not_null())
        .with_columns(process_of("global_tid").alias("global_pid"))
        # Of two rows for one node, keep the one that names its original.
        .sort("original_graph_node_id", "start_ns", nulls_last=True)
        .unique(identity, keep="first", maintain_order=True)
    )
    sites = nodes.select(
        *identity,
        pl.col("original_graph_node_id").alias("original"),
        pl.col("global_tid").alias("capture_tid"),
        pl.col("start_ns").alias("capture_ns"),
        pl.lit(None, pl.Int64).alias("instantiated_ns"),
    )
    # Each round doubles the number of clones followed; the bound ends the loop where a damaged trace has a cycle.
    for _ in range(_ROUNDS):
        further = sites.select("global_pid", pl.col("graph_node_id").alias("original"), *_SITE)
        sites = sites.join(further, on=["global_pid", "original"], how="left", suffix="_further", maintain_order="left")
        reached = pl.col("capture_ns_further").is_not_null()
        if not sites.select(reached.any()).item():
            break
        sites = sites.select(
            *identity,
            *(
                pl.when(reached).then(f"{name}_further").otherwise(name).alias(name)
                for name in ("capture_tid", "capture_ns")
            ),
            # What was cloned from the node now reached: a clone followed before, or the node reached so far.
            pl.when(reached)
            .then(pl.coalesce("instantiated_ns_further", "capture_ns"))
            .otherwise("instantiated_ns")
            .alias("instantiated_ns"),
            pl.when(reached).then("_original").alias("original"),
        )
    return sites.select(*identity, "capture_tid", "capture_ns", "instantiated_ns")


def with_begins(trace: Trace, sites: pl.DataFrame) -> pl.DataFrame:
    """Add `begin_ns`, when the capture of each node began; null where the trace does not tell.

    A capture may take in what other threads launch. The capture of the node's own thread counts first.

    Args:
        trace: an opened trace.
        sites: what `capture_sites` returns.
    """
    begins, ends = pl.collect_all([_calls(trace, "BeginCapture"), _calls(trace, "EndCapture")])
    closings = ends.select("global_tid", "at_ns", pl.col("at_ns").alias("closed_ns"))
    captures = begins.join_asof(
        closings, on="at_ns", by="global_tid", strategy="forward", check_sortedness=False
    ).select(
        "at_ns",
        "closed_ns",
        pl.col("at_ns").alias("begin_ns"),
        pl.col("global_tid").alias("capture_tid"),
        process_of("global_tid").alias("global_pid"),
    )
    found = sites.with_row_index("_row").sort("capture_ns")
    begin = {key: _begin_of(found, captures, key) for key in ("capture_tid", "global_pid")}
    return (
        found.with_columns(
            pl.Series(
                "begin_ns", begin["capture_tid"].zip_with(begin["capture_tid"].is_not_null(), begin["global_pid"])
            )
        )
        .sort("_row")
        .drop("_row")
    )


def _begin_of(sites: pl.DataFrame, captures: pl.DataFrame, key: str) -> pl.Series:
    """Begin of the latest capture of a thread or process before each site, unless it closed before; sites by time."""
    latest = captures.select(key, "at_ns", "begin_ns", "closed_ns")
    held = sites.join_asof(latest, left_on="capture_ns", right_on="at_ns", by=key, check_sortedness=False)
    is_open = (pl.col("capture_ns") <= pl.col("closed_ns")).fill_null(value=True)
    return held.select(pl.when(is_open).then("begin_ns").alias("begin_ns"))["begin_ns"]


def _calls(trace: Trace, function: str) -> pl.LazyFrame:
    """API calls whose name contains `function`, by time: `global_tid` and `at_ns`."""
    named = trace.strings.filter(pl.col("value").str.contains(function, literal=True)).select(
        pl.col("id").alias("name_id")
    )
    calls = trace.api_calls.join(named, on="name_id", how="semi")
    return calls.select("global_tid", pl.col("start_ns").alias("at_ns")).sort("at_ns")


_SITE = (pl.col("original").alias("_original"), "capture_tid", "capture_ns", "instantiated_ns")
_ROUNDS = 16
"""Bound on the doublings: 65,536 generations of clones."""
