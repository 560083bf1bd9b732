"""Iterations and blocks without ranges: by hand, on real captures, and as steps of other analyses."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import parsers
from tests.build import TraceBuilder
from tests.shared import TRACES, each_capture, needs_captures, planned
from ttinsys.cli import main
from ttinsys.figures import draw_figure, svg
from ttinsys.figures.style import NothingToDraw
from ttinsys.runner.registry import find
from ttinsys.runner.run import analyse
from ttinsys.tables.registry import tables_of
from ttinsys.tables.structure import with_steps_of_structure

HEAD = ["embed", "index", "copy", "cast", "rope", "mask"]
LAYER = ["norm", "qkv_gemm", "flash_fwd", "out_gemm", "add", "norm2", "up_gemm", "gelu", "down_gemm", "add2"]
TAIL = ["final_norm", "head_gemm", "argmax", "sample"]


def steps(count: int = 4, *, slow: int = 2, layers: int = 3) -> TraceBuilder:
    """Steps of 6 + 3 x 10 + 4 = 40 kernels of 10 ns, 20 ns apart; those of the step `slow` begin 40 ns apart.

    A copy of 100 ns comes before the first kernel, and another of 5 ns after each step.
    """
    t = TraceBuilder()
    main = t.thread()
    t.memcpy(main, "HtoD", 8, launch=(0, 1), gpu=(0, 100))
    now = 1000
    for step in range(count):
        for name in [*HEAD, *LAYER * layers, *TAIL]:
            t.kernel(main, name, launch=(now - 5, now - 4), gpu=(now, now + 10))
            now += 40 if step == slow else 20
        t.memcpy(main, "DtoH", 8, launch=(now - 5, now - 4), gpu=(now, now + 5))
        now += 20
    return t


def test_steps_layers_and_what_comes_before_are_told_apart(tmp_path: Path) -> None:
    frame = analyse("structure", steps().load(tmp_path))
    assert frame.select("name", "depth", "instances", "ops", "sum_ns").rows() == [
        ("device 0, process 10", 0, 1, 165, 1720),
        ("prologue", 1, 1, 1, 100),
        ("iteration", 1, 4, 164, 1620),
        ("block", 2, 12, 120, 1200),
    ]
    # From the first kernel to the end of the copy: 40 x 20 + 5 ns, and 40 x 40 + 5 ns in the slow step.
    iteration = frame.row(2, named=True)
    assert [iteration[f"{name}_ns"] for name in ("median", "p95", "min", "max")] == [805, 1605, 805, 1605]
    assert (iteration["outliers"], iteration["ops_each"], iteration["start_ns"]) == (1, 41, 1000)
    # 13 of the 40 kernels are gemms: 130 of 405 ns.
    assert "gemm 32%" in iteration["operators"]


def test_listed_iterations_are_numbered_and_hold_their_blocks(tmp_path: Path) -> None:
    frame = analyse("structure", steps().load(tmp_path), list=True)
    assert frame["name"].to_list()[:7] == [
        "device 0, process 10", "prologue", "iteration 0", "block 0", "block 1", "block 2", "iteration 1",
    ]  # fmt: skip
    listed = frame.filter(pl.col("part") == "iteration")
    assert listed["start_ns"].to_list() == [1000, 1820, 2640, 4260]
    assert listed["sum_ns"].to_list() == [405] * 4


def test_trace_without_repetition_has_one_row_and_says_so(tmp_path: Path) -> None:
    t = TraceBuilder()
    main_thread = t.thread()
    for number in range(3):
        t.kernel(main_thread, f"k{number}", launch=(10 * number, 10 * number + 1), gpu=(10 * number, 10 * number + 5))
    path = t.write(tmp_path / "few.sqlite")
    assert analyse("structure", parsers.load(path)).select("part", "ops", "sum_ns").rows() == [("device", 3, 15)]
    done = CliRunner().invoke(main, ["structure", str(path)])
    assert (done.exit_code, "nothing repeats in the sequence of its kernels" in done.stderr) == (0, True)


def test_each_device_of_each_process_has_its_own_iterations(tmp_path: Path) -> None:
    t = TraceBuilder()
    for pid, device, count in ((10, 0, 4), (20, 1, 6)):
        thread = t.thread(pid, pid)
        for number, name in enumerate([*HEAD, *LAYER, *TAIL] * count):
            at = 100 + 20 * number
            t.kernel(thread, name, launch=(at - 5, at - 4), gpu=(at, at + 10), device=device)
    frame = analyse("structure", t.load(tmp_path)).filter(pl.col("part") == "iteration")
    assert frame.select("pid", "device", "instances").rows() == [(10, 0, 4), (20, 1, 6)]


@pytest.mark.slow(1)
def test_iterations_serve_as_steps_where_they_are_asked_for(tmp_path: Path) -> None:
    trace = steps().load(tmp_path)
    assert analyse("breakdown", trace, by="step")["step"].to_list() == [None]
    frame = analyse("breakdown", trace, by="step", steps_from="structure")
    assert frame.select("step", "instances", "sum_ns").rows(named=False) == [
        (None, 1, 100), (0, 41, 405), (1, 41, 405), (2, 41, 405), (3, 41, 405),
    ]  # fmt: skip
    gaps = analyse("gaps", trace, by="step", steps_from="structure")
    # 15 ns after the copy of the step before, 30 ns before each further kernel and before the step's own copy.
    assert gaps.filter(pl.col("step") == 2)["idle_ns"].item() == 15 + 40 * 30
    assert (gaps["step_id"].drop_nulls() < 0).all()


def test_calls_have_the_step_of_their_operations(tmp_path: Path) -> None:
    t = steps()
    thread = t.thread()
    # Around the launches of the first step's first three kernels.
    t.range(thread, "unet", 990, 1050)
    tables = tables_of(t.load(tmp_path))
    ranges = with_steps_of_structure(tables)["ranges"].select("name", "step", "step_id").collect()
    assert ranges.rows() == [("unet", 0, -1)]


@pytest.mark.slow(1)
def test_command_that_found_no_step_suggests_the_option(tmp_path: Path) -> None:
    path = str(steps().write(tmp_path / "run.sqlite"))
    runner = CliRunner()
    assert "--steps-from structure" in runner.invoke(main, ["breakdown", path, "--by", "step"]).stderr
    assert "--steps-from" not in runner.invoke(main, ["breakdown", path, "--by", "operator"]).stderr
    done = runner.invoke(main, ["breakdown", path, "--by", "step", "--steps-from", "structure", "-f", "csv"])
    assert "--steps-from" not in done.stderr
    assert done.stdout.count("\n") == 6


@pytest.mark.slow(1)
def test_figures_show_parts_along_time_or_by_their_shares(tmp_path: Path) -> None:
    trace = steps().load(tmp_path)
    for listed in (False, True):
        picture = svg(draw_figure("structure", analyse("structure", trace, list=listed)))
        assert "iteration" in picture
    nothing = analyse("structure", trace).head(1)
    with pytest.raises(NothingToDraw):
        draw_figure("structure", nothing)


@needs_captures
@pytest.mark.parametrize(
    ("capture", "iterations", "kernels", "blocks"),
    [
        ("torch-lm-a100-2024.6", [4], 1832, 128),
        ("torch-cudagraph-2024.6", [10], 4, 0),
        pytest.param("torch-nccl-2gpu-2026.2", [15, 15], None, 0, marks=pytest.mark.slow(1)),
    ],
)
def test_what_repeats_in_real_captures(capture: str, iterations: list[int], kernels: int | None, blocks: int) -> None:
    frame = analyse("structure", parsers.load(TRACES / f"{capture}.sqlite"))
    found = frame.filter(pl.col("part") == "iteration")
    assert found["instances"].to_list() == iterations
    assert kernels is None or found["ops_each"].to_list() == [kernels]
    assert frame.filter(pl.col("part") == "block")["instances"].sum() == blocks


@each_capture
def test_parts_of_a_real_capture_add_up_to_its_devices_and_row_order_does_not_matter(capture: Path) -> None:
    trace = parsers.load(capture)
    frame = planned("structure", trace)
    ops = tables_of(trace)["ops"].collect()
    assert frame.filter(pl.col("depth") == 0)["sum_ns"].sum() == ops["duration_ns"].sum()
    for keys, rows in frame.group_by("pid", "device"):
        parts = rows.filter(pl.col("depth") == 1)
        if parts.height:
            for column in ("ops", "sum_ns"):
                assert parts[column].sum() == rows.filter(pl.col("depth") == 0)[column].item(), keys
    shuffled = ops.sample(fraction=1, shuffle=True, seed=0)
    tables = {"0": {**tables_of(trace), "ops": shuffled.lazy()}}
    assert find("structure").plan(tables).collect().equals(frame)
