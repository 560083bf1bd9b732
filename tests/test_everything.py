"""Every analysis on every real capture, on every tiny model's, and on the study's eight at full size."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import polars as pl
import pytest

import parsers
from annotate.models import MODELS
from tests.shared import each_capture, needs_nsys, under_nsys
from ttinsys import figures
from ttinsys.figures.style import NothingToDraw
from ttinsys.runner.registry import Analysis, analysis_names, find
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

STUDY = ("llama2-7b", "imagen", "stable-diffusion", "muse", "parti-3b", "sdxl", "make-a-video", "phenaki")
FOR_ANY_TRACE = ("breakdown", "diff", "gaps", "kernels", "layers", "ranges_by_name", "speedup")
"""What needs no annotation of ours."""
OF_A_SWEEP = ("scaling",)
"""What needs several sizes of one model."""


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
        # Kernels of a trace without any are an empty list: what the command says beside it tells why.
        assert rows(name, trace) or name == "kernels"
    except Lacking as error:
        return str(error)
    return None


@each_capture
@pytest.mark.parametrize("name", analysis_names())
def test_analysis_of_a_real_capture_has_rows_or_says_what_is_missing(capture: Path, name: str) -> None:
    trace = parsers.load(capture)
    said = refusal(name, trace)
    if said is None:
        return
    assert said.startswith(f"{capture} ")
    assert "python -m annotate.run" in said or "--trace=cuda,nvtx" in said
    on_gpu = trace.kernels.select(pl.len()).collect().item() > 0
    assert not (on_gpu and name in FOR_ANY_TRACE)


@each_capture
@pytest.mark.parametrize("name", analysis_names())
def test_analysis_of_a_real_capture_is_the_same_to_the_bit_at_every_run(capture: Path, name: str) -> None:
    trace, analysis = parsers.load(capture), find(name)
    try:
        frames = [analyse(analysis.name, *traces_for(analysis, trace)) for _ in range(3)]
    except Lacking:
        return
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])


@pytest.mark.parametrize("name", [name for name in analysis_names() if name not in OF_A_SWEEP])
@pytest.mark.parametrize("workload", STUDY)
def test_analysis_of_each_of_the_studys_eight_at_full_size(workload: str, name: str) -> None:
    pytest.importorskip("diffusers")
    from tests.simulated import simulated

    kinds = [parsers.load(simulated(workload, attention)) for attention in ("eager", "sdpa")]
    assert rows(name, *kinds)


@needs_nsys
@pytest.mark.parametrize("workloads", [list(MODELS)[first::4] for first in range(4)], ids=lambda group: group[0])
def test_every_analysis_of_every_tiny_models_capture(tmp_path: Path, workloads: list[str]) -> None:
    pytest.importorskip("nvtx")
    for workload in workloads:
        folder = tmp_path / workload
        folder.mkdir()
        program = [sys.executable, "tests/annotated.py", str(folder / "opened.json"), workload]
        trace = parsers.load(under_nsys(folder, program))
        said = {name: refusal(name, trace) for name in analysis_names()}
        told = {name for name, reason in said.items() if reason is None}
        assert {"layers", "ranges_by_name", "lengths", "phases"} <= told, workload
        for name, reason in said.items():
            # No GPU ran it, and it was no run of annotate.run: nothing else is missing.
            assert reason is None or "GPU" in reason or "what was run" in reason, (workload, name)
