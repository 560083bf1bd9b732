"""Time the page of `ttinsys report` against the reports of `nsys stats` that tell the same, on one trace, in turns.

    python -m benchmarks.report_page run.sqlite --rounds 3
    python -m benchmarks.report_page --size 1e6 --check

nsys prints GPU time by kernel, by range and its kernels, by range on the GPU's timeline, and the times of launches; the
page holds these, what follows from them, and the figures. What is timed is the whole process. With --check the exit
status is 1 where the page takes more than 10 s or more than 5 MB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.against_nsys import kernels_of, traces_of_sizes

SECONDS, MEGABYTES = 10, 5
"""What a page may take, on two cores, for a million kernels."""
REPORTS = "cuda_gpu_kern_sum,nvtx_kern_sum,nvtx_gpu_proj_sum,cuda_kern_exec_sum"


def timed(command: Sequence[str | Path]) -> tuple[float, int]:
    """Seconds of a whole process, and the most memory that it had resident, in bytes.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def compete(trace: Path, nsys: str | None, rounds: int, folder: Path) -> tuple[dict[str, list[float]], int]:
    """Seconds of each run by contestant, and the size of the page in bytes."""
    page = folder / "report.html"
    commands: dict[str, list[str | Path]] = {
        "ttinsys report": [sys.executable, "-m", "ttinsys", "report", trace, "-o", page, "--force"]
    }
    if nsys is not None and trace.suffix == ".sqlite":
        commands["nsys stats"] = [nsys, "stats", "--force-export=false", "-r", REPORTS, trace]
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            took, peak = timed(command)
            seconds[name].append(took)
            print(f"round {number + 1}: {name}: {took:.2f} s, {peak / 1e6:,.0f} MB", file=sys.stderr)
    return seconds, page.stat().st_size


def main() -> None:
    """Read the command line, compete, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trace", nargs="?", type=Path, metavar="TRACE", help="a trace; SQLite for nsys to take part")
    parser.add_argument("--size", type=float, metavar="N", help="else: number of kernels to generate a trace of")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "ttinsys-benchmarks")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each contestant (default: 3)")
    parser.add_argument("--nsys", default="nsys", metavar="PATH", help="the nsys program (default: nsys on PATH)")
    parser.add_argument("--check", action="store_true", help=f"fail above {SECONDS} s or {MEGABYTES} MB")
    arguments = parser.parse_args()
    trace = arguments.trace
    if trace is None and arguments.size is None:
        parser.error("give TRACE or --size")
    if trace is None:
        (trace,) = traces_of_sizes([int(arguments.size)], arguments.folder)
    with tempfile.TemporaryDirectory() as folder:
        seconds, size = compete(trace, shutil.which(arguments.nsys), arguments.rounds, Path(folder))
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    kernels = f"{kernels_of(trace):,} kernels, " if trace.suffix == ".sqlite" else ""
    print(f"{trace.name}: {kernels}a page of {size / 1e6:.2f} MB")
    for name, median in medians.items():
        print(f"{name:<15} {median:>7.2f} s {median / medians['ttinsys report']:>6.1f}x")
    slow, large = medians["ttinsys report"] > SECONDS, size > MEGABYTES * 1e6
    if arguments.check and (slow or large):
        raise SystemExit(f"more than {SECONDS} s" if slow else f"more than {MEGABYTES} MB")


if __name__ == "__main__":
    main()
