"""The analytical model: its own numbers, and those of full-size models that torch ran on the meta device."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import polars as pl
import pytest

import ttinsys
from ttinsys.measures.formulas import (
    Stage,
    adjacent_ratios,
    convolution_flops,
    core_flops,
    counted_memory,
    cross_attention_flops,
    growth,
    joint_flops,
    linear_flops,
    plain_memory,
    score_memory,
    self_attention_flops,
    spatial_flops,
    spatial_to_temporal,
    temporal_flops,
    trajectory,
    unet_stages,
)
from ttinsys.tables.registry import tables_of

CALLS, CHANNELS = (5, 5, 5, 1), (320, 640, 1280, 1280)
TEXT = 77


def stable_diffusion(pixels: int) -> tuple[Stage, ...]:
    return unet_stages(pixels, pixels, calls=CALLS, channels=CHANNELS, heads=8)


@pytest.mark.parametrize(
    ("pixels", "lengths"), [(256, [1024, 256, 64, 16]), (512, [4096, 1024, 256, 64]), (1024, [16384, 4096, 1024, 256])]
)
def test_lengths_are_those_of_the_levels(pixels: int, lengths: list[int]) -> None:
    stages = stable_diffusion(pixels)
    assert [stage.positions for stage in stages] == lengths
    assert trajectory(stages) == (*lengths, *lengths[2::-1])
    assert adjacent_ratios(stages) == (4, 4, 4)


def test_odd_sides_are_rounded_up_as_strided_convolutions_do() -> None:
    stages = unet_stages(72, 40, calls=(1, 1, 1), channels=(8, 8, 8))
    assert [stage.positions for stage in stages] == [9 * 5, 5 * 3, 3 * 2]


@pytest.mark.parametrize(("pixels", "megabytes"), [(256, 12.2), (512, 183.1), (1024, 2879)])
def test_memory_per_head_is_that_of_all_calls_in_millions_of_bytes(pixels: int, megabytes: float) -> None:
    memory = counted_memory(stable_diffusion(pixels), TEXT)
    assert memory / 1e6 == pytest.approx(megabytes, abs=0.5 if pixels == 1024 else 0.05)


def test_plain_memory_is_the_counted_one_with_two_calls_a_level() -> None:
    # 2 * (2*64*(64+7) + 2*16*(16+7)) + 2*4*(4+7)
    assert plain_memory(64, 7, 2) == 2 * (9088 + 736) + 88
    stages = unet_stages(8, 8, calls=(2, 2, 1), channels=(1, 1, 1), factor=1)
    assert counted_memory(stages, 7) == plain_memory(64, 7, 2)


def test_heads_batch_and_guidance_multiply() -> None:
    stages = stable_diffusion(256)
    once = counted_memory(stages, TEXT)
    assert counted_memory(stages, TEXT, batch=3, guided=True, all_heads=True) == 3 * 2 * 8 * once


def test_self_attention_memory_grows_as_the_fourth_power_of_the_side_and_cross_as_the_second() -> None:
    def cross(positions: int) -> int:
        return score_memory(positions, TEXT) - score_memory(positions, 0)

    assert score_memory(32 * 32, 0) == 2**4 * score_memory(16 * 16, 0)
    assert cross(32 * 32) == 2**2 * cross(16 * 16)


def test_operations_by_hand() -> None:
    assert core_flops(3, 5, 7, batch=2) == 2 * 4 * 3 * 5 * 7
    assert linear_flops(3, 5, 7) == 2 * 3 * 5 * 7
    assert convolution_flops(4, 6, 5, 7, 3) == 2 * 4 * 6 * 5 * 7 * 9


def test_spatial_and_temporal_operations_are_equal_where_frames_are_positions() -> None:
    assert spatial_flops(16, 64, 320) == 4 * 16 * 64**2 * 320
    assert spatial_flops(64, 64, 320) == temporal_flops(64, 64, 320)
    assert spatial_flops(16, 64, 320) / temporal_flops(16, 64, 320) == spatial_to_temporal(16, 64) == 4
    assert joint_flops(16, 64, 320) == 16 * spatial_flops(16, 64, 320)


@pytest.mark.parametrize("factor", [2, 3])
def test_growth_is_the_power_of_the_formulas(factor: int) -> None:
    assert spatial_flops(8, factor * 64, 1) == factor ** _power("spatial", "pixels") * spatial_flops(8, 64, 1)
    assert spatial_flops(factor * 8, 64, 1) == factor ** _power("spatial", "frames") * spatial_flops(8, 64, 1)
    assert temporal_flops(8, factor * 64, 1) == factor ** _power("temporal", "pixels") * temporal_flops(8, 64, 1)
    assert temporal_flops(factor * 8, 64, 1) == factor ** _power("temporal", "frames") * temporal_flops(8, 64, 1)
    assert joint_flops(factor * 8, 64, 1) == factor ** _power("spatiotemporal", "frames") * joint_flops(8, 64, 1)


def test_growth_is_unknown_where_the_formulas_give_no_power() -> None:
    assert growth("joint_attention", "pixels") is None
    assert growth("self_attention", "tokens") is None
    assert growth("group_norm", "pixels") is None


def _power(kind: str, over: str) -> int:
    found = growth(f"{kind}_attention", over)
    assert found is not None
    return found


@cache
def calls_of(name: str, folder: Path, **changes: int) -> pl.DataFrame:
    """Calls of one step of the denoiser, full size, as a trace tells them."""
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from annotate.gpus import gpu
    from annotate.models import model
    from annotate.simulation import export
    from annotate.simulation.run import simulate

    place = folder / f"{name}-{'-'.join(map(str, changes.values()))}_pqtdir"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        declared = model(name)
        export.write(simulate(declared, "full", declared.request("full", steps=1, **changes), gpu("h200")), place)
    calls = tables_of(ttinsys.load(place))["calls"].filter(pl.col("component") == "denoiser").collect()
    return calls.filter(pl.col("step") == calls["step"].max())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulated")


@pytest.mark.parametrize(
    ("pixels", "convolution", "linear", "core"),
    [(256, 0.111, 0.061, 0.008), (512, 0.444, 0.233, 0.122), (1024, 1.776, 0.924, 1.960)],
)
def test_full_size_stable_diffusion_costs_what_the_formulas_give(
    folder: Path, pixels: int, convolution: float, linear: float, core: float
) -> None:
    calls = calls_of("stable-diffusion", folder, height=pixels, width=pixels)
    # Guidance doubles the batch.
    of = {role: flops / 2 for role, flops in calls.group_by("role").agg(pl.col("flops").sum()).iter_rows()}
    assert (of["spatial_conv"] + of["pointwise_conv"]) / 1e12 == pytest.approx(convolution, abs=0.0005)
    assert of["linear"] / 1e12 == pytest.approx(linear, abs=0.0005)
    assert of["spatial_attention"] / 1e12 == pytest.approx(core, abs=0.0005)
    stages = stable_diffusion(pixels)
    assert of["spatial_attention"] == self_attention_flops(stages)
    assert of["cross_attention"] == cross_attention_flops(stages, TEXT)
    lengths = calls.filter(pl.col("q_len").is_not_null(), pl.col("role") == "spatial_attention")["q_len"].to_list()
    counted = {stage.positions: stage.calls for stage in stages}
    assert {length: lengths.count(length) for length in set(lengths)} == counted


def test_full_size_modelscope_has_the_ratio_of_the_formulas(folder: Path) -> None:
    calls = calls_of("make-a-video", folder, height=256, width=256, frames=16)
    cores = calls.filter(pl.col("q_len").is_not_null())
    of = {
        role: (n, flops) for role, n, flops in cores.group_by("role").agg(pl.len(), pl.col("flops").sum()).iter_rows()
    }
    assert (of["spatial_attention"][0], of["temporal_attention"][0]) == (16, 34)
    assert of["spatial_attention"][1] / of["temporal_attention"][1] == pytest.approx(17.5, abs=0.05)
    # By formula: two temporal attentions beside each spatial one, and two of 512 channels at the entrance.
    for frames, ratio in ((16, 17.5), (32, 8.8), (256, 1.10)):
        stages = unet_stages(256, 256, calls=CALLS, channels=CHANNELS)
        spatial = sum(s.calls * spatial_flops(frames, s.positions, s.channels) for s in stages)
        temporal = 2 * sum(s.calls * temporal_flops(frames, s.positions, s.channels) for s in stages)
        temporal += 2 * temporal_flops(frames, stages[0].positions, 512)
        assert spatial / temporal == pytest.approx(ratio, abs=0.05)
        if frames == 16:
            assert 2 * spatial == of["spatial_attention"][1]
            assert 2 * temporal == of["temporal_attention"][1]
