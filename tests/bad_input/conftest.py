"""The small trace that tests of bad input change by SQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.bad_input.shared import builder


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., Path]:
    """Write the small trace to SQLite, and run statements on it; values replace their `:name`."""

    def make(*statements: str, **values: str | int) -> Path:
        path = builder().write(tmp_path / "t.sqlite")
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(
                    statement, {name: value for name, value in values.items() if f":{name}" in statement}
                )
        return path

    return make
