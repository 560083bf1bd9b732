"""What annotated runs say of themselves, as a table: model, request, attention, compiler.

ttinsys.tables.runs.runs(ttinsys.load("run.sqlite")).select("model", "height", "attention").collect()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from parsers import Trace
from parsers.scan import lazy
from parsers.schema import Column, Table
from ttinsys.attribution import labels

RUNS = Table(
    "runs",
    Column("model", pl.String, "name of the model, as `stable-diffusion`"),
    Column("size", pl.String, "`full` or `tiny`"),
    Column("height", pl.Int64, "of the picture", unit="pixels"),
    Column("width", pl.Int64, "of the picture", unit="pixels"),
    Column("frames", pl.Int64, "of the clip"),
    Column("steps", pl.Int64, "denoising steps asked for"),
    Column("tokens", pl.Int64, "tokens to decode"),
    Column("prompt_tokens", pl.Int64, "tokens of the prompt, where the model does not pad it"),
    Column("batch", pl.Int64, "prompts at once"),
    Column("device", pl.String, "GPU, or `cpu`"),
    Column("dtype", pl.String, "type of the weights"),
    Column("attention", pl.String, "how attention was computed, as `eager` or `sdpa`"),
    Column("compile", pl.String, "what was compiled; null where nothing was"),
    Column("granularity", pl.String, "finest ranges"),
    Column("weights", pl.String, "`random` or `pretrained`"),
    Column("simulated", pl.Boolean, "no machine ran it"),
    doc="one row per annotated run that a trace tells of",
)


def runs(trace: Trace) -> pl.LazyFrame:
    """The runs of a trace, in the order in which they are told of.

    Args:
        trace: an opened trace.

    Returns:
        `RUNS`; without rows where nothing was annotated by `annotate.run`.
    """

    def read(_: Sequence[str]) -> Iterator[pl.DataFrame]:
        told = labels.run_descriptions(labels.marks(trace))
        yield pl.DataFrame([_row(run) for run in told], schema=RUNS.schema, orient="row")

    return lazy(RUNS.schema, read)


def _row(run: dict[str, object]) -> list[object]:
    """Values of a run in the order of the columns; what is not of a column's type is left out: a stranger wrote it."""
    request = run.get("request")
    said = {**run, **(request if isinstance(request, dict) else {})}
    said["simulated"] = said.get("simulated", False)
    return [_of_type(said.get(column.name), column) for column in RUNS.columns]


def _of_type(value: object, column: Column) -> object:
    wanted = {pl.String: str, pl.Int64: int, pl.Boolean: bool}[column.dtype]  # type: ignore[index]
    fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    if wanted is int and isinstance(value, int) and not 0 < value < 1 << 63:
        return None  # each is a number of something that there is
    return value if fits else None
