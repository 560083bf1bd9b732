"""Annotated runs as a table: what was run, as the marks of `annotate.run` describe it.

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
    Column("model", pl.String, "Name of the model, such as `stable-diffusion`."),
    Column("size", pl.String, "Size of the model: `full` as published, or `tiny` for tests."),
    Column("height", pl.Int64, "Height of the image or video.", unit="pixels"),
    Column("width", pl.Int64, "Width of the image or video.", unit="pixels"),
    Column("frames", pl.Int64, "Number of frames of the video; null for images."),
    Column("steps", pl.Int64, "Number of denoising steps that were requested."),
    Column("tokens", pl.Int64, "Number of tokens that were requested from a decoder."),
    Column(
        "prompt_tokens", pl.Int64, "Number of prompt tokens; null where the model pads the prompt to a fixed length."
    ),
    Column("batch", pl.Int64, "Number of prompts in one batch."),
    Column("device", pl.String, "Name of the GPU, or `cpu`."),
    Column("dtype", pl.String, "Data type of the weights, such as `float16`."),
    Column("attention", pl.String, "Implementation of attention, such as `eager` or `sdpa`."),
    Column("compile", pl.String, "What torch.compile compiled; null where nothing was compiled."),
    Column("granularity", pl.String, "Level of the finest annotated ranges, such as `block` or `leaf`."),
    Column("weights", pl.String, "Origin of the weights: `random` or `pretrained`."),
    Column("simulated", pl.Boolean, "Whether times come from a model of a GPU, not from a machine."),
    doc="one row per annotated run of a trace",
)


def runs(trace: Trace) -> pl.LazyFrame:
    """The annotated runs of a trace, in the order of their marks.

    Args:
        trace: an opened trace.

    Returns:
        `RUNS`; no row where nothing was captured with `annotate.run`.
    """

    def read(_: Sequence[str]) -> Iterator[pl.DataFrame]:
        descriptions = labels.run_descriptions(labels.marks(trace))
        yield pl.DataFrame([_row(run) for run in descriptions], schema=RUNS.schema, orient="row")

    return lazy(RUNS.schema, read)


def _row(run: dict[str, object]) -> list[object]:
    """Values of a run in the order of the columns; null for a value of another type, as any program may write marks."""
    request = run.get("request")
    values = {**run, **(request if isinstance(request, dict) else {})}
    # Only simulated runs say so.
    values["simulated"] = values.get("simulated", False)
    return [_of_type(values.get(column.name), column) for column in RUNS.columns]


def _of_type(value: object, column: Column) -> object:
    """The value where it has the type of the column, else None."""
    wanted = {pl.String: str, pl.Int64: int, pl.Boolean: bool}[column.dtype]  # type: ignore[index]
    # In Python True is an int.
    fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    # Every integer here counts pixels, steps or tokens: none is 0, and a column holds 64 bits.
    if wanted is int and isinstance(value, int) and not 0 < value < 1 << 63:
        return None
    return value if fits else None
