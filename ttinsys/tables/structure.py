"""Which iteration and block each GPU operation belongs to, found in the sequence of kernels alone.

    structured(tables["ops"]).collect()

Each device of each process has its own sequence: its kernels and graph launches by start. Memory copies and fills take
no part in the search, and belong to the part in which they start. Streams are lanes of a sequence, as
`ttinsys.measures.repetition` explains, for the order in which their kernels interleave changes from step to step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import polars as pl

from ttinsys.attribution.attribute import OPS
from ttinsys.measures.iterations import parts
from ttinsys.measures.options import Option

StepSource = Literal["annotation", "structure"]
STEPS_FROM = Option(
    "steps_from", "Take steps from the annotation, or from the iterations found in the sequence of kernels."
)

PLACES = {"part": pl.String(), "tile": pl.Int64(), "iteration": pl.Int64(), "block": pl.Int64()}
"""Columns that `structured` adds: the part, its number among the parts of the sequence, the iteration and the block."""

_SEQUENCE = ("pid", "device")
_NEEDED = (*_SEQUENCE, "context", "stream", "kind", "kernel", "start_ns")
_SEARCHED = ("kernel", "graph")


def structured(ops: pl.LazyFrame) -> pl.LazyFrame:
    """The operations with the part, iteration and block that each belongs to.

    Args:
        ops: `OPS`, or at least the columns that tell its sequences, names and starts.

    Returns:
        The columns of `ops`, its rows in their order, and `PLACES`: `part` is `prologue`, `iteration`, `between` or
        `epilogue`, and null where nothing repeats in the sequence of the device; `block` is null outside blocks.
    """
    return ops.map_batches(_structured, schema={**ops.collect_schema(), **PLACES})


def _structured(ops: pl.DataFrame) -> pl.DataFrame:
    rows = ops.select(*_NEEDED).with_row_index("row")
    # Nothing depends on the order of the rows: where all of these are equal, so are the operations.
    order = ["start_ns", "context", "stream", "kernel"]
    placed = [
        _placed(sequence.sort(order, nulls_last=True, maintain_order=True))
        for sequence in rows.partition_by(_SEQUENCE, maintain_order=True)
    ]
    if not placed:
        return ops.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in PLACES.items())
    return ops.hstack(pl.concat(placed).sort("row").select(PLACES.keys()))


def _placed(sequence: pl.DataFrame) -> pl.DataFrame:
    """`row` and `PLACES` of the operations of one sequence, which are sorted by start."""
    searched = sequence.filter(pl.col("kind").is_in(_SEARCHED))
    lanes = searched.select(pl.struct("context", "stream").rank("dense")).to_series()
    found = parts(searched["kernel"].fill_null(""), lanes, searched["kind"] == "graph")
    if found.is_empty():
        return sequence.select("row", *(pl.lit(None, dtype).alias(name) for name, dtype in PLACES.items()))
    tiles = found.filter(pl.col("depth") == 1).select(
        "first", "part", pl.int_range(1, pl.len() + 1).alias("tile"), pl.col("number").alias("iteration")
    )
    # Memory that is copied before the first kernel is no part of the first iteration.
    before = pl.DataFrame({"first": [-1], "part": ["prologue"], "tile": [1 if tiles["part"][0] == "prologue" else 0]})
    tiles = pl.concat([before, tiles], how="diagonal")
    blocks = found.filter(pl.col("depth") == 2).select("first", "end", pl.col("number").alias("block"))
    at = pl.col("kind").is_in(_SEARCHED).cum_sum().cast(pl.Int64) - 1
    return (
        sequence.select("row", at.alias("at"))
        .join_asof(tiles, left_on="at", right_on="first", check_sortedness=False)
        .join_asof(blocks, left_on="at", right_on="first", suffix="_block", check_sortedness=False)
        .with_columns(pl.when(pl.col("at") < pl.col("end")).then("block").alias("block"))
        .select("row", *PLACES)
    )


def with_steps_of_structure(tables: Mapping[str, pl.LazyFrame]) -> dict[str, pl.LazyFrame]:
    """The tables of a trace with iterations for steps.

    Args:
        tables: The tables of a trace, by name.

    Returns:
        The same tables. `step` is the number of the iteration on the device, from 0; `step_id` is negative, so that it
        is no RangeId. A range or call has the step of its operations, and none where they belong to several.
    """
    ops = tables["ops"].map_batches(_stepped, schema=OPS.schema).cache()
    return {
        **tables,
        "ops": ops,
        "ranges": _with_steps_of(tables["ranges"], ops, "range_id"),
        "calls": _with_steps_of(tables["calls"], ops, "module_id"),
    }


def _stepped(ops: pl.DataFrame) -> pl.DataFrame:
    """`OPS` with `step` and `step_id` of the iterations."""
    placed = _structured(ops.drop("step", "step_id"))
    iterations = placed.select(*_SEQUENCE, "iteration").drop_nulls("iteration").unique().sort(*_SEQUENCE, "iteration")
    numbered = iterations.with_columns((-1 - pl.int_range(pl.len(), dtype=pl.Int64)).alias("step_id"))
    return (
        placed.join(numbered, on=[*_SEQUENCE, "iteration"], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(pl.col("iteration").alias("step"))
        .select(OPS.schema.names())
    )


def _with_steps_of(frame: pl.LazyFrame, ops: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """`RANGES` or `CALLS` with the step that all operations of a row share.

    Args:
        frame: The table, with `range_id`.
        ops: `OPS` with the steps.
        by: Column of `ops` that refers to `range_id`.
    """
    names = frame.collect_schema().names()
    one = pl.col("step_id").n_unique() == 1
    steps = (
        ops.drop_nulls(by)
        .group_by(pl.col(by).alias("range_id"))
        .agg(pl.when(one).then(pl.col(name).first()).alias(name) for name in ("step", "step_id"))
    )
    return frame.drop("step", "step_id").join(steps, on="range_id", how="left", maintain_order="left").select(names)
