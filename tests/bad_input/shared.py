"""Small traces to damage, and commands to pass them to."""

from __future__ import annotations

import csv
import io
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

import click.testing
import pytest
from click.testing import CliRunner

from tests.build import TraceBuilder
from ttinsys.cli import main
from ttinsys.commands.exit_status import ExitStatus

SAMPLE = Path(__file__).resolve().parents[2] / "sample_traces" / "synthetic-stable-diffusion.sqlite"
PAGE = 4096
"""Bytes of a page of the sample's database."""
KERNELS, CALLS, EVENTS = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"
COPIES, FILLS = "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET"
SUFFIX = {"parquetdir": ".parquet", "arrowdir": ".arrow"}
COMMANDS = {
    "info": ["info"],
    "attribute": ["attribute", "--format", "csv"],
    "layers": ["layers"],
    "stats": ["stats", "--report", "nvtx_kern_sum"],
}
"""One command for each way of reading a trace."""
every_command = pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=name, marks=() if name == "layers" else pytest.mark.slow(1))
        for name, command in COMMANDS.items()
    ],
)
"""Run a test with each command, in the fast tier with one that reads operations and ranges."""
each_directory = pytest.mark.parametrize("format", SUFFIX)


def run(command: Sequence[str], *more: str | Path) -> click.testing.Result:
    """Run a command in this process; an exception other than an exit is raised here."""
    done = CliRunner().invoke(main, [*command, *map(str, more)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def refused(command: Sequence[str], path: Path, *more: str) -> str:
    """The one line of error that a command prints for a trace that it cannot read."""
    done = run(command, path, *more)
    assert (done.exit_code, done.stdout) == (ExitStatus.FAILED, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {path}")
    return line


def answered(command: Sequence[str], *paths: Path) -> str:
    """The output of a command for traces that are odd but readable."""
    done = run(command, *paths)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def attributed(path: Path) -> list[dict[str, str]]:
    """Rows of the attribution table."""
    return list(csv.DictReader(io.StringIO(answered(COMMANDS["attribute"], path))))


def process(
    *arguments: str | Path,
    stdout: IO[str] | int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
    before: str = "true",
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, after the shell command `before`."""
    command = ["sh", "-c", f'{before}; exec "$@"', "sh", sys.executable, "-m", "ttinsys", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, timeout=60, check=False)


def script(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def builder() -> TraceBuilder:
    """Two nested ranges around a kernel of 50 ns, a copy of 10 ns and a fill of 10 ns."""
    t = TraceBuilder()
    thread = t.thread(10, 11, "main")
    t.process(10, "python")
    t.gpu()
    t.range(thread, "unet", 0, 900, registered=True)
    t.range(thread, "conv", 10, 800)
    t.kernel(thread, "sgemm", launch=(20, 30), gpu=(100, 150))
    t.memcpy(thread, "HtoD", 40, launch=(40, 50), gpu=(160, 170))
    t.memset(thread, 40, launch=(60, 65), gpu=(180, 190))
    return t


def without_constraints(table: str) -> tuple[str, ...]:
    """SQL that removes the constraints from a table's columns."""
    return f"CREATE TABLE copy AS SELECT * FROM {table}", f"DROP TABLE {table}", f"ALTER TABLE copy RENAME TO {table}"


def without_page(table: str, path: Path) -> Path:
    """Copy the sample to `path`, with the first page of a table overwritten."""
    with closing(sqlite3.connect(f"file:{SAMPLE}?mode=ro&immutable=1", uri=True)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    content = bytearray(SAMPLE.read_bytes())
    content[PAGE * (page - 1) : PAGE * page] = b"\xff" * PAGE
    path.write_bytes(content)
    return path
