"""Columns and tables, declared once: reading, checking, filters, help and documentation all follow.

    Table("kernels", Column("start_ns", pl.Int64, "Start time on the GPU.", unit="ns", aliases=("start",)), ...,
          doc="one row per kernel execution", sources=("CUPTI_ACTIVITY_KIND_KERNEL",))

nsys renames and adds columns between versions: an alias is a name that some version uses.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from parsers.errors import MissingColumn

ROWID = "rowid"
"""The name under which every export format offers a row's number, counted from 1."""

_REPR_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        name: our name, the same for every nsys version and export format.
        dtype: Polars type.
        doc: meaning, as a sentence or a noun phrase that stands alone.
        unit: `"ns"`, `"B"` ...; None for a column without a unit.
        aliases: names that nsys gives the column; the first one present is read.
        required: whether the table is meaningless without it.
        prose: whether values are sentences, which a terminal breaks into lines and does not cut.
    """

    name: str
    dtype: DataType | DataTypeClass
    doc: str
    unit: str | None = None
    aliases: tuple[str, ...] = ()
    required: bool = False
    prose: bool = False


class Table:
    """A named, ordered set of columns; its `repr` lists them.

    Args:
        name: our name.
        columns: the columns, in order.
        doc: what one row is.
        sources: names that nsys gives the table, the first one present is read; empty for tables that we compute.
        remedy: how to capture a missing table.
    """

    __slots__ = ("columns", "doc", "name", "remedy", "sources")

    def __init__(
        self, name: str, *columns: Column, doc: str = "", sources: tuple[str, ...] = (), remedy: str = ""
    ) -> None:
        self.name = name
        self.columns = columns
        self.doc = doc
        self.sources = sources
        self.remedy = remedy

    @property
    def schema(self) -> pl.Schema:
        """Names and dtypes, in order."""
        return pl.Schema({column.name: column.dtype for column in self.columns})

    @property
    def is_gpu_activity(self) -> bool:
        """Whether rows are activity on the GPU, to which filters apply: they have a start and a device."""
        return {"start_ns", "device_id"} <= {column.name for column in self.columns}

    def empty(self) -> pl.LazyFrame:
        """The table without rows: what an absent optional table reads as."""
        return pl.LazyFrame(schema=self.schema)

    def resolve(self, path: Path, source: str, present: Iterable[str]) -> dict[str, Column]:
        """Find the columns of an export that this table reads.

        Args:
            path: the export, for errors.
            source: nsys's name of the table.
            present: names of its columns.

        Returns:
            Columns of this table by the name that the export gives them.

        Raises:
            MissingColumn: a required column is under none of its names.
        """
        present = tuple(present)
        by_alias: dict[str, Column] = {}
        for column in self.columns:
            alias = next((alias for alias in column.aliases if alias in present), None)
            if alias is not None:
                by_alias[alias] = column
            elif column.required:
                raise MissingColumn(path, source, " or ".join(column.aliases) or column.name, present)
        return by_alias

    def conform(self, rows: pl.DataFrame, by_alias: Mapping[str, Column], names: Sequence[str]) -> pl.DataFrame:
        """Rename and cast what an export holds.

        Args:
            rows: at least one column of the export; their height counts where none of `names` is among them.
            by_alias: columns of this table by the name that the export gives them.
            names: columns of this table to return; those that the export lacks are null.
        """
        alias_of = {column.name: alias for alias, column in by_alias.items() if alias in rows.columns}
        return rows.select(
            cast(pl.col(alias_of[column.name]), rows.schema[alias_of[column.name]], column.dtype).alias(column.name)
            if column.name in alias_of
            else pl.repeat(None, pl.len(), dtype=column.dtype).alias(column.name)
            for column in self.columns
            if column.name in names
        )

    def __repr__(self) -> str:
        headings = ("column", "dtype", "unit", "meaning")
        rows = [headings, *self._described()]
        widths = [max(len(row[at]) for row in rows) for at in range(3)]
        indent = sum(widths) + 2 * len(widths)
        lines = [f"{self.name}: {self.doc}" if self.doc else self.name]
        for *cells, meaning in rows:
            margin = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + "  "
            wrapped = textwrap.wrap(meaning, max(_REPR_WIDTH - indent, 40), break_long_words=False) or [""]
            lines += [(margin + wrapped[0]).rstrip(), *(" " * indent + line for line in wrapped[1:])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        # Imported here: it takes longer to import than everything else of this package.
        import html

        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self._described()
        )
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("column", "dtype", "unit", "meaning"))
        title = f"<b>{html.escape(self.name)}</b>: {html.escape(self.doc)}" if self.doc else html.escape(self.name)
        return f"<table><caption>{title}</caption><tr>{head}</tr>{rows}</table>"

    def _described(self) -> Iterator[tuple[str, str, str, str]]:
        """Name, dtype, unit and meaning of each column, as text."""
        for name, dtype in self.schema.items():
            column = next(column for column in self.columns if column.name == name)
            yield name, str(dtype), column.unit or "", column.doc


def cast(expr: pl.Expr, have: DataType, want: DataType | DataTypeClass) -> pl.Expr:
    """`expr` of dtype `have` as `want`; 64-bit integers keep their bits, as SQLite keeps them.

    nsys writes ids as UInt64 to Parquet and as the same 64 bits, signed, to SQLite.
    """
    if have == want:
        return expr
    if {have, want} == {pl.UInt64, pl.Int64}:
        return expr.reinterpret(signed=want == pl.Int64)
    if have == pl.Binary and want == pl.String:
        return expr.map_batches(decode, return_dtype=pl.String)
    return expr.cast(want)


def decode(raw: pl.Series) -> pl.Series:
    """Bytes as text: UTF-8, with U+FFFD for what is not, because a name is never a reason to lose an event."""
    try:
        return raw.cast(pl.String)
    except pl.exceptions.PolarsError:
        values = raw.drop_nulls().unique()
        readable = pl.Series([value.decode("utf-8", errors="replace") for value in values], dtype=pl.String)
        return raw.replace_strict(values, readable, default=None, return_dtype=pl.String)
