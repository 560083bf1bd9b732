"""The command line, as a person meets it: help, formats, files, filters, several traces."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner, Result

import parsers
import ttinsys
from tests.build import TraceBuilder
from tests.test_select import two_layers
from ttinsys.cli import main
from ttinsys.runner.run import analyse

COMMANDS = main.list_commands(click.Context(main))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def trace_in(folder: Path, name: str = "run.sqlite") -> Path:
    return two_layers().write(folder / name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_every_option_says_what_it_does(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert f"\n      ttinsys {name} " in shown.stdout
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_lists_every_command_with_its_first_line() -> None:
    shown = run("--help").stdout
    for name in COMMANDS:
        assert f"\n  {name} " in shown


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["nonsense"]])
def test_help_costs_no_import_of_polars(arguments: Sequence[str]) -> None:
    code = (
        "import sys, ttinsys.cli\n"
        f"try: ttinsys.cli.main({list(arguments)!r})\n"
        "except SystemExit: pass\n"
        "print(sorted(sys.modules.keys() & {'polars', 'rich', 'torch'}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith("[]\n")


@pytest.mark.parametrize("name", ["kernels", "layers"])
def test_machine_formats_hold_the_whole_frame_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = trace_in(tmp_path)
    expected = analyse(name, parsers.load(path))
    schema = expected.schema
    csv = run(name, path, "--format", "csv", "--rows", "1")
    assert pl.read_csv(io.BytesIO(csv.stdout_bytes), schema=schema).equals(expected)
    assert pl.DataFrame(json.loads(run(name, path, "--format", "json").stdout), schema=schema).equals(expected)
    assert pl.read_parquet(io.BytesIO(run(name, path, "--format", "parquet").stdout_bytes)).equals(expected)
    assert "attributed to a range" in csv.stderr


def test_suffix_of_the_output_chooses_its_format(tmp_path: Path) -> None:
    path = trace_in(tmp_path)
    expected = ttinsys.attribute(parsers.load(path)).collect()
    done = run("attribute", path, "-o", tmp_path / "ops.parquet")
    assert (done.exit_code, done.stdout) == (0, "")
    assert pl.read_parquet(tmp_path / "ops.parquet").equals(expected)
    assert run("kernels", path, "-o", tmp_path / "kernels.csv").exit_code == 0
    assert (tmp_path / "kernels.csv").read_text().startswith("kind,operator,instances,sum_ns,")


def test_several_traces_make_one_table_that_says_which(tmp_path: Path) -> None:
    one, two = trace_in(tmp_path, "rank0.sqlite"), trace_in(tmp_path, "rank1.sqlite")
    frame = pl.read_csv(io.BytesIO(run("kernels", one, two, "--format", "csv").stdout_bytes))
    assert frame.group_by("trace").agg(pl.col("sum_ns").sum()).sort("trace").rows() == [
        (str(one), 115),
        (str(two), 115),
    ]
    stats = run("stats", "--report", "cuda_gpu_kern_sum", one, two, "--format", "csv")
    assert stats.stdout.startswith("trace,Time (%),Total Time (ns),")


def test_filters_reach_every_command(tmp_path: Path) -> None:
    path = trace_in(tmp_path)
    found = {
        ("--range", "unet.*"): {"conv", "sgemm"},
        ("--stream", "8"): {"sgemm"},
        ("--device", "1"): {"norm"},
        ("--time", "0.11us/400ns"): {"sgemm", "norm"},
        ("--time", "/110"): {"conv"},
        ("--domain", "default", "--range", "vae"): {"decode", "[CUDA memcpy Device-to-Host]"},
    }
    for options, expected in found.items():
        shown = run("kernels", path, *options, "--format", "csv")
        assert set(pl.read_csv(io.BytesIO(shown.stdout_bytes))["kernel"]) == expected, options
    report = run("stats", "--report", "cuda_gpu_kern_sum", path, "--stream", "8", "--format", "json")
    assert [row["Name"] for row in json.loads(report.stdout)] == ["sgemm"]


def test_report_that_has_nothing_to_say_says_so_and_is_no_failure(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "step", 0, 10)
    path = t.write(tmp_path / "cpu.sqlite")
    done = run("stats", "--report", "nvtx_kern_sum", path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing to say" in done.stderr
    assert "--trace=cuda,nvtx" in done.stderr
    layers = run("layers", path)
    assert (layers.exit_code, "step" in layers.stdout) == (0, True)
    assert "no GPU activity" in layers.stderr


def test_filters_that_leave_nothing_are_not_blamed_on_the_capture(tmp_path: Path) -> None:
    done = run("kernels", trace_in(tmp_path), "--stream", "99")
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert "no GPU operation is on stream 99: there are streams 7 and 8" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--time", "5"],
        ["--time", "2s/1s"],
        ["--time", "1h/2h"],
        ["--format", "xml"],
        ["--rows", "-1"],
        ["--depth", "x"],
    ],
)
def test_wrong_usage_is_status_2_and_reads_nothing(tmp_path: Path, options: list[str]) -> None:
    done = run("layers", *options, tmp_path / "not there.sqlite")
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr


def test_info_as_json_has_raw_numbers(tmp_path: Path) -> None:
    (seen,) = json.loads(run("info", trace_in(tmp_path), "--format", "json").stdout)
    assert seen["operations"][0] == {"kind": "kernel", "device": 0, "streams": 2, "ops": 3, "sum_ns": 110}
    assert seen["start_ns"] == 0
    assert {row["domain"] for row in seen["ranges"]} == {None, "cuBLAS"}
