"""`nsys export --type sqlite`: read by ADBC's C driver into Arrow, several row ranges at once.

The file may come from a stranger: it is opened read-only, nothing in its schema is run, and SQLite's declared
types are not believed. A cell whose type is not the declared one is an error, never a wrong value.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from polars.io.plugins import register_io_source

from parsers.errors import UnreadableTrace
from parsers.schema import ROWID, Column

MAGIC = b"SQLite format 3\x00"
ROWS_PER_PART = 1 << 17
REMEDY = "export the report again with `nsys export --type sqlite`"


class SqliteExport:
    """An nsys SQLite export.

    Raises:
        UnreadableTrace: the file is damaged, or not a database.
    """

    format = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: dict[str, tuple[str, ...]] = {}
        with self._connect() as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            for name in names:
                columns = connection.execute("SELECT name FROM pragma_table_info(?)", (name,)).fetchall()
                self.tables[name] = (ROWID, *(column for (column,) in columns))

    def scan(self, source: str, wanted: Mapping[str, Column]) -> pl.LazyFrame:
        """See `Export.scan`. Only the columns that a query uses are read."""
        schema = {raw: _wire_dtype(column) for raw, column in wanted.items()}
        return register_io_source(partial(self._read, source, schema), schema=schema, is_pure=True)

    def _read(
        self,
        source: str,
        schema: Mapping[str, pl.DataType],
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,
    ) -> Iterator[pl.DataFrame]:
        names = list(schema) if with_columns is None else with_columns
        with self._connect() as connection:
            first, last = connection.execute(f"SELECT min(rowid), max(rowid) FROM {_quoted(source)}").fetchone()
        if first is None:
            yield pl.DataFrame(schema={name: schema[name] for name in names})
            return
        # The first row of a result fixes its columns' types for the driver, and a column may begin with nulls
        # or with values of a stranger's choosing: so the first row is ours, and it is dropped again.
        ours = ", ".join(f"{_EXEMPLAR[schema[name]]} AS {_quoted(name)}" for name in names)
        theirs = ", ".join(_value(name, schema[name]) for name in names)
        queries = [
            f"SELECT {ours} UNION ALL SELECT {theirs} FROM {_quoted(source)} "
            f"WHERE rowid BETWEEN {low} AND {min(low + ROWS_PER_PART - 1, last)}"
            for low in range(first, last + 1, ROWS_PER_PART)
        ]
        left = n_rows
        with ThreadPoolExecutor(min(len(queries), os.cpu_count() or 1)) as pool:
            for part in pool.map(self._fetch, queries):
                rows = part.slice(1)
                rows = rows if predicate is None else rows.filter(predicate)
                if left is not None:
                    rows = rows.head(left)
                    left -= rows.height
                yield rows
                if left == 0:
                    pool.shutdown(cancel_futures=True)
                    return

    def _fetch(self, query: str) -> pl.DataFrame:
        import adbc_driver_manager
        import adbc_driver_sqlite

        try:
            with (
                adbc_driver_manager.AdbcDatabase(driver=adbc_driver_sqlite._driver_path(), uri=self._uri) as database,
                adbc_driver_manager.AdbcConnection(database) as connection,
                adbc_driver_manager.AdbcStatement(connection) as statement,
            ):
                statement.set_options(**{"adbc.sqlite.query.batch_rows": str(ROWS_PER_PART + 1)})
                statement.set_sql_query(query)
                stream, _ = statement.execute_query()
                return pl.DataFrame(stream)
        except (adbc_driver_manager.Error, pl.exceptions.PolarsError) as error:
            raise UnreadableTrace(self.path, str(error), REMEDY) from error

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A plain connection, for the few questions about the file itself."""
        try:
            connection = sqlite3.connect(self._uri, uri=True)
            connection.execute("PRAGMA trusted_schema = OFF")
            # Names may be in any encoding.
            connection.text_factory = partial(str, encoding="utf-8", errors="replace")
            yield connection
            connection.close()
        except sqlite3.Error as error:
            raise UnreadableTrace(self.path, str(error), REMEDY) from error

    @property
    def _uri(self) -> str:
        return f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"


_EXEMPLAR: dict[Any, str] = {pl.Int64: "0", pl.Float64: "0.0", pl.Binary: "x''"}


def _wire_dtype(column: Column) -> pl.DataType:
    """The type under which a column leaves SQLite: it knows integers, floats, and bytes."""
    if column.dtype == pl.String:
        return pl.Binary()
    return pl.Float64() if column.dtype == pl.Float64 else pl.Int64()


def _value(name: str, dtype: pl.DataType) -> str:
    # Text is fetched as bytes: the driver does not check that it is UTF-8.
    return f"CAST({_quoted(name)} AS BLOB)" if dtype == pl.Binary else _quoted(name)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
