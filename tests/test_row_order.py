"""The order of rows in an export never matters: nsys 2025.6 no longer promises any."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import parsers
import ttinsys
from tests.build import TraceBuilder
from tests.shared import CAPTURES, ROOT, of_capture, slow
from tests.test_everything import traces_for
from tests.test_replays import annotated, two_layers
from ttinsys.attribution.nvtx import all_ranges
from ttinsys.measures.series import NotASweep
from ttinsys.runner.registry import analysis_names, find
from ttinsys.runner.run import analyse
from ttinsys.stats import REPORT_NAMES, stats_report
from ttinsys.tables.needs import Lacking
from ttinsys.tables.overview import overview


def shuffled(trace: parsers.Trace, seed: int) -> parsers.Trace:
    """The trace with the rows of every table in another order; an event keeps the number that nsys gave it."""
    orders = {name: frame.select(pl.all().shuffle(seed)) for name, frame in trace.frames.items()}
    return trace.having(**orders)


def results(trace: parsers.Trace) -> dict[str, pl.DataFrame]:
    """Every table of a trace and of its analyses, in an order that does not come from the export."""
    ops = ttinsys.attribute(trace).collect()
    found = {"ops": ops.sort(pl.all()), "ranges": all_ranges(trace).collect()}
    for name in analysis_names():
        analysis = find(name)
        try:
            found[name] = analyse(name, *traces_for(analysis, trace))
        except (Lacking, NotASweep):
            continue
    seen = overview(trace)
    notes = pl.DataFrame({"note": seen.notes})
    return found | {"operations": seen.operations, "threads": seen.threads, "gpus": seen.gpus, "notes": notes}


def several() -> TraceBuilder:
    """Processes with device 0 each, two threads, domains, one name for many ranges, copies, a range left open."""
    t = TraceBuilder()
    t.gpu(0, "A")
    t.row("TARGET_INFO_GPU", id=1, name="B")
    for pid, gpu in ((10, 1), (20, 0)):
        t.row("TARGET_INFO_CUDA_DEVICE", gpuId=gpu, cudaId=0, pid=pid)
        t.process(pid, f"rank {pid}")
        t.domain(pid, 1, "lib", 0)
        for tid in (1, 2):
            thread = t.thread(pid, tid, f"thread {tid}")
            t.range(thread, "serve", tid, None)
            for step in range(5):
                at = 100 * step + 10 * tid
                t.range(thread, f"step_{step}", at, at + 90 - tid)
                t.range(thread, "blocks.0.attn1", at + 1, at + 50, domain=tid % 2)
                start = 1000 * step + 100 * tid + pid
                t.kernel(thread, f"gemm_{tid}", launch=(at + 5, at + 6), gpu=(start, start + 30 + step), stream=7 + tid)
                t.memcpy(thread, "HtoD", 10, launch=(at + 60, at + 61), gpu=(start + 40, start + 50 + tid))
    return t


EXAMPLES = {"several processes": several, "graph": two_layers, "annotated graph": annotated}


@pytest.mark.slow(7)
@pytest.mark.parametrize("seed", [0, slow(1)])
@pytest.mark.parametrize("example", ["graph", *map(slow, ("several processes", "annotated graph"))])
def test_analyses_do_not_depend_on_the_order_of_rows(tmp_path: Path, example: str, seed: int) -> None:
    trace = EXAMPLES[example]().load(tmp_path)
    expected, other = results(trace), results(shuffled(trace, seed))
    assert expected.keys() == other.keys()
    for name, frame in expected.items():
        assert_frame_equal(other[name], frame, check_exact=True)


@pytest.mark.parametrize("report", REPORT_NAMES)
def test_reports_of_nsys_do_not_depend_on_the_order_of_rows(tmp_path: Path, report: str) -> None:
    trace = several().load(tmp_path)
    build = stats_report(report).build
    # Of rows that nsys orders alike, the export's order decides.
    assert_frame_equal(build(shuffled(trace, 0)), build(trace), check_exact=True, check_row_order=False)


SAMPLE = ROOT / "sample_traces" / "synthetic-stable-diffusion.sqlite"

CHOSEN = ("torch-cudagraph", "torch-nccl", "torch-mnist-aten-2023.4_pqtdir", "mpi-saxpy")
"""Captures of two GPUs, of two threads, of another format, and with two API rows per launch."""


CHOSEN_CAPTURES = [of_capture(path) for path in CAPTURES if path.name.startswith(CHOSEN)]


@pytest.mark.slow(4)
@pytest.mark.parametrize("path", [slow(SAMPLE, seconds=20), *CHOSEN_CAPTURES])
def test_traces_do_not_depend_on_the_order_of_rows(path: Path) -> None:
    trace = parsers.load(path)
    expected, other = results(trace), results(shuffled(trace, 3))
    for name, frame in expected.items():
        assert_frame_equal(other[name], frame, check_exact=True)
