"""Folders that a command writes and may replace: a manifest in each lists the files that the command wrote."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ttinsys.render.output import OutputError

FOLDER_MANIFEST = "ttinsys-manifest.json"
"""File in a written folder that lists all of its other files."""


def is_written(folder: Path) -> bool:
    """Whether a folder was written by `write_folder`."""
    with suppress(OSError):  # such as a name that is too long
        return (folder / FOLDER_MANIFEST).is_file()
    return False


def check_folder(folder: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Refuse a folder that may not be written, before any work is done.

    Args:
        folder: the folder to write.
        force: whether a folder that an earlier run wrote may be replaced.
        inputs: files and folders that the command reads; none of them may lie in `folder`.

    Raises:
        OutputError: the folder holds an input, exists without `force`, or holds a file that ttinsys did not write.
    """
    target = Path(os.path.realpath(folder))
    for path in inputs:
        real = Path(os.path.realpath(path))
        if real == target or target in real.parents:
            raise OutputError(f"{folder} holds {path}, which is read: give another folder")
    if not os.path.lexists(folder):
        return
    if not is_written(folder):
        raise OutputError(f"{folder} exists and was not written by ttinsys: give another name")
    foreign = sorted(set(_files(folder)) - _own(folder))
    if foreign:
        raise OutputError(f"{folder} holds {foreign[0]}, which ttinsys did not write: move it, or give another name")
    if not force:
        raise OutputError(f"{folder} exists: give --force to replace it, or another name")


def write_folder(
    folder: Path, write: Callable[[Path], None], *, force: bool = False, inputs: Iterable[Path] = ()
) -> None:
    """Write a folder whole or not at all, with its manifest.

    Args:
        folder: the folder to write; missing parents are made.
        write: writes files into the empty folder that it receives.
        force: as for `check_folder`.
        inputs: as for `check_folder`.

    Raises:
        OutputError: as `check_folder`, or the folder could not be written, and is as it was.
    """
    check_folder(folder, force=force, inputs=inputs)
    # What a link names is replaced, not the link.
    target = Path(os.path.realpath(folder))
    beside: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".ttinsys.", suffix=".partial", dir=target.parent))
        made, old = beside / "new", beside / "old"
        made.mkdir(mode=0o755)
        write(made)
        listed = {"files": sorted(map(str, _files(made)))}
        (made / FOLDER_MANIFEST).write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
        if target.exists():
            target.rename(old)
        try:
            made.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror or error}: nothing was written") from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    """Paths, relative to a folder, of its files and links, without its manifest; links are not followed."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118
        for name in [*files, *links]:
            path = Path(parent, name).relative_to(folder)
            if path != Path(FOLDER_MANIFEST):
                yield path


def _own(folder: Path) -> set[Path]:
    """The files that the manifest of a folder lists; none where the manifest is damaged."""
    try:
        listed = json.loads((folder / FOLDER_MANIFEST).read_text(encoding="utf-8"))["files"]
        return {Path(name) for name in listed if isinstance(name, str)}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
