"""`nsys export --type parquetdir` and `--type arrowdir`: a directory with one file per table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from parsers.errors import UnreadableTrace
from parsers.export import REMEDY, Reader
from parsers.memory import refuse_too_large
from parsers.schema import ROWID, Column

T = TypeVar("T")


class Directory:
    """A directory of files TABLE + `suffix`.

    Raises:
        UnreadableTrace: a file is damaged.
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
        """Whether a directory holds such files."""
        return any(map(cls._is_table, path.iterdir()))

    @classmethod
    def _is_table(cls, file: Path) -> bool:
        # macOS adds files of its own to those that it unpacks, under the same names with a dot before.
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
        # Collected here and not in the plan of the query, so that an error names the file.
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
        """At least the columns `names` of a file, which may include the row number."""


class ParquetDirectory(Directory):
    """A directory of TABLE.parquet files."""

    format = "parquetdir"
    suffix = ".parquet"

    @staticmethod
    def _schema(file: Path) -> Mapping[str, pl.DataType]:
        return _parquet(file).collect_schema()

    @staticmethod
    def _open(file: Path, names: Sequence[str]) -> pl.LazyFrame:
        table = _parquet(file)
        # The number of rows stands in the metadata: nothing is decoded for it.
        refuse_too_large(file, table.collect_schema(), names, rows=table.select(pl.len()).collect().item())
        return _parquet(file, ROWID) if ROWID in names else table


class ArrowDirectory(Directory):
    """A directory of TABLE.arrow files, each an Arrow IPC stream.

    Polars reads a stream from its beginning to its end and keeps only the columns asked for: five columns of a million
    rows take 0.11 s and 48 MB. pyarrow takes 0.02 s of a mapped file, but 0.2 s to be imported, and has to check what
    it read. So `ttinsys stats -r nvtx_kern_sum` of a million kernels costs 0.98 s and 570 MB through Polars, 1.04 s and
    660 MB through pyarrow.
    """

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
    """Scan a file, whatever characters its path has."""
    return pl.scan_parquet(file, row_index_name=row_index_name, row_index_offset=1, glob=False, hive_partitioning=False)


def _serves(have: pl.DataType, column: Column) -> bool:
    """Whether values of type `have` can be those of `column`: nsys changes widths and signs, never the kind."""
    if column.dtype == pl.String:
        return have in {pl.String, pl.Binary, pl.Null}
    if column.dtype == pl.Float64:
        return have.is_numeric() or have == pl.Null
    return have.is_integer() or have in {pl.Boolean, pl.Null}


def _checked(file: Path, read: Callable[[Path], T]) -> T:
    """`read(file)`, with its errors as `UnreadableTrace`."""
    if file.exists() and not file.is_file():
        # Opening a pipe would wait for a writer.
        raise UnreadableTrace(file, "not a file", REMEDY)
    try:
        return read(file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise UnreadableTrace(file, str(error), REMEDY) from error
