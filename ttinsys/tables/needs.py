"""What an analysis cannot do without, and what to tell a person whose trace lacks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from parsers import TraceError
from parsers.schema import Table

_ANNOTATE = (
    "capture it with `python -m annotate.run --model NAME --profile FILE`, or put `with annotate(pipeline):` around "
    "the call of your own"
)


@dataclass(frozen=True, slots=True)
class Need:
    """Something that a trace has or lacks.

    Args:
        table: the table that shows it.
        present: an aggregate over that table, Boolean: whether it is there.
        lacking: what to say where it is not, after the name of the trace, with the remedy.
    """

    table: str
    present: pl.Expr
    lacking: str


class Lacking(TraceError):
    """A trace lacks what an analysis needs."""


def present(need: Need, tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """One Boolean: whether a trace has it.

    Args:
        need: what is needed.
        tables: the trace's, by name.
    """
    return tables[need.table].select(need.present.fill_null(value=False))


GPU_ACTIVITY = Need(
    "ops",
    pl.len() > 0,
    "has no GPU activity, so there is no time to tell of: profile on a machine with a GPU with --trace=cuda,nvtx",
)
ANNOTATED_ROLES = Need(
    "ranges",
    pl.col("role").is_not_null().any(),
    f"has no annotated range, so the roles of its layers are not known: {_ANNOTATE}",
)
ATTENTION_LENGTHS = Need(
    "ranges",
    pl.col("q_len").is_not_null().any(),
    f"has no annotated call of attention, so sequence lengths are not known: {_ANNOTATE}; compiled blocks tell none, "
    "nor does a granularity coarser than leaf",
)
ANNOTATED_COSTS = Need(
    "ranges",
    pl.col("flops").is_not_null().any(),
    f"has no annotated FLOPs: {_ANNOTATE}; compiled blocks tell none, nor does a granularity coarser than leaf",
)
ANNOTATED_RUNS = Need(
    "runs",
    pl.len() > 0,
    "does not say what was run (model, size of the picture): capture it with `python -m annotate.run --model NAME "
    "--profile FILE`",
)

_OF_TABLES = {
    "ops": GPU_ACTIVITY,
    "ranges": Need(
        "ranges", pl.len() > 0, "has no NVTX range: annotate the program and profile with --trace=cuda,nvtx"
    ),
    "calls": ANNOTATED_ROLES,
    "runs": ANNOTATED_RUNS,
    "api_calls": Need(
        "api_calls", pl.len() > 0, "has no CUDA API call: profile on a machine with a GPU with --trace=cuda"
    ),
}


def need_of(table: Table) -> Need:
    """The need that a table has a row.

    Raises:
        TypeError: The table is not one that analyses take.
    """
    if table.name not in _OF_TABLES:
        raise TypeError(f"no analysis can need the table {table.name}: name one of {', '.join(_OF_TABLES)}, or a Need")
    return _OF_TABLES[table.name]
