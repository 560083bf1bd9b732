"""`nsys export --type sqlite`, read by ADBC's C driver into Arrow, several ranges of rows at once.

The file may come from a stranger: it is opened read-only, nothing in its schema is run, and the types that SQLite
declares are not trusted. A cell of another type is an error, never a wrong value.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from parsers.errors import UnreadableTrace
from parsers.export import Reader
from parsers.schema import ROWID, Column
from parsers.tables import TABLES

MAGIC = b"SQLite format 3\x00"
ROWS_PER_PART = 1 << 17
MAX_PARTS = 1 << 10
"""A bound for files whose row numbers lie far apart: their parts are wider."""
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
            self._check(connection)
            # Views and virtual tables are code, which is never run: nsys makes none.
            stored = "type = 'table' AND sql LIKE 'CREATE TABLE%'"
            listed = f"SELECT name, {stored} FROM sqlite_master WHERE type IN ('table', 'view')"
            for name, is_stored in connection.execute(listed).fetchall():
                if not is_stored:
                    self._refuse_activity(name)
                    continue
                columns = connection.execute("SELECT name FROM pragma_table_info(?)", (name,)).fetchall()
                self.tables[name] = (ROWID, *(column for (column,) in columns))

    def reader(self, source: str, wanted: Mapping[str, Column]) -> Reader:
        """See `Export.reader`."""
        if ROWID in {name.lower() for name in self.tables[source][1:]}:
            raise UnreadableTrace(self.path, f"table {source} has a column of its own called {ROWID}", REMEDY)
        schema = pl.Schema({ROWID: pl.Int64(), **{raw: _wire_dtype(column) for raw, column in wanted.items()}})
        return partial(self._read, source, schema)

    def _read(self, source: str, whole: pl.Schema, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        schema = pl.Schema({name: whole[name] for name in names})
        with self._connect(source) as connection:
            first, last = connection.execute(f"SELECT min(rowid), max(rowid) FROM {_quoted(source)}").fetchone()
        if first is None:
            yield pl.DataFrame(schema=schema)
            return
        # The driver takes the types of columns from the first row of a result, which may hold nulls or values of a
        # stranger's choosing. So the first row is ours, and is dropped again.
        ours = ", ".join(f"{_EXEMPLAR[schema[name]]} AS {_quoted(name)}" for name in names)
        theirs = ", ".join(_value(name, schema[name]) for name in names)
        wide = max(ROWS_PER_PART, (last - first) // MAX_PARTS + 1)
        queries = [
            f"SELECT {ours} UNION ALL SELECT {theirs} FROM {_quoted(source)} "
            f"WHERE rowid BETWEEN {low} AND {min(low + wide - 1, last)}"
            for low in range(first, last + 1, wide)
        ]
        pool = ThreadPoolExecutor(min(len(queries), os.cpu_count() or 1))
        try:
            for part in pool.map(partial(self._fetch, source, schema), queries):
                yield part.slice(1)
        finally:
            # A query may stop before the last part. An abandoned scan may be collected on any thread, one of the pool
            # among them, so nothing is waited for.
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, source: str, schema: pl.Schema, query: str) -> pl.DataFrame:
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
                frame = pl.DataFrame(stream)
        except (adbc_driver_manager.Error, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise self._unreadable(error, source) from error
        # Where a later row does not fit the type of the first, the driver has widened the column.
        for name, dtype in schema.items():
            if frame.schema[name] != dtype:
                problem = f"column {name} holds {_KINDS[frame.schema[name]]} where only {_KINDS[dtype]} belong"
                raise self._unreadable(problem, source)
        return frame

    @contextmanager
    def _connect(self, source: str | None = None) -> Iterator[sqlite3.Connection]:
        """A connection of Python's own, for the few queries about the file itself."""
        try:
            with closing(sqlite3.connect(self._uri, uri=True)) as connection:
                connection.execute("PRAGMA trusted_schema = OFF")
                # Names may be in any encoding.
                connection.text_factory = partial(str, encoding="utf-8", errors="replace")
                yield connection
        except (sqlite3.Error, UnicodeError) as error:
            # A message that quotes a damaged name cannot be decoded.
            raise self._unreadable(error, source) from error

    def _check(self, connection: sqlite3.Connection) -> None:
        """Refuse files that SQLite reads wrong without an error."""
        (size,), (count,) = (connection.execute(f"PRAGMA {what}").fetchone() for what in ("page_size", "page_count"))
        have = self.path.stat().st_size
        if have < size * count:
            raise UnreadableTrace(self.path, f"cut short, {have:,} of {size * count:,} bytes", REMEDY)
        (encoding,) = connection.execute("PRAGMA encoding").fetchone()
        if encoding != "UTF-8":
            raise UnreadableTrace(self.path, f"its text is in {encoding}, and nsys writes UTF-8", REMEDY)

    def _refuse_activity(self, name: str) -> None:
        """Refuse code in the place of GPU activity: a trace without the table would say that the GPU was idle."""
        if any(name in table.sources for table in TABLES.values() if table.is_gpu_activity):
            raise self._unreadable("not a table but a view or a virtual table, and nsys makes none", name)

    def _unreadable(self, problem: object, source: str | None) -> UnreadableTrace:
        return UnreadableTrace(self.path, f"table {source}: {problem}" if source else str(problem), REMEDY)

    @property
    def _uri(self) -> str:
        return f"file:{quote(os.fsencode(self.path.absolute()))}?mode=ro&immutable=1"


_EXEMPLAR: dict[Any, str] = {pl.Int64: "0", pl.Float64: "0.0", pl.Binary: "x''"}
_KINDS: dict[Any, str] = {pl.Int64: "integers", pl.Float64: "real numbers", pl.Binary: "bytes", pl.String: "text"}


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
