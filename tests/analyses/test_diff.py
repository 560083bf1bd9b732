"""The difference of two traces: by hand on small ones, its laws, and on every real capture with itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import parsers
import ttinsys
from tests.build import TraceBuilder
from tests.labelled import Labelled
from tests.shared import each_capture, planned, slow
from ttinsys.analyses.diff import CHANGES, judge
from ttinsys.cli import main
from ttinsys.comparison.alignment import KEYS
from ttinsys.comparison.noise import student
from ttinsys.figures import draw_figure
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

ATTENTION = "spatial_attention"
BEFORE = ((100, 50), (110, 50), (105, 50))
AFTER = ((60, 52), (64, 49), (62, 50))


def unet(
    steps: Sequence[tuple[int, int]] = BEFORE,
    *,
    vae: int | None = 30,
    core: str = "sgemm",
    run: dict[str, object] | None = None,
    last_closed: bool = True,
) -> Labelled:
    """Steps of so many ns of attention and of convolution; then the VAE, and 5 ns outside all ranges."""
    t = Labelled(run)
    t.module("step", "other")
    t.module("unet.attn", ATTENTION, attention=ATTENTION)
    t.module("unet.conv", "spatial_conv")
    t.module("vae", "other", component="vae")
    for number, (attention, convolution) in enumerate(steps):
        at = 10_000 * number
        is_open = not last_closed and number == len(steps) - 1
        t.call("step", at, None if is_open else at + 900, step=number)
        t.call("unet.attn", at + 10, at + 100, gpu=[(core, at + 1000, at + 1000 + attention)])
        t.call("unet.conv", at + 200, at + 300, gpu=[("implicit_convolve_sgemm", at + 3000, at + 3000 + convolution)])
    if vae is not None:
        t.call("vae", 900_000, 900_100, gpu=[("vae_conv", 901_000, 901_000 + vae)])
    t.kernel(t.main, "sgemm", launch=(950_000, 950_001), gpu=(960_000, 960_005))
    return t


def after(**options: object) -> Labelled:
    return unet(AFTER, **{"vae": 40, "core": "flash_fwd"} | options)  # type: ignore[arg-type]


def difference(folder: Path, *traces: TraceBuilder, **options: object) -> pl.DataFrame:
    return planned("diff", *(trace.load(folder) for trace in traces), **options)


def whole(frame: pl.DataFrame) -> dict[str, object]:
    return frame.filter(pl.col("by") == "total").row(0, named=True)


def test_layers_are_told_with_what_steps_vary_by(tmp_path: Path) -> None:
    # Three steps: V of the attention is 3 * 25 + 3 * 4 = 87 with 2.6 degrees of freedom, so noise 4.303 * 87**0.5.
    frame = difference(tmp_path, unet(), after())
    assert frame.select("by", "key", "before_ns", "after_ns", "delta_ns", "noise_ns", "change").rows() == [
        ("total", "(all)", 500, 382, -118, 38, "faster"),
        ("layer", "unet.attn", 315, 186, -129, 41, "faster"),
        ("layer", "vae", 30, 40, 10, None, "unknown"),
        ("layer", "unet.conv", 150, 151, 1, 12, "noise"),
        ("layer", "(no_range_open)", 5, 5, 0, None, "same"),
    ]
    assert frame["role"].to_list() == [None, ATTENTION, "other", "spatial_conv", None]
    assert frame["speedup"].to_list() == pytest.approx([500 / 382, 315 / 186, 30 / 40, 150 / 151, 1])
    assert frame["share"].to_list() == pytest.approx([1, 0.63, 0.06, 0.3, 0.01])
    assert frame["unfair"].null_count() == frame.height


def test_kernels_are_new_gone_or_changed(tmp_path: Path) -> None:
    frame = difference(tmp_path, unet(), after(), by=("kernel",)).filter(pl.col("by") == "kernel")
    assert frame.select("key", "operator", "before_ns", "after_ns", "change", "speedup").rows() == [
        # Four operations before, one after: 64 times less time is no speedup.
        ("sgemm", "gemm", 320, 5, "count", None),
        ("flash_fwd", "flash_attention", 0, 186, "new", None),
        ("vae_conv", "other", 30, 40, "unknown", 0.75),
        ("implicit_convolve_sgemm", "conv", 150, 151, "noise", pytest.approx(150 / 151)),
    ]


@pytest.mark.slow(1)
def test_mean_steps_are_compared_where_the_traces_took_different_numbers(tmp_path: Path) -> None:
    longer = unet((*AFTER, (62, 53)), vae=40)
    unfair = whole(difference(tmp_path, unet(), longer))
    assert (unfair["unfair"], unfair["speedup"], unfair["change"]) == (
        "4 steps with GPU activity (baseline: 3)", None, "unfair",
    )  # fmt: skip
    frame = difference(tmp_path, unet(), longer, per="step")
    assert frame.select("key", "before_ns", "after_ns", "change", "per").rows() == [
        ("(all)", 155, 113, "faster", "step"),
        ("unet.attn", 105, 62, "faster", "step"),
        ("unet.conv", 50, 51, "noise", "step"),
    ]
    # V is 75 / 9 + 4 * (8 / 3) / 16 = 9 with 2.3 degrees of freedom: 4.303 * 3.
    assert frame["noise_ns"][1] == 13


def test_prefill_and_decode_differ_by_more_than_noise(tmp_path: Path) -> None:
    def decoder(scale: int) -> Labelled:
        t = Labelled()
        t.module("step", "other")
        for number, (phase, ns) in enumerate([(0, 9000), (1, 100), (1, 100), (1, 100)]):
            t.call("step", 10 * number, 10 * number + 9, step=number, phase=phase,
                   gpu=[("sgemm", 10_000 * number, 10_000 * number + scale * ns)])  # fmt: skip
        return t

    assert whole(difference(tmp_path, decoder(1), decoder(2)))["noise_ns"] == 0


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (after(vae=None), "vae is missing"),
        (unet(AFTER[:2]), "2 steps with GPU activity (baseline: 3)"),
        (after(last_closed=False), "truncated: 1 range never closed"),
        (TraceBuilder(), "no GPU activity"),
    ],
)
@pytest.mark.slow(1)
def test_trace_that_shows_less_work_does_not_win(tmp_path: Path, other: TraceBuilder, reason: str) -> None:
    frame = difference(tmp_path, unet(), other)
    assert whole(frame)["unfair"] == reason
    assert frame["speedup"].null_count() == frame.height
    assert not set(frame["change"]) & {"faster", "slower", "noise", "unknown"}
    assert judge(frame, fail_over=10.0) == [f"1 is not comparable with the baseline: {reason}"]
    assert judge(frame) == []


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        (after(vae=None), "vae is missing from the baseline"),
        (unet(AFTER[:2]), "3 steps with GPU activity (baseline: 2)"),
        (after(last_closed=False), "the baseline is truncated: 1 range never closed"),
        (TraceBuilder(), "the baseline has no GPU activity"),
    ],
)
def test_trace_does_not_lose_to_a_baseline_that_shows_less_work(
    tmp_path: Path, baseline: TraceBuilder, reason: str
) -> None:
    frame = difference(tmp_path, baseline, unet())
    assert whole(frame)["unfair"] == reason
    assert frame["speedup"].null_count() == frame.height


@pytest.mark.slow(1)
def test_component_that_only_one_trace_ran_on_the_gpu_is_named(tmp_path: Path) -> None:
    def decoded(on_gpu: bool) -> Labelled:
        t = unet(vae=None)
        # 30 ns are 6% of the trace: more than the hundredth from which on a part is missed.
        t.call("vae", 900_000, 900_100, gpu=[("vae_conv", 901_000, 901_030)] if on_gpu else [])
        return t

    there, back = (difference(tmp_path, decoded(first), decoded(not first)) for first in (True, False))
    assert whole(there)["unfair"] == "vae launched nothing on the GPU"
    assert whole(back)["unfair"] == "vae launched nothing on the GPU in the baseline"


@pytest.mark.slow(1)
def test_trace_without_ranges_is_not_compared_with_one_that_has_them(tmp_path: Path) -> None:
    def program(ranges: bool) -> TraceBuilder:
        t = TraceBuilder()
        thread = t.thread()
        if ranges:
            t.range(thread, "iteration", 0, 900)
        t.kernel(thread, "sgemm", launch=(20, 21), gpu=(100, 120))
        return t

    there = whole(difference(tmp_path, program(True), program(False)))
    assert (there["unfair"], there["speedup"]) == ("no NVTX ranges to compare the work by", None)
    back = whole(difference(tmp_path, program(False), program(True)))
    assert (back["unfair"], back["speedup"]) == ("the baseline has no NVTX ranges to compare the work by", None)
    neither = whole(difference(tmp_path, program(False), program(False)))
    assert (neither["unfair"], neither["speedup"], neither["change"]) == (None, 1.0, "same")


@pytest.mark.slow(1)
def test_ranges_of_a_library_make_no_difference(tmp_path: Path) -> None:
    def program(library: bool) -> TraceBuilder:
        t = TraceBuilder()
        thread = t.thread()
        t.kernel(thread, "sgemm", launch=(20, 21), gpu=(100, 191))
        if library:
            t.range(thread, "cub::DeviceScan", 30, 50)
        # 9 of 100 ns: less than the tenth from which on a range counts as a part of the program.
        t.kernel(thread, "scan", launch=(40, 41), gpu=(200, 209))
        return t

    assert whole(difference(tmp_path, program(True), program(False)))["unfair"] is None
    assert whole(difference(tmp_path, program(False), program(True)))["unfair"] is None


def test_component_called_more_often_is_not_the_same_work(tmp_path: Path) -> None:
    other = after()
    other.call("vae", 910_000, 910_100, gpu=[("vae_conv", 911_000, 911_010)])
    assert whole(difference(tmp_path, unet(), other))["unfair"] == "vae called twice (baseline: once)"


@pytest.mark.slow(1)
def test_other_request_is_not_the_same_work_and_other_attention_is(tmp_path: Path) -> None:
    def asked(**request: object) -> dict[str, object]:
        return {"model": "stable-diffusion", "attention": "eager", "request": {"height": 512, **request}}

    first = unet(run=asked())
    assert whole(difference(tmp_path, first, after(run=asked() | {"attention": "sdpa"})))["unfair"] is None
    assert whole(difference(tmp_path, first, after(run=asked(height=256))))["unfair"] == "height 256 (baseline: 512)"
    simulated = whole(difference(tmp_path, first, after(run=asked() | {"simulated": True})))
    assert simulated["unfair"] == "simulated (baseline: measured)"


def test_blocks_without_their_inner_modules_are_the_same_work(tmp_path: Path) -> None:
    compiled = Labelled()
    compiled.module("step", "other")
    compiled.module("vae", "other", component="vae")
    for number in range(3):
        compiled.call("step", 1000 * number, 1000 * number + 900, step=number,
                      gpu=[("triton_poi_fused", 10_000 * number, 10_000 * number + 80)])  # fmt: skip
    compiled.call("vae", 900_000, 900_100, gpu=[("vae_conv", 901_000, 901_030)])
    frame = difference(tmp_path, unet(), compiled, by=("component",))
    assert whole(frame)["unfair"] is None
    assert dict(frame.select("key", "change").iter_rows())["denoiser"] == "faster"


@pytest.mark.slow(1)
def test_ranges_of_no_annotation_are_aligned_by_their_stack(tmp_path: Path) -> None:
    def plain(scale: int, times: int) -> TraceBuilder:
        t = TraceBuilder()
        thread = t.thread()
        for number in range(times):
            at = 1000 * number
            t.range(thread, "iteration", at, at + 900)
            t.range(thread, "forward", at + 10, at + 800)
            t.kernel(thread, "sgemm", launch=(at + 20, at + 21), gpu=(at + 100, at + 100 + scale))
        return t

    frame = difference(tmp_path, plain(20, 2), plain(10, 2))
    assert frame.select("key", "before_ns", "after_ns", "change").rows() == [
        ("(all)", 40, 20, "unknown"),
        ("iteration/forward", 40, 20, "unknown"),
    ]
    assert (
        whole(difference(tmp_path, plain(20, 2), plain(20, 1)))["unfair"] == "iteration called once (baseline: twice)"
    )
    assert whole(difference(tmp_path, plain(20, 2), unet()))["unfair"] == "annotated (baseline: not)"
    assert whole(difference(tmp_path, unet(), plain(20, 2)))["unfair"] == "not annotated (baseline: annotated)"


@pytest.mark.slow(1)
@pytest.mark.parametrize("annotated", [True, slow(False)])
def test_trace_whose_last_kernels_were_lost_does_not_win(tmp_path: Path, annotated: bool) -> None:
    def run(kernels: int) -> Labelled:
        t = Labelled()
        if annotated:
            t.module("unet", "other")
        for number in range(10):
            at = 1000 * number
            t.call("unet", at, at + 900, gpu=[("sgemm", at, at + 50)] if number < kernels else [])
            if number >= kernels:
                t.api(t.main, "cudaLaunchKernel_v7000", at + 1, at + 1)
        return t

    assert whole(difference(tmp_path, run(10), run(6)))["unfair"] == "truncated: 4 of 10 launches have no kernel"
    swapped = whole(difference(tmp_path, run(6), run(10)))
    assert swapped["unfair"] == "the baseline is truncated: 4 of 10 launches have no kernel"
    # Both: a part of each was selected.
    assert whole(difference(tmp_path, run(6), run(6)))["unfair"] is None


def test_a_trace_does_not_differ_from_itself(tmp_path: Path) -> None:
    frame = difference(tmp_path, unet(), unet(), by=tuple(KEYS))
    assert set(frame["change"]) == {"same"}
    assert frame["delta_ns"].sum() == 0
    assert set(frame["speedup"]) == {1.0}


@pytest.mark.slow(1)
def test_swapping_the_traces_negates_the_difference(tmp_path: Path) -> None:
    key = ["by", "key"]
    one = difference(tmp_path, unet(), after(), by=tuple(KEYS))
    other = difference(tmp_path, after(), unet(), by=tuple(KEYS))
    both = one.join(other, on=key, validate="1:1")
    assert both.height == one.height == other.height
    assert (both["delta_ns"] == -both["delta_ns_right"]).all()
    assert both["noise_ns"].eq_missing(both["noise_ns_right"]).all()
    rates = both.drop_nulls("speedup").select(pl.col("speedup") * pl.col("speedup_right")).to_series()
    assert rates.to_list() == pytest.approx([1.0] * rates.len())
    opposite = {"faster": "slower", "slower": "faster", "new": "gone", "gone": "new"}
    assert both["change"].replace(opposite).to_list() == both["change_right"].to_list()


def test_every_division_of_two_traces_adds_up_to_their_wholes(tmp_path: Path) -> None:
    frame = difference(tmp_path, unet(), after(), by=tuple(KEYS))
    sums = frame.group_by("by").agg(pl.col("before_ns", "after_ns", "delta_ns", "before_ops", "after_ops").sum())
    assert sums.height == 1 + len(KEYS)
    assert set(sums.drop("by").iter_rows()) == {(500, 382, -118, 8, 8)}


@pytest.mark.slow(1)
def test_several_traces_are_each_compared_with_the_first(tmp_path: Path) -> None:
    frame = difference(tmp_path, unet(), after(), unet())
    totals = frame.filter(pl.col("by") == "total")
    assert totals.select("trace", "delta_ns").rows() == [("1", -118), ("2", 0)]


@pytest.mark.slow(1)
def test_gate_fails_for_what_is_slower_by_more_than_allowed_and_than_noise(tmp_path: Path) -> None:
    frame = difference(tmp_path, after(), unet(), by=("role",))
    assert judge(frame, fail_over=0.03) == [
        "1: GPU time is slower by 30.9% (0.382 us to 0.500 us), 3% is allowed",
        "1: role spatial_attention is slower by 69.4% (0.186 us to 0.315 us), 3% is allowed",
    ]
    assert judge(frame, fail_over=0.7) == []
    assert judge(difference(tmp_path, unet(), unet()), fail_over=0.0) == []


@pytest.mark.slow(1)
def test_gate_ends_the_command_with_its_reasons(tmp_path: Path) -> None:
    paths = [str(t.write(tmp_path / f"{name}.sqlite")) for name, t in (("slow", unet()), ("fast", after()))]
    passed = CliRunner().invoke(main, ["diff", *paths, "--by", "role", "--fail-over", "3%"])
    # The VAE is slower, by a third and as far as is known not by noise: its role is `other`.
    assert passed.exit_code == 1
    assert "FAILED: " in passed.stderr
    assert "role other is slower by 33.3%" in passed.stderr
    assert CliRunner().invoke(main, ["diff", *paths]).exit_code == 0
    assert CliRunner().invoke(main, ["diff", *paths, "--by", "role", "--fail-over", "40%"]).exit_code == 0
    assert CliRunner().invoke(main, ["diff", *paths, "--fail-over", "3"]).exit_code == 2
    assert CliRunner().invoke(main, ["diff", paths[0]]).exit_code == 2
    assert CliRunner().invoke(main, ["diff", paths[0], paths[0], "--fail-over", "0%"]).exit_code == 0


def test_quantiles_are_those_of_the_tables() -> None:
    # Abramowitz and Stegun, table 26.10.
    known = {(0.95, 1): 12.706, (0.95, 2): 4.303, (0.95, 5): 2.571, (0.95, 30): 2.042, (0.99, 4): 4.604}
    for (confidence, freedom), t in known.items():
        assert student(confidence, freedom) == pytest.approx(t, abs=5e-4)


def test_figure_has_bars_that_add_up_to_the_difference(tmp_path: Path) -> None:
    t, many = Labelled(), Labelled()
    for number in range(40):
        for trace, ns in ((t, 100), (many, 100 + number)):
            trace.module(f"unet.{number:02}", "linear")
            trace.call(f"unet.{number:02}", 10 * number, 10 * number + 9,
                       gpu=[("sgemm", 1000 * number, 1000 * number + ns)])  # fmt: skip
    frame = difference(tmp_path, t, many)
    drawn = draw_figure("diff", frame).to_dict()
    (bars,) = (rows for rows in drawn["datasets"].values() if "delta_ns" in rows[0])
    assert len(bars) == 21
    assert sum(row["delta_ns"] for row in bars) == sum(range(40))


def test_every_change_has_a_meaning(tmp_path: Path) -> None:
    assert set(difference(tmp_path, unet(), after(), by=tuple(KEYS))["change"]) <= CHANGES.keys()


@each_capture
def test_every_division_adds_up_to_both_traces(capture: Path) -> None:
    traces = parsers.load(capture), parsers.load(capture)
    ops = ttinsys.attribute(traces[0]).select("duration_ns").collect()
    frame = planned("diff", *traces, by=tuple(KEYS))
    for by in ("total", *KEYS):
        rows = frame.filter(pl.col("by") == by)
        for when in ("before", "after"):
            assert rows[f"{when}_ns"].sum() == ops["duration_ns"].sum(), by
            assert rows[f"{when}_ops"].sum() == ops.height, by
    assert set(frame["change"]) <= {"same"}
    if ops.is_empty():
        with pytest.raises(Lacking, match="has no GPU activity"):
            analyse("diff", *traces)
