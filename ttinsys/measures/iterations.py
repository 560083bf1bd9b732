"""Iterations, the blocks in them, and what lies before, between and after: parts of a sequence of kernels.

    parts(pl.Series(["embed", "norm", "mm", "norm", "mm", "head"] * 9))

`ttinsys.measures.repetition` finds at which period a sequence repeats, `ttinsys.measures.landmarks` where what repeats
begins and ends. Iterations are what repeats in the whole sequence, blocks what repeats in them.
"""

from __future__ import annotations

import polars as pl

from ttinsys.measures.landmarks import described, spans_of
from ttinsys.measures.repetition import search, with_grams

SEQUENCE_PARTS = {
    "part": pl.String(), "number": pl.Int64(), "iteration": pl.Int64(), "depth": pl.Int64(),
    "first": pl.Int64(), "end": pl.Int64(),
}  # fmt: skip
"""Columns of `parts`."""

_LEAST_OF_PARENT = 0.25
"""Share of an iteration that its blocks cover, if it has any."""
_VARIANTS = 4
"""Kinds of iterations whose blocks are looked for, as kernels may change midway."""


def parts(codes: pl.Series, lanes: pl.Series | None = None, composite: pl.Series | None = None) -> pl.DataFrame:
    """The parts of a sequence.

    Args:
        codes: What each operation is, such as the name of its kernel, in the order of the operations.
        lanes: The stream of each operation.
        composite: Whether an operation is a program of its own, such as a CUDA graph.

    Returns:
        `SEQUENCE_PARTS`. At depth 1 `prologue`, `iteration`, `between` and `epilogue` tile the sequence, in order, from
        `first` to `end` (exclusive); `number` counts the iterations. At depth 2 follow blocks, with the row of their
        part as `iteration` and `number` counting in it. No row where nothing repeats.
    """
    grams = with_grams(codes, lanes, composite)
    spans = _repeats(grams)
    if spans is None:
        return pl.DataFrame(schema=SEQUENCE_PARTS)
    tiles = _tiled(spans, grams.height)
    return pl.concat([tiles, _blocks(grams, tiles)])


def _repeats(grams: pl.DataFrame) -> pl.DataFrame | None:
    """`first` and `end` of what repeats in a slice of a sequence, in order; None where nothing does."""
    cuts = search(grams)
    if cuts is None:
        return None
    whole = pl.DataFrame({"parent": [0], "from": [grams["pos"][0]], "to": [grams["pos"][0] + grams.height]})
    spans = spans_of(grams, described(grams, cuts), cuts.period, whole)
    return spans.select("first", "end") if spans.height > 1 else None


def _tiled(spans: pl.DataFrame, n: int) -> pl.DataFrame:
    """Iterations, and the rest of the sequence as prologue, between and epilogue."""
    iterations = spans.with_columns(pl.lit("iteration").alias("part"), pl.int_range(pl.len()).alias("number"))
    rest = pl.DataFrame(
        {
            "first": [0, *spans["end"]],
            "end": [*spans["first"], n],
            "part": ["prologue", *["between"] * (spans.height - 1), "epilogue"],
        }
    ).filter(pl.col("first") < pl.col("end"))
    return (
        pl.concat([iterations, rest], how="diagonal_relaxed")
        .sort("first", maintain_order=True)
        .select("part", pl.col("number").cast(pl.Int64), pl.lit(None, pl.Int64).alias("iteration"),
                pl.lit(1, pl.Int64).alias("depth"), "first", "end")
    )  # fmt: skip


def _blocks(grams: pl.DataFrame, tiles: pl.DataFrame) -> pl.DataFrame:
    """What repeats within each tile: in all iterations alike, and in each of the others by itself."""
    rows = tiles.with_row_index("parent").with_columns(pl.col("parent").cast(pl.Int64))
    found = [
        spans.select(pl.lit(parent, pl.Int64).alias("parent"), "first", "end")
        for parent, first, end in rows.filter(pl.col("part").is_in(["prologue", "epilogue"]))
        .select("parent", "first", "end")
        .iter_rows()
        if (spans := _repeats(grams.slice(first, end - first))) is not None
    ]
    left = rows.filter(pl.col("part") == "iteration").select(
        "parent", pl.col("first").alias("from"), pl.col("end").alias("to")
    )
    for _ in range(_VARIANTS):
        spans = _alike(grams, left)
        if spans is None:
            break
        found.append(spans)
        left = left.join(spans, on="parent", how="anti", maintain_order="left")
    if not found:
        return tiles.clear()
    return (
        pl.concat(found)
        .sort("first", maintain_order=True)
        .select(pl.lit("block").alias("part"), pl.int_range(pl.len()).over("parent").alias("number"),
                pl.col("parent").alias("iteration"), pl.lit(2, pl.Int64).alias("depth"), "first", "end")
    )  # fmt: skip


def _alike(grams: pl.DataFrame, iterations: pl.DataFrame) -> pl.DataFrame | None:
    """Blocks of the iterations that are like the one of median length, as `spans_of` returns them."""
    if iterations.is_empty():
        return None
    length = pl.col("to") - pl.col("from")
    typical = iterations.sort((length - length.median()).abs(), maintain_order=True).row(0, named=True)
    one = grams.slice(typical["from"], typical["to"] - typical["from"])
    cuts = search(one)
    if cuts is None:
        return None
    spans = spans_of(grams, described(one, cuts), cuts.period, iterations)
    covered = (
        spans.group_by("parent", maintain_order=True)
        .agg((pl.col("end") - pl.col("first")).sum().alias("covered"), pl.len().alias("count"))
        .join(iterations, on="parent", maintain_order="left")
        .filter(pl.col("count") > 1, pl.col("covered") >= _LEAST_OF_PARENT * length)
    )  # fmt: skip
    spans = spans.join(covered, on="parent", how="semi", maintain_order="left")
    return None if spans.is_empty() else spans
