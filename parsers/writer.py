"""Write frames under nsys's own table and column names as an export that nsys accepts.

    write_sqlite("run.sqlite", {"StringIds": strings, "CUPTI_ACTIVITY_KIND_KERNEL": kernels})

The export has the schema of `parsers.nsys_schema`. Columns that are left out are null, or the neutral default declared
there. Tables without rows are not created, as nsys does not create them. `enumerations` and `export_info` of
`parsers.nsys_schema` make the tables that a complete export holds beside the events.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import polars as pl

from parsers.nsys_schema import NsysColumn, columns_of
from parsers.schema import cast

ROWS_PER_INSERT = 50_000


def write_sqlite(path: str | Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write an export like `nsys export --type sqlite`.

    Args:
        path: the file; one that exists is replaced, once the new one is whole.
        tables: rows by nsys's name of the table, with nsys's names of columns. IDs of 64 bits may be signed or not.

    Raises:
        ValueError: a table or a column is unknown, a column without a default is left out, a null stands where nsys
            has none, or a value does not fit.
    """
    with _beside(Path(path)) as partial, closing(sqlite3.connect(partial, isolation_level=None)) as connection:
        # The file is renamed when it is whole, so it needs no protection from a crash before.
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for table, frame in tables.items():
            typed = _typed(table, frame)
            if not typed.is_empty():
                _insert(connection, table, typed)
        connection.execute("COMMIT")


def write_parquetdir(path: str | Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write an export like `nsys export --type parquetdir`: one TABLE.parquet each, not compressed.

    Args:
        path: the directory, new or empty.
        tables: as for `write_sqlite`.

    Raises:
        ValueError: as `write_sqlite`.
        FileExistsError: `path` is a file, or a directory that holds something.
    """
    with _beside(Path(path), directory=True) as partial:
        for table, frame in tables.items():
            typed = _typed(table, frame)
            if not typed.is_empty():
                whole = [
                    cast(expr, column.dtype, column.parquet_dtype).alias(column.name)
                    for column, expr in _whole(table, typed.columns)
                ]
                typed.lazy().select(whole).sink_parquet(partial / f"{table}.parquet", compression="uncompressed")


def write_arrowdir(path: str | Path, tables: Mapping[str, pl.DataFrame]) -> None:
    """Write an export like `nsys export --type arrowdir`: one Arrow IPC stream TABLE.arrow each.

    Args:
        path: the directory, new or empty.
        tables: as for `write_sqlite`.

    Raises:
        ValueError: as `write_sqlite`.
        FileExistsError: as `write_parquetdir`.
    """
    with _beside(Path(path), directory=True) as partial:
        for table, frame in tables.items():
            typed = _typed(table, frame)
            if not typed.is_empty():
                whole = typed.select(expr.alias(column.name) for column, expr in _whole(table, typed.columns))
                # Arrow's older layout of strings, which every reader knows, as nsys writes it.
                whole.write_ipc_stream(partial / f"{table}.arrow", compat_level=pl.CompatLevel.oldest())


def _typed(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that `frame` has, in nsys's order and its own types.

    Raises:
        ValueError: `frame` cannot be written as `table`.
    """
    columns = columns_of(table)
    unknown = [name for name in frame.columns if name not in {column.name for column in columns}]
    if unknown:
        raise ValueError(f"{table} has no column {unknown[0]}: it has {', '.join(column.name for column in columns)}")
    typed: list[pl.Expr] = []
    for column in columns:
        if column.name not in frame.columns:
            if not column.nullable and column.default is None:
                raise ValueError(f"{table} needs a column {column.name}: nsys has no row without it")
            continue
        have = frame.schema[column.name]
        if not column.nullable and frame[column.name].null_count():
            raise ValueError(f"{table}: column {column.name} may not be null")
        if have != pl.Null and _family(have) != _family(column.dtype):
            raise ValueError(f"{table}: column {column.name} is {column.dtype}, not {have}")
        typed.append(cast(pl.col(column.name), have, column.dtype))
    try:
        return frame.select(typed)
    except pl.exceptions.InvalidOperationError as error:
        raise ValueError(f"{table}: {str(error).splitlines()[0]}") from error


def _family(dtype: pl.DataType) -> str:
    """The kind of a type: types of one kind convert without loss where the value fits."""
    if dtype.is_float():
        return "float"
    return "integer" if dtype.is_integer() or dtype == pl.Boolean else str(dtype)


def _whole(table: str, given: Collection[str]) -> Iterator[tuple[NsysColumn, pl.Expr]]:
    """Every column of `table`, with the expression that gives its values; `given` are those of the frame."""
    for column in columns_of(table):
        default = pl.lit(column.default, dtype=column.dtype)
        yield column, pl.col(column.name) if column.name in given else default


def _insert(connection: sqlite3.Connection, table: str, typed: pl.DataFrame) -> None:
    """Create `table` and insert its rows."""
    columns = columns_of(table)
    connection.execute(f'CREATE TABLE "{table}" ({", ".join(map(_declaration, columns))})')
    # Values that are the same in every row stand in the statement: a row binds only those that vary.
    values = ["?" if column.name in typed.columns else _literal(column) for column in columns]
    statement = f'INSERT INTO "{table}" VALUES ({", ".join(values)})'
    bound = [cast(pl.col(name), dtype, _bindable(dtype)) for name, dtype in typed.schema.items()]
    for part in typed.iter_slices(ROWS_PER_INSERT):
        try:
            connection.executemany(statement, part.select(bound).rows())
        except sqlite3.IntegrityError as error:
            raise ValueError(f"{table}: {error}") from error


def _declaration(column: NsysColumn) -> str:
    constraints = " NOT NULL" * (not column.nullable) + " PRIMARY KEY" * column.key
    return f'"{column.name}" {column.sqlite_type}{constraints}'


def _literal(column: NsysColumn) -> str:
    return "NULL" if column.default is None else str(column.default)


def _bindable(dtype: pl.DataType) -> pl.DataType:
    """The type that is bound: SQLite has no unsigned integers, and nsys keeps their 64 bits."""
    return pl.Int64() if dtype == pl.UInt64 else dtype


@contextmanager
def _beside(path: Path, *, directory: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place once everything is written."""
    if directory and path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists and is not an empty directory")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    _remove(partial)
    try:
        if directory:
            partial.mkdir()
        yield partial
        partial.replace(path)
    finally:
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
