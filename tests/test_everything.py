"""Every analysis on every real capture, on every tiny model's, and on the study's eight at full size."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import parsers
from tests.shared import CAPTURES, ROOT, each_capture, needs_nsys
from tests.tiny_captures import captured_group, each_group
from ttinsys import figures
from ttinsys.figures.style import NothingToDraw
from ttinsys.measures.series import NotASweep
from ttinsys.runner.registry import Analysis, analysis_names, find
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

STUDY = ("llama2-7b", "imagen", "stable-diffusion", "muse", "parti-3b", "sdxl", "make-a-video", "phenaki")


def traces_for(analysis: Analysis, *traces: parsers.Trace) -> tuple[parsers.Trace, ...]:
    """As many of the traces as the analysis takes at least, the last one again where there are too few."""
    return (*traces, *[traces[-1]] * analysis.least)[: max(analysis.least, 1)]


def rows(name: str, *traces: parsers.Trace) -> int:
    """Run an analysis, and see that its table is what it declares and that its picture can be drawn."""
    analysis = find(name)
    frame = analyse(analysis.name, *traces_for(analysis, *traces))
    declared = analysis.returns.schema
    assert {column: frame.schema[column] for column in declared} == dict(declared)
    with contextlib.suppress(NothingToDraw):
        assert figures.svg(figures.draw_figure(name, frame)).startswith("<svg")
    return frame.height


def refusal(name: str, trace: parsers.Trace) -> str | None:
    """Why an analysis cannot serve a trace; None where it can."""
    try:
        # Of operations alone, a trace without any has an empty list; the command prints why.
        assert rows(name, trace) or find(name).tables == ("ops",)
    except Lacking as error:
        return str(error)
    return None


def needed_tables(name: str) -> set[str]:
    """The tables in which a trace must have something for an analysis."""
    return {need.table for need in find(name).needs}


@each_capture
@pytest.mark.parametrize("name", analysis_names())
def test_analysis_of_a_real_capture_has_rows_or_says_what_is_missing(capture: Path, name: str) -> None:
    trace = parsers.load(capture)
    reason = refusal(name, trace)
    if reason is None:
        return
    assert reason.startswith(f"{capture} ")
    assert "python -m annotate.run" in reason or "--trace=cuda,nvtx" in reason
    on_gpu = trace.kernels.select(pl.len()).collect().item() > 0
    # What needs operations alone serves any trace of a GPU.
    assert not (on_gpu and needed_tables(name) <= {"ops"})


@pytest.mark.parametrize(
    "capture", [path for path in CAPTURES if path.name.startswith(("torch-cudagraph-", "torch-trimmed-2gpu-"))]
)
@pytest.mark.parametrize("name", analysis_names())
@pytest.mark.slow(1)
def test_analysis_of_a_real_capture_is_the_same_to_the_bit_at_every_run(capture: Path, name: str) -> None:
    trace, analysis = parsers.load(capture), find(name)
    try:
        frames = [analyse(analysis.name, *traces_for(analysis, trace)) for _ in range(2)]
    except Lacking:
        return
    assert frames[0].equals(frames[1])


_ALL_TABLES = """if True:
    import sys, ttinsys
    from ttinsys.runner.registry import analysis_names, find
    trace = ttinsys.load(sys.argv[1])
    for name in analysis_names():
        if name != "scaling":  # it takes a sweep
            print(name, getattr(ttinsys, name)(*[trace] * find(name).least).write_json())
"""


@pytest.mark.slow(5)
def test_analyses_are_the_same_to_the_bit_with_any_number_of_threads() -> None:
    # Polars adds up floats per thread, and divides some columns through an inverse.
    one, three = (
        subprocess.run(
            [sys.executable, "-c", _ALL_TABLES, ROOT / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 3)
    )
    assert one == three
    assert one.count("\n") == len(analysis_names()) - 1


@pytest.mark.slow(2)
@pytest.mark.parametrize("name", analysis_names())
@pytest.mark.parametrize("workload", STUDY)
def test_analysis_of_each_of_the_studys_eight_at_full_size(workload: str, name: str) -> None:
    pytest.importorskip("diffusers")
    from tests.simulated import simulated

    kinds = [parsers.load(simulated(workload, attention)) for attention in ("eager", "sdpa")]
    with contextlib.suppress(NotASweep):  # both are of one size
        assert rows(name, *kinds)


@needs_nsys
@pytest.mark.slow(30)
@each_group
def test_every_analysis_of_every_tiny_models_capture(models: list[str], tmp_path: Path) -> None:
    pytest.importorskip("nvtx")
    capture = captured_group(models)
    for workload in models:
        trace = parsers.load(capture.of_model(workload, tmp_path))
        for name in analysis_names():
            # No GPU ran it, and it was no run of annotate.run: nothing else is missing.
            missing = needed_tables(name) & {"ops", "runs"}
            reason = refusal(name, trace)
            assert (reason is None) == (not missing), (workload, name)
            assert reason is None or "GPU" in reason or "what was run" in reason, (workload, name)
