"""Scaling: coefficients that made the times come back, flags on what is off, and refusals of what is no sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

import parsers
import ttinsys
from parsers import Trace
from tests.labelled import Labelled
from tests.shared import each_capture, planned, slow
from ttinsys.analyses.scaling import SCALING_BY
from ttinsys.cli import main
from ttinsys.figures import draw_figure, specification
from ttinsys.figures.style import NothingToDraw
from ttinsys.measures.series import NotASweep
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

SIDES = (4, 8, 12, 16)
ATTENTION, CONVOLUTION = "spatial_attention", "spatial_conv"


def point(
    folder: Path, side: int, *, steps: int = 1, attention: str = "sdpa", beyond: int = 0, flops: bool = True, **run: Any
) -> Trace:
    """A picture of side x side pixels: N of attention 100 + 2 N^2, of convolution 300 + 60 N, of linear 40; per step.

    Args:
        beyond: what attention takes longer.
        flops: whether they are told.
    """
    request = {"height": side, "width": side, "steps": steps, "batch": 1, **run}
    t = Labelled({"model": "toy", "attention": attention, "request": request})
    t.module("pipeline", "other", component="")
    t.module("unet", "other")
    t.module("attn.to_q", "linear", attention=ATTENTION)
    t.module("attn.core", ATTENTION, attention=ATTENTION)
    t.module("conv", CONVOLUTION)
    t.module("vae.conv", CONVOLUTION, component="vae")
    n, clock = side * side, 0
    times = {"attn.core": 100 + 2 * n * n + beyond, "conv": 300 + 60 * n, "attn.to_q": 40}
    costs = {"attn.core": 4 * n * n, "conv": 18 * n, "attn.to_q": 2 * n}
    kernels = {"attn.core": "flash_fwd", "conv": f"implicit_convolve_{side // 8}", "attn.to_q": "sgemm"}
    for step in range(steps):
        t.call("unet", 1000 * step, 1000 * step + 900, step=step)
        for number, (name, time) in enumerate(times.items(), start=1):
            at = 1000 * step + 100 * number
            values = {"flops": costs[name]} if flops else {}
            t.call(name, at, at + 50, gpu=[(kernels[name], clock, clock + time)], **values)
            clock += time
    t.call("vae.conv", 900_000, 900_100, gpu=[("implicit_convolve_1", clock, clock + 77)])
    t.kernel(t.main, "sgemm", launch=(900_200, 900_201), gpu=(clock + 100, clock + 123))
    return t.load(folder)


def sweep(folder: Path, sides: Sequence[int] = SIDES, **chosen: Any) -> list[Trace]:
    return [point(folder, side, **chosen) for side in sides]


def of(frame: pl.DataFrame, **values: Any) -> pl.DataFrame:
    return frame.filter(*(pl.col(name) == value for name, value in values.items()))


@pytest.mark.slow(1)
def test_coefficients_that_made_the_times_come_back(tmp_path: Path) -> None:
    frame = analyse("scaling", *sweep(tmp_path))
    found = of(frame, n=256).select("role", "time_ns", "constant_ns", "linear_ns", "quadratic_ns").rows()
    assert found == [
        (ATTENTION, 131172, *(pytest.approx(term, abs=1e-3) for term in (100, 0, 2 * 256**2))),
        (CONVOLUTION, 15660, *(pytest.approx(term, abs=1e-3) for term in (300, 60 * 256, 0))),
        ("linear", 40, *(pytest.approx(term, abs=1e-3) for term in (40, 0, 0))),
    ]
    assert frame["n"].to_list() == [16, 64, 144, 256] * 3
    assert frame.select(pl.col("residual").abs().max(), pl.col("off").any()).row(0) == (pytest.approx(0), False)
    # 100 + 2 N^2 = 300 + 60 N at 15 + sqrt(225 + 100).
    assert frame["crossover"].unique().to_list() == [pytest.approx(15 + 325**0.5)]
    assert frame["crossover_is"].unique().to_list() == ["within sizes"]
    assert set(frame["series"]) == {"all"}


@pytest.mark.slow(1)
def test_operations_grow_as_the_formulas_say(tmp_path: Path) -> None:
    frame = analyse("scaling", *sweep(tmp_path))
    largest = of(frame, n=256).select("role", "flops_exponent", "law", "flops", "predicted_flops")
    assert largest.rows() == [
        (ATTENTION, pytest.approx(2), 2, 4 * 256**2, 4 * 256**2),
        (CONVOLUTION, pytest.approx(1), 1, 18 * 256, 18 * 256),
        ("linear", pytest.approx(1), 1, 2 * 256, 2 * 256),
    ]


@pytest.mark.slow(1)
def test_untold_operations_are_null_and_not_0(tmp_path: Path) -> None:
    frame = analyse("scaling", *sweep(tmp_path, flops=False))
    assert frame.select("flops", "flops_exponent", "predicted_flops").null_count().row(0) == (12, 12, 12)


@pytest.mark.slow(1)
@pytest.mark.parametrize("steps", [slow(1), 3])
def test_number_of_steps_changes_sums_and_nothing_else(tmp_path: Path, steps: int) -> None:
    traces = [point(tmp_path, side, steps=steps if side == 8 else 2) for side in SIDES]
    frame = analyse("scaling", *traces)
    rows = of(frame, n=64, role=ATTENTION).select("time_ns", "sum_ns", "steps").rows()
    assert rows == [(8292, 8292 * steps, steps)]
    assert set(frame["series"]) == {"all"}
    assert frame["residual"].abs().max() == pytest.approx(0)


@pytest.mark.slow(1)
def test_backends_are_series_in_the_order_of_the_traces(tmp_path: Path) -> None:
    traces = [*sweep(tmp_path, attention="sdpa"), *sweep(tmp_path, attention="eager", beyond=1000)]
    frame = analyse("scaling", *traces)
    assert frame["series"].unique(maintain_order=True).to_list() == ["attention=sdpa", "attention=eager"]
    found = of(frame, n=16, role=ATTENTION)["constant_ns"].to_list()
    assert found == [pytest.approx(100, abs=1e-3), pytest.approx(1100, abs=1e-3)]


@pytest.mark.slow(1)
def test_point_off_the_curve_is_flagged_and_the_worst_is_named(tmp_path: Path) -> None:
    traces = [point(tmp_path, side, beyond=20_000 if side == 8 else 0) for side in (4, 8, 12, 16, 20)]
    frame = analyse("scaling", *traces)
    attention = of(frame, role=ATTENTION)
    assert of(attention, off=True)["n"].to_list() == [64]
    assert attention["worst_n"].unique().to_list() == [64]
    assert attention["worst"][0] == of(attention, n=64)["residual"].item()
    assert not of(frame, role=CONVOLUTION)["off"].any()
    loose = analyse("scaling", *traces, tolerance=100.0)
    assert not loose["off"].any()


def test_two_sizes_have_exponents_and_no_fit_and_say_why(tmp_path: Path) -> None:
    frame = analyse("scaling", *sweep(tmp_path, (4, 8)))
    assert of(frame, role="linear")["exponent"].to_list() == [0, 0]
    columns = ["fitted_ns", "residual", "off", "worst", "worst_n", "rms", "r2", "crossover"]
    assert frame.select(columns).null_count().row(0) == (6,) * len(columns)
    assert frame["note"].unique().to_list() == ["ran at 2 of 2 sizes, and a fit needs 3"]
    assert frame["crossover_is"].unique().to_list() == ["fewer than 3 sizes have both attention and convolution"]


@pytest.mark.slow(1)
def test_kernel_that_ran_at_some_sizes_says_so(tmp_path: Path) -> None:
    frame = analyse("scaling", *sweep(tmp_path), by="kernel")
    notes = dict(frame.unique("kernel").select("kernel", "note").iter_rows())
    assert notes == {
        "flash_fwd": None,
        "sgemm": None,
        "implicit_convolve_0": "ran at 1 of 4 sizes, and a fit needs 3",
        "implicit_convolve_1": "ran at 2 of 4 sizes, and a fit needs 3",
        "implicit_convolve_2": "ran at 1 of 4 sizes, and a fit needs 3",
    }
    assert frame["flops"].null_count() == frame.height


@pytest.mark.slow(1)
def test_fits_keep_the_largest_size_of_each(tmp_path: Path) -> None:
    frame = analyse("scaling", *sweep(tmp_path), fits=True)
    assert frame.select("role", "n").rows() == [(ATTENTION, 256), (CONVOLUTION, 256), ("linear", 256)]


@pytest.mark.slow(1)
def test_projections_move_to_their_attention_with_their_operations(tmp_path: Path) -> None:
    frame = analyse("scaling", *sweep(tmp_path), projections="attention")
    row = of(frame, role=ATTENTION, n=256).select("sum_ns", "flops").row(0)
    assert row == (131172 + 40, 4 * 256**2 + 2 * 256)
    assert set(frame["role"]) == {ATTENTION, CONVOLUTION}


@pytest.mark.slow(1)
@pytest.mark.parametrize("by", SCALING_BY)
def test_sums_of_a_trace_are_those_of_its_operations(tmp_path: Path, by: str) -> None:
    traces = sweep(tmp_path)
    frame = planned("scaling", *traces, by=by, component="all")
    whole = [ttinsys.attribute(trace).select(pl.col("duration_ns").sum()).collect().item() for trace in traces]
    assert frame.group_by("trace").agg(pl.col("sum_ns").sum()).sort("trace")["sum_ns"].to_list() == whole
    assert frame.group_by("trace").agg(pl.col("share").sum())["share"].to_list() == [pytest.approx(1)] * 4


@pytest.mark.slow(1)
def test_rectangle_of_the_same_area_is_the_same_size(tmp_path: Path) -> None:
    traces = [*sweep(tmp_path, (4, 12, 16)), point(tmp_path, 8, height=4, width=16)]
    assert analyse("scaling", *traces)["residual"].abs().max() == pytest.approx(0)


@pytest.mark.slow(1)
def test_frames_are_swept_for_each_size_of_picture_where_so_asked(tmp_path: Path) -> None:
    traces = [point(tmp_path, side, frames=frames) for side in (4, 8) for frames in (1, 2, 4)]
    with pytest.raises(NotASweep, match=r"^pixels and frames vary: name one with --over"):
        analyse("scaling", *traces)
    frame = analyse("scaling", *traces, over="frames")
    assert frame["series"].unique(maintain_order=True).to_list() == ["height=4, width=4", "height=8, width=8"]
    assert frame["exponent"].abs().max() == pytest.approx(0)
    assert frame.filter(pl.col("role") == ATTENTION)["law"].unique().to_list() == [1]


@pytest.mark.slow(1)
def test_what_is_no_sweep_is_refused_in_a_line_that_says_what_varies(tmp_path: Path) -> None:
    def refusal(*traces: Trace, **options: Any) -> str:
        with pytest.raises(NotASweep) as raised:
            analyse("scaling", *traces, **options)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    four, eight = point(tmp_path, 4), point(tmp_path, 8)
    assert refusal(four, four).startswith("none of pixels, frames, batch, tokens varies")
    assert refusal(four, eight, over="frames").startswith("frames do not vary, pixels do: ")
    assert refusal(four, eight, component="decoder") == "no GPU work in decoder: give --component denoiser or vae"
    other = point(tmp_path, 8, attention="eager")
    assert refusal(four, other) == "no two traces differ in pixels alone: they also differ in attention"
    untold = point(tmp_path, 8, height=None)
    assert refusal(four, eight, untold).endswith("does not give its pixels: leave it out, or choose another --over")


@pytest.mark.slow(1)
def test_trace_that_tells_of_no_run_is_refused_with_the_remedy(tmp_path: Path) -> None:
    t = Labelled()
    t.module("unet", "other")
    t.call("unet", 0, 100, gpu=[("sgemm", 0, 10)])
    with pytest.raises(Lacking, match="does not say what was run"):
        analyse("scaling", *sweep(tmp_path), t.load(tmp_path))


@pytest.mark.slow(1)
def test_figure_has_a_panel_per_series_with_points_curves_and_crossover(tmp_path: Path) -> None:
    traces = [*sweep(tmp_path), *sweep(tmp_path, attention="eager", beyond=1000)]
    frame = analyse("scaling", *traces)
    panels = specification(draw_figure("scaling", frame))["hconcat"]
    assert [panel["title"]["text"] for panel in panels] == ["sdpa", "eager"]
    assert panels[0]["title"]["subtitle"] == ["attention overtakes convolution", "at 6² pixels"]
    assert [layer["mark"]["type"] for layer in panels[0]["layer"]] == ["line", "point", "rule"]
    with pytest.raises(NothingToDraw, match="leave out --fits"):
        draw_figure("scaling", analyse("scaling", *traces, fits=True))


def test_two_sizes_are_drawn_without_curves(tmp_path: Path) -> None:
    (panel,) = specification(draw_figure("scaling", analyse("scaling", *sweep(tmp_path, (4, 8)))))["hconcat"]
    assert [layer["mark"]["type"] for layer in panel["layer"]] == ["point"]


def test_one_trace_on_the_command_line_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["scaling", str(point(tmp_path, 8).path)])
    assert done.exit_code == 3
    (line,) = done.stderr.splitlines()
    assert line.endswith("none of pixels, frames, batch, tokens varies: give traces of one model at several sizes")


@each_capture
def test_every_capture_is_a_point_or_lacks_what_is_needed(capture: Path) -> None:
    trace = parsers.load(capture)
    with pytest.raises((Lacking, NotASweep)) as raised:
        analyse("scaling", trace)
    assert "\n" not in str(raised.value)
