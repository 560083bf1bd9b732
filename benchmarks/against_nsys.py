"""Time our NVTX kernel summary against the one of `nsys stats`, on the same traces, and check that both say the same.

    python benchmarks/against_nsys.py --sizes 1e5,1e6 --rounds 5
    python benchmarks/against_nsys.py run.sqlite --nsys /opt/nvidia/nsight-systems/bin/nsys -o result.json

The contestants take turns (A B C A B C ...), each time as a fresh process, and what is timed is the whole process, from
its start to its exit. Each time the rows are compared, as a multiset. Exit status 1: they differ, or a run failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

REPORT = "nvtx_kern_sum"
OURS_SQLITE, OURS_PARQUET, NSYS = "ttinsys on SQLite", "ttinsys on Parquet", "nsys stats on SQLite"
Rows = Counter[tuple[str | float, ...]]


@dataclass(frozen=True, slots=True)
class Run:
    """One process.

    Args:
        seconds: from its start to its exit.
        peak_bytes: the most memory that it, or a process that it started, had resident.
        rows: what it printed, without headings.
    """

    seconds: float
    peak_bytes: int
    rows: Rows


@dataclass(slots=True)
class Score:
    """All runs of one contestant on one trace.

    Args:
        trace: name of its file.
        contestant: who.
        kernels: how many the trace has.
        seconds: of each run, in order.
        peak_bytes: of each run, in order.
    """

    trace: str
    contestant: str
    kernels: int
    seconds: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)

    @property
    def median_s(self) -> float:
        """Median of the runs."""
        return statistics.median(self.seconds)


def run(command: Sequence[str | Path]) -> Run:
    """Run `command`, whose standard output is CSV.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            said = (errors.read() or output.read()).decode(errors="replace").strip().splitlines()
            name = " ".join(map(str, command))
            raise SystemExit(f"{name}: exit status {process.returncode}: {said[-1] if said else 'no message'}")
        # Linux counts in KiB, macOS in bytes.
        unit = 1 if sys.platform == "darwin" else 1024
        return Run(seconds, usage.ru_maxrss * unit, parse(output.read().decode(errors="replace")))


def parse(text: str) -> Rows:
    """The rows of a CSV report, numbers as numbers; what nsys says before the headings, and the headings, left out."""
    lines = text.splitlines(keepends=True)
    heading = next((number for number, line in enumerate(lines) if line.startswith("NVTX Range,")), None)
    if heading is None:
        raise SystemExit(f"no headings in the report: {text[:200]!r}")
    rows = csv.reader(lines[heading + 1 :])
    return Counter(tuple(_number(cell) for cell in row) for row in rows if row)


def _number(cell: str) -> str | float:
    try:
        return float(cell)
    except ValueError:
        return cell


def contestants(trace: Path, nsys: str) -> dict[str, list[str | Path]]:
    """Commands by name. Our own on Parquet only where a directory of the same name lies beside the trace."""
    ours = [sys.executable, "-m", "ttinsys", "stats", "--report", REPORT, "--format", "csv"]
    commands: dict[str, list[str | Path]] = {OURS_SQLITE: [*ours, trace]}
    parquet = parquet_of(trace)
    if parquet.is_dir():
        commands[OURS_PARQUET] = [*ours, parquet]
    commands[NSYS] = [nsys, "stats", "--force-export=false", "-r", REPORT, "-f", "csv", trace]
    return commands


def parquet_of(trace: Path) -> Path:
    """Where `generate.py`, and nsys, put the Parquet export of what `trace` is the SQLite export of."""
    return trace.with_name(f"{trace.stem}_pqtdir")


def compete(trace: Path, nsys: str, rounds: int) -> list[Score]:
    """Let all contestants take turns on one trace.

    Raises:
        SystemExit: one failed, or two disagree.
    """
    kernels = kernels_of(trace)
    commands = contestants(trace, nsys)
    scores = {name: Score(trace.name, name, kernels) for name in commands}
    expected: Rows | None = None
    for number in range(rounds):
        for name, command in commands.items():
            done = run(command)
            scores[name].seconds.append(done.seconds)
            scores[name].peak_bytes.append(done.peak_bytes)
            print(f"{trace.name}: round {number + 1}: {name}: {done.seconds:.2f} s", file=sys.stderr)
            expected = done.rows if expected is None else expected
            if done.rows != expected:
                raise SystemExit(
                    f"{trace.name}: {name} disagrees with {OURS_SQLITE}: {difference(done.rows, expected)}"
                )
    return list(scores.values())


def difference(one: Rows, other: Rows) -> str:
    """How many rows differ, and the first of each."""
    more, fewer = one - other, other - one
    first = [next(iter(sorted(rows, key=str)), None) for rows in (more, fewer)]
    return f"{more.total()} rows more, such as {first[0]}, {fewer.total()} rows fewer, such as {first[1]}"


def kernels_of(trace: Path) -> int:
    """Number of kernels of an SQLite export."""
    with closing(sqlite3.connect(f"{trace.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM CUPTI_ACTIVITY_KIND_KERNEL").fetchone()[0])


def growth(scores: Sequence[Score]) -> dict[str, float]:
    """By contestant, the exponent p of time ~ kernels**p: least squares of log time on log kernels."""
    exponents = {}
    for name in dict.fromkeys(score.contestant for score in scores):
        points = [(math.log(score.kernels), math.log(score.median_s)) for score in scores if score.contestant == name]
        if len({kernels for kernels, _ in points}) > 1:
            exponents[name] = statistics.linear_regression(*zip(*points, strict=True)).slope
    return exponents


def print_scores(scores: Sequence[Score]) -> None:
    """One line per trace and contestant, then the growth."""
    print(f"{'kernels':>12}  {'':<21} {'median s':>9} {'nsys takes':>11} {'peak MB':>8}")
    reference = {score.trace: score.median_s for score in scores if score.contestant == NSYS}
    for score in scores:
        ratio = reference[score.trace] / score.median_s
        peak = max(score.peak_bytes) / 1e6
        print(f"{score.kernels:>12,}  {score.contestant:<21} {score.median_s:>9.2f} {ratio:>10.1f}x {peak:>8.0f}")
    for name, exponent in growth(scores).items():
        print(f"{name}: time grows as kernels ** {exponent:.2f}")


def result(scores: Sequence[Score], nsys: str) -> dict[str, object]:
    """What was measured, and on what, for a file."""
    version = subprocess.run([nsys, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "report": REPORT,
        "python": platform.python_version(),
        "nsys": version,
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "scores": [asdict(score) | {"median_s": score.median_s} for score in scores],
        "growth": growth(scores),
    }


def traces_of_sizes(sizes: Sequence[int], folder: Path) -> list[Path]:
    """A generated trace per size; those that are in `folder` already are used again."""
    traces = []
    for size in sizes:
        base = folder / f"synthetic-{size}"
        trace = base.with_suffix(".sqlite")
        if not (trace.exists() and parquet_of(trace).is_dir()):
            generate = Path(__file__).with_name("generate.py")
            subprocess.run([sys.executable, generate, "--kernels", str(size), "-o", base], check=True)
        traces.append(trace)
    return traces


def main() -> None:
    """Read the command line, compete, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("traces", nargs="*", type=Path, metavar="TRACE", help="SQLite exports")
    parser.add_argument("--sizes", default="", metavar="N,N", help="numbers of kernels to generate traces of: 1e5,1e6")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "ttinsys-benchmarks",
        help="where generated traces are kept (default: a folder among the temporary files)",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each contestant (default: 5)")
    parser.add_argument("--nsys", default="nsys", metavar="PATH", help="the nsys program (default: nsys on PATH)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the result there, as JSON")
    arguments = parser.parse_args()
    nsys = shutil.which(arguments.nsys)
    if nsys is None:
        parser.error(f"{arguments.nsys} was not found: give --nsys PATH")
    sizes = [int(float(size)) for size in arguments.sizes.split(",") if size]
    traces = [*arguments.traces, *traces_of_sizes(sizes, arguments.folder)]
    if not traces:
        parser.error("give TRACE or --sizes")
    scores = [score for trace in traces for score in compete(trace, nsys, arguments.rounds)]
    print_scores(scores)
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(result(scores, nsys), indent=2) + "\n")


if __name__ == "__main__":
    main()
