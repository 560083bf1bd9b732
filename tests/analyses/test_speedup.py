"""The speedup of traces: by hand on small ones, its laws, and on every real capture with itself."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import parsers
import ttinsys
from parsers import TraceError
from tests.analyses.test_diff import after, unet
from tests.build import TraceBuilder
from tests.shared import each_capture, planned, slow
from ttinsys.cli import main
from ttinsys.figures import draw_figure
from ttinsys.figures.style import NothingToDraw
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking


def speedup(folder: Path, *traces: TraceBuilder, **options: object) -> pl.DataFrame:
    return planned("speedup", *(trace.load(folder) for trace in traces), **options)


@pytest.mark.slow(1)
def test_whole_components_and_roles_are_told_with_what_each_saved(tmp_path: Path) -> None:
    # Both start at 1000 and end at 960,005; kernels do not overlap.
    frame = speedup(tmp_path, unet(), after())
    assert frame.select("level", "part", "before_ns", "after_ns", pl.col("gain").round(4)).rows() == [
        ("end_to_end", "span", 959_005, 959_005, 0.0),
        ("end_to_end", "busy", 500, 382, 0.236),
        ("end_to_end", "sum", 500, 382, 0.236),
        ("component", "denoiser", 465, 337, 0.256),
        ("component", "vae", 30, 40, -0.02),
        ("component", "(no_range_open)", 5, 5, 0.0),
        ("role", "spatial_attention", 315, 186, 0.258),
        ("role", "spatial_conv", 150, 151, -0.002),
        ("role", "other", 30, 40, -0.02),
        ("role", "(no_range_open)", 5, 5, 0.0),
    ]
    assert frame["speedup"][:4].to_list() == pytest.approx([1, 500 / 382, 500 / 382, 465 / 337])
    assert frame["share"][:4].to_list() == [None, None, 1.0, 0.93]
    # Without the denoiser, 35 of 500 ns are left.
    assert frame["limit"][:4].to_list() == [None, None, None, pytest.approx(500 / 35)]
    assert frame["noise_ns"][2] == 38


def test_overlapping_work_counts_once_in_the_busy_time(tmp_path: Path) -> None:
    t = unet()
    t.kernel(t.main, "sgemm", launch=(950_002, 950_003), gpu=(960_003, 960_010), stream=8)
    frame = speedup(tmp_path, unet(), t)
    assert frame.select("part", "before_ns", "after_ns").rows()[:3] == [
        ("span", 959_005, 959_010), ("busy", 500, 505), ("sum", 500, 507),
    ]  # fmt: skip


@pytest.mark.slow(1)
def test_pairs_have_each_their_own_baseline(tmp_path: Path) -> None:
    models: list[dict[str, object]] = [{"model": "one", "request": {"height": 64}}, {"model": "two"}]
    traces = [make(run=run) for run in models for make in (unet, after)]
    frame = speedup(tmp_path, *traces, pairs=True).filter(pl.col("part") == "sum")
    assert frame.select("trace", "baseline", "model", "before_ns", "after_ns", "unfair").rows() == [
        ("1", "0", "one", 500, 382, None),
        ("3", "2", "two", 500, 382, None),
    ]
    against_first = speedup(tmp_path, *traces)
    assert dict(against_first.drop_nulls("unfair").select("trace", "unfair").iter_rows()) == {
        "2": "model two (baseline: one)", "3": "model two (baseline: one)",
    }  # fmt: skip
    assert against_first.filter(pl.col("trace") == "3")["speedup"].null_count() == 10
    with pytest.raises(TraceError, match="3 are given"):
        speedup(tmp_path, *traces[:3], pairs=True)


@pytest.mark.parametrize("other", [TraceBuilder(), slow(after(vae=None)), slow(after(last_closed=False))])
def test_empty_or_truncated_trace_has_no_speedup(tmp_path: Path, other: TraceBuilder) -> None:
    frame = speedup(tmp_path, unet(), other)
    assert frame["speedup"].null_count() == frame.height
    assert frame["unfair"].drop_nulls().len() == 1
    with pytest.raises(NothingToDraw, match="nothing to draw"):
        draw_figure("speedup", frame)


@pytest.mark.slow(1)
def test_parts_add_up_to_the_whole_and_its_gain(tmp_path: Path) -> None:
    frame = speedup(tmp_path, unet(), after(), unet())
    whole = frame.filter(pl.col("part") == "sum").select("trace", "before_ns", "after_ns", "gain")
    for level in ("component", "role"):
        parts = frame.filter(pl.col("level") == level).group_by("trace", maintain_order=True)
        sums = parts.agg(pl.col("before_ns", "after_ns", "gain").sum())
        assert sums.drop("gain").equals(whole.drop("gain"))
        assert sums["gain"].to_list() == pytest.approx(whole["gain"].to_list())


@pytest.mark.slow(1)
def test_speedup_there_is_slowdown_back(tmp_path: Path) -> None:
    there, back = speedup(tmp_path, unet(), after()), speedup(tmp_path, after(), unet())
    both = there.join(back, on=["level", "part"])
    assert both.height == there.height
    product = (both["speedup"] * both["speedup_right"]).to_list()
    assert product == pytest.approx([1.0] * len(product))


@pytest.mark.slow(1)
def test_figure_shows_parts_of_one_trace_or_the_whole_of_several(tmp_path: Path) -> None:
    one = str(draw_figure("speedup", speedup(tmp_path, unet(), after())).to_dict())
    assert "spatial_conv" in one
    # 5 of 500 ns are 1%.
    assert "(no_range_open)" in one
    several = str(draw_figure("speedup", speedup(tmp_path, unet(), after(), after(vae=None))).to_dict())
    assert "spatial_conv" not in several
    assert "2 left out: vae is missing" in several


@pytest.mark.slow(1)
def test_a_trace_may_be_named_twice(tmp_path: Path) -> None:
    path = str(unet().write(tmp_path / "run.sqlite"))
    done = CliRunner().invoke(main, ["speedup", path, path, "--format", "csv"])
    assert done.exit_code == 0
    assert f"{path} (2),end_to_end,sum,1.0,500,500" in done.stdout


@pytest.mark.slow(1)
@each_capture
def test_every_capture_is_as_fast_as_itself(capture: Path) -> None:
    traces = parsers.load(capture), parsers.load(capture)
    ops = ttinsys.attribute(traces[0]).select("duration_ns").collect()
    frame = planned("speedup", *traces)
    assert (frame["before_ns"] == frame["after_ns"]).all()
    assert set(frame["speedup"]) == ({None} if ops.is_empty() else {1.0})
    for level in ("component", "role"):
        assert frame.filter(pl.col("level") == level)["before_ns"].sum() == ops["duration_ns"].sum()
    if ops.is_empty():
        with pytest.raises(Lacking, match="has no GPU activity"):
            analyse("speedup", *traces)
