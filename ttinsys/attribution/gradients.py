"""Backward operations and the forward calls whose gradients they compute, joined by PyTorch's sequence numbers.

An operation of the forward pass notes the sequence number that its node of the graph will have; the node's backward
runs on another thread under the same number. Several nested operations may note one number: the last to open made the
node. Numbers count per forward thread, so of several candidates the last one before the backward counts.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.identity import process_of
from ttinsys.attribution.nesting import extended, inherited, inside, sink

_AT_CALL = ("role", "component", "class", "attention")
"""Labels that the backward call takes from its forward."""
_WITHIN = ("step", "step_id")
"""Labels that all ranges in it take, too."""


def of_forward(nested: pl.DataFrame, labelled: pl.DataFrame) -> list[pl.Series]:
    """Labels of backward ranges, from the forward calls that they belong to.

    Args:
        nested: `parent`, as `nest` returns it.
        labelled: `direction`, `seq`, `role`, `component`, `class`, `attention`, `step`, `step_id`, `range_id`,
            `start_ns` and `global_tid` of these ranges.

    Returns:
        `direction`: `backward` at and inside backward ranges, `forward` elsewhere; null in a trace without any.
        `forward_id`: RangeId of the forward call. And the labels of backward calls, from there.
    """
    begins = (labelled["direction"] == "backward").fill_null(value=False)
    if not begins.any():
        nothing = pl.repeat(None, nested.height, dtype=pl.Int64, eager=True)
        return [nothing.cast(pl.String).cast(pl.Categorical).alias("direction"), nothing.alias("forward_id")]
    backward = sink(nested, begins)
    called = _forward_calls(nested, labelled, begins, backward)
    outermost = called.is_not_null() & ~inside(nested, called.is_not_null())
    called = called.zip_with(outermost, pl.Series([None], dtype=pl.UInt32))
    within = inherited(nested, called)
    direction = pl.DataFrame({"backward": backward}).select(
        pl.when("backward").then(pl.lit("backward")).otherwise(pl.lit("forward")).cast(pl.Categorical)
    )
    roles = _taken(labelled["role"], called)
    # What is nested in the call is a detail of it.
    roles = roles.zip_with(within.is_null() | outermost, pl.Series([None], dtype=pl.Categorical))
    return [
        direction.to_series().alias("direction"),
        extended(labelled["range_id"], None).gather(within.fill_null(nested.height)).alias("forward_id"),
        roles,
        *(_taken(labelled[name], called) for name in _AT_CALL if name != "role"),
        *(_taken(labelled[name], within) for name in _WITHIN),
    ]


def _forward_calls(nested: pl.DataFrame, labelled: pl.DataFrame, begins: pl.Series, backward: pl.Series) -> pl.Series:
    """Position of the forward call of each range that begins a backward; null for all others."""
    position = pl.int_range(nested.height, dtype=pl.UInt32, eager=True)
    rows = labelled.select("seq", "start_ns", process_of("global_tid").alias("process"), position.alias("row"))
    gradients = rows.filter(begins & labelled["seq"].is_not_null()).sort("start_ns")
    candidates = rows.filter(~backward & labelled["seq"].is_not_null())
    candidates = candidates.join(gradients, on=["process", "seq"], how="semi").sort("start_ns")
    # A forward that does nothing in particular tells nothing of its gradient, in which more may be known.
    called = (labelled["role"] != "other").fill_null(value=False)
    holder = inherited(nested, position.zip_with(called, pl.Series([None], dtype=pl.UInt32)))
    candidates = candidates.select("process", "seq", "start_ns", holder.gather(candidates["row"]).alias("holder"))
    # Both are sorted; within `by` groups Polars cannot check that, and would warn.
    joined = gradients.join_asof(
        candidates, on="start_ns", by=["process", "seq"], allow_exact_matches=False, check_sortedness=False
    ).drop_nulls("holder")
    nobody = pl.repeat(None, nested.height, dtype=pl.UInt32, eager=True)
    return nobody.scatter(joined["row"], joined["holder"])


def _taken(values: pl.Series, source: pl.Series) -> pl.Series:
    """The values at the positions `source`; a row's own value where that is null."""
    there = extended(values, None).gather(source.fill_null(values.len()))
    return there.zip_with(source.is_not_null(), values).alias(values.name)
