"""Equal work: pairs of traces that differ in count, in order, in names, in clock, in nothing, or in truth."""

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
from tests.shared import TRACES, needs_captures, planned
from ttinsys.cli import main
from ttinsys.comparison.alignment import KEYS
from ttinsys.figures import draw_figure
from ttinsys.measures.sums import ascending_sum

FLASH, GEMM, NORM, COPY = "flash_fwd_kernel", "ampere_sgemm_128x64_tn", "layer_norm_kernel", "copy_kernel_cuda"
KINDS = ((FLASH, 4_000), (GEMM, 1_000), (NORM, 500))
Launch = tuple[str, int]
"""Name and duration of a kernel."""


def program(launches: Sequence[Launch], *, within: str | None = "forward", gpu: str | None = None) -> TraceBuilder:
    """Kernels one after the other, 10 us apart, in one range or in none."""
    t = TraceBuilder()
    main_thread = t.thread()
    if within is not None:
        t.range(main_thread, within, 0, 1_000_000_000)
    if gpu is not None:
        t.gpu(name=gpu)
    for number, (kernel, duration) in enumerate(launches):
        at = 10_000 * (number + 1)
        t.kernel(main_thread, kernel, launch=(at, at + 1), gpu=(at + 10, at + 10 + duration))
    return t


def times(count: int, *kinds: Launch) -> list[Launch]:
    return [*(kinds or KINDS)] * count


def compared(folder: Path, *traces: TraceBuilder, **options: object) -> pl.DataFrame:
    return planned("diff", *(trace.load(folder) for trace in traces), **{"by": ("operator",)} | options)


def whole(frame: pl.DataFrame) -> dict[str, object]:
    return frame.filter(pl.col("by") == "total").row(0, named=True)


@pytest.mark.slow(1)
@pytest.mark.parametrize("within", ["forward", None])
def test_sixty_calls_are_not_faster_than_sixty_eight(tmp_path: Path, within: str | None) -> None:
    before = program(times(68, (FLASH, 4_005)), within=within)
    after = program(times(60, (FLASH, 4_013)), within=within)
    frame = compared(tmp_path, before, after)
    total = whole(frame)
    assert (total["unfair"], total["speedup"]) == ("flash_attention 60 operations (baseline: 68)", None)
    columns = ("change", "before_ops", "after_ops", "before_mean_ns", "after_mean_ns", "before_ns", "after_ns")
    assert frame.filter(pl.col("by") == "operator").select(columns).rows() == [
        ("unfair", 68, 60, 4005.0, 4013.0, 272_340, 240_780)
    ]
    assert frame["like_speedup"].to_list() == pytest.approx([4005 / 4013] * 2)
    back = whole(compared(tmp_path, after, before))
    assert (back["unfair"], back["speedup"]) == ("flash_attention 68 operations (baseline: 60)", None)
    ends = planned("speedup", before.load(tmp_path), after.load(tmp_path))
    assert ends["speedup"].null_count() == ends.height
    in_sum = ends.filter(pl.col("part") == "sum").row(0, named=True)
    assert (in_sum["before_ops"], in_sum["after_ops"], in_sum["like_speedup"]) == (68, 60, pytest.approx(4005 / 4013))


@pytest.mark.slow(1)
def test_commands_say_what_differs_and_how_like_operations_compare(tmp_path: Path) -> None:
    before, after = program(times(68, (FLASH, 4_005))), program(times(60, (FLASH, 4_013)))
    paths = [str(t.write(tmp_path / f"{name}.sqlite")) for name, t in (("a", before), ("b", after))]
    for command in (["diff", "--by", "kernel"], ["speedup"]):
        done = CliRunner().invoke(main, [*command, *paths])
        assert done.exit_code == 0
        assert f"{paths[1]} is not comparable with its baseline: flash_attention 60 operations (baseline: 68)\n" in (
            done.stderr
        )
        assert "100.0% of the baseline's time, are 0.998 times as fast one by one" in done.stderr
    gated = CliRunner().invoke(main, ["diff", *paths, "--fail-over", "50%"])
    assert gated.exit_code == 1


def test_other_order_is_no_difference(tmp_path: Path) -> None:
    launches = times(20)
    frame = compared(tmp_path, program(launches), program(launches[::-1]), by=tuple(KEYS))
    assert whole(frame)["unfair"] is None
    assert set(frame["change"]) == {"same"}
    assert set(frame["speedup"]) == {1.0}


@pytest.mark.slow(1)
@pytest.mark.parametrize("within", ["forward", None])
def test_renamed_kernels_do_the_same_work(tmp_path: Path, within: str | None) -> None:
    renamed = [(kernel.replace("ampere", "sm90").replace("fwd", "fwd_v3"), ns) for kernel, ns in times(20)]
    frame = compared(tmp_path, program(times(20), within=within), program(renamed, within=within), by=("kernel",))
    total = whole(frame)
    assert (total["change"], total["unfair"], total["speedup"]) == ("same", None, 1.0)
    assert dict(frame.select("key", "change").iter_rows())["ampere_sgemm_128x64_tn"] == "gone"
    by_operator = compared(tmp_path, program(times(20)), program(renamed))
    assert set(by_operator["change"]) == {"same"}


@pytest.mark.slow(1)
def test_one_trace_twice_does_not_differ(tmp_path: Path) -> None:
    path = str(program(times(20)).write(tmp_path / "a.sqlite"))
    for command in ("diff", "speedup"):
        done = CliRunner().invoke(main, [command, path, path])
        # 20 * (4.0 + 1.0 + 0.5) us.
        assert f"{path} (2) does not differ from its baseline: 60 operations, 0.110 ms in each" in done.stderr


@pytest.mark.slow(1)
def test_times_that_all_change_by_one_factor_are_told_as_of_another_clock(tmp_path: Path) -> None:
    slower = [(kernel, ns * 11 // 10) for kernel, ns in times(20)]
    total = whole(compared(tmp_path, program(times(20)), program(slower)))
    assert (total["unfair"], total["speedup"]) == (None, pytest.approx(1 / 1.1))
    assert str(total["caveat"]).startswith("all 3 operators take 1.10 times as long each, as with another GPU clock")
    # One operator alone, or two, may well have changed by themselves.
    one = [(kernel, ns * 11 // 10 if kernel == FLASH else ns) for kernel, ns in times(20)]
    assert whole(compared(tmp_path, program(times(20)), program(one)))["caveat"] is None


def test_other_gpu_is_told(tmp_path: Path) -> None:
    here, there = program(times(20), gpu="NVIDIA A100"), program(times(20), gpu="NVIDIA H200")
    total = whole(compared(tmp_path, here, there))
    assert (total["unfair"], total["caveat"]) == (None, "on NVIDIA H200 (baseline: NVIDIA A100)")


def test_real_change_is_a_speedup(tmp_path: Path) -> None:
    faster = times(20, (FLASH, 2_000), (GEMM, 1_000), (NORM, 500))
    frame = compared(tmp_path, program(times(20)), program(faster))
    # 5.5 us before and 3.5 us after, 20 times.
    assert whole(frame)["speedup"] == pytest.approx(5.5 / 3.5)
    assert whole(frame)["unfair"] is whole(frame)["caveat"] is None
    flash = frame.filter(pl.col("key") == "flash_attention")
    assert flash["speedup"].to_list() == flash["like_speedup"].to_list() == [2.0]


@pytest.mark.slow(1)
def test_fused_attention_replaces_products_where_ranges_show_the_same_calls(tmp_path: Path) -> None:
    eager = times(20, (GEMM, 1_000), ("softmax_kernel", 1_000), (GEMM, 1_000), (NORM, 500))
    fused = times(20, (FLASH, 1_500), (NORM, 500))
    assert whole(compared(tmp_path, program(eager), program(fused)))["speedup"] == pytest.approx(3.5 / 2)
    # Without ranges nothing tells a replacement from other work.
    total = whole(compared(tmp_path, program(eager, within=None), program(fused, within=None)))
    assert total["speedup"] is None
    assert total["unfair"] == (
        "flash_attention 20 operations (baseline: 0), gemm 0 operations (baseline: 40), softmax 0 operations "
        "(baseline: 20)"
    )


@pytest.mark.slow(1)
def test_copies_that_a_program_does_without_are_no_other_work(tmp_path: Path) -> None:
    copying, direct = times(20, *KINDS, (COPY, 1_000)), times(20)
    assert whole(compared(tmp_path, program(copying), program(direct)))["speedup"] == pytest.approx(6.5 / 5.5)
    assert whole(compared(tmp_path, program(copying, within=None), program(direct, within=None)))["speedup"] is None


def test_few_short_operations_more_are_no_other_work(tmp_path: Path) -> None:
    # 1 us of 111 us is less than 1%.
    more = [*times(20), (GEMM, 1_000)]
    frame = compared(tmp_path, program(times(20)), program(more))
    assert whole(frame)["unfair"] is None
    row = frame.filter(pl.col("key") == "gemm").row(0, named=True)
    assert (row["change"], row["speedup"], row["like_speedup"]) == ("count", None, 1.0)


def layered(calls: int, *, steps: int = 1, flops: int = 1_000, launches: int = 1) -> Labelled:
    """Steps with so many calls of an attention core, each of so many kernels of 4 us."""
    t = Labelled()
    t.module("step", "other")
    t.module("unet.attn.core", "spatial_attention")
    for step in range(steps):
        start = 1_000_000 * step
        t.call("step", start, start + 900_000, step=step)
        for number in range(calls):
            at = start + 10_000 * number + 10
            gpu = [(FLASH, at + 100 + 4_000 * each, at + 4_100 + 4_000 * each) for each in range(launches)]
            t.call("unet.attn.core", at, at + 50, flops=flops, gpu=gpu)
    return t


def test_layer_called_more_often_is_other_work(tmp_path: Path) -> None:
    total = whole(compared(tmp_path, layered(68), layered(60)))
    assert total["unfair"] == (
        "unet.attn.core called 60 times (baseline: 68); flash_attention 60 operations (baseline: 68)"
    )


def test_other_flops_of_the_same_layers_are_other_work(tmp_path: Path) -> None:
    total = whole(compared(tmp_path, layered(10, flops=2_000_000), layered(10, flops=1_000_000)))
    assert total["unfair"] == "0.010 GFLOP in its layers (baseline: 0.020)"


def test_equal_flops_of_the_same_layers_are_equal_work_in_any_number_of_kernels(tmp_path: Path) -> None:
    frame = compared(tmp_path, layered(10, launches=2), layered(10, launches=1))
    assert (whole(frame)["unfair"], whole(frame)["speedup"]) == (None, 2.0)
    assert frame.filter(pl.col("key") == "flash_attention")["change"].to_list() == ["count"]


@pytest.mark.slow(1)
def test_mean_steps_compare_numbers_per_step(tmp_path: Path) -> None:
    assert whole(compared(tmp_path, layered(6, steps=2), layered(6, steps=3), per="step"))["unfair"] is None
    total = whole(compared(tmp_path, layered(6, steps=2), layered(5, steps=3), per="step"))
    assert total["unfair"] == (
        "unet.attn.core called 5 times per step (baseline: 6); flash_attention 5 operations per step (baseline: 6)"
    )
    assert (total["before_mean_ns"], total["after_mean_ns"]) == (4000.0, 4000.0)


def test_figure_shows_numbers_where_they_differ(tmp_path: Path) -> None:
    frame = compared(tmp_path, program(times(68, (FLASH, 4_005))), program(times(60, (FLASH, 4_013))))
    drawn = str(draw_figure("diff", frame).to_dict())
    assert "flash_attention (68 → 60 operations)" in drawn
    assert "not a fair comparison: flash_attention 60 operations (baseline: 68)" in drawn
    assert "0.998 times as fast one by one" in drawn


def test_sums_of_few_floats_do_not_depend_on_their_order() -> None:
    values = [1e16, 1.0, 1.0, -1e16, 0.1]
    sums = {
        pl.select(ascending_sum(pl.lit(pl.Series(order)))).item() for order in (values, values[::-1], sorted(values))
    }
    assert len(sums) == 1


@needs_captures
@pytest.mark.slow(3)
def test_part_of_a_capture_is_not_faster_than_the_whole(tmp_path: Path) -> None:
    trace = parsers.load(TRACES / "torch-lm-a100-2024.6.sqlite")
    times_ns = ttinsys.attribute(trace).filter(pl.col("operator") == "gemm").select("start_ns").collect().to_series()
    # The moment at which half of the matrix products have run.
    part = ttinsys.select(trace, time=f"/{int(times_ns.sort()[times_ns.len() // 2])}ns")
    total = whole(planned("diff", trace, part, by=("operator",)))
    assert total["speedup"] is None
    assert total["unfair"] is not None
    # What both ran is the same kernels.
    assert total["like_speedup"] == pytest.approx(1, abs=0.01)
