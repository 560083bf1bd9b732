"""A folder of captures that `annotate.sweep` made: its points, their captures, and why others have none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parsers.errors import TraceError, UnreadableTrace
from ttinsys.attribution.labels import load_json

SWEEP_MANIFEST = "sweep.json"
"""Name of the file that says what a folder holds: `annotate.sweep` writes it."""

FORMAT = 1
"""Version of it that is read here."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a sweep.

    Args:
        options: of `annotate.run`, by name with underscores.
        trace: its capture; None where there is none.
        error: why there is none.
        wall_s: seconds that each measured run took, as it says itself.
        peak_bytes: the most memory that each run had allocated, as it says itself.
    """

    options: dict[str, str]
    trace: Path | None
    error: str | None
    wall_s: tuple[float, ...]
    peak_bytes: tuple[int, ...]


_MOST = (1 << 63) - 1
"""Bytes that a table can hold."""


def is_sweep(path: Path) -> bool:
    """Whether a path is the folder of a sweep."""
    with suppress(OSError):  # a name longer than names may be
        return (path / SWEEP_MANIFEST).is_file()
    return False


def points_of(folder: Path) -> list[Point]:
    """The points of a sweep's folder, in the order in which they were tried.

    Raises:
        UnreadableTrace: its manifest is none, is damaged, or is of a version that is not read.
    """
    path = folder / SWEEP_MANIFEST
    try:
        said = load_json(path.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise UnreadableTrace(path, f"of format {said['format']}, and {FORMAT} is read", "upgrade ttinsys")
        return [_point(folder, entry) for entry in said["points"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UnreadableTrace(path, "not a manifest of annotate.sweep", "make the sweep again") from error


def captures_of(folder: Path) -> list[Path]:
    """The captures of a sweep's folder.

    Raises:
        TraceError: it has none, or its manifest cannot be read.
    """
    captures = [point.trace for point in points_of(folder) if point.trace is not None]
    if not captures:
        raise TraceError(f"{folder} holds no capture: {SWEEP_MANIFEST} says why; `annotate.sweep --retry` tries again")
    return captures


def _point(folder: Path, entry: dict[str, Any]) -> Point:
    runs = entry.get("runs", [])
    name = Path(entry.get("trace") or "").name
    return Point(
        options={str(key): str(value) for key, value in entry["point"].items()},
        # A manifest comes from a stranger: what it names is in its folder.
        trace=folder / name if entry["status"] == "done" and name not in ("", "..") and "\0" not in name else None,
        error=str(entry["error"]) if "error" in entry else None,
        wall_s=tuple(float(run["wall_s"]) for run in runs),
        peak_bytes=tuple(min(int(run["peak_bytes"]), _MOST) for run in runs),
    )
