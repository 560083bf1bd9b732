"""A column and a table, declared once: reading, checking, help and docs all come from the declaration.

    Table("kernels", Column("start_ns", pl.Int64, "start", unit="ns", aliases=("start",), required=True), ...,
          doc="one row per kernel execution", sources=("CUPTI_ACTIVITY_KIND_KERNEL",))

nsys renames and adds columns between versions: an alias is a name that some version has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.datatypes import DataType, DataTypeClass

from parsers.errors import MissingColumn

ROWID = "rowid"
"""The name under which every export format offers a row's number, counted from 1."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Args:
        name: our name, the same for every nsys version and export format.
        dtype: its Polars type.
        doc: one line of meaning.
        unit: `"ns"`, `"B"` ...; None where there is none.
        aliases: the names nsys gives it, the first one present wins.
        required: the table is meaningless without it.
    """

    name: str
    dtype: DataType | DataTypeClass
    doc: str
    unit: str | None = None
    aliases: tuple[str, ...] = ()
    required: bool = False


class Table:
    """A named, ordered set of columns.

    Args:
        name: our name.
        columns: what it has, in order.
        doc: one line: what a row is.
        sources: the names nsys gives the table, the first one present wins; empty for tables that we compute.
        remedy: what a person does to get it where it is missing.
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

    def empty(self) -> pl.LazyFrame:
        """The table without rows: what an absent optional table reads as."""
        return pl.LazyFrame(schema=self.schema)

    def resolve(self, path: Path, source: str, present: Iterable[str]) -> dict[str, Column]:
        """Which of the columns present in an export serve this table, keyed by their name there.

        Raises:
            MissingColumn: a required column is under none of its names.
        """
        present = tuple(present)
        found: dict[str, Column] = {}
        for column in self.columns:
            raw = next((alias for alias in column.aliases if alias in present), None)
            if raw is not None:
                found[raw] = column
            elif column.required:
                raise MissingColumn(path, source, column.aliases[0], present)
        return found

    def conform(self, frame: pl.LazyFrame, raw: Mapping[str, Column]) -> pl.LazyFrame:
        """Rename, cast and complete `frame`, whose columns `raw` names, to this table's schema."""
        dtypes = frame.collect_schema()
        by_name = {column.name: name for name, column in raw.items()}
        return frame.select(
            cast(pl.col(by_name[c.name]), dtypes[by_name[c.name]], c.dtype).alias(c.name)
            if c.name in by_name
            else pl.lit(None, dtype=c.dtype).alias(c.name)
            for c in self.columns
        )


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
