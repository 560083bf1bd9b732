"""Start/end ranges that close on another thread than they open on: in no stack, and listed after those that are."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.paths import UNNAMED

CROSS_THREAD = "cross_thread"
"""`kind` of a range that closes on another thread."""


def with_crossing(nested: pl.DataFrame, crossing: pl.DataFrame) -> pl.DataFrame:
    """Add ranges that close on another thread, which enclose nothing; their groups and paths say what they are.

    Args:
        nested: ranges with any columns of `RANGES`.
        crossing: columns of the same names, of those that do not come from nesting, and `name`.
    """
    name = pl.format("{} (closes on another thread)", pl.col("name").fill_null(UNNAMED))
    known: dict[str, pl.Expr] = {column: pl.col(column) for column in crossing.columns}
    known |= {
        "index": pl.int_range(pl.len(), dtype=pl.UInt32) + nested.height,
        "depth": pl.lit(0),
        "kind": pl.lit(CROSS_THREAD),
        "group": name,
        "path": name,
    }
    marked = crossing.select(
        known.get(column, pl.lit(None)).cast(dtype).alias(column) for column, dtype in nested.schema.items()
    )
    return pl.concat([nested, marked])
