"""`nsys export --type parquetdir` and `--type arrowdir`: one file per table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl
from polars.io.plugins import register_io_source

from parsers.errors import UnreadableTrace
from parsers.schema import ROWID, Column

T = TypeVar("T")


class ParquetDirectory:
    """A directory of TABLE.parquet files."""

    format = "parquetdir"
    suffix = ".parquet"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables = {
            file.stem: (ROWID, *_checked(file, pl.read_parquet_schema)) for file in sorted(path.glob(f"*{self.suffix}"))
        }

    def scan(self, source: str, wanted: Mapping[str, Column]) -> pl.LazyFrame:
        """See `Export.scan`."""
        return pl.scan_parquet(
            self.path / f"{source}{self.suffix}",
            row_index_name=ROWID if ROWID in wanted else None,
            row_index_offset=1,
            glob=False,
        ).select(wanted.keys())


class ArrowDirectory:
    """A directory of TABLE.arrow files, each an Arrow IPC stream."""

    format = "arrowdir"
    suffix = ".arrow"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._schemas = {file.stem: _checked(file, _stream_schema) for file in sorted(path.glob(f"*{self.suffix}"))}
        self.tables = {name: (ROWID, *schema) for name, schema in self._schemas.items()}

    def scan(self, source: str, wanted: Mapping[str, Column]) -> pl.LazyFrame:
        """See `Export.scan`. A stream has no index to skip by, so one table is read whole."""
        have = {ROWID: pl.UInt32(), **self._schemas[source]}
        schema = {name: have[name] for name in wanted}
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
        file = self.path / f"{source}{self.suffix}"
        frame = _checked(
            file,
            partial(
                pl.read_ipc_stream,
                columns=[name for name in names if name != ROWID] or None,
                row_index_name=ROWID if ROWID in names else None,
                row_index_offset=1,
            ),
        ).select(names)
        frame = frame if predicate is None else frame.filter(predicate)
        yield frame if n_rows is None else frame.head(n_rows)


def _stream_schema(file: Path) -> pl.Schema:
    return pl.read_ipc_stream(file, n_rows=0).schema


def _checked(file: Path, read: Callable[[Path], T]) -> T:
    """`read(file)`, its failures in one line."""
    try:
        return read(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UnreadableTrace(file, str(error), "export the report again with `nsys export`") from error
