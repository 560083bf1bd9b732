"""Which analyses have what they need, and what the others lack."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import Finding, TraceTables, checking
from ttinsys.runner.registry import analysis_names, find
from ttinsys.tables.needs import present

_ITSELF = "check"


def _measure(tables: TraceTables) -> pl.LazyFrame:
    answers = [
        present(need, tables).select(
            pl.lit(name).alias("analysis"), pl.lit(need.lacking).alias("lacking"), pl.first().alias("present")
        )
        for name in analysis_names()
        if name != _ITSELF
        for need in find(name).needs
    ]
    return pl.concat(answers)


@checking(_measure)
def fitness(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Analyses by whether this trace can answer them; what one lacks first is what it asks for."""
    unmet = numbers.filter(~pl.col("present")).unique("analysis", keep="first", maintain_order=True)
    for lacking, group in unmet.group_by("lacking", maintain_order=True):
        names = group["analysis"].to_list()
        what, _, remedy = str(lacking[0]).partition(": ")
        yield Finding("note", f"The trace {what}: no answer from {', '.join(names)}.", tuple(names), remedy, len(names))
    able = [name for name in analysis_names() if name not in {_ITSELF, *unmet["analysis"]}]
    if able:
        yield Finding("sound", f"The trace has what these analyses need: {', '.join(able)}.", count=len(able))
