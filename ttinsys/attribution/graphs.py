"""CUDA graphs: where the node of a replayed graph was captured."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.identity import process_of


def capture_sites(nodes: pl.DataFrame) -> pl.DataFrame:
    """Follow each graph node through its clones to the one that was captured.

    Instantiating a graph clones its nodes, and kernels carry the IDs of the clones. A clone may be cloned again.

    Args:
        nodes: the table `graph_nodes`: one row per node that was created, with the ID of its original, if any.

    Returns:
        One row per node: `global_pid`, `graph_node_id`, and `capture_tid` and `capture_ns`, the thread (global ID) and
        the time at which its first original was created.
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
            pl.when(reached).then("_original").alias("original"),
        )
    return sites.select(*identity, "capture_tid", "capture_ns")


_SITE = (pl.col("original").alias("_original"), "capture_tid", "capture_ns")
_ROUNDS = 16
"""Bound on the doublings: 65,536 generations of clones."""
