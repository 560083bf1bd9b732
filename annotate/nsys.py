"""The nsys program: where it is, how it is called, and whether a capture holds what it should.

command = nsys_command(["python", "-m", "annotate.run", "--model", "wan-1.3b"], "wan", device="cuda")
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from annotate.errors import MissingPackage, NothingRecorded
from annotate.labels import DOMAIN

WINDOW = "measured"
"""Range around the measured runs: what opens a capture where there is no CUDA to open it."""

EXPORTS = ("sqlite", "parquetdir", "arrowdir", "none")
"""Formats to which a capture is exported; `none` leaves the report alone."""

_PUSH_POP = 59


def find_nsys(given: str | None = None) -> str:
    """The nsys to call: the one given, $NSYS, or the one on PATH.

    Raises:
        MissingPackage: there is none.
    """
    wanted = given or os.environ.get("NSYS") or "nsys"
    found = shutil.which(wanted)
    if found is None:
        raise MissingPackage(
            f"{wanted} is not a program here: install Nsight Systems (developer.nvidia.com/nsight-systems) and put "
            "nsys on PATH, or say where it is with --nsys PATH"
        )
    return found


def nsys_command(
    program: Sequence[str], output: str, *, device: str, window: bool = False, nsys: str = "nsys"
) -> list[str]:
    """How nsys captures a program with what the analyses need and nothing else.

    Args:
        program: the command to capture.
        output: the report, with or without its suffix.
        device: `cuda` or `cpu`; without a GPU there are ranges alone to trace.
        window: whether only what the program calls measured is captured.
        nsys: the program.
    """
    on_gpu = device.startswith("cuda")
    options = ["--trace=cuda,nvtx,cudnn,cublas" if on_gpu else "--trace=nvtx", "--sample=none", "--cpuctxsw=none"]
    if on_gpu:
        options.append("--cuda-graph-trace=node")
    if window:
        opened = ["cudaProfilerApi"] if on_gpu else ["nvtx", f"--nvtx-capture={WINDOW}@{DOMAIN}"]
        options += [f"--capture-range={opened[0]}", *opened[1:], "--capture-range-end=stop"]
    return [nsys, "profile", *options, f"--output={output}", *program]


def capture(command: Sequence[str], report: Path) -> subprocess.CompletedProcess[str]:
    """Run an nsys command, its output kept; what it writes lies at `report` only if it succeeded."""
    report.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def export(report: Path, kind: str, output: Path, nsys: str) -> None:
    """Export a report.

    Raises:
        NothingRecorded: nsys could not.
    """
    done = subprocess.run(
        [nsys, "export", f"--type={kind}", "--force-overwrite=true", f"--output={output}", str(report)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not output.exists():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NothingRecorded(f"{report}: nsys could not export it: {said[-1] if said else 'it said nothing'}")


def check_ranges(report: Path, expected: int, nsys: str) -> int:
    """Count the ranges of annotation that arrived in a report, and compare with what the run had opened.

    Raises:
        NothingRecorded: there are more or fewer.
    """
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "check.sqlite"
        export(report, "sqlite", exported, nsys)
        arrived = count_ranges(exported)
    if arrived != expected:
        lost = "none" if not arrived else f"{arrived:,}"
        raise NothingRecorded(
            f"{report}: the run opened {expected:,} ranges and {lost} arrived: check that NVTX is traced "
            "(--trace=...,nvtx), that NVTX_DISABLE is not set, and that nothing stopped the capture early"
        )
    return arrived


def count_ranges(exported: Path) -> int:
    """Push/pop ranges in the domain of annotation, in an SQLite export."""
    with closing(sqlite3.connect(f"file:{exported}?mode=ro", uri=True)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "NVTX_EVENTS" not in tables:
            return 0
        # A capture that began later may lack the domain's name: its marks name it.
        ours = (
            "SELECT DISTINCT domainId FROM NVTX_EVENTS LEFT JOIN StringIds ON StringIds.id = textId "
            "WHERE eventType = 34 AND coalesce(value, text) LIKE 'ttinsys/%'"
        )
        query = f"SELECT count(*) FROM NVTX_EVENTS WHERE eventType = {_PUSH_POP} AND domainId IN ({ours})"
        (count,) = database.execute(query).fetchone()
    return int(count)
