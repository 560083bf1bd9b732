"""Every tiny model, captured by nsys once per run of the tests, in groups that share the start of a process."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from annotate.models import MODELS
from tests.shared import made_once, under_nsys

GROUPS = [list(MODELS)[first::4] for first in range(4)]
"""Each model is in one group."""

each_group = pytest.mark.parametrize("models", GROUPS, ids=lambda models: models[0])
"""Run a test once per group of models, as its argument `models`."""


@dataclass(frozen=True)
class TinyCapture:
    """A capture of several models that ran one after the other in one process.

    Args:
        trace: The SQLite export.
        opened: What `tests/annotated.py` wrote: the ranges that were opened, as JSON.
    """

    trace: Path
    opened: Path

    def of_model(self, name: str, folder: Path) -> Path:
        """Copy the trace into `folder`, with the ranges of one model alone."""
        path = Path(shutil.copy(self.trace, folder / f"{name}.sqlite"))
        text = "coalesce(text, (SELECT value FROM StringIds WHERE id = textId))"
        with closing(sqlite3.connect(path)) as connection, connection:
            # Of a push/pop or start/end range; marks stay, as models share the numbers of calls that they explain.
            connection.execute(
                f"DELETE FROM NVTX_EVENTS WHERE eventType IN (59, 60) AND {text} NOT GLOB ?", (f"{name}.*",)
            )
        return path


def captured_group(models: Sequence[str]) -> TinyCapture:
    """The capture of a group of models, one of `GROUPS`: no model is captured twice."""
    assert models in GROUPS

    def capture(unfinished: Path) -> None:
        unfinished.mkdir(exist_ok=True)
        under_nsys(unfinished, [sys.executable, "tests/annotated.py", str(unfinished / "opened.json"), *models])

    made = made_once(f"tiny-{models[0]}", capture)
    return TinyCapture(made / "run.sqlite", made / "opened.json")
