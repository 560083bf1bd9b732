"""A lazy frame over a function reads what a query uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import polars as pl
import pytest

from parsers import scan


def test_query_that_only_counts_rows_reads_one_column_and_counts_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Polars 1 asks for no column then, and rows without columns cannot be counted."""
    asked: list[Sequence[str]] = []

    def read(names: Sequence[str]) -> Iterator[pl.DataFrame]:
        asked.append(names)
        yield pl.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]}).select(names)

    monkeypatch.setattr(scan, "register_io_source", lambda source, **_: source)
    source = cast("Callable[..., Iterator[Any]]", scan.lazy(pl.Schema({"a": pl.Int64(), "b": pl.Int64()}), read))
    assert [part.height for part in source([], None, None, None)] == [3]
    assert [part.height for part in source([], pl.col("b") > 4, None, None)] == [2]
    assert asked == [["a"], ["a", "b"]]
