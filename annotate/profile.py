"""Capture a run with nsys, export it, and check that every range arrived."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.errors import NothingRecorded, RunFailed
from annotate.nsys import capture, check_ranges, export, find_nsys, nsys_command

if TYPE_CHECKING:
    from annotate.session import Measured

_SUFFIX = {"sqlite": ".sqlite", "parquetdir": "_pqtdir", "arrowdir": "_arwdir"}


@dataclass(frozen=True)
class Captured:
    """A capture that was checked.

    Args:
        report: the `.nsys-rep`.
        exported: what it was exported to; None if it was not.
        ranges: how many ranges it holds.
        runs: what the run measured of itself.
        command: what was run.
        run: what the run says of itself: model, request, versions.
    """

    report: Path
    exported: Path | None
    ranges: int
    runs: list[Measured]
    command: list[str]
    run: dict[str, Any]


def profile(
    arguments: Sequence[str],
    output: Path,
    *,
    device: str,
    window: bool = False,
    kind: str = "sqlite",
    nsys: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Captured:
    """Run `python -m annotate.run` with these arguments under nsys.

    Args:
        arguments: of `annotate.run`.
        output: the report to write, with or without its suffix; one that is there is replaced.
        device: what the run uses.
        window: whether the run opens the capture itself.
        kind: of `annotate.nsys.EXPORTS`.
        nsys: the program; None for $NSYS or the one on PATH.
        say: told what is going on.

    Raises:
        RunFailed: the run failed; the message is its own.
        NothingRecorded: not all of its ranges arrived.
        MissingPackage: there is no nsys.
    """
    program = find_nsys(nsys)
    report = output if output.suffix == ".nsys-rep" else output.with_name(f"{output.name}.nsys-rep")
    with tempfile.TemporaryDirectory() as folder:
        told, made = Path(folder) / "run.json", Path(folder) / "report.nsys-rep"
        python = [sys.executable, "-m", "annotate.run", *arguments, "--report-to", str(told)]
        command = nsys_command(python, str(made), device=device, window=window, nsys=program)
        say(f"capturing {report}")
        done = capture(command, report)
        if not told.exists():
            raise RunFailed(_failure(done.stdout + done.stderr))
        if not made.exists():
            raise NothingRecorded(f"{report}: nsys wrote no report: {_failure(done.stdout + done.stderr)}")
        said = json.loads(told.read_text())
        expected = said["ranges"]
        say(f"checking that {expected:,} ranges arrived")
        check_ranges(made, expected, program)
        _move(made, report)
    exported = None
    if kind != "none":
        exported = report.with_name(report.name.removesuffix(".nsys-rep") + _SUFFIX[kind])
        say(f"exporting {exported}")
        export(report, kind, exported, program)
    from annotate.session import Measured

    shown = nsys_command(["python", "-m", "annotate.run", *arguments], output.name, device=device, window=window)
    return Captured(report, exported, expected, [Measured(**run) for run in said["runs"]], shown, said["run"])


def _move(made: Path, report: Path) -> None:
    """Put a finished report in its place, from another file system if need be."""
    import shutil

    report.parent.mkdir(parents=True, exist_ok=True)
    beside = report.with_name(f".{report.name}.partial")
    try:
        shutil.copyfile(made, beside)
        beside.replace(report)
    finally:
        beside.unlink(missing_ok=True)


def _failure(output: str) -> str:
    """What a failed run said last that is an error, without its prefix."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ") or "Error" in line.partition(":")[0]]
    said = (errors or lines or ["it said nothing"])[-1]
    return said.removeprefix("Error: ")
