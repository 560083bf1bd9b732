"""What many tests share: real captures beside the checkout, nsys itself, and what is made once for all workers."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from parsers import Trace
from ttinsys.runner.registry import find
from ttinsys.tables.registry import tables_of

ROOT = Path(__file__).resolve().parents[1]
TRACES = Path(__file__).resolve().parents[2] / "shared" / "traces"
"""Real captures, with NVIDIA's own reports in `nsys-stats`."""
CAPTURES = sorted([*TRACES.glob("*.sqlite"), *TRACES.glob("*_pqtdir")])
ORACLES = sorted((TRACES / "nsys-stats").glob("*.csv.gz"))
NSYS = os.environ.get("NSYS") or shutil.which("nsys")

needs_captures = pytest.mark.skipif(not CAPTURES, reason="no real captures in ../shared/traces")
needs_nsys = pytest.mark.skipif(NSYS is None, reason="no nsys on PATH or in $NSYS")


def slow(*values: object, seconds: float = 1) -> pytest.ParameterSet:
    """Values with which a parametrised test takes about so long: the fast tier leaves them out."""
    return pytest.param(*values, marks=pytest.mark.slow(seconds))


QUICK_CAPTURE = "torch-cudagraph-2024.6."
"""The capture of the fast tier: the least costly one that has operations of a GPU."""


def of_capture(path: Path, name: str | None = None) -> pytest.ParameterSet:
    """A real capture, or what nsys printed of one, as the value of a parametrised test; slow for most captures.

    Args:
        path: The file.
        name: What the test is called with it; by default the file's name.
    """
    marks = () if path.name.startswith(QUICK_CAPTURE) else (pytest.mark.slow(1),)
    return pytest.param(path, id=name or path.name, marks=marks)


each_capture = pytest.mark.parametrize(
    "capture", [of_capture(path) for path in CAPTURES] or [pytest.param(None, marks=needs_captures)]
)
"""Run a test once per real capture, as its argument `capture`."""

QUICK_MODELS = ("llama2-7b", "phenaki")
"""Models of the fast tier: the least costly ones of language and of video."""

FEW_EXAMPLES = "few examples"
"""Hypothesis profile of the fast tier: see `tests/conftest.py`."""


def examples(count: int) -> settings:
    """Settings of a property test: `count` examples, or the few of the fast tier, however long each takes."""
    few = settings.get_profile(FEW_EXAMPLES)
    return settings(deadline=None, max_examples=min(count, few.max_examples) if settings.default == few else count)


SESSION_FOLDER = "TTINSYS_TESTS_FOLDER"
"""Variable with the folder that all workers of a run of the tests share: see `tests/conftest.py`."""


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """A file or folder of a run of the tests, made by the first worker that asks for it, while the others wait.

    Args:
        name: What tells it from all others.
        make: Writes it to the path that it is given.
    """
    path = Path(os.environ[SESSION_FOLDER]) / name
    with path.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed, be it by the end of the process
        if not path.exists():
            unfinished = path.with_name(f"{name}.unfinished")
            make(unfinished)
            unfinished.rename(path)
    return path


def planned(name: str, *traces: Trace, **options: Any) -> pl.DataFrame:
    """An analysis as a pure function of the tables of traces called `0`, `1` and so on, whatever it needs of them."""
    return find(name).plan({str(number): tables_of(trace) for number, trace in enumerate(traces)}, **options).collect()


NSYS_FAULTS = ("Local Endpoint is not available", "Multiple different definitions of the same VmTidToPidInfo")
"""What nsys prints where, under load, it does not start the program, or cannot read its own records of processes."""


def run_under_nsys(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command that profiles with nsys, and run it once more if nsys itself failed, which leaves no export.

    Nothing else is tried again: neither a program that fails under nsys, nor a capture that lacks what it should hold.

    Args:
        command: nsys, or a program that runs nsys and prints why it failed.
    """
    for _ in range(2):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if not any(fault in done.stdout + done.stderr for fault in NSYS_FAULTS):
            break
    return done


def under_nsys(folder: Path, program: Sequence[str]) -> Path:
    """Capture a program, and export it to SQLite; `run_under_nsys` says what is tried again."""
    export = folder / "run.sqlite"
    output = str(export.with_suffix(""))
    options = ["--trace=nvtx", "--sample=none", "--cpuctxsw=none", "--export=sqlite", "-o", output]
    done = run_under_nsys([str(NSYS), "profile", *options, *program])
    assert export.exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return export
