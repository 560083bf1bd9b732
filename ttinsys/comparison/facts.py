"""Facts of a trace that a comparison judges: a number or a text, by the name of the fact and the part it is about.

Facts are gathered lazily, in one frame for all traces, and are few: Python functions may judge them.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

Facts = Mapping[tuple[str, str], int | str]
"""What is known of one trace, by the name of the fact and the part (empty: the whole trace)."""

FACT_SCHEMA = {
    "trace": pl.String(),
    "fact": pl.String(),
    "part": pl.String(),
    "value": pl.Int64(),
    "text": pl.String(),
}
"""Columns of a frame of facts; one of `value` and `text` is null."""


def fact_rows(
    frame: pl.LazyFrame, fact: str, *, part: str | None = None, value: str | None = None, text: str | None = None
) -> pl.LazyFrame:
    """Rows of one fact, as `FACT_SCHEMA`.

    Args:
        frame: has a column `trace`.
        fact: name of the fact.
        part: column with the part; None: the whole trace.
        value: column with the number.
        text: column with the text.
    """
    return frame.select(
        pl.col("trace").cast(pl.String),
        pl.lit(fact).alias("fact"),
        (pl.col(part) if part else pl.lit("")).cast(pl.String).alias("part"),
        (pl.col(value) if value else pl.lit(None)).cast(pl.Int64).alias("value"),
        (pl.col(text) if text else pl.lit(None)).cast(pl.String).alias("text"),
    )


def known_number(facts: Facts, fact: str, part: str = "") -> int:
    """A fact that is a number; 0 where it is unknown."""
    return int(facts.get((fact, part), 0))


def parts_with(fact: str, *traces: Facts) -> list[str]:
    """The parts that a fact is known of in any of the traces, sorted."""
    return sorted({part for facts in traces for name, part in facts if name == fact})
