"""The text that `nsys stats` prints: CSV, JSON and table."""

from __future__ import annotations

import json
import math
from typing import Any

import polars as pl

from ttinsys.render.output import printable
from ttinsys.stats import Report


def nsys_csv(_: Report, frame: pl.DataFrame) -> str:
    """As `nsys stats --format csv`."""
    return frame.write_csv()


def nsys_json(_: Report, frame: pl.DataFrame) -> str:
    """As `nsys stats --format json`: a null, and what is no number, is an empty string."""
    rows = [{name: _json_cell(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def nsys_table(report: Report, frame: pl.DataFrame) -> str:
    """As `nsys stats --format table`: boxed, numbers to the right, names cut to 100 characters."""
    columns = [_cells(frame[name]) for name in frame.columns]
    widths = [max(map(len, [name, *cells])) for name, cells in zip(frame.columns, columns, strict=True)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    heads = [f"{name:^{width}}" for name, width in zip(frame.columns, widths, strict=True)]
    right = [frame[name].dtype.is_numeric() for name in frame.columns]
    lines = ["", f" ** {report.title} ({report.name}):", "", rule, "| " + " | ".join(heads) + " |", rule]
    for row in zip(*columns, strict=True):
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        lines.append("| " + " | ".join(padded) + " |")
    return "\n".join([*lines, rule, ""]) + "\n"


def _cells(values: pl.Series) -> list[str]:
    listed = values.to_list()
    if values.dtype.is_float():
        # Adding zero takes the sign off -0.0.
        listed = [None if value is None else value + 0.0 for value in listed]
    cells = ["" if value is None else printable(str(value)) for value in listed]
    return [cell if len(cell) <= _LONGEST else f"{cell[: _LONGEST - 1]}…" for cell in cells]


_LONGEST = 100
"""Characters of a cell: nsys's own `colmax`, unless it is given."""

NSYS_TEXTS = {"csv": nsys_csv, "json": nsys_json, "table": nsys_table}
"""Functions that make the text of each `--format`."""
