"""Budgets: what a file may say, what it says wrong, and what fails by it."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from tests.analyses.test_diff import after, difference, unet
from ttinsys.analyses.diff import judge
from ttinsys.cli import main
from ttinsys.comparison.gate import (
    Budget,
    BudgetError,
    Limit,
    parse_budget,
    parse_confidence,
    parse_percent,
    parse_ratio,
    read_budget,
)


def budget(folder: Path, text: str) -> Budget:
    path = folder / "budget.toml"
    path.write_text(text)
    return read_budget(path)


def verdict(folder: Path, frame: pl.DataFrame, text: str) -> list[str]:
    found = judge(frame, budget=budget(folder, text))
    return [sentence.replace(f"{folder / 'budget.toml'}: ", "") for sentence in found]


def test_times_and_ratios_are_read_in_their_units(tmp_path: Path) -> None:
    text = (
        '[total]\nsum = "1.5 ms"\nslowdown = "3%"\n[role.linear]\nstep = "2us"\n[kernel."void f(int)"]\nsum = "7ns"\n'
    )
    assert budget(tmp_path, text).limits == (
        Limit("total", "(all)", "sum", 1_500_000),
        Limit("total", "(all)", "slowdown", 0.03),
        Limit("role", "linear", "step", 2000),
        Limit("kernel", "void f(int)", "sum", 7),
    )


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "no limit: give at least one"),
        ("[total\n", "not TOML"),
        ("[totl]\nsum = '1 ms'", "totl: unknown: give total, layer, path, role"),
        ("[total]\nmean = '1 ms'", "total.mean: unknown: give sum, step, slowdown"),
        ("[total]\nsum = 3", "total.sum: 3 is not a time: give 30 ms or the like"),
        ("[total]\nsum = '3 minutes'", "total.sum: '3 minutes' is not"),
        ("[role.linear]\nslowdown = '3 ms'", "role.linear.slowdown: '3 ms' is not"),
        ("[role.linear]\nslowdown = 3", "role.linear.slowdown: 3 is not"),
        ("[role.linear]", "role.linear: no limit"),
        ("[role]\nsum = '3 ms'", "role.sum: no limit: give"),
        ("[layer.unet.conv]\nsum = '3 ms'", 'layer.unet.conv: quote names with dots, as [layer."unet.conv"]'),
        ("role = 3", "role: not a table"),
        ("total = 3", "total: no limit"),
    ],
)
def test_what_a_budget_says_wrong_is_told_in_one_line(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(BudgetError) as raised:
        budget(tmp_path, text)
    assert wrong in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "budget.toml"))
    assert "\n" not in str(raised.value)


def test_budget_that_is_no_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="No such file"):
        read_budget(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BudgetError, match="not UTF-8"):
        read_budget(tmp_path / "binary.toml")


def test_percentages_need_their_sign_from_one_on() -> None:
    assert [parse_ratio(text) for text in ("3%", "0.03", " 150 % ", 0.5, ".5%", "1")] == [
        0.03,
        0.03,
        1.5,
        0.5,
        0.005,
        1.0,
    ]
    assert [parse_ratio(text) for text in ("3", "-3%", "three", "", "nan", "%", True)] == [None] * 7


def test_options_of_the_gate_are_parsed_from_text_or_given_as_numbers(tmp_path: Path) -> None:
    assert [parse_percent(value) for value in ("3%", "0.03", 0.03, 0, 1, 0.00001)] == [0.03, 0.03, 0.03, 0, 1, 0.00001]
    assert [parse_confidence(value) for value in ("95%", 0.95)] == [0.95, 0.95]
    limits = budget(tmp_path, '[total]\nsum = "1 ms"')
    assert parse_budget(limits) is limits
    assert parse_budget(tmp_path / "budget.toml") == limits


@pytest.mark.parametrize("value", ["3", "three", 3, -0.5, True, float("nan"), float("inf")])
def test_value_that_is_no_ratio_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"{value!r} is not a percentage: give 3% or 0.03") + "$"):
        parse_percent(value)


@pytest.mark.parametrize("value", ["50%", "100%", 0.5, 1])
def test_confidence_at_its_bounds_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(ValueError, match=f"^{value!r} is not between 50% and 100%: give 95% or 0.99$"):
        parse_confidence(value)


def test_limits_are_kept_up_to_their_last_nanosecond(tmp_path: Path) -> None:
    frame = difference(tmp_path, unet(), after(), by=("role",))
    kept = '[total]\nsum = "382 ns"\nslowdown = "0%"\n[role.spatial_attention]\nsum = "186 ns"\n'
    assert verdict(tmp_path, frame, kept) == []
    assert verdict(tmp_path, frame, '[role.spatial_attention]\nsum = "185 ns"') == [
        "1: role spatial_attention: sum is 0.186 us, 0.185 us is allowed"
    ]


@pytest.mark.slow(1)
def test_what_was_not_measured_never_passes(tmp_path: Path) -> None:
    frame = difference(tmp_path, unet(), after(), by=("role",))
    assert verdict(tmp_path, frame, '[role.linear]\nsum = "1 s"') == ["1: role linear: no GPU operation was measured"]
    assert verdict(tmp_path, frame, '[component.vae]\nsum = "1 s"') == [
        "1: component vae: not compared: give --by component"
    ]
    assert verdict(tmp_path, frame, '[total]\nstep = "1 s"') == ["1: total: step was not measured: give --per step"]
    kernels = difference(tmp_path, unet(), after(), by=("kernel",))
    assert verdict(tmp_path, kernels, '[kernel.flash_fwd]\nslowdown = "1%"') == [
        "1: kernel flash_fwd: not in the baseline, so its slowdown is unknown"
    ]
    steps = difference(tmp_path, unet(), after(), per="step")
    assert verdict(tmp_path, steps, '[total]\nsum = "1 s"') == ["1: total: sum was not measured: give --per trace"]
    assert verdict(tmp_path, steps, '[total]\nstep = "113 ns"') == []


def test_slowdown_within_the_noise_is_allowed(tmp_path: Path) -> None:
    # The convolution: 1 ns more, and the noise is 12 ns.
    frame = difference(tmp_path, unet(), after(), by=("role",))
    assert verdict(tmp_path, frame, '[role.spatial_conv]\nslowdown = "0%"') == []
    assert verdict(tmp_path, frame, '[role.other]\nslowdown = "0.2"') == [
        "1: role other: slower by 33.3% (0.030 us to 0.040 us), 20% is allowed"
    ]


def test_unfair_comparison_fails_whatever_the_budget(tmp_path: Path) -> None:
    frame = difference(tmp_path, unet(), after(vae=None), by=("role",))
    assert verdict(tmp_path, frame, '[total]\nsum = "1 s"') == ["1 is not comparable with the baseline: vae is missing"]


@pytest.mark.slow(1)
def test_budget_ends_the_command_with_its_reasons(tmp_path: Path) -> None:
    paths = [str(t.write(tmp_path / f"{name}.sqlite")) for name, t in (("before", unet()), ("after", after()))]
    file = tmp_path / "budget.toml"
    file.write_text('[role.spatial_attention]\nsum = "0.18 us"\n')
    failed = CliRunner().invoke(main, ["diff", *paths, "--by", "role", "--budget", str(file)])
    assert failed.exit_code == 1
    assert f"FAILED: {paths[1]}: {file}: role spatial_attention: sum is 0.186 us, 0.180 us is allowed" in failed.stderr
    file.write_text('[role.spatial_attention]\nsum = "186 ns"\n')
    assert CliRunner().invoke(main, ["diff", *paths, "--by", "role", "--budget", str(file)]).exit_code == 0
    file.write_text("[nothing]")
    malformed = CliRunner().invoke(main, ["diff", *paths, "--budget", str(file)])
    assert malformed.exit_code == 2
    assert "nothing: unknown" in malformed.stderr
