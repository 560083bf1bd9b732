"""`.nsys-rep` and `.qdrep` reports, which `nsys export` turns into SQLite.

The export is kept in the user's cache folder under the report's path, size and time of change: a report is exported
once.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from parsers.errors import UnreadableTrace

SUFFIXES = (".nsys-rep", ".qdrep")
"""Suffixes of reports, of nsys since 2021.4 and before."""


def exported(report: Path, nsys: str | None = None) -> Path:
    """The SQLite export of `report`, from the cache where it has one.

    Args:
        report: a `.nsys-rep` or `.qdrep` file.
        nsys: the nsys program; None looks for `nsys` on PATH.

    Raises:
        UnreadableTrace: nsys is missing, or rejects the report.
    """
    status = report.stat()
    key = hashlib.sha256(f"{report.absolute()}\0{status.st_size}\0{status.st_mtime_ns}".encode()).hexdigest()[:16]
    cached = cache_folder() / f"{report.stem[:50]}-{key}.sqlite"
    if not cached.exists():
        program = shutil.which(nsys or "nsys")
        if program is None:
            raise UnreadableTrace(
                report,
                f"a report is read through nsys, and {nsys or 'nsys'} was not found",
                "give --nsys PATH, or run `nsys export --type sqlite` where it was captured and pass the .sqlite file",
            )
        cached.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and then renamed: an interrupted export is never taken for a whole one.
        with tempfile.TemporaryDirectory(dir=cached.parent) as beside:
            _export(program, report, Path(beside) / cached.name)
            (Path(beside) / cached.name).replace(cached)
    return cached


def cache_folder() -> Path:
    """Folder of exports: `$XDG_CACHE_HOME/ttinsys`, or the platform's own cache folder."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("ttinsys", appauthor=False))


def _export(program: str, report: Path, target: Path) -> None:
    """Run `nsys export`; its progress is shown where standard error is a terminal."""
    command = [program, "export", "--type", "sqlite", "--output", str(target), str(report)]
    watched = sys.stderr is not None and sys.stderr.isatty()
    # nsys draws its progress on standard output, which is for data.
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr if watched else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            # Without a limit, Ctrl-C is ignored: Polars restarts the system calls that it interrupts.
            timeout=_DAY_S,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableTrace(report, "`nsys export` did not end within a day", _ELSEWHERE) from error
    if done.returncode or not target.exists():
        lines = (done.stdout or "").strip().splitlines()
        message = lines[-1] if lines else "see above"
        raise UnreadableTrace(report, f"`nsys export` ended with status {done.returncode}: {message}", _ELSEWHERE)


_DAY_S = 24 * 60 * 60
_ELSEWHERE = "export it with the nsys that captured it, or a newer one, and pass the .sqlite file"
