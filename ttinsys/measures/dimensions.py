"""What GPU time is divided by, and what operations are called that have no value of it.

Where there is no range, a value is the reason in brackets; in a range that annotation did not make it is
`(not annotated)`; in an annotated one outside all components, `(pipeline)`. Every analysis says it in these words.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from ttinsys.attribution.labels import FAMILIES, OTHER_FAMILY
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio

NOT_ANNOTATED, PIPELINE = "(not annotated)", "(pipeline)"

REASON = pl.format("({})", "attributed_by")
"""Of an operation without a range: why it has none."""

Projections = Literal["linear", "attention"]
PROJECTIONS = Option(
    "projections", "Count projections of queries, keys, values and output as linear layers, or as their attention."
)


def role(projections: str = "linear") -> pl.Expr:
    """The role of an operation of `OPS`.

    Args:
        projections: `linear`, or `attention` for the role of their attention (a switch: it moves "linear" of the
            study's 49%).
    """
    return _in_range(role_of_module(projections).fill_null(NOT_ANNOTATED))


def role_of_module(projections: str = "linear") -> pl.Expr:
    """The same of a row of `CALLS`, and of an operation within an annotated range."""
    own = pl.col("role")
    if projections == "linear":
        return own
    return pl.when((own == "linear") & pl.col("attention").is_not_null()).then("attention").otherwise(own)


def component() -> pl.Expr:
    """The component of an operation of `OPS`."""
    outside = pl.when(pl.col("role").is_null()).then(pl.lit(NOT_ANNOTATED)).otherwise(pl.lit(PIPELINE))
    return _in_range(pl.coalesce("component", outside))


def family(role: pl.Expr) -> pl.Expr:
    """The family of a role: what is in brackets stands for itself, what is in none is `OTHER_FAMILY`.

    Args:
        role: as `role` gives it.
    """
    families = {member: name for name, members in FAMILIES.items() for member in members}
    known = role.replace_strict(families, default=OTHER_FAMILY, return_dtype=pl.String)
    return pl.when(role.str.starts_with("(")).then(role).otherwise(known)


def _in_range(value: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("range_id").is_null()).then(REASON).otherwise(value)


def outside_ranges(ops: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """The operations without a range, by reason; the column `name` holds the reason in brackets."""
    return (
        ops.filter(pl.col("range_id").is_null())
        .group_by(REASON.alias(name))
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("self_ns"))
        .with_columns(pl.col("self_ns").alias("total_ns"))
    )


def share_of_gpu_time(total: str) -> pl.Expr:
    """`share`: a column of times over all GPU time, the sum of `self_ns` over all rows; null where that is 0."""
    return ratio(total, pl.col("self_ns").sum()).alias("share")
