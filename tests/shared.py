"""The real captures beside the checkout, and nsys itself; tests that need what is absent skip."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

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

each_capture = pytest.mark.parametrize(
    "capture",
    [pytest.param(path, id=path.name) for path in CAPTURES] or [pytest.param(None, marks=needs_captures)],
)
"""Run a test once per real capture, as its argument `capture`."""


def planned(name: str, *traces: Trace, **options: Any) -> pl.DataFrame:
    """An analysis as a pure function of the tables of traces called `0`, `1` and so on, whatever it needs of them."""
    return find(name).plan({str(number): tables_of(trace) for number, trace in enumerate(traces)}, **options).collect()


def under_nsys(folder: Path, program: list[str]) -> Path:
    """Capture a program, and export it to SQLite."""
    report = folder / "run"
    done = subprocess.run(
        [
            str(NSYS),
            "profile",
            "--trace=nvtx",
            "--sample=none",
            "--cpuctxsw=none",
            "--export=sqlite",
            "-o",
            report,
            *program,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.with_suffix(".sqlite").exists(), done.stdout[-2000:] + done.stderr[-2000:]
    return report.with_suffix(".sqlite")
