"""Values that cannot be: no operation is lost to them, and no name controls the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.bad_input.shared import (
    CALLS,
    COMMANDS,
    EVENTS,
    KERNELS,
    answered,
    attributed,
    every_command,
    run,
    without_constraints,
)
from tests.shared import slow
from ttinsys.commands.exit_status import ExitStatus


@pytest.mark.slow(1)
def test_operation_that_ends_before_it_starts_has_no_duration_and_is_noted(trace: Callable[..., Path]) -> None:
    path = trace(f"UPDATE {KERNELS} SET end = 40")
    (kernel, *_) = attributed(path)
    assert (kernel["start_ns"], kernel["end_ns"], kernel["duration_ns"]) == ("100", "40", "")
    assert "1 operations end before they start: their negative durations" in answered(["info"], path)
    for command in COMMANDS.values():
        answered(command, path)


@pytest.mark.slow(1)
def test_range_that_ends_before_it_starts_holds_nothing(trace: Callable[..., Path]) -> None:
    path = trace(f"UPDATE {EVENTS} SET end = 5 WHERE text = 'conv'")
    assert {row["range"] for row in attributed(path)} == {"unet"}
    for command in COMMANDS.values():
        answered(command, path)


@every_command
@pytest.mark.parametrize("table", [KERNELS, CALLS, EVENTS])
@pytest.mark.parametrize("span", [(-(2**62), 2**62), (-(2**63), 2**63 - 1), (2**63 - 1, -(2**63))], ids=str)
def test_absurd_times_lose_no_operation(
    trace: Callable[..., Path], command: list[str], table: str, span: tuple[int, int]
) -> None:
    path = trace(f"UPDATE {table} SET start = {span[0]}, end = {span[1]}")
    done = run(command, path)
    assert done.exit_code == 0
    if command[0] == "attribute":
        assert len(done.stdout.splitlines()) == 4
    if command[0] in {"attribute", "layers"}:
        assert done.stderr.startswith(f"{path}: 3 GPU operations, ")


@pytest.mark.slow(1)
@pytest.mark.parametrize("correlation_id", ["NULL", *map(slow, ("-1", str(2**63 - 1), str(-(2**63))))])
def test_correlation_ids_that_cannot_be_lose_no_operation(trace: Callable[..., Path], correlation_id: str) -> None:
    path = trace(f"UPDATE {KERNELS} SET correlationId = {correlation_id}")
    for command in COMMANDS.values():
        answered(command, path)
    found = {row["kind"]: row["attributed_by"] for row in attributed(path)}
    assert found["memcpy"] == found["memset"] == "launch"
    assert found["kernel"] in {"no_api_call", "launched_before_capture"}


def test_launch_with_a_correlation_id_far_from_the_others_is_found(trace: Callable[..., Path]) -> None:
    path = trace(*(f"UPDATE {table} SET correlationId = {2**63 - 1} WHERE rowid = 1" for table in (KERNELS, CALLS)))
    assert [row["path"] for row in attributed(path)] == ["unet/conv"] * 3
    assert "unet" in answered(COMMANDS["stats"], path)


@pytest.mark.parametrize("value", ["NULL", *map(slow, ("-1", "-globalTid", str(-(2**63)), str(2**63 - 1)))])
@pytest.mark.parametrize("table", [CALLS, EVENTS])
def test_threads_that_cannot_be_open_no_range_for_others(trace: Callable[..., Path], table: str, value: str) -> None:
    path = trace(f"UPDATE {table} SET globalTid = {value}")
    assert [row["range"] for row in attributed(path)] == ["", "", ""]
    for command in ("info", "stats"):
        answered(COMMANDS[command], path)


def test_kernel_without_a_process_belongs_to_the_only_one(trace: Callable[..., Path]) -> None:
    path = trace(f"UPDATE {KERNELS} SET globalPid = NULL")
    assert [row["attributed_by"] for row in attributed(path)] == ["launch", "launch", "launch"]


@pytest.mark.slow(1)
@pytest.mark.parametrize("value", ["-5", *map(slow, (str(-(2**63)),))])
def test_processes_that_cannot_be_launch_nothing(trace: Callable[..., Path], value: str) -> None:
    path = trace(f"UPDATE {KERNELS} SET globalPid = {value}")
    assert [row["attributed_by"] for row in attributed(path)] == ["no_api_call", "launch", "launch"]
    for command in COMMANDS.values():
        answered(command, path)


@pytest.mark.slow(1)
def test_nulls_where_nsys_has_none_are_read(trace: Callable[..., Path]) -> None:
    path = trace(*without_constraints(KERNELS), f"UPDATE {KERNELS} SET start = NULL, end = NULL, demangledName = NULL")
    (kernel, *_) = attributed(path)
    assert (kernel["start_ns"], kernel["duration_ns"], kernel["kernel"], kernel["path"]) == ("", "", "", "unet/conv")
    for command in COMMANDS.values():
        answered(command, path)


HOSTILE = "a\0b\x1b[31mc\nd\re\tf\x9b2Jg\x7fh\u202ei\x1b]0;title\x07"


@pytest.mark.parametrize(
    "command",
    [["info"], ["attribute"], ["layers"], ["kernels"], ["ranges"]]
    + [["stats", "--report", name] for name in ("cuda_gpu_kern_sum", "nvtx_kern_sum", "nvtx_gpu_proj_trace")],
    ids=" ".join,
)
def test_names_never_control_the_terminal(trace: Callable[..., Path], command: list[str]) -> None:
    path = trace(
        "UPDATE StringIds SET value = :text",
        f"UPDATE {EVENTS} SET text = :text",
        "UPDATE PROCESSES SET name = :text",
        "UPDATE TARGET_INFO_GPU SET name = :text, chipName = :text",
        "UPDATE META_DATA_EXPORT SET value = :text",
        text=HOSTILE,
    )
    printed = answered(command, path)
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert "[31mc" in printed


def test_machine_formats_keep_names_as_they_are(trace: Callable[..., Path], tmp_path: Path) -> None:
    path = trace(f"UPDATE {EVENTS} SET text = :text WHERE text = 'conv'", text=HOSTILE)
    for name in ("o.csv", "o.json", "o.parquet"):
        assert run(["attribute", "-o", str(tmp_path / name)], path).exit_code == 0
    frames = [
        pl.read_csv(tmp_path / "o.csv"),
        pl.read_json(tmp_path / "o.json"),
        pl.read_parquet(tmp_path / "o.parquet"),
    ]
    assert [frame["range"].unique().to_list() for frame in frames] == [[HOSTILE]] * 3


def test_errors_never_control_the_terminal(trace: Callable[..., Path], tmp_path: Path) -> None:
    path = trace(*without_constraints(KERNELS), f"ALTER TABLE {KERNELS} RENAME COLUMN start TO '\x1b[2J\nstart'")
    hostile = tmp_path / "new\nline\x1b[31m.sqlite"
    path.rename(hostile)
    done = run(["info"], hostile)
    assert done.exit_code == ExitStatus.FAILED
    (line,) = done.stderr.splitlines()
    assert line.isprintable()
    assert "new\ufffdline\ufffd[31m.sqlite: table" in line
