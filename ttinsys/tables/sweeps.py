"""Sweeps: folders that `annotate.sweep` writes, with a manifest of the points, their captures and errors."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parsers.errors import TraceError, UnreadableTrace
from ttinsys.attribution.labels import load_json

SWEEP_MANIFEST = "sweep.json"
"""Name of the manifest in the folder of a sweep."""

FORMAT = 1
"""Version of the manifest that this module reads."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a sweep.

    Args:
        options: options of `annotate.run`, by their names with underscores.
        trace: path of its capture; None where there is none.
        error: why there is no capture; None where there is one.
        wall_s: wall-clock time of each measured run, in seconds, as the run reports it.
        peak_bytes: greatest amount of memory that each run had allocated, in bytes, as the run reports it.
    """

    options: dict[str, str]
    trace: Path | None
    error: str | None
    wall_s: tuple[float, ...]
    peak_bytes: tuple[int, ...]


_MOST = (1 << 63) - 1
"""The greatest Int64, which a column of bytes can hold."""


def is_sweep(path: Path) -> bool:
    """Whether a path is the folder of a sweep."""
    # The operating system refuses names that are too long.
    with suppress(OSError):
        return (path / SWEEP_MANIFEST).is_file()
    return False


def points_of(folder: Path) -> list[Point]:
    """The points of a sweep's folder, in the order in which they were tried.

    Raises:
        UnreadableTrace: the manifest is damaged, is not one of `annotate.sweep`, or has another version.
    """
    path = folder / SWEEP_MANIFEST
    try:
        manifest = load_json(path.read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            problem = f"has format {manifest['format']}, and this ttinsys reads {FORMAT}"
            raise UnreadableTrace(path, problem, "upgrade ttinsys")
        return [_point(folder, entry) for entry in manifest["points"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UnreadableTrace(path, "not a manifest of annotate.sweep", "run the sweep again") from error


def captures_of(folder: Path) -> list[Path]:
    """The captures of a sweep's folder.

    Raises:
        TraceError: the sweep has no capture, or its manifest cannot be read.
    """
    captures = [point.trace for point in points_of(folder) if point.trace is not None]
    if not captures:
        remedy = f"see the errors in its {SWEEP_MANIFEST}, and try again with `python -m annotate.sweep --retry`"
        raise TraceError(f"{folder} holds no capture: {remedy}")
    return captures


def _point(folder: Path, entry: dict[str, Any]) -> Point:
    runs = entry.get("runs", [])
    name = Path(entry.get("trace") or "").name
    return Point(
        options={str(key): str(value) for key, value in entry["point"].items()},
        # A manifest may come from anyone: only its own folder is read, whatever path it names.
        trace=folder / name if entry["status"] == "done" and name not in ("", "..") and "\0" not in name else None,
        error=str(entry["error"]) if "error" in entry else None,
        wall_s=tuple(float(run["wall_s"]) for run in runs),
        peak_bytes=tuple(min(int(run["peak_bytes"]), _MOST) for run in runs),
    )
