"""From tables to text and files: the only room that rounds, scales units, formats or writes.

Machine formats keep raw numbers in the units that the column names carry. Tables for people scale them, and fit the
terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def emit(frame: pl.DataFrame, destination: Destination, *, table: Table | None = None, tree: str | None = None) -> None:
    """Write a frame.

    Args:
        frame: the rows.
        destination: where to, and how.
        table: its declaration, for units; without one, columns are printed as they are.
        tree: for rows that form a tree by `depth`: the column by which rows are chosen where not all fit.

    Raises:
        OutputError: it could not be written; no file is left half written.
    """
    if destination.format == "parquet":
        write_to(destination, frame.write_parquet)
    elif destination.format == "csv":
        write_to(destination, frame.write_csv)
    elif destination.format == "json":
        write_to(destination, lambda file: file.write(frame.write_json().encode() + b"\n"))
    elif destination.format == "markdown":
        from ttinsys.render.markdown import markdown_text

        emit_text(markdown_text(frame, destination, table, tree), destination)
    else:
        from ttinsys.render.grid import table_text

        emit_text(table_text(frame, destination, table, tree), destination)
