"""Destinations of results: each file is written whole or not at all."""

from __future__ import annotations

import io
import os
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

FORMATS = ("table", "markdown", "csv", "json", "parquet", "xlsx")
"""Values of `--format`."""

SUFFIXES = {"txt": "table", "md": "markdown"}
"""Formats of files whose suffix is not the name of their format."""

_BINARY = ("parquet", "xlsx", "html")
"""Formats that nobody reads in a terminal."""

PICTURES = ("svg", "png", "pdf", "html", "json")
"""Suffixes of files that `--plot` writes; JSON is the Vega-Lite specification."""


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
        announce: receives a sentence about each file once it is written; None keeps silent.
    """

    format: str = "table"
    path: Path | None = None
    force: bool = False
    rows: int = 50
    announce: Callable[[str], object] | None = None

    @property
    def for_people(self) -> bool:
        """Whether numbers are scaled and only the first rows are shown."""
        return self.format in ("table", "markdown")

    def check(self) -> None:
        """Raise `OutputError` now for what would fail after the work is done."""
        if self.format == "xlsx":
            check_sheets()
        if self.path is None:
            if sys.stdout is None:
                raise OutputError("standard output is closed: give -o FILE")
            if self.format in _BINARY and sys.stdout.isatty():
                raise OutputError(f"{self.format} is not for a terminal: give -o FILE")
            return
        try:
            self._check_file(self.path)
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror or error}: give another name") from error

    def _check_file(self, path: Path) -> None:
        if path.is_dir():
            raise OutputError(f"{path} is a directory: give a file")
        if path.exists():
            if not path.is_file():
                raise OutputError(f"{path} is a device or a pipe: give a file, or redirect standard output")
            if not self.force:
                raise OutputError(f"{path} exists: give --force to replace it, or another name")
        if not path.parent.is_dir():
            raise OutputError(f"{path.parent} is not a directory: make it first")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise OutputError(f"{path.parent} may not be written to: give another folder")


def check_sheets() -> None:
    """Raise `OutputError` where no sheet can be written."""
    if find_spec("xlsxwriter") is None:
        raise OutputError("xlsx needs the package xlsxwriter: pip install 'ttinsys[xlsx]'")


def emit_text(text: str, destination: Destination) -> None:
    """Write text as it is; raises as `emit` does."""
    # The text may hold a path, which can be any bytes.
    write_to(destination, lambda file: file.write(text.encode(errors="replace")))


def write_to(destination: Destination, write: Callable[[IO[bytes]], Any], *, content: str = "") -> None:
    """Call `write` with a binary file: standard output, or one that takes its place only when it is whole.

    Every file that a command writes goes through here, except those of `folder.write_folder`.

    Args:
        destination: where to; a file is announced.
        write: writes to the file that it receives.
        content: what the announcement says of the content, such as the number of rows.

    Raises:
        OutputError: it could not be written; no file is left half written.
        BrokenPipeError: the reader of standard output has gone.
    """
    if destination.path is None:
        _write_to_stdout(write)
        return
    # The target of a link is replaced, not the link.
    target = Path(os.path.realpath(destination.path))
    beside = target.with_name(f".ttinsys.{secrets.token_hex(8)}.partial")
    try:
        try:
            with beside.open("xb") as file:
                _pour(write, file)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: {error.strerror or error}: nothing was written") from error
    finally:
        # Ctrl-C arrives twice, from Polars and from Python: the second may interrupt the tidying up above.
        beside.unlink(missing_ok=True)
    if destination.announce is not None:
        destination.announce(f"wrote {destination.path}{f' ({content})' if content else ''}")


def _write_to_stdout(write: Callable[[IO[bytes]], Any]) -> None:
    try:
        sys.stdout.flush()
        _pour(write, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # Python would flush the rest of the buffer when it exits, fail again, and print a message of its own.
        discard(sys.stdout)
        raise OutputError(f"standard output: {error.strerror or error}: not all was written") from error


def _pour(write: Callable[[IO[bytes]], Any], file: IO[bytes]) -> None:
    """Call `write` with a stand-in for `file`; an error of the file itself is raised, whatever `write` made of it."""
    raw = _Recorder(file)
    try:
        with io.BufferedWriter(raw, _BUFFER_BYTES) as buffered:
            write(buffered)
    except Exception:
        if raw.error is not None:
            raise raw.error from None
        raise


class _Recorder(io.RawIOBase):
    """A file without a descriptor: to one, Polars would write itself, slower, and raise errors of another type."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Write to the file, and keep its error."""
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise


_BUFFER_BYTES = 1 << 20


def discard(stream: IO[str]) -> None:
    """Send what is written to the stream's descriptor from now on to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def printable(text: str) -> str:
    """Text from a trace, with U+FFFD for each character that could control a terminal."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "�" for character in text)
