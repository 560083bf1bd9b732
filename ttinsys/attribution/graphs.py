"""CUDA graphs: from a replayed node back to the code that captured it."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.identity import process_of


def capture_sites(nodes: pl.DataFrame) -> pl.DataFrame:
    """Follow each graph node through its clones to the one that was captured.

    Instantiating a graph clones its nodes, and kernels carry the clones' ids; a clone may be cloned again.

    Args:
        nodes: the table `graph_nodes`.

    Returns:
        `global_pid`, `graph_node_id`, and `capture_tid` and `capture_ns`: the thread and the moment of the original.
    """
    identity = ["global_pid", "graph_node_id"]
    nodes = (
        nodes.filter(pl.col("graph_node_id").is_not_null())
        .with_columns(process_of("global_tid").alias("global_pid"))
        # A node may have two rows; the one that names its original tells more.
        .sort("original_graph_node_id", "start_ns", nulls_last=True)
        .unique(identity, keep="first", maintain_order=True)
    )
    sites = nodes.select(
        *identity,
        pl.col("original_graph_node_id").alias("original"),
        pl.col("global_tid").alias("capture_tid"),
        pl.col("start_ns").alias("capture_ns"),
    )
    # Each round goes back twice as far; the bound only ends the cycle of a damaged trace.
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
            pl.when(reached).then("_original").alias("original"),
        )
    return sites.select(*identity, "capture_tid", "capture_ns")


_SITE = (pl.col("original").alias("_original"), "capture_tid", "capture_ns")
_ROUNDS = 16
