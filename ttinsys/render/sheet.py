"""Sheets for Excel and LibreOffice: all rows with raw numbers; text of strangers is never a formula or a link."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import IO

import polars as pl

from ttinsys.render.output import OutputError, check_sheets, printable

MOST_ROWS = 1_048_575
"""Rows of a sheet, without its heading."""
_MOST_CHARACTERS = 32_767
"""Characters of a cell."""
_EXACT = 2**53
"""Up to here, the floating-point numbers of a sheet hold every integer."""


def write_sheet(frame: pl.DataFrame, file: IO[bytes]) -> None:
    """Write a frame as a workbook of one sheet.

    Args:
        frame: the rows.
        file: a binary file.

    Raises:
        OutputError: xlsxwriter is missing, or the frame has more rows than a sheet.
    """
    check_sheets()
    if frame.height > MOST_ROWS:
        raise OutputError(f"a sheet holds {MOST_ROWS:,} rows, not {frame.height:,}: write csv or parquet")
    from xlsxwriter import Workbook
    from xlsxwriter.worksheet import Worksheet

    with Workbook(file, {"in_memory": True}) as workbook:
        # The same rows make the same file, whenever they are written.
        workbook.set_properties({"created": _CREATED})
        sheet = workbook.add_worksheet("ttinsys")
        # Otherwise a kernel called "=..." would be a formula, and a range called "https:..." a link.
        sheet.add_write_handler(str, Worksheet.write_string)
        shown = frame.select(map(_as_cells, frame))
        shown.write_excel(
            workbook,
            sheet,
            column_widths={column.name: _pixels(column) for column in shown},
            freeze_panes=(1, 0),
            dtype_formats=dict.fromkeys(_INTEGERS, "0"),
        )


_CREATED = datetime(1980, 1, 1, tzinfo=UTC)
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


def _as_cells(values: pl.Series) -> pl.Series:
    """A column as cells hold it: printable text that is not too long, finite numbers, integers with all digits."""
    if values.dtype.is_integer():
        ends = [end for end in (values.min(), values.max()) if isinstance(end, int)]
        return values.cast(pl.String) if any(abs(end) > _EXACT for end in ends) else values
    if values.dtype.is_float():
        return pl.select(pl.when(values.is_finite()).then(values).alias(values.name)).to_series()
    if values.dtype == pl.Boolean:
        return values
    if values.dtype.is_nested():
        values = pl.Series(values.name, [None if value is None else str(value) for value in values.to_list()])
    texts = values.cast(pl.String)
    distinct = texts.unique().drop_nulls()
    shown = [_short(printable(text)) for text in distinct]
    return texts.replace_strict(distinct, pl.Series(shown, dtype=pl.String), default=None, return_dtype=pl.String)


def _short(text: str) -> str:
    """The text, or its beginning where a cell cannot hold all of it: xlsxwriter leaves such a cell empty."""
    # Cells count UTF-16 units, of which a character has two at most.
    units = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    return text if units <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS // 2 - 1]}…"


def _pixels(column: pl.Series) -> int:
    """Width of a column that shows its heading and, as far as there is room, its first cells."""
    first = column.head(_MEASURED).cast(pl.String).str.len_chars().max()
    # The heading has a button beside it.
    characters = max(len(column.name) + 3, first if isinstance(first, int) else 0)
    return 10 + 7 * min(characters, _WIDEST)


_MEASURED = 1000
"""Cells by which the width of a column is chosen."""
_WIDEST = 60
"""Characters of a cell that are shown."""
