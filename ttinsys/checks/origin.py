"""Traces that no machine ran."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import Finding, TraceTables, checking
from ttinsys.tables.overview import SIMULATED

_MADE_UP = (SIMULATED, "SYNTHETIC")


def _measure(tables: TraceTables) -> pl.LazyFrame:
    return tables["export_info"].filter(pl.col("name").is_in(_MADE_UP)).select("value").head(1)


@checking(_measure)
def origin(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether times come from a model of a GPU."""
    for (value,) in numbers.iter_rows():
        yield Finding("note", f"No machine ran this: {value}.", ("speedup", "gaps"), "capture a run on a GPU")
