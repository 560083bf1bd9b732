"""Outputs that cannot be written: nothing is half written, and what was there stays as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bad_input.shared import COMMANDS, KERNELS, SAMPLE, process, refused, run, without_page
from tests.shared import slow
from ttinsys.commands.exit_status import ExitStatus

each_format = pytest.mark.parametrize("format", ["csv", *map(slow, ("json", "parquet", "table"))])
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


def test_existing_output_is_left_alone_without_force(tmp_path: Path) -> None:
    output = tmp_path / "mine.csv"
    output.write_text("mine")
    done = run(["layers", "-o", str(output)], SAMPLE)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Error: {output} exists: give --force to replace it" in done.stderr
    assert output.read_text() == "mine"


def test_existing_output_is_replaced_with_force(tmp_path: Path) -> None:
    output = tmp_path / "mine.csv"
    output.write_text("mine")
    assert run(["layers", "--force", "-o", str(output)], SAMPLE).exit_code == 0
    assert output.read_text().startswith("name,depth,")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.csv"]


def test_output_has_the_permissions_that_the_person_gives_new_files(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        run(["layers", "-o", str(tmp_path / "new.csv")], SAMPLE)
    finally:
        os.umask(mask)
    assert (tmp_path / "new.csv").stat().st_mode & 0o777 == 0o640


def test_output_that_is_a_link_replaces_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real/a.csv")
    assert run(["layers", "--force", "-o", str(tmp_path / "link.csv")], SAMPLE).exit_code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "a.csv").read_text().startswith("name,depth,")


def test_run_that_fails_leaves_the_old_output(tmp_path: Path) -> None:
    output = tmp_path / "mine.csv"
    output.write_text("mine")
    damaged = without_page(KERNELS, tmp_path / "damaged.sqlite")
    refused(["layers", "--force", "-o", str(output)], damaged)
    assert output.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["damaged.sqlite", "mine.csv"]


def test_bad_trace_among_good_ones_writes_nothing(tmp_path: Path) -> None:
    damaged = without_page(KERNELS, tmp_path / "damaged.sqlite")
    done = run(["layers", "-o", str(tmp_path / "o.csv")], SAMPLE, damaged)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (ExitStatus.FAILED, "", 1)
    assert f"{damaged}: table {KERNELS}" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["damaged.sqlite"]


@pytest.mark.parametrize("command", [*COMMANDS.values(), ["attribute"]], ids=" ".join)
def test_output_folder_that_is_missing_is_a_usage_error_before_any_work(tmp_path: Path, command: list[str]) -> None:
    done = run([*command, "-o", str(tmp_path / "no" / "o.json")], tmp_path / "no.sqlite")
    assert done.exit_code == 2
    assert f"Error: {tmp_path}/no is not a directory: make it first" in done.stderr


def test_output_that_is_a_directory_is_a_usage_error(tmp_path: Path) -> None:
    done = run(["layers", "--force", "-o", str(tmp_path)], SAMPLE)
    assert done.exit_code == 2
    assert f"Error: {tmp_path} is a directory: give a file" in done.stderr


def test_output_that_is_a_device_or_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for output in (tmp_path / "pipe", Path("/dev/null")):
        done = run(["layers", "--force", "-o", str(output)], SAMPLE)
        assert done.exit_code == 2
        assert f"Error: {output} is a device or a pipe" in done.stderr
        assert not output.is_file()


@pytest.mark.slow(1)
@each_format
def test_full_disk_leaves_no_file_and_the_old_one_as_it_was(tmp_path: Path, format: str) -> None:
    output = tmp_path / f"mine.{format}"
    output.write_text("mine")
    options = ["--force", "-o", str(output), "--format", format, "--rows", "0"]
    done = process("attribute", SAMPLE, *options, before="ulimit -f 8")
    assert (done.returncode, done.stdout) == (ExitStatus.FAILED, "")
    assert done.stderr == f"Error: {output}: File too large: nothing was written\n"
    assert output.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.slow(1)
@needs_dev_full
@pytest.mark.parametrize(
    "command",
    [
        ["layers"],
        *map(slow, (["info"], COMMANDS["stats"])),
        *(slow(["attribute", "--format", name]) for name in ("csv", "json", "parquet")),
    ],
    ids=" ".join,
)
def test_full_disk_behind_standard_output_is_one_line(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = process(*command, SAMPLE, stdout=full)
    assert done.returncode == ExitStatus.FAILED
    assert done.stderr == "Error: standard output: No space left on device: not all was written\n"


@pytest.mark.slow(1)
@each_format
def test_reader_that_leaves_early_ends_the_run_quietly(format: str) -> None:
    command = [sys.executable, "-m", "ttinsys", "attribute", str(SAMPLE), "--format", format, "--rows", "0"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_standard_output_that_is_closed_is_a_usage_error() -> None:
    done = process("layers", SAMPLE, stdout=None, before="exec >&-")
    assert done.returncode == 2
    assert done.stderr.endswith("Error: standard output is closed: give -o FILE\n")


@pytest.mark.slow(1)
def test_standard_error_that_is_closed_is_no_reason_to_fail() -> None:
    done = process("layers", SAMPLE, stderr=None, before="exec 2>&-")
    assert (done.returncode, done.stdout.split()[0]) == (0, "instances")
    assert process("layers", "no.sqlite", stderr=None, before="exec 2>&-").returncode == ExitStatus.FAILED


@pytest.mark.slow(1)
def test_interrupt_ends_the_run_without_a_traceback_and_cleans_up(tmp_path: Path) -> None:
    slow = tmp_path / "nsys"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 60\n")
    slow.chmod(0o755)
    (tmp_path / "run.nsys-rep").write_text("x")
    command = [sys.executable, "-m", "ttinsys", "layers", "--nsys", str(slow), "-o", str(tmp_path / "o.csv")]
    with subprocess.Popen(
        [*command, str(tmp_path / "run.nsys-rep")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)},
    ) as running:
        deadline = time.monotonic() + 30
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err.strip()) == (ExitStatus.INTERRUPTED, "", "interrupted")
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["nsys", "run.nsys-rep", "started"]
    assert list(tmp_path.rglob("*.sqlite")) == []
