"""What every export format offers: the tables that it holds, and a reader for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import polars as pl

from parsers.errors import UnreadableTrace
from parsers.scan import lazy
from parsers.schema import ROWID, Column, Table

Reader = Callable[[Sequence[str]], Iterator[pl.DataFrame]]
"""Reads columns of one nsys table, given by their names there: rows in parts, in the order of the export."""

REMEDY = "export the report again with `nsys export`"


class Export(Protocol):
    """An opened nsys export."""

    @property
    def path(self) -> Path:
        """File or folder of the export."""
        ...

    @property
    def format(self) -> str:
        """`"sqlite"`, `"parquetdir"`, `"arrowdir"` or `"kineto"`."""
        ...

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """Column names by nsys table name, the row number among them."""
        ...

    def reader(self, source: str, wanted: Mapping[str, Column]) -> Reader:
        """The reader of an nsys table. It reads only the columns of each call.

        Args:
            source: nsys's name of the table.
            wanted: the columns that may be read, by their names in the export.

        Raises:
            UnreadableTrace: the table cannot hold these columns.
        """
        ...


def read(export: Export, table: Table) -> pl.LazyFrame:
    """One declared table of an export: lazy, with the declared schema; without rows where the export lacks it.

    Raises:
        MissingColumn: the table is there without a column that it needs.
    """
    source = source_of(export, table)
    if source is None:
        return table.empty()
    by_alias = table.resolve(export.path, source, export.tables[source])
    reader = export.reader(source, by_alias)

    def rows(names: Sequence[str]) -> Iterator[pl.DataFrame]:
        present = [alias for alias, column in by_alias.items() if column.name in names]
        # A part without any column has no height: where all that is asked for is absent, another column counts rows.
        for part in reader(present or [*by_alias][:1] or [ROWID]):
            try:
                conforming = table.conform(part, by_alias, names)
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                problem = f"table {source}: {next(iter(str(error).splitlines()), '')}"
                raise UnreadableTrace(export.path, problem, REMEDY) from error
            yield conforming

    return lazy(table.schema, rows)


def source_of(export: Export, table: Table) -> str | None:
    """The nsys table that `table` is read from: the first of its sources that has the required columns, or None.

    So CUDA_GRAPH_EVENTS, which held nodes until nsys 2023.4 and holds graphs since, is read only as the former. A table
    with one source is read from it, and what it lacks is an error.
    """
    present = [source for source in table.sources if source in export.tables]
    if len(table.sources) == 1:
        return next(iter(present), None)
    required = [column.aliases for column in table.columns if column.required]
    return next(
        (name for name in present if all(not set(export.tables[name]).isdisjoint(aliases) for aliases in required)),
        None,
    )
