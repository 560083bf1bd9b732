"""NVTX ranges with the names and the times that `nsys stats` gives them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from parsers import Trace
from ttinsys.attribution.nvtx import nestable_ranges

STYLE = "Style"
"""nsys's column for the kind of a range: `PushPop` or `StartEnd`."""


def styled(trace: Trace, ids: Sequence[str] = ()) -> pl.LazyFrame:
    """Ranges with nsys's name (`domain:text`, or the text alone in the default domain) and `Style`.

    Args:
        trace: an opened trace.
        ids: which of `row_id` and `range_id` to return too.

    Returns:
        `ids`, `global_tid`, `start_ns`, `end_ns`, `name`, `Style`.
    """
    style = pl.when(pl.col("kind") == "push_pop").then(pl.lit("PushPop")).otherwise(pl.lit("StartEnd"))
    full = pl.concat_str("domain", "name", separator=":")
    columns = [*ids, "global_tid", "start_ns", "end_ns"]
    return nestable_ranges(trace, [*columns, "domain", "name", "kind"]).select(
        *columns,
        # concat_str is null where the domain is.
        pl.when(pl.col("domain").is_null()).then("name").otherwise(full).alias("name"),
        style.alias(STYLE),
    )


def finished(ranges: pl.DataFrame) -> pl.DataFrame:
    """Ranges, of which those that never closed end at the last start or end of any range, as in nsys."""
    last = pl.max_horizontal(pl.col("start_ns").max(), pl.col("end_ns").max())
    return ranges.with_columns(pl.col("end_ns").fill_null(last))
