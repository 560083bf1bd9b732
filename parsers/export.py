"""What every export format offers: the tables it holds, and a lazy scan of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import polars as pl

from parsers.schema import Column, Table


class Export(Protocol):
    """An opened nsys export."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        ...

    @property
    def format(self) -> str:
        """`"sqlite"`, `"parquetdir"` or `"arrowdir"`."""
        ...

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """Column names by nsys table name."""
        ...

    def scan(self, source: str, wanted: Mapping[str, Column]) -> pl.LazyFrame:
        """Columns `wanted` (by their nsys name, the row number included) of the nsys table `source`."""
        ...


def read(export: Export, table: Table) -> pl.LazyFrame:
    """One declared table of an export: lazy, with the declared schema; without rows where the export lacks it.

    Raises:
        MissingColumn: the table is there without a column that it needs.
    """
    source = source_of(export, table)
    if source is None:
        return table.empty()
    wanted = table.resolve(export.path, source, export.tables[source])
    return table.conform(export.scan(source, wanted), wanted)


def source_of(export: Export, table: Table) -> str | None:
    """The nsys table that serves `table`, or None: where there may be several, the first that has what is required.

    So CUDA_GRAPH_EVENTS, which held nodes until nsys 2023.4 and holds graphs since, serves only as the former.
    """
    present = [source for source in table.sources if source in export.tables]
    if len(table.sources) == 1:
        return next(iter(present), None)
    required = [column.aliases for column in table.columns if column.required]
    return next(
        (name for name in present if all(not set(export.tables[name]).isdisjoint(aliases) for aliases in required)),
        None,
    )
