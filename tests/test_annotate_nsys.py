"""What is annotated arrives through a real nsys: ranges, labels and costs, for every tiny model, on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import polars as pl
import pytest
from click.testing import CliRunner

import annotate.run
import annotate.sweep
import ttinsys
from annotate.cli import main as main_of_annotate
from annotate.labels import ROLES
from tests.shared import needs_nsys, run_under_nsys, under_nsys
from tests.tiny_captures import captured_group, each_group
from ttinsys.cli import main

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("nvtx")

FIELDS = ("step", "q_len", "kv_len", "flops", "bytes")


@needs_nsys
@pytest.mark.slow(30)
@each_group
def test_every_range_of_every_tiny_model_arrives_with_all_that_it_says(models: list[str]) -> None:
    capture = captured_group(models)
    expected = pl.DataFrame(json.loads(capture.opened.read_text()), infer_schema_length=None)
    ranges = ttinsys.ranges(ttinsys.load(capture.trace)).filter(pl.col("domain") == "ttinsys").collect()

    assert ranges["end_ns"].null_count() == 0
    for column in ("name", "role", "depth", *FIELDS[1:]):
        assert ranges[column].to_list() == expected[column].to_list(), column
    own_step = expected.filter(pl.col("step").is_not_null())
    assert ranges.filter(pl.col("class") == "step")["step"].to_list() == own_step["step"].to_list()
    assert {*ranges["role"]} <= {*ROLES}
    assert_prefixes_hold(ranges)

    for command in ("layers", "ranges"):
        done = CliRunner().invoke(main, [command, "--format", "json", str(capture.trace)])
        assert done.exit_code == 0, done.stderr
        rows = pl.DataFrame(json.loads(done.stdout), infer_schema_length=None)
        assert rows["instances"].sum() == ranges.height
        assert rows["cpu_ns"].min() > 0  # type: ignore[operator]
        assert {*rows["role"]} == {*ranges["role"]}


def assert_prefixes_hold(ranges: pl.DataFrame) -> None:
    """What lies in a module is named after it; stages, steps and pipelines are no modules, and not classes."""
    of_module = pl.col("class").str.contains("^[A-Z]") & pl.col("component").is_not_null()
    above = ranges.select(pl.col("index").alias("parent"), pl.col("name").alias("above"), of_module.alias("module"))
    inside = ranges.join(above, on="parent").filter("module")
    assert inside.height > 1000
    # T5 has one table for encoder and decoder: its name can begin with one of them at most.
    shared = pl.col("name").str.ends_with(".shared")
    assert inside.filter(~pl.col("name").str.starts_with(pl.col("above") + ".") & ~shared).is_empty()


@needs_nsys
@pytest.mark.slow(8)
def test_run_captures_itself_and_counts_what_arrived(tmp_path: Path) -> None:
    done = run("run", "--model", "llama2-7b", "--size", "tiny", "--device", "cpu", "--profile", str(tmp_path / "llama"))
    assert done.returncode == 0, done.stderr
    assert "ranges arrived" in done.stdout
    info = CliRunner().invoke(main, ["info", str(tmp_path / "llama.sqlite")])
    assert "run of llama2-7b; 5 tokens, 11 prompt_tokens, 1 batch, 0 seed; size tiny" in info.stdout
    phases = ttinsys.ranges(ttinsys.load(tmp_path / "llama.sqlite")).filter(pl.col("name") == "step").collect()
    # Warm-up and measured run: the prompt is read at once, four more tokens are written one by one.
    assert phases["phase"].to_list() == ["prefill", "decode", "decode", "decode", "decode"] * 2
    assert phases["step"].to_list() == [0, 1, 2, 3, 4] * 2


@needs_nsys
@pytest.mark.slow(15)
def test_sweep_captures_each_point_goes_on_where_it_stopped_and_records_what_failed(tmp_path: Path) -> None:
    grid = ["--model", "pixart", "--size", "tiny", "--device", "cpu", "--attention", "sdpa,none-such"]
    first = run("sweep", *grid, "--retry", "-o", str(tmp_path))
    assert first.returncode == 3
    assert "1 of 2 points failed" in first.stderr
    points = json.loads((tmp_path / "sweep.json").read_text())["points"]
    assert [point["status"] for point in points] == ["done", "failed"]
    assert "none-such" in points[1]["error"]
    trace = ttinsys.load(tmp_path / points[0]["trace"])
    steps = ttinsys.ranges(trace).filter(pl.col("name") == "step").collect()
    assert steps.height == 2  # the warm-up lies outside the window
    assert ttinsys.ranges(trace).collect()["role"].null_count() == 0

    again = run("sweep", *grid, "-o", str(tmp_path))
    assert "done before" in again.stderr
    assert json.loads((tmp_path / "sweep.json").read_text())["points"] == points


@needs_nsys
@pytest.mark.slow(6)
def test_script_has_its_pipelines_annotated_without_changing_a_line(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import sys\n"
        "from annotate.build import build\n"
        "from annotate.models import model\n"
        "pixart = model('pixart')\n"
        "pipeline = build(pixart, 'tiny')\n"
        "for _ in range(int(sys.argv[sys.argv.index('--steps') + 1])):\n"
        "    pixart.generate(pipeline, pixart.request('tiny'))\n"
    )
    trace = under_nsys(tmp_path, [sys.executable, "-m", "annotate.run", "--script", str(script), "--steps", "2"])
    ranges = ttinsys.ranges(ttinsys.load(trace)).collect()
    counts = dict(ranges.group_by("name").agg(pl.len()).iter_rows())
    assert (counts["PixArtAlphaPipeline"], counts["step"], counts["transformer"]) == (2, 4, 4)
    assert ranges["role"].null_count() == 0


@pytest.mark.slow(4)
def test_script_without_a_pipeline_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("print('hello')\n")
    done = run("run", "--script", str(tmp_path / "mine.py"))
    assert (done.returncode, done.stdout) == (3, "hello\n")
    assert done.stderr.splitlines()[-1].endswith("mine.py called no diffusers pipeline, so nothing was annotated")


InProcess = Callable[..., tuple[int, str]]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """Run a command as `main` does, but in this process: importing torch takes longer than all the rest.

    It returns the exit status and what was printed on standard error.
    """

    def run(command: click.Command, *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["annotate", *arguments])
        monkeypatch.setattr(os, "environ", os.environ.copy())  # of which `main` sets some
        with pytest.raises(SystemExit) as ended:
            main_of_annotate(command)
        return int(str(ended.value.code)), capsys.readouterr().err

    return run


@pytest.mark.filterwarnings("ignore")  # of libraries, which a command prints before its last line
@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--model", "stable-difusion"], 2, "no model stable-difusion: did you mean stable-diffusion?"),
        (["--model", "sdxl", "--height", "511"], 2, "--height 511: sdxl makes multiples of 8: the nearest is 512"),
        (["--model", "sdxl", "--tokens", "5"], 2, "sdxl has no --tokens"),
        (["--model", "sdxl", "--steps", "0"], 2, "--steps 0: must be at least 1"),
        (["--model", "sdxl", "--seed", "-1"], 2, "--seed -1: must be at least 0"),
        (["--model", "sdxl", "--device", "tpu9"], 2, "--device tpu9: no such device"),
        (["--model", "sdxl", "--cuda-graphs", "--device", "cpu"], 2, "--cuda-graphs: only on a CUDA device"),
        (["--model", "sdxl", "--attention", "flahs"], 2, "no --attention flahs: did you mean flash? There are sdpa, "),
        (["--model", "sdxl", "--profile", "x", "--nsys", "none-such"], 3, "none-such is not a program here"),
        (
            ["--model", "pixart", "--size", "tiny", "--device", "cpu", "--steps", "1"],
            3,
            "pixart failed in its pipeline",
        ),
        (["--model", "sdxl", "--device", "cpu", "--pretrained", "none-such"], 3, "--pretrained none-such: "),
        (["--script", "none-such.py"], 3, "none-such.py: no such file"),
        (["--describe", "none-such"], 2, "no model none-such"),
        ([], 2, "name what to run"),
        (["--model", "sdxl", "--granularity", "atom"], 2, "'atom' is not one of"),
        (["--model", "sdxl", "--granularity", "leav"], 2, "'component', 'block', 'leaf': did you mean leaf?"),
        (["--model", "sdxl", "--hight", "512"], 2, "--height"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    in_process: InProcess, arguments: list[str], status: int, message: str
) -> None:
    ended_with, printed = in_process(annotate.run.command, *arguments)
    assert ended_with == status
    assert message in printed.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "tinny"], "no --size tinny: did you mean tiny? There are full, tiny"),
        (
            ["--dtype", "float16,float61"],
            "no --dtype float61: did you mean float16? There are float32, float16, bfloat16",
        ),
        (["--compile", "all"], "no --compile all: there are none, regional, full"),
        (["--height", "256;512"], "--height 256;512: not a whole number; values are separated by commas"),
        (["--model", "sdxl,fluks"], "no model fluks: did you mean flux? There are stable-diffusion, "),
    ],
)
def test_point_that_no_machine_could_run_is_refused_before_the_first_is_captured(
    in_process: InProcess, tmp_path: Path, arguments: list[str], message: str
) -> None:
    status, printed = in_process(annotate.sweep.command, "--model", "sdxl", *arguments, "-o", str(tmp_path / "sweep"))
    assert status == 2
    assert message in printed.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_bug_is_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise KeyError("roel")

    monkeypatch.setattr(sys, "argv", ["broken"])
    with pytest.raises(KeyError, match="roel"):
        main_of_annotate(click.Command("broken", callback=broken, params=[]))


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the package in a process of its own."""
    return run_under_nsys([sys.executable, "-m", f"annotate.{module}", *arguments])
