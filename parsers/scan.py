"""A lazy frame over a function that reads some columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import polars as pl
from polars.io.plugins import register_io_source


def lazy(schema: pl.Schema, read: Callable[[Sequence[str]], Iterator[pl.DataFrame]]) -> pl.LazyFrame:
    """Scan through `read`, which is called when a query runs, and with only the columns that the query uses.

    Args:
        schema: names and dtypes of all columns.
        read: returns the rows, in parts, with at least the columns asked for.
    """

    def source(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        # Where a query only counts rows, Polars 1 asks for no column, and a frame without columns has no rows.
        columns = schema.names() if with_columns is None else with_columns or schema.names()[:1]
        filtered_by = [] if predicate is None else predicate.meta.root_names()
        left = n_rows
        for part in read(list(dict.fromkeys([*columns, *filtered_by]))):
            rows = part if predicate is None else part.filter(predicate)
            rows = rows.select(columns) if left is None else rows.select(columns).head(left)
            yield rows
            if left is not None:
                left -= rows.height
                if left == 0:
                    return

    return register_io_source(source, schema=schema, is_pure=True)
