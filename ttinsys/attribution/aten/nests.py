"""Operations of one kind that call each other: `aten::conv2d`, `aten::convolution` and `aten::cudnn_convolution`."""

from __future__ import annotations

import polars as pl


def with_outer(calls: pl.DataFrame, depth: int) -> pl.DataFrame:
    """Find the outermost operation of the same kind around each.

    Args:
        calls: `row`, `parent` (the row of the enclosing operation) and `kind`, of all operations that have a kind.
        depth: How deep operations of one kind call each other.

    Returns:
        The rows, with `outer`: the row of the outermost one, or the row itself where there is none.
    """
    parents = calls.select(pl.col("row").alias("outer"), pl.col("parent").alias("above"))
    kinds = calls.select(pl.col("row").alias("above"), pl.col("kind").alias("above_kind"))
    calls = calls.with_columns(pl.col("row").alias("outer"))
    for _ in range(depth):
        same = pl.col("above_kind") == pl.col("kind")
        calls = (
            calls.join(parents, on="outer", how="left", maintain_order="left")
            .join(kinds, on="above", how="left", maintain_order="left")
            .with_columns(pl.when(same).then("above").otherwise("outer").alias("outer"))
            .drop("above", "above_kind")
        )
    return calls
