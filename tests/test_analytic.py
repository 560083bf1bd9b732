"""The formulas of the analytical model: their own numbers, by hand and by the study."""

from __future__ import annotations

import pytest

from ttinsys.measures.formulas import (
    adjacent_ratios,
    convolution_flops,
    core_flops,
    growth,
    linear_flops,
    plain_memory,
    score_memory,
    spatial_to_temporal,
    trajectory,
)
from ttinsys.published.layers.unets import level_sides

CALLS = (5, 5, 5, 1)
TEXT = 77


def positions(height: int, width: int, levels: int) -> list[int]:
    return [rows * columns for rows, columns in level_sides(height, width, levels)]


def memory_of_all_calls(lengths: list[int], text: int, calls: tuple[int, ...]) -> int:
    """Bytes of the score matrices of one head of one picture."""
    return sum(number * score_memory(length, text) for number, length in zip(calls, lengths, strict=True))


@pytest.mark.parametrize(
    ("pixels", "expected"), [(256, [1024, 256, 64, 16]), (512, [4096, 1024, 256, 64]), (1024, [16384, 4096, 1024, 256])]
)
def test_lengths_are_those_of_the_levels(pixels: int, expected: list[int]) -> None:
    lengths = positions(pixels // 8, pixels // 8, 4)
    assert lengths == expected
    assert trajectory(lengths) == (*lengths, *lengths[2::-1])
    assert adjacent_ratios(lengths) == (4, 4, 4)


def test_odd_sides_are_rounded_up_as_strided_convolutions_do() -> None:
    assert positions(9, 5, 3) == [9 * 5, 5 * 3, 3 * 2]


@pytest.mark.parametrize(("pixels", "megabytes"), [(256, 12.2), (512, 183.1), (1024, 2879)])
def test_memory_per_head_is_that_of_all_calls_in_millions_of_bytes(pixels: int, megabytes: float) -> None:
    memory = memory_of_all_calls(positions(pixels // 8, pixels // 8, 4), TEXT, CALLS)
    assert memory / 1e6 == pytest.approx(megabytes, abs=0.5 if pixels == 1024 else 0.05)


def test_plain_memory_is_that_of_two_calls_a_level_and_one_in_the_middle() -> None:
    # 2 * (2*64*(64+7) + 2*16*(16+7)) + 2*4*(4+7)
    assert plain_memory(64, 7, 2) == 2 * (9088 + 736) + 88
    assert memory_of_all_calls(positions(8, 8, 3), 7, (2, 2, 1)) == plain_memory(64, 7, 2)


def test_self_attention_memory_grows_as_the_fourth_power_of_the_side_and_cross_as_the_second() -> None:
    def cross(length: int) -> int:
        return score_memory(length, TEXT) - score_memory(length, 0)

    assert score_memory(32 * 32, 0) == 2**4 * score_memory(16 * 16, 0)
    assert cross(32 * 32) == 2**2 * cross(16 * 16)


def test_operations_by_hand() -> None:
    assert core_flops(3, 5, 7, batch=2) == 2 * 4 * 3 * 5 * 7
    assert linear_flops(3, 5, 7) == 2 * 3 * 5 * 7
    assert convolution_flops(4 * 6, 5, 7, 3 * 3) == 2 * 4 * 6 * 5 * 7 * 9


def spatial(frames: int, length: int) -> int:
    return core_flops(length, length, 320, batch=frames)


def temporal(frames: int, length: int) -> int:
    return core_flops(frames, frames, 320, batch=length)


def joint(frames: int, length: int) -> int:
    return core_flops(frames * length, frames * length, 320)


def test_spatial_and_temporal_operations_are_equal_where_frames_are_positions() -> None:
    assert spatial(16, 64) == 4 * 16 * 64**2 * 320
    assert temporal(16, 64) == 4 * 64 * 16**2 * 320
    assert spatial(64, 64) == temporal(64, 64)
    assert spatial(16, 64) / temporal(16, 64) == spatial_to_temporal(16, 64) == 4
    assert joint(16, 64) == 16 * spatial(16, 64)


@pytest.mark.parametrize("factor", [2, 3])
def test_growth_is_the_power_of_the_formulas(factor: int) -> None:
    assert spatial(8, factor * 64) == factor ** power("spatial", "pixels") * spatial(8, 64)
    assert spatial(factor * 8, 64) == factor ** power("spatial", "frames") * spatial(8, 64)
    assert temporal(8, factor * 64) == factor ** power("temporal", "pixels") * temporal(8, 64)
    assert temporal(factor * 8, 64) == factor ** power("temporal", "frames") * temporal(8, 64)
    assert joint(factor * 8, 64) == factor ** power("spatiotemporal", "frames") * joint(8, 64)
    assert joint(8, factor * 64) == factor ** power("spatiotemporal", "pixels") * joint(8, 64)


def test_growth_is_unknown_where_the_formulas_give_no_power() -> None:
    assert growth("joint_attention", "pixels") is None
    assert growth("self_attention", "tokens") is None
    assert growth("group_norm", "pixels") is None


def power(kind: str, over: str) -> int:
    found = growth(f"{kind}_attention", over)
    assert found is not None
    return found
