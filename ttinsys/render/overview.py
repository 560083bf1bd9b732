"""The overview of a trace as text and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import polars as pl

from parsers.origin import origin, schema_version
from parsers.schema import Column, Table
from ttinsys.attribution.coverage import coverage_sentence
from ttinsys.render.grid import table_text
from ttinsys.render.output import Destination, printable
from ttinsys.tables.overview import Overview

_UNITS = Table(
    "overview",
    Column("sum_ns", pl.Int64, "Sum of durations.", unit="ns"),
    Column("memory_bytes", pl.Int64, "Device memory.", unit="B"),
)


def overview_json(overviews: Sequence[Overview], _: Destination) -> str:
    """Overviews as a JSON list, with raw numbers."""
    listed = [{field.name: _plain(getattr(one, field.name)) for field in fields(one)} for one in overviews]
    return json.dumps(listed, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def overview_text(overviews: Sequence[Overview], destination: Destination) -> str:
    """Overviews as a person reads them."""
    return "\n".join(_text(one, destination) for one in overviews)


OVERVIEW_TEXTS = {"table": overview_text, "json": overview_json}
"""The function that writes each `--format`."""


def _plain(value: Any) -> Any:
    """A value as JSON has it. What an annotated run says of itself may hold NaN, which JSON has not: it is null."""
    if isinstance(value, pl.DataFrame):
        return _plain(value.to_dicts())
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | str | None) else str(value)


def _text(one: Overview, destination: Destination) -> str:
    schema = schema_version(one.format, one.export)
    lines = [
        printable(f"{one.path}: {one.format}, exported by {origin(one.format, one.export)}, schema {schema}"),
        _span(one),
        # Where there is no operation, a note says why.
        *([] if one.coverage.is_empty() else [coverage_sentence(one.coverage)]),
        *(printable(note) for note in one.notes),
        *(printable(run_sentence(run)) for run in one.runs),
    ]
    gpus = one.gpus.select("gpu", "device_id", "name", "chip", "sm_count", "memory_bytes")
    sections = {
        "GPUs": gpus,
        "GPU operations": one.operations,
        "NVTX ranges": one.ranges.with_columns(pl.col("domain").fill_null("default")),
        "Threads": one.threads,
        "Tables": one.tables.filter(pl.col("rows") > 0),
    }
    for title, frame in sections.items():
        if not frame.is_empty():
            # Every GPU has a number, whether or not anything else is known of it.
            has_values = any(column.null_count() < frame.height for column in frame if column.name != "gpu")
            text = table_text(frame, destination, _UNITS) if has_values else f"{frame.height:,} without any value"
            lines += ["", title, text.rstrip("\n")]
    return "\n".join(lines) + "\n"


def run_sentence(run: dict[str, object]) -> str:
    """An annotated run in a line: model, request and versions, as the run describes itself."""
    request = run.get("request")
    options = [f"{value} {name}" for name, value in request.items()] if isinstance(request, dict) else []
    rest = [f"{name} {value}" for name, value in run.items() if isinstance(value, str) and name != "model"]
    return "; ".join(
        ["run of " + str(run.get("model", "a model")), *([", ".join(options)] if options else []), ", ".join(rest)]
    )


def _span(one: Overview) -> str:
    if one.start_ns is None or one.end_ns is None:
        return "no events"
    length, start, end = map(_in_seconds, (one.end_ns - one.start_ns, one.start_ns, one.end_ns))
    return f"{length} s, from {start} to {end} s"


def _in_seconds(ns: int) -> str:
    """Nanoseconds in seconds, to the millisecond; what rounds to zero has no sign."""
    text = f"{ns / 1e9:,.3f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
