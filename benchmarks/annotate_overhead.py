"""Time what annotation costs per module call on the CPU, beside other ways to put names and shapes into a profile.

    python -m benchmarks.annotate_overhead
    python -m benchmarks.annotate_overhead --nsys /opt/nvidia/nsight-systems/bin/nsys --rounds 40 -o result.json

Each situation, without a tool and under `nsys profile --trace=nvtx`, is a process of its own. In it the contestants
take turns on one model (A B C, B C A, ...), and what is taken is how much longer than the plain model each takes in
the same round. Under nsys the exported ranges are counted: who records nothing looks cheap. Exit status 1: ranges are
missing, or with `--check` a limit is exceeded.
"""

from __future__ import annotations

import argparse
import gc
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from annotate import annotate
from annotate.backends import Nvtx
from benchmarks.annotate_workloads import Workload, workloads
from benchmarks.layerwise_peers import emit_nvtx, layerwise_hooks, profiled, record_functions, why_no_emit_nvtx

NO_TOOL, UNDER_NSYS = "no tool", "nsys"
PLAIN, OURS, ATTACHED = "plain", "annotate", "annotate, attached"
HOOKS, RECORD, EMIT = "layerwise hooks", "record_function", "emit_nvtx"
PROFILED, RECORD_PROFILED = "plain, torch.profiler on", "record_function, torch.profiler on"
LIMITS_US = {NO_TOOL: 1.0, UNDER_NSYS: 3.5}
"""What a module call may cost: issue 3."""
LEAST_RATIO = 2.0
"""How many times as much each peer that carries shapes must cost."""
WARM_PASSES = 2

Attach = Callable[[nn.Module], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Score:
    """One contestant on one workload in one situation.

    Args:
        situation: `NO_TOOL` or `UNDER_NSYS`.
        workload: its name.
        contestant: who.
        calls: of modules, in one pass.
        pass_us: CPU time of a pass, the least of a round, median over rounds.
        call_us: the same over plain in the same round, by module call.
        low_us, high_us: quartiles of that.
        ranges: that should be in the trace of all passes; None where it is not known, or nothing is to be recorded.
        recorded: that are there; None without nsys.
    """

    situation: str
    workload: str
    contestant: str
    calls: int
    pass_us: float
    call_us: float
    low_us: float
    high_us: float
    ranges: int | None = None
    recorded: int | None = None


@contextmanager
def plain(_module: nn.Module) -> Iterator[None]:
    """Nothing attached."""
    yield


def contestants(situation: str) -> dict[str, Attach]:
    """Who takes part, by name."""
    backend = Nvtx()
    found: dict[str, Attach] = {PLAIN: plain, OURS: lambda module: annotate(module, backend=backend)}
    if situation == NO_TOOL:
        # As shipped, nothing is attached where no tool listens; what it would cost if it were is told beside it.
        attached = Nvtx()
        attached.active = True
        found[ATTACHED] = lambda module: annotate(module, backend=attached)
    elif not backend.active:
        raise SystemExit("no tool listens to NVTX: is this nsys able to trace it?")
    found |= {HOOKS: lambda module: layerwise_hooks(module, backend), RECORD: record_functions}
    if why_no_emit_nvtx() is None:
        found[EMIT] = emit_nvtx
    if situation == NO_TOOL:
        found |= {PROFILED: profiled(plain), RECORD_PROFILED: profiled(record_functions)}
    return found


def compete(situation: str, rounds: int, passes: int) -> list[Score]:
    """Let all contestants take turns on all workloads."""
    torch.set_num_threads(1)
    attaches = contestants(situation)
    scores: list[Score] = []
    with torch.inference_mode():
        for workload in workloads():
            gc.collect()
            gc.freeze()
            times: dict[str, list[float]] = {name: [] for name in attaches}
            names = list(attaches)
            for number in range(rounds):
                turn = number % len(names)
                for name in names[turn:] + names[:turn]:
                    times[name].append(_pass_us(workload, attaches[name], passes))
            scores += _scores(situation, workload, times, rounds * (passes + WARM_PASSES))
    return scores


def _pass_us(workload: Workload, attach: Attach, passes: int) -> float:
    """Least time of a pass on a CPU, in microseconds: what else the machine does is not counted."""
    took = []
    with attach(workload.module):
        for _ in range(WARM_PASSES):
            workload.run()
        gc.collect()
        gc.disable()
        for _ in range(passes):
            began = time.thread_time_ns()
            workload.run()
            took.append(time.thread_time_ns() - began)
        gc.enable()
    return min(took) / 1e3


def _scores(situation: str, workload: Workload, times: Mapping[str, list[float]], passes: int) -> Iterator[Score]:
    ranges = {OURS: workload.ranges * passes, HOOKS: 2 * workload.calls * passes}
    for name, taken in times.items():
        base = times[PROFILED if name == RECORD_PROFILED else PLAIN]
        over = [(mine - theirs) / workload.calls for mine, theirs in zip(taken, base, strict=True)]
        low, middle, high = statistics.quantiles(over, n=4)
        expected = ranges.get(name) if situation == UNDER_NSYS else None
        took = statistics.median(taken)
        yield Score(situation, workload.name, name, workload.calls, took, middle, low, high, expected)


def in_process(situation: str, arguments: argparse.Namespace, nsys: str) -> list[Score]:
    """Let them compete in a fresh process, and see that what was to be recorded was.

    Raises:
        SystemExit: it failed, or ranges are missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        said, report = Path(folder) / "scores.json", Path(folder) / "report.nsys-rep"
        sizes = ["--rounds", str(arguments.rounds), "--passes", str(arguments.passes)]
        command = [sys.executable, "-m", "benchmarks.annotate_overhead", *sizes, "--as", situation, "-o", str(said)]
        if situation == UNDER_NSYS:
            profile = ["profile", "--trace=nvtx", "--sample=none", "--cpuctxsw=none", f"--output={report}"]
            command = [nsys, *profile, *command]
        print(f"{situation}: measuring", file=sys.stderr)
        _run(command)
        scores = [Score(**score) for score in json.loads(said.read_text())]
        return scores if situation == NO_TOOL else _recorded(scores, report, nsys)


def _run(command: Sequence[str]) -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}:\n{done.stdout}{done.stderr}")


def _recorded(scores: Sequence[Score], report: Path, nsys: str) -> list[Score]:
    """The same scores, with the ranges that are in the trace, of all workloads together."""
    exported = report.with_suffix(".sqlite")
    _run([nsys, "export", "--type=sqlite", f"--output={exported}", str(report)])
    text = "SELECT coalesce(text, value) FROM NVTX_EVENTS LEFT JOIN StringIds ON id = textId WHERE eventType = 59"
    recorded = dict.fromkeys((score.contestant for score in scores), 0)
    with closing(sqlite3.connect(exported)) as connection:
        for (name,) in connection.execute(text):
            recorded[HOOKS if name.startswith("{'Module'") else EMIT if "sizes = [" in name else OURS] += 1
    for contestant in (OURS, HOOKS):
        expected = sum(score.ranges or 0 for score in scores if score.contestant == contestant)
        if recorded[contestant] != expected:
            raise SystemExit(f"{contestant}: {expected} ranges were opened and {recorded[contestant]} recorded")
    if EMIT in recorded and not recorded[EMIT]:
        raise SystemExit(f"{EMIT} recorded nothing")
    return [Score(**asdict(score) | {"recorded": recorded[score.contestant]}) for score in scores]


def compared(scores: Sequence[Score]) -> Iterator[tuple[Score, float | None]]:
    """Each score that is compared with ours, and how many times as much it costs as ours where that is attached."""
    for score in scores:
        if score.contestant in {PLAIN, PROFILED}:
            continue
        reference = ATTACHED if score.situation == NO_TOOL else OURS
        same = (s for s in scores if (s.situation, s.workload) == (score.situation, score.workload))
        ours = next(s.call_us for s in same if s.contestant == reference)
        yield score, None if score.contestant in {OURS, ATTACHED} else score.call_us / ours if ours > 0 else math.inf


def exceeded(scores: Sequence[Score]) -> list[str]:
    """What does not hold of that which must: one line each."""
    lines = []
    for score, ratio in compared(scores):
        limit, where = LIMITS_US[score.situation], f"{score.situation}, {score.workload}: {score.contestant}"
        # Attached without a tool is what nobody gets: it is measured because peers are attached then, too.
        if score.contestant == OURS and score.call_us > limit:
            lines.append(f"{where}: {score.call_us:.2f} us, more than {limit:g}")
        if ratio is not None and ratio < LEAST_RATIO:
            lines.append(f"{where}: {ratio:.1f} times ours, less than {LEAST_RATIO:g}")
    return lines


def print_scores(scores: Sequence[Score]) -> None:
    """A table per situation and workload."""
    before = None
    for score, ratio in compared(scores):
        if before != (before := (score.situation, score.workload)):
            base = next(s for s in scores if (s.situation, s.workload, s.contestant) == (*before, PLAIN))
            print(f"\n{score.situation}: {score.workload}: {score.calls} calls, plain pass {base.pass_us / 1e3:.2f} ms")
            print(f"  {'':<36} {'us/call':>8} {'quartiles':>15} {'x ours':>7} {'recorded':>10}")
        quartiles = f"{score.low_us:.2f} to {score.high_us:.2f}"
        times = "" if ratio is None else f"{ratio:.1f}"
        recorded = "" if score.recorded is None else f"{score.recorded:,}"
        print(f"  {score.contestant:<36} {score.call_us:>8.2f} {quartiles:>15} {times:>7} {recorded:>10}")
    reason = why_no_emit_nvtx()
    if reason is not None:
        print(f"\n{EMIT} does not run here: {reason}")


def main() -> None:
    """Read the command line, compete, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="turns of each (default: 30)")
    parser.add_argument("--passes", type=int, default=8, metavar="N", help="timed passes in a turn (default: 8)")
    parser.add_argument(
        "--nsys", default=os.environ.get("NSYS", "nsys"), metavar="PATH", help="default: $NSYS, or PATH"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--check", action="store_true", help="exit status 1 where a limit is exceeded")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="also write the result there, as JSON")
    parser.add_argument("--as", dest="situation", choices=[NO_TOOL, UNDER_NSYS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.situation is not None:
        scores = compete(arguments.situation, arguments.rounds, arguments.passes)
        arguments.output.write_text(json.dumps([asdict(score) for score in scores]))
        return
    nsys = shutil.which(arguments.nsys)
    if nsys is None:
        parser.error(f"{arguments.nsys} was not found: give --nsys PATH")
    scores = [score for name in (NO_TOOL, UNDER_NSYS) for score in in_process(name, arguments, nsys)]
    said = subprocess.run([nsys, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    about = {"python": platform.python_version(), "nsys": said, "cpus": os.cpu_count()}
    about |= {name: version(name) for name in ("torch", "nvtx")}
    result = json.dumps(about | {"scores": [asdict(score) for score in scores]}, indent=2)
    if arguments.output is not None:
        arguments.output.write_text(result + "\n")
    if arguments.json:
        print(result)
    else:
        print_scores(scores)
    lines = exceeded(scores)
    print("\n".join(lines), file=sys.stderr)
    if lines and arguments.check:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
