"""A trace: where it came from, and one lazy frame per table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from parsers.errors import MissingTable, TraceError, did_you_mean
from parsers.origin import KINETO, origin, remedy
from parsers.tables import TABLES


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trace:
    """An nsys export or a trace of the PyTorch profiler, opened.

    `trace.kernels` is a lazy frame, and so is every table of `parsers.tables.TABLES`.

    A frame has the declared schema whether the export has rows for it or not.

    Args:
        path: what was opened.
        format: `"sqlite"`, `"parquetdir"`, `"arrowdir"` or `"kineto"`, a trace of the PyTorch profiler.
        sources: the nsys table that each of our tables is read from; tables that the export lacks are left out.
        nsys_tables: every table of the export, by its nsys name.
        frames: a frame for each of our tables.
    """

    path: Path
    format: str
    sources: Mapping[str, str]
    nsys_tables: tuple[str, ...]
    frames: Mapping[str, pl.LazyFrame]

    def __getattr__(self, name: str) -> pl.LazyFrame:
        # Python looks here for what is not a field; while a trace is copied it has no fields yet.
        if name != "frames" and name in self.frames:
            return self.frames[name]
        raise AttributeError(self._no_table(name) if name != "frames" else name)

    def __dir__(self) -> list[str]:
        return sorted({*object.__dir__(self), *self.frames})

    def has(self, table: str) -> bool:
        """Whether the export has `table`; nsys creates a table only where it has rows for it."""
        return table in self.sources

    def having(self, **frames: pl.LazyFrame) -> Trace:
        """The same trace with other frames, of the same schemas, for some of its tables.

        Raises:
            TypeError: a name is none of a table.
        """
        for name in frames.keys() - self.frames.keys():
            raise TypeError(self._no_table(name))
        return replace(self, frames={**self.frames, **frames})

    def require(self, tables: Sequence[str]) -> None:
        """Check that the export has at least one of `tables`.

        Raises:
            MissingTable: it has none; the error says what to do.
        """
        if not any(self.has(name) for name in tables):
            of_nsys = [source for name in tables for source in TABLES[name].sources]
            raise MissingTable(self.path, tables if self.format == KINETO else of_nsys, self.remedy(tables[0]))

    def remedy(self, table: str) -> str:
        """How to capture a table that the trace lacks."""
        return remedy(self.format, TABLES[table])

    def __repr__(self) -> str:
        return (
            f"Trace({str(self.path)!r}, {self.format}, {self._exporter()}, tables: {', '.join(self.sources) or 'none'})"
        )

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row) + "</tr>"
            for row in ((name, source, TABLES[name].doc) for name, source in self.sources.items())
        )
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in ("table", "nsys table", "rows"))
        title = f"<b>{html.escape(str(self.path))}</b>: {html.escape(f'{self.format}, {self._exporter()}')}"
        return f"<table><caption>{title}</caption><tr>{head}</tr>{rows}</table>"

    def _exporter(self) -> str:
        """The program that made the trace. No event is read for it."""
        try:
            info = dict(self.frames["export_info"].collect().drop_nulls().iter_rows())
        except TraceError:
            info = {}
        return origin(self.format, info)

    def _no_table(self, name: str) -> str:
        return f"a trace has no table {name!r}{did_you_mean(name, self.frames)}: it has {', '.join(self.frames)}"
