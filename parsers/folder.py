"""Folders that hold several traces."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from parsers.directory import ArrowDirectory, ParquetDirectory
from parsers.foreign import HEAD_BYTES, is_profiler_trace
from parsers.nsys_rep import SUFFIXES
from parsers.tables import TABLES


def traces_in(folder: Path) -> list[Path]:
    """The traces that a folder holds, by name.

    A capture that lies there in several forms counts once: as its .sqlite file, else as its parquetdir or arrowdir
    folder (`nsys export` calls them after the report, with `_pqtdir` or `_arwdir`), else as its report. A trace of the
    PyTorch profiler is a capture of its own: as its .json file, else as its .json.gz.

    Args:
        folder: any path.

    Returns:
        Files and folders, each to `load`; none where `folder` is no folder, or is itself an export.
    """
    # A name may be too long, and a folder may be unreadable: then it stands for itself, and `load` says so.
    with suppress(OSError):
        if folder.is_dir() and not _is_export(folder):
            by_capture: dict[str, Path] = {}
            visible = (entry for entry in sorted(folder.iterdir()) if not entry.name.startswith("."))
            for entry in sorted(visible, key=_preference):
                if _preference(entry) < _NO_TRACE:
                    by_capture.setdefault(_capture(entry), entry)
            return sorted(by_capture.values())
    return []


_NO_TRACE = 5
JSON_SUFFIXES = (".json", ".json.gz")
"""Suffixes of traces of the PyTorch profiler."""


def _preference(entry: Path) -> int:
    """Rank of a form of a capture: of several, the one with the least is read."""
    if entry.is_dir():
        return 1 if _is_export(entry) else _NO_TRACE
    if entry.name.endswith(JSON_SUFFIXES):
        return 3 + entry.name.endswith(".gz") if _is_of_profiler(entry) else _NO_TRACE
    return {".sqlite": 0, **dict.fromkeys(SUFFIXES, 2)}.get(entry.suffix, _NO_TRACE)


def _capture(entry: Path) -> str:
    """The name that all forms of a capture share."""
    if entry.is_dir():
        return re.sub(r"_(pqt|arw)dir$", "", entry.name)
    return entry.name.removesuffix(".gz") if entry.name.endswith(JSON_SUFFIXES) else entry.stem


def _is_of_profiler(file: Path) -> bool:
    """Whether a .json file is a trace of the PyTorch profiler: by its name, or else by how it begins."""
    if ".pt.trace.json" in file.name:
        return True
    try:
        if not file.is_file():
            return False
        with file.open("rb") as opened:
            return is_profiler_trace(opened.read(HEAD_BYTES))
    except OSError:
        return False


def _is_export(folder: Path) -> bool:
    """Whether a folder holds tables of nsys, as Parquet or Arrow; other tables may be results of ours."""
    sources = {source for table in TABLES.values() for source in table.sources}
    try:
        files = [*folder.iterdir()]
    except OSError:
        return False
    return any(file.stem in sources and file.suffix in _TABLE_SUFFIXES for file in files)


_TABLE_SUFFIXES = (ParquetDirectory.suffix, ArrowDirectory.suffix)
