"""A trace: where it came from, and one lazy frame per table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from parsers.errors import MissingTable
from parsers.tables import TABLES


@dataclass(frozen=True, slots=True)
class Trace:
    """An nsys export, opened. Every frame has the schema that `parsers.tables` declares, rows or none.

    Args:
        path: what the person passed.
        format: `"sqlite"`, `"parquetdir"` or `"arrowdir"`.
        sources: the nsys table that serves each of our tables, where there is one.
        nsys_tables: every table of the export, by its nsys name.
    """

    path: Path
    format: str
    sources: dict[str, str]
    nsys_tables: tuple[str, ...]
    kernels: pl.LazyFrame
    memcpys: pl.LazyFrame
    memsets: pl.LazyFrame
    graph_launches: pl.LazyFrame
    api_calls: pl.LazyFrame
    nvtx_events: pl.LazyFrame
    graph_nodes: pl.LazyFrame
    strings: pl.LazyFrame
    gpus: pl.LazyFrame
    threads: pl.LazyFrame
    processes: pl.LazyFrame
    export_info: pl.LazyFrame

    def has(self, table: str) -> bool:
        """Whether the export has `table`; nsys creates a table only where it has rows for it."""
        return table in self.sources

    def having(self, **frames: pl.LazyFrame) -> Trace:
        """The same trace with other frames, of the same schemas, for some of its tables."""
        others: dict[str, Any] = dict(frames)
        return replace(self, **others)

    def require(self, tables: Sequence[str]) -> None:
        """Check that the export has at least one of `tables`.

        Raises:
            MissingTable: it has none; the error tells the remedy.
        """
        if not any(self.has(name) for name in tables):
            sources = [source for name in tables for source in TABLES[name].sources]
            raise MissingTable(self.path, sources, TABLES[tables[0]].remedy)
