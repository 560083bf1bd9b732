"""Cost against quality: by hand on small traces, and what must hold of any front."""

from __future__ import annotations

import itertools
from pathlib import Path

import polars as pl
import pytest

import parsers
from tests.labelled import Labelled
from tests.shared import each_capture, planned
from ttinsys.analyses.pareto import PARETO, with_memory
from ttinsys.figures import draw_figure, specification
from ttinsys.figures.style import NothingToDraw
from ttinsys.published.literature import QUALITY
from ttinsys.published.sheets import MODELS, model
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking


def run(
    name: str, *, asked: int, steps: int, step_ns: int = 10, rest_ns: int = 100, size: str = "full", times: int = 1,
    phases: bool = False, stages: tuple[str, ...] = ("step",), **request: int,
) -> Labelled:  # fmt: skip
    """A run of a model: work outside steps, and steps of `step_ns` each; of each stage half as many as of the last."""
    count = "tokens" if phases else "steps"
    t = Labelled({"model": name, "size": size, "dtype": "float16", "attention": "sdpa", "device": "GPU",
                  "request": {count: asked, **request}})  # fmt: skip
    t.module("text", "other", component="text_encoder")
    for stage in stages:
        t.module(stage, "other")
    at = itertools.count(1000, 1000)
    for _ in range(times):
        start = next(at)
        t.call("text", start, start + 10, gpu=[("sgemm", start, start + rest_ns)], flops=40)
        for depth, stage in enumerate(stages):
            for number in range(steps >> depth):
                start = next(at)
                phase = {"phase": min(number, 1)} if phases else {}
                length = 7 * step_ns if phases and number == 0 else step_ns
                t.call(stage, start, start + 10, gpu=[("k", start, start + length)], step=number, flops=5, **phase)
    return t


def one(folder: Path, t: Labelled) -> dict[str, object]:
    return analyse("pareto", t.load(folder)).row(0, named=True)


def test_few_steps_are_scaled_to_the_steps_that_the_model_takes_by_default(tmp_path: Path) -> None:
    row = one(tmp_path, run("muse", asked=2, steps=2))
    # 100 outside the steps, and 10 in each of 12.
    expected: dict[str, object] = {
        "estimated_ns": 220,
        "busy_ns": 120,
        "span_ns": 2010,
        "step_ns": 10,
        "steps": 2,
        "full_steps": 12,
    }
    expected |= {"flops": 50, "images": 1, "fid": 7.88, "fid_of": "Muse 3B", "stands_for": "Muse", "front": True}
    expected["checked"] = "read in the abstract"
    expected |= {"parameters": 878_152_771, "weight_bytes": 2 * 878_152_771, "peak_bytes": None, "simulated": False}
    assert {name: row[name] for name in expected} == expected


def test_run_of_all_steps_is_estimated_at_what_it_took(tmp_path: Path) -> None:
    row = one(tmp_path, run("muse", asked=12, steps=12))
    assert (row["estimated_ns"], row["busy_ns"]) == (220, 220)


def test_scheduler_that_takes_one_step_more_takes_one_more_of_the_default(tmp_path: Path) -> None:
    row = one(tmp_path, run("stable-diffusion", asked=2, steps=3))
    assert (row["full_steps"], row["estimated_ns"]) == (51, 100 + 510)


def test_stage_that_takes_half_the_steps_takes_half_of_the_default(tmp_path: Path) -> None:
    row = one(tmp_path, run("imagen", asked=2, steps=2, stages=("base.step", "super_resolution.step")))
    assert (row["steps"], row["full_steps"], row["estimated_ns"]) == (3, 150, 100 + 1500)


def test_prefill_is_paid_once(tmp_path: Path) -> None:
    row = one(tmp_path, run("parti-3b", asked=4, steps=4, phases=True))
    # 70 for the first of 1024 tokens, 10 for each of the others.
    assert (row["estimated_ns"], row["step_ns"], row["full_steps"]) == (100 + 70 + 1023 * 10, 10, 1024)


def test_several_runs_and_a_batch_are_told_per_picture(tmp_path: Path) -> None:
    row = one(tmp_path, run("muse", asked=2, steps=2, times=3, batch=2))
    assert (row["images"], row["busy_ns"], row["estimated_ns"], row["flops"]) == (6, 60, 110, 25)
    assert (row["steps"], row["full_steps"]) == (2, 12)


@pytest.mark.slow(1)
def test_model_of_another_size_or_of_another_maker_has_no_quality(tmp_path: Path) -> None:
    for t in (run("muse", asked=2, steps=2, size="tiny"), run("mine", asked=2, steps=2)):
        row = one(tmp_path, t)
        assert (row["fid"], row["parameters"], row["estimated_ns"], row["front"], row["checked"]) == (None,) * 5
        assert row["busy_ns"] == 120


@pytest.mark.slow(1)
def test_front_is_of_those_that_no_other_beats_on_the_same_data(tmp_path: Path) -> None:
    of = [
        run("muse", asked=12, steps=12, rest_ns=200),
        run("imagen", asked=100, steps=100, step_ns=1),
        run("stable-diffusion", asked=50, steps=50, step_ns=4),
        run("stable-diffusion", asked=50, steps=50, step_ns=5),
        run("make-a-video", asked=50, steps=50, step_ns=90),
        run("sdxl", asked=50, steps=50),
    ]
    frame = analyse("pareto", *(t.load(tmp_path) for t in of))
    assert frame.select("model", "estimated_ns", "front").rows() == [
        ("muse", 320, False),  # imagen is faster, and better
        ("imagen", 200, True),
        ("stable-diffusion", 300, False),
        ("stable-diffusion", 350, False),
        ("make-a-video", 4600, True),  # alone on its data
        ("sdxl", 600, None),  # no one source tells its FID
    ]


def test_equals_are_both_on_the_front(tmp_path: Path) -> None:
    frame = analyse("pareto", *(run("muse", asked=12, steps=12).load(tmp_path) for _ in range(2)))
    assert frame["front"].to_list() == [True, True]


@pytest.mark.slow(1)
def test_order_of_the_traces_moves_no_one_to_the_front(tmp_path: Path) -> None:
    of = [run(name, asked=10, steps=10, step_ns=ns).load(tmp_path)
          for name, ns in (("muse", 90), ("imagen", 3), ("stable-diffusion", 1))]  # fmt: skip
    fronts = [
        dict(analyse("pareto", *turned).select("model", "front").iter_rows()) for turned in itertools.permutations(of)
    ]
    assert all(front == fronts[0] for front in fronts)
    assert any(fronts[0].values())


@pytest.mark.slow(1)
def test_scaling_all_times_scales_the_cost_and_leaves_the_front(tmp_path: Path) -> None:
    names = ("muse", "imagen", "stable-diffusion")
    frames = [
        analyse("pareto",
            *(run(name, asked=4, steps=4, step_ns=scale * (3 + n), rest_ns=9 * scale).load(tmp_path)
              for n, name in enumerate(names))
        )
        for scale in (1, 11)
    ]  # fmt: skip
    assert (frames[0]["estimated_ns"] * 11).to_list() == frames[1]["estimated_ns"].to_list()
    assert frames[0]["front"].to_list() == frames[1]["front"].to_list()


def test_memory_of_a_sweep_is_added_by_trace(tmp_path: Path) -> None:
    frame = analyse("pareto", run("muse", asked=2, steps=2).load(tmp_path))
    told = with_memory(frame, {frame["trace"][0]: 2 * 878_152_771})
    assert told.select("peak_bytes", "peak_bytes_per_parameter").row(0) == (2 * 878_152_771, 2.0)
    assert told.columns == frame.columns
    assert with_memory(frame, {"another": 1})["peak_bytes"].to_list() == [None]


def test_every_published_distance_is_of_a_model_that_runs_here_and_says_where_it_stands() -> None:
    assert QUALITY.keys() <= set(MODELS)
    for name, quality in QUALITY.items():
        assert 0 < quality.fid < 100, name
        assert "arXiv 2" in quality.source, name
        assert quality.model, name
        assert quality.checked, name
        assert model(name).requests["full"].asked().keys() & {"steps", "tokens"}


@pytest.mark.slow(1)
def test_figure_draws_the_data_that_most_have(tmp_path: Path) -> None:
    names = ("muse", "imagen", "make-a-video", "sdxl")
    frame = analyse("pareto", *(run(name, asked=4, steps=4).load(tmp_path) for name in names))
    drawn = specification(draw_figure("pareto", frame))
    assert drawn["title"]["subtitle"][0].endswith("2 of 4 traces have none on it")
    assert {each["model"] for data in drawn["datasets"].values() for each in data} == {"muse", "imagen"}
    with pytest.raises(NothingToDraw):
        draw_figure("pareto", frame.filter(pl.col("model") == "sdxl"))


@each_capture
def test_capture_is_weighed_or_refused_for_what_it_lacks(capture: Path) -> None:
    trace = parsers.load(capture)
    try:
        frame = analyse("pareto", trace)
    except Lacking as error:
        assert "has no GPU activity" in str(error) or "does not say what was run" in str(error)  # noqa: PT017
        # The plan runs beside the check, so it must not fail either.
        assert planned("pareto", trace).schema.names() == PARETO.schema.names()
    else:
        assert frame.height == 1
