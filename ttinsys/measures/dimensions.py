"""Dimensions that GPU time is grouped by, and the values of operations that have none.

An operation without a range has the reason in brackets; one in a range that annotation did not make has
`(not annotated)`; one in an annotated range outside all components has `(pipeline)`. All analyses use these values.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from ttinsys.attribution.labels import FAMILIES, OTHER_FAMILY
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio

NOT_ANNOTATED, PIPELINE = "(not annotated)", "(pipeline)"

REASON = pl.format("({})", "attributed_by")
"""Value of an operation without a range: the reason, in brackets."""

Projections = Literal["linear", "attention"]
PROJECTIONS = Option(
    "projections", "Count projections of queries, keys, values and output as linear layers, or as their attention."
)


def role(projections: str = "linear") -> pl.Expr:
    """The role of an operation of `OPS`.

    Args:
        projections: `linear` counts projections of queries, keys, values and output as linear layers, `attention`
            as their attention. The choice moves the study's 49% of linear layers.
    """
    return _in_range(role_of_module(projections).fill_null(NOT_ANNOTATED))


def role_of_module(projections: str = "linear") -> pl.Expr:
    """The role of a row of `CALLS`, or of an operation in an annotated range; `projections` as for `role`."""
    own = pl.col("role")
    if projections == "linear":
        return own
    return pl.when((own == "linear") & pl.col("attention").is_not_null()).then("attention").otherwise(own)


def component() -> pl.Expr:
    """The component of an operation of `OPS`."""
    outside = pl.when(pl.col("role").is_null()).then(pl.lit(NOT_ANNOTATED)).otherwise(pl.lit(PIPELINE))
    return _in_range(pl.coalesce("component", outside))


def family(role: pl.Expr) -> pl.Expr:
    """The family of a role. A value in brackets is its own family, and a role without one is in `OTHER_FAMILY`.

    Args:
        role: a role as `role` returns it.
    """
    families = {member: name for name, members in FAMILIES.items() for member in members}
    known = role.replace_strict(families, default=OTHER_FAMILY, return_dtype=pl.String)
    return pl.when(role.str.starts_with("(")).then(role).otherwise(known)


def _in_range(value: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("range_id").is_null()).then(REASON).otherwise(value)


def outside_ranges(ops: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Operations without a range, grouped by reason; the column `name` holds the reason in brackets."""
    return (
        ops.filter(pl.col("range_id").is_null())
        .group_by(REASON.alias(name))
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("self_ns"))
        .with_columns(pl.col("self_ns").alias("total_ns"))
    )


def share_of_gpu_time(total: str) -> pl.Expr:
    """`share`: a column of times divided by all GPU time, the sum of `self_ns` over all rows; null where that is 0."""
    return ratio(total, pl.col("self_ns").sum()).alias("share")
