"""Exit statuses: 0 done, 1 a gate failed, 2 usage, 3 the trace or the output failed, 70 a bug of ours."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from tests.build import TraceBuilder
from ttinsys.cli import main
from ttinsys.commands.exit_status import ExitStatus
from ttinsys.runner import run as runner

ROOT = Path(__file__).resolve().parents[1]
SYNTHETIC = ROOT / "sample_traces" / "synthetic-stable-diffusion.sqlite"
SIMULATED = ROOT / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_done_is_0() -> None:
    assert run("breakdown", SYNTHETIC).exit_code == 0


def test_failed_gate_is_1_and_nothing_else_is(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.kernel(t.thread(), "gemm", launch=(0, 1), gpu=(10, 30))
    slow = TraceBuilder()
    slow.kernel(slow.thread(), "gemm", launch=(0, 1), gpu=(10, 50))
    one, other = t.write(tmp_path / "a.sqlite"), slow.write(tmp_path / "b.sqlite")
    failed = run("diff", one, other, "--by", "kernel", "--fail-over", "3%")
    assert failed.exit_code == 1
    assert "FAILED: " in failed.stderr
    assert run("diff", one, tmp_path / "none.sqlite", "--fail-over", "3%").exit_code == 3


@pytest.mark.parametrize(
    "arguments", [["brekdown", SYNTHETIC], ["gaps", SYNTHETIC, "--by", "rol"], ["diff", SYNTHETIC]]
)
def test_wrong_usage_is_2(arguments: list[str | Path]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["breakdown", "none.sqlite"], ["roofline", SYNTHETIC], ["breakdown", ROOT / "README.md"]]
)
def test_trace_that_cannot_serve_is_3_and_one_line(arguments: list[str | Path]) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (3, "", 1)
    assert done.stderr.startswith("Error: ")


def test_bug_of_ours_is_a_traceback_that_says_so_and_70(monkeypatch: pytest.MonkeyPatch) -> None:
    def misspelt(_: pl.LazyFrame) -> pl.LazyFrame:
        return pl.LazyFrame({"a": [1]}).select("misspelt")

    monkeypatch.setattr(runner, "coverage", misspelt)
    done = run("breakdown", SYNTHETIC)
    assert done.exit_code == 70
    assert "Traceback (most recent call last):" in done.stderr
    assert "ColumnNotFoundError" in done.stderr
    assert "This is a bug in ttinsys, not a fault of your trace" in done.stderr.splitlines()[-1]
    assert "export the report again" not in done.stderr


def test_panic_of_polars_is_a_bug_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(_: pl.LazyFrame) -> pl.LazyFrame:
        raise pl.exceptions.PanicException("index out of bounds")

    monkeypatch.setattr(runner, "coverage", panic)
    done = run("breakdown", SYNTHETIC)
    assert done.exit_code == 70
    assert "This is a bug in ttinsys" in done.stderr.splitlines()[-1]


@pytest.mark.slow(1)
def test_output_that_nobody_reads_any_more_is_no_failed_gate() -> None:
    command = (
        f"{sys.executable} -m ttinsys attribute {SIMULATED} --format csv | head -1 > /dev/null; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "141\n"
    assert "Traceback" not in done.stderr


@pytest.mark.slow(1)
def test_interrupted_command_is_130() -> None:
    program = (
        "import sys, time; import ttinsys.commands.info as info; info.command.callback = lambda **_: time.sleep(30);"
        "from ttinsys.cli import main; print('ready', flush=True); main(['info', sys.argv[1]])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(SYNTHETIC)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(20) == 130


def test_readme_documents_every_status_that_a_person_meets() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| (.*?) \|$", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert sorted(map(int, rows)) == [0, 1, 2, 3, 70]
    assert [int(status) for status in list(ExitStatus)[:5]] == [0, 1, 2, 3, 70]
