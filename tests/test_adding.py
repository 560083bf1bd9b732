"""An analysis is one file and its test: nothing else has to be written or extended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.build import TraceBuilder

ROOT = Path(__file__).resolve().parents[1]

LAUNCH_LATENCY = '''"""Time between a launch call and its kernel's start, by range.

    ttinsys launch-latency trace.sqlite --top 20
"""

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.attribute import OPS
from ttinsys.measures.options import Option
from ttinsys.runner.registry import analysis

LAUNCH_LATENCY = Table(
    "launch_latency",
    Column("path", pl.String, doc="Module path; null where no range was open."),
    Column("queue_ns", pl.Int64, unit="ns", doc="Median of kernel start - API end; null where none waited."),
)

@analysis(needs=[OPS], returns=LAUNCH_LATENCY, options=[Option("top", "Rows kept, longest first.")])
def launch_latency(ops: pl.LazyFrame, *, top: int = 20) -> pl.LazyFrame:
    """Rank ranges by how long their kernels waited in the queue."""
    return (
        ops.group_by("path")
        .agg(pl.col("queue_ns").median().round().cast(pl.Int64))
        .sort("queue_ns", "path", descending=[True, False], nulls_last=True)
        .head(top)
    )
'''

PROGRAM = """
import json, sys
import ttinsys, ttinsys.analyses
ttinsys.analyses.__path__.append(sys.argv[1])
import click
from click.testing import CliRunner
from tests import generated
from ttinsys.cli import main

trace = ttinsys.load(sys.argv[2])
run = lambda *arguments: CliRunner().invoke(main, list(arguments))
picture = sys.argv[1] + "/figure.svg"
drawn = run("launch-latency", sys.argv[2], "--plot", picture, "--format", "csv", "--top", "1")
print(json.dumps({
    "rows": ttinsys.launch_latency(trace).rows(),
    "csv": drawn.stdout,
    "drawn": open(picture).read(4),
    "listed": "launch_latency" in dir(ttinsys),
    "doc": ttinsys.launch_latency.__doc__,
    "overview": run("--help").stdout,
    "help": run("launch-latency", "--help").stdout,
    "wrong": run("launch-latency", sys.argv[2], "--top", "many").exit_code,
    "report": run("report", sys.argv[2], "-o", sys.argv[1] + "/page.html").exit_code,
    "stub": generated.stub(),
    "readme": generated.readme(),
}))
"""


def added(folder: Path, name: str, text: str, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program that adds a folder with one analysis to the package; the program's trace has three ranges."""
    (folder / f"{name}.py").write_text(text)
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "fast", 0, 100)
    t.range(main, "slow", 200, 300)
    # 20 - 15 = 5 ns in the queue; 250 - 215 = 35 and 320 - 225 = 95, whose median is 65.
    t.kernel(main, "a", launch=(10, 15), gpu=(20, 30))
    t.kernel(main, "b", launch=(210, 215), gpu=(250, 260))
    t.kernel(main, "b", launch=(220, 225), gpu=(320, 330))
    trace = t.write(folder / "run.sqlite")
    command = [sys.executable, "-c", program, str(folder), str(trace)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow(2)
def test_analysis_in_one_file_has_its_function_command_help_figure_stub_and_readme_row(tmp_path: Path) -> None:
    done = added(tmp_path, "launch_latency", LAUNCH_LATENCY, PROGRAM)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["rows"] == [["slow", 65], ["fast", 5]]
    assert found["csv"] == "path,queue_ns\nslow,65\n"
    assert found["drawn"] == "<svg"
    assert found["listed"]
    assert "queue_ns (ns): Median of kernel start - API end" in found["doc"]
    assert "Other questions:\n  launch-latency" in found["overview"]
    assert "queue_ns [ns]" in found["help"]
    assert "--top INTEGER" in found["help"]
    assert (found["wrong"], found["report"]) == (2, 0)
    assert "def launch_latency(\n    *traces: Trace,\n    top: int = 20,\n) -> pl.DataFrame:" in found["stub"]
    assert "| `ttinsys launch-latency TRACE...` | Time between a launch call" in found["readme"]


def test_file_that_registers_another_name_is_told_which(tmp_path: Path) -> None:
    program = "import sys, ttinsys, ttinsys.analyses; ttinsys.analyses.__path__.append(sys.argv[1]); ttinsys.latency"
    done = added(tmp_path, "latency", LAUNCH_LATENCY, program)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "TypeError: ttinsys.analyses.latency registers launch_latency: call its function latency"
    )
