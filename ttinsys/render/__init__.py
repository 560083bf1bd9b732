"""Tables as text and files: the only room that rounds, scales units, formats or writes.

Machine formats keep raw numbers in the units that the column names carry. Tables for people scale them, and fit the
terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

from ttinsys.render.output import (
    FORMATS,
    PICTURES,
    SUFFIXES,
    Destination,
    OutputError,
    emit_text,
    printable,
    write_to,
)

if TYPE_CHECKING:
    import polars as pl

    from parsers.schema import Table

__all__ = [
    "FORMATS",
    "PICTURES",
    "SUFFIXES",
    "Destination",
    "OutputError",
    "emit",
    "emit_text",
    "printable",
    "write_to",
]


def emit(
    frame: pl.DataFrame,
    destination: Destination,
    *,
    table: Table | None = None,
    tree: str | None = None,
    traces: Sequence[str] = (),
) -> None:
    """Write a frame.

    Args:
        frame: the rows.
        destination: where to, and how.
        table: its declaration, for units and meanings; without one, columns are written as they are.
        tree: for rows that form a tree by `depth`: the column by which rows are chosen where not all are shown.
        traces: names of the traces that the rows come from, for formats that carry them.

    Raises:
        OutputError: it could not be written; no file is left half written.
    """
    write_to(destination, _writer(frame, destination, table, tree, traces), content=_content(frame, destination))


def _writer(
    frame: pl.DataFrame, destination: Destination, table: Table | None, tree: str | None, traces: Sequence[str]
) -> Callable[[IO[bytes]], object]:
    """What writes a frame to a binary file."""
    if destination.format == "csv":
        return frame.write_csv
    if destination.format == "json":
        return lambda file: file.write(frame.write_json().encode() + b"\n")
    if destination.format == "parquet":
        from ttinsys.render.parquet import write_parquet

        return lambda file: write_parquet(frame, file, table, traces)
    if destination.format == "xlsx":
        from ttinsys.render.sheet import write_sheet

        return lambda file: write_sheet(frame, file)
    if destination.format == "markdown":
        from ttinsys.render.markdown import markdown_text as made
    else:
        from ttinsys.render.grid import table_text as made
    text = made(frame, destination, table, tree)
    return lambda file: file.write(text.encode())


def _content(frame: pl.DataFrame, destination: Destination) -> str:
    """How many rows are written."""
    rows = f"{frame.height:,} row{'' if frame.height == 1 else 's'}"
    if destination.for_people and 0 < destination.rows < frame.height:
        return f"{destination.rows:,} of {rows}"
    return rows
