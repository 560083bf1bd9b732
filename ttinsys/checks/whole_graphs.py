"""CUDA graphs that were traced as a whole, which hides their kernels."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.coverage import percent
from ttinsys.checks import Finding, TraceTables, checking, counted
from ttinsys.measures.sums import ratio

_SMALL, _HALF = 0.01, 0.5
"""Shares of the GPU time in whole graphs that make it a warning, and a problem."""


def _measure(tables: TraceTables) -> pl.LazyFrame:
    whole = pl.col("kind") == "graph"
    return tables["ops"].select(
        whole.sum().alias("graphs"),
        ratio(pl.col("duration_ns").filter(whole).sum(), pl.col("duration_ns").sum()).alias("share"),
        pl.col("graph_node_id").is_not_null().sum().alias("nodes"),
    )


@checking(_measure)
def whole_graphs(numbers: pl.DataFrame) -> Iterator[Finding]:
    """How much GPU time has no kernels because it is that of whole graphs."""
    have = numbers.row(0, named=True)
    share = have["share"] or 0.0
    if have["graphs"]:
        yield Finding(
            "problem" if share >= _HALF else "warning" if share >= _SMALL else "note",
            f"CUDA graphs that were traced as a whole ({counted(have['graphs'], 'launch', 'launches')}) hold "
            f"{percent(share, 1)} of the GPU time: their kernels and layers are hidden.",
            ("kernels", "layers", "breakdown", "attention"),
            "profile with --cuda-graph-trace=node",
            have["graphs"],
            share,
        )
    elif have["nodes"]:
        yield Finding("sound", f"CUDA graphs are traced by node: {counted(have['nodes'], 'operation')}.")
