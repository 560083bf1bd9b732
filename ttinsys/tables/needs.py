"""Needs: what a trace must have for an analysis, and the error for a trace that lacks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from parsers import TraceError
from parsers.schema import Table
from ttinsys.attribution.diagnostics import why_no_gpu_work

_ANNOTATE = (
    "capture it with `python -m annotate.run --model NAME --profile FILE`, or put `with annotate(pipeline):` around "
    "your own call"
)
_LEAF = "use granularity leaf, and no torch.compile, whose blocks have no ranges inside"


@dataclass(frozen=True, slots=True)
class Need:
    """Something that an analysis needs of a trace.

    Args:
        table: name of the table that shows whether the trace has it.
        present: a Boolean aggregate over that table: whether the trace has it.
        lacking: the error where it is absent, continuing the name of the trace: what is missing, and what to do.
    """

    table: str
    present: pl.Expr
    lacking: str


class Lacking(TraceError):
    """A trace lacks what an analysis needs."""


def lacking_sentence(need: Need, tables: Mapping[str, pl.LazyFrame]) -> str:
    """The error for what is needed, as `Need.lacking`; for GPU work it says what nsys says of its absence.

    Args:
        need: what is needed, and lacks.
        tables: the tables of the trace, by name.
    """
    head, _, remedy = need.lacking.partition(": ")
    if need != GPU_ACTIVITY or "diagnostics" not in tables:
        return need.lacking
    return f"{head}: {why_no_gpu_work(tables['diagnostics'].select('severity', 'text').collect(), remedy)}"


def present(need: Need, tables: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    """Whether a trace has what is needed, as a frame of one Boolean.

    Args:
        need: what is needed.
        tables: the tables of the trace, by name.
    """
    # Aggregates such as any() are null over a table without rows.
    return tables[need.table].select(need.present.fill_null(value=False))


GPU_ACTIVITY = Need(
    "ops",
    pl.len() > 0,
    "has no GPU activity, so there is nothing to time: profile on a machine with a GPU with --trace=cuda,nvtx",
)
_SHAPES = "profile with PyTorch's own ranges and shapes: `nsys profile --pytorch=autograd-shapes-nvtx`"

ANNOTATED_ROLES = Need(
    "ranges",
    pl.col("role").is_not_null().any(),
    f"has no range whose role is known: {_ANNOTATE}",
)
ATTENTION_LENGTHS = Need(
    "ranges",
    pl.col("q_len").is_not_null().any(),
    f"has no attention call whose lengths are known: {_ANNOTATE}; {_LEAF}, or {_SHAPES}",
)
ATTENTION_RANGES = Need(
    "ranges",
    pl.col("attention").is_not_null().any(),
    f"has no range that is known to be attention: {_ANNOTATE}; {_LEAF}, or {_SHAPES}",
)
ANNOTATED_COSTS = Need(
    "ranges",
    pl.col("flops").is_not_null().any(),
    f"has no call whose FLOPs are known: {_ANNOTATE}; {_LEAF}, or {_SHAPES}",
)
ANNOTATED_RUNS = Need(
    "runs",
    pl.len() > 0,
    "does not say what was run (model, image size): capture it with `python -m annotate.run --model NAME "
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
