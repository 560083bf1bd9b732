"""`nsys export --type parquetdir` and `--type arrowdir`: one file per table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from parsers.errors import UnreadableTrace
from parsers.export import REMEDY, Reader
from parsers.schema import ROWID, Column

T = TypeVar("T")


class Directory:
    """A directory of files TABLE + `suffix`.

    Raises:
        UnreadableTrace: one of them is damaged.
    """

    format: str
    suffix: str

    def __init__(self, path: Path) -> None:
        self.path = path
        self._schemas = {
            file.stem: _checked(file, self._schema) for file in sorted(path.iterdir()) if self._is_table(file)
        }
        self.tables = {name: (ROWID, *schema) for name, schema in self._schemas.items()}

    @classmethod
    def made(cls, path: Path) -> bool:
        """Whether a directory has any such file."""
        return any(map(cls._is_table, path.iterdir()))

    @classmethod
    def _is_table(cls, file: Path) -> bool:
        # macOS puts files of its own beside those that it unpacks, under the same names after a dot.
        return file.suffix == cls.suffix and not file.name.startswith(".")

    def reader(self, source: str, wanted: Mapping[str, Column]) -> Reader:
        """See `Export.reader`."""
        have = {ROWID: pl.UInt32(), **self._schemas[source]}
        for name, column in wanted.items():
            if not _serves(have[name], column):
                problem = f"column {name} is {have[name]}, not {column.dtype}"
                raise UnreadableTrace(self._file(source), problem, REMEDY)
        return partial(self._read, source)

    def _read(self, source: str, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        # Read here and not in the plan of the person's query: so what is wrong with a file is told with its name.
        yield _checked(self._file(source), lambda file: self._open(file, names).select(names).collect())

    def _file(self, source: str) -> Path:
        return self.path / f"{source}{self.suffix}"

    @staticmethod
    @abstractmethod
    def _schema(file: Path) -> Mapping[str, pl.DataType]:
        """Names and types of a file's columns."""

    @staticmethod
    @abstractmethod
    def _open(file: Path, names: Sequence[str]) -> pl.LazyFrame:
        """At least the columns `names` of a file, the row number among them if it is."""


class ParquetDirectory(Directory):
    """A directory of TABLE.parquet files."""

    format = "parquetdir"
    suffix = ".parquet"

    @staticmethod
    def _schema(file: Path) -> Mapping[str, pl.DataType]:
        return _parquet(file).collect_schema()

    @staticmethod
    def _open(file: Path, names: Sequence[str]) -> pl.LazyFrame:
        return _parquet(file, ROWID if ROWID in names else None)


class ArrowDirectory(Directory):
    """A directory of TABLE.arrow files, each an Arrow IPC stream: it has no index, so a table is read whole."""

    format = "arrowdir"
    suffix = ".arrow"

    @staticmethod
    def _schema(file: Path) -> Mapping[str, pl.DataType]:
        return pl.read_ipc_stream(file, n_rows=0).schema

    @staticmethod
    def _open(file: Path, names: Sequence[str]) -> pl.LazyFrame:
        return pl.read_ipc_stream(
            file,
            columns=[name for name in names if name != ROWID] or None,
            row_index_name=ROWID if ROWID in names else None,
            row_index_offset=1,
        ).lazy()


def _parquet(file: Path, row_index_name: str | None = None) -> pl.LazyFrame:
    """A file, whatever characters its path has."""
    return pl.scan_parquet(file, row_index_name=row_index_name, row_index_offset=1, glob=False, hive_partitioning=False)


def _serves(have: pl.DataType, column: Column) -> bool:
    """Whether values of type `have` can be those of `column`: nsys changes widths and signs, and never the kind."""
    if column.dtype == pl.String:
        return have in {pl.String, pl.Binary, pl.Null}
    if column.dtype == pl.Float64:
        return have.is_numeric() or have == pl.Null
    return have.is_integer() or have in {pl.Boolean, pl.Null}


def _checked(file: Path, read: Callable[[Path], T]) -> T:
    """`read(file)`, its failures in one line."""
    if file.exists() and not file.is_file():
        # A pipe of this name would be waited for.
        raise UnreadableTrace(file, "not a file", REMEDY)
    try:
        return read(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise UnreadableTrace(file, str(error), REMEDY) from error
