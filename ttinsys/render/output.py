"""Where a result goes, and that it gets there whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

FORMATS = ("table", "csv", "json", "parquet")
"""What `--format` takes."""


class OutputError(Exception):
    """A result could not be written; `str(error)` is one line for a person."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a result goes.

    Args:
        format: one of `FORMATS`.
        path: the file; None is standard output.
        force: whether an existing file may be replaced.
        rows: how many rows a table for people shows; 0 is all.
    """

    format: str = "table"
    path: Path | None = None
    force: bool = False
    rows: int = 50

    def check(self) -> None:
        """Raise `OutputError` now for what would fail after the work is done."""
        if self.path is None:
            if self.format == "parquet" and sys.stdout.isatty():
                raise OutputError("parquet is not for a terminal: give -o FILE")
            return
        if self.path.is_dir():
            raise OutputError(f"{self.path} is a directory: give a file")
        if self.path.exists() and not self.force:
            raise OutputError(f"{self.path} exists: give --force to replace it, or another name")
        if not self.path.parent.is_dir():
            raise OutputError(f"{self.path.parent} is not a directory: make it first")


def emit_text(text: str, destination: Destination) -> None:
    """Write text that is already in its final form; raises as `emit` does."""
    write_to(destination, lambda file: file.write(text.encode()))


def write_to(destination: Destination, write: Callable[[IO[bytes]], Any]) -> None:
    """Call `write` with a binary file: standard output, or one that takes its place only when it is whole.

    Raises:
        OutputError: it could not be written; no file is left half written.
    """
    if destination.path is None:
        sys.stdout.flush()
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    target = destination.path
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            mask = os.umask(0)
            os.umask(mask)
            Path(name).chmod(0o666 & ~mask)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror or error}: nothing was written") from error
