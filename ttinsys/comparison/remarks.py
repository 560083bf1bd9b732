"""What a reader must know of a comparison, in sentences: its verdict on the work, and what else sets traces apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from ttinsys.comparison.alignment import TOTAL


def remarks(compared: pl.DataFrame) -> list[str]:
    """Sentences on each trace: why it is not comparable with its baseline, what sets it apart, or that nothing does.

    Args:
        compared: `DIFF` or `SPEEDUP`.
    """
    wholes = compared.filter((pl.col("by") == TOTAL) if "by" in compared.columns else pl.col("part") == "sum")
    reasons = compared.group_by("trace", maintain_order=True).agg(pl.col("unfair", "caveat").drop_nulls().first())
    rows = wholes.drop("unfair", "caveat").join(reasons, on="trace", maintain_order="left")
    return [sentence for row in rows.iter_rows(named=True) for sentence in _remarks_on(row)]


def _remarks_on(row: Mapping[str, Any]) -> Iterator[str]:
    """Sentences on one trace, from its row of the whole."""
    if row["unfair"]:
        yield f"{row['trace']} is not comparable with its baseline: {row['unfair']}"
        if row["like_speedup"] is not None:
            yield (
                f"{row['trace']}: operations that both ran alike, {row['like_share']:.1%} of the baseline's time, are "
                f"{row['like_speedup']:.3f} times as fast one by one"
            )
    if row["caveat"]:
        yield f"{row['trace']}: {row['caveat']}"
    same = row["before_ns"] == row["after_ns"] and row["before_ops"] == row["after_ops"]
    if same and not row["unfair"] and not row["caveat"]:
        yield (
            f"{row['trace']} does not differ from its baseline: {row['after_ops']:,} operations, "
            f"{row['after_ns'] / 1e6:z,.3f} ms in each"
        )
