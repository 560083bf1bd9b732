"""Whether two traces do equal work: how often each operator and each layer runs, and the FLOPs of layers.

A sum of times says nothing about speed where the numbers of operations differ: 60 calls of 4.0 ms are not faster than
68. Yet optimised programs rightly launch other kernels. So a difference in numbers counts as other work unless
something took the place of what is missing:

- Where all layers with FLOPs are the same and their FLOPs agree, the work is known to be equal.
- Where ranges show that the same layers ran as often, operators may replace each other: fused attention appears while
  matrix products and softmax disappear. Numbers that only fall, or only rise, mean less or more work, except for
  operators that a program may do without.
- Where no range shows that, every difference in numbers is a reason to abstain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from ttinsys.comparison.facts import Facts, fact_rows, known_number, parts_with
from ttinsys.measures.sums import known_sum
from ttinsys.tables.calls import executed

NOTICED = 0.01
"""Least share of a trace's GPU time for which a difference in numbers counts."""
_COVERED = 0.5
"""Ranges that are called equally often, or layers with FLOPs, vouch for the work where they hold this share of time."""
_LISTED = 3
"""Operators or layers that a reason names."""

_OPTIONAL = frozenset(
    {
        "copy",
        "elementwise",
        "index",
        "memcpy",
        "memset",
        "quantize",
        "random",
        "triton_pointwise",
        "triton_reduction",
        "triton_persistent_reduction",
    }
)
"""Operators that a program may do without: they move or convert data, or fuse into their neighbours."""


class Move(NamedTuple):
    """An operator or layer whose numbers differ.

    Args:
        name: The operator or layer.
        before, after: Its number in the baseline and in the trace; in the mean step where steps are compared.
        share: Time of the additional ones, as a share of the GPU time of the trace that has them.
    """

    name: str
    before: float
    after: float
    share: float


def facts_of_work(
    ops: pl.LazyFrame, ranges: pl.LazyFrame, calls: pl.LazyFrame, *, per: str = "trace"
) -> list[pl.LazyFrame]:
    """Numbers and times of operators (`operator_*`), annotated layers (`module_*`) and ranges (`path_*`).

    Args:
        ops: `OPS` of several traces.
        ranges: their `RANGES`.
        calls: their `CALLS`.
        per: `step` where only what runs in steps is compared.
    """
    inside = pl.col("step_id").is_not_null()
    if per == "step":
        ops, ranges, calls = (frame.filter(inside) for frame in (ops, ranges, calls))
    time = pl.col("duration_ns").sum().alias("ns")
    operators = ops.group_by("trace", "operator").agg(pl.len().alias("calls"), time)
    modules = calls.group_by("trace", "module").agg(
        pl.col("executions").cast(pl.Int64).sum().alias("calls"),
        pl.col("gpu_ns").sum().alias("ns"),
        known_sum(executed("flops")).alias("flops"),
    )
    whole_ns = pl.col("ns").sum().over("trace")
    paths = ops.group_by("trace", "path").agg(time).filter(pl.col("ns") >= NOTICED * whole_ns).drop_nulls("path")
    # A path that one trace spends time in counts in all of them.
    known_paths = paths.select("path").unique()
    path_calls = ranges.join(known_paths, on="path", how="semi").group_by("trace", "path").agg(pl.len().alias("calls"))
    return [
        fact_rows(ops.group_by("trace").agg(time), "timed_ns", value="ns"),
        *(fact_rows(operators, f"operator_{name}", part="operator", value=name) for name in ("calls", "ns")),
        *(fact_rows(modules, f"module_{name}", part="module", value=name) for name in ("calls", "ns")),
        fact_rows(modules.drop_nulls("flops"), "module_flops", part="module", value="flops"),
        fact_rows(paths, "path_ns", part="path", value="ns"),
        fact_rows(path_calls, "path_calls", part="path", value="calls"),
    ]


def reasons_by_work(before: Facts, after: Facts, per: str) -> Iterator[str]:
    """Why two traces that call the same parts of a pipeline do not do equal work, a clause each.

    Args:
        before: facts of the baseline.
        after: facts of the compared trace.
        per: `step` where numbers of mean steps are compared.
    """
    annotated = bool(known_number(after, "annotated"))
    level = "module" if annotated else "path"
    layers = _moves(before, after, level, per)
    if not _replaced(layers, strict=True):
        common = [move for move in layers if move.before and move.after]
        if common and sum(move.share for move in common) >= NOTICED:
            yield _listed(common, "called {} times", per)
            layers = common
        elif annotated and (reason := _flops_differ(before, after, per)):
            yield reason
            return
    if annotated and _same_flops(before, after, per):
        return
    operators = [move for move in _moves(before, after, "operator", per) if move.share >= NOTICED]
    if annotated or _vouched(before, after):
        required = [move for move in operators if move.name not in _OPTIONAL]
        operators = [] if _replaced(operators, strict=False) else required
    if operators:
        yield _listed(operators, "{} operations", per)


def _moves(before: Facts, after: Facts, level: str, per: str) -> list[Move]:
    """Operators or layers whose numbers differ, the greatest difference first."""
    steps = [known_number(facts, "steps") or 1 for facts in (before, after)] if per == "step" else [1, 1]
    moves = []
    for name in parts_with(f"{level}_calls", before, after):
        counts = [known_number(facts, f"{level}_calls", name) for facts in (before, after)]
        if counts[0] * steps[1] == counts[1] * steps[0]:
            continue
        rates = [count / taken for count, taken in zip(counts, steps, strict=True)]
        more = before if rates[0] > rates[1] else after
        additional = 1 - min(rates) / max(rates)
        share = _share(known_number(more, f"{level}_ns", name), more) * additional
        moves.append(Move(name, rates[0], rates[1], share))
    return sorted(moves, key=lambda move: -move.share)


def _share(ns: int, facts: Facts) -> float:
    """A time as a share of all the time that is compared."""
    whole_ns = known_number(facts, "timed_ns")
    return ns / whole_ns if whole_ns else 0


def _replaced(moves: Sequence[Move], *, strict: bool) -> bool:
    """Whether what became fewer may have been replaced by what became more.

    Args:
        moves: operators or layers whose numbers differ.
        strict: only what is new in one of the traces can replace anything: a layer does not do another layer's work.
    """
    noticed = [move for move in moves if move.share >= NOTICED]
    rose = any(move.after > move.before and not (strict and move.before) for move in noticed)
    fell = any(move.after < move.before and not (strict and move.after) for move in noticed)
    if not strict:
        return rose and fell
    risen, fallen = (any(sign * (move.after - move.before) > 0 for move in noticed) for sign in (1, -1))
    return (rose and fallen) or (fell and risen)


def _known_flops(before: Facts, after: Facts, per: str) -> tuple[float, float] | None:
    """FLOPs of both traces, where the same layers have any and hold at least half of the time; else None."""
    layers = [parts_with("module_flops", facts) for facts in (before, after)]
    if layers[0] != layers[1] or not layers[0]:
        return None
    for facts in (before, after):
        if _share(sum(known_number(facts, "module_ns", name) for name in layers[0]), facts) < _COVERED:
            return None
    steps = [known_number(facts, "steps") or 1 if per == "step" else 1 for facts in (before, after)]
    was, is_ = (
        sum(known_number(facts, "module_flops", name) for name in layers[0]) / taken
        for facts, taken in zip((before, after), steps, strict=True)
    )
    return was, is_


def _same_flops(before: Facts, after: Facts, per: str) -> bool:
    """Whether FLOPs are known, and agree to 1%."""
    flops = _known_flops(before, after, per)
    return flops is not None and abs(flops[1] - flops[0]) <= NOTICED * max(flops)


def _flops_differ(before: Facts, after: Facts, per: str) -> str | None:
    """The reason where FLOPs are known and differ by more than 1%; else None."""
    flops = _known_flops(before, after, per)
    if flops is None or _same_flops(before, after, per):
        return None
    where = " per step" if per == "step" else ""
    return f"{flops[1] / 1e9:,.3f} GFLOP{where} in its layers (baseline: {flops[0] / 1e9:,.3f})"


def _vouched(before: Facts, after: Facts) -> bool:
    """Whether ranges that are called equally often hold at least half of the time of both traces."""
    names = [
        name
        for name in parts_with("path_calls", before, after)
        if known_number(before, "path_calls", name) == known_number(after, "path_calls", name)
    ]
    return all(
        _share(sum(known_number(facts, "path_ns", name) for name in names), facts) >= _COVERED
        for facts in (before, after)
    )


def _listed(moves: Sequence[Move], what: str, per: str) -> str:
    """The first of the operators or layers with both of their numbers, and the number of the others."""
    where = " per step" if per == "step" else ""
    named = [
        f"{move.name} {what.format(_number(move.after))}{where} (baseline: {_number(move.before)})"
        for move in moves[:_LISTED]
    ]
    rest = len(moves) - len(named)
    return ", ".join([*named, *([f"and {rest} more"] if rest else [])])


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate == int(rate) else f"{rate:,.2f}"


def uniform_change(before: Facts, after: Facts) -> str | None:
    """The sentence for times that all changed by one factor, as with another clock; None where they did not.

    One changed kernel does not change all others. A clock, a power limit, another GPU or a larger batch does.
    """
    ratios = []
    for name in parts_with("operator_calls", before, after):
        counts = [known_number(facts, "operator_calls", name) for facts in (before, after)]
        times = [known_number(facts, "operator_ns", name) for facts in (before, after)]
        if all(counts) and all(times) and _share(times[0], before) >= NOTICED:
            ratios.append((times[1] / counts[1]) / (times[0] / counts[0]))
    if len(ratios) < _ALIKE or max(ratios) > min(ratios) * (1 + _SPREAD):
        return None
    factor = sum(ratios) / len(ratios)
    if abs(factor - 1) <= _SPREAD:
        return None
    return (
        f"all {len(ratios)} operators take {factor:.2f} times as long each, as with another GPU clock, another "
        "GPU or another batch: lock the clock with nvidia-smi --lock-gpu-clocks"
    )


_ALIKE = 3
"""Least number of operators whose times change together."""
_SPREAD = 0.02
"""Operators change together where the ratios of their times differ by no more than this."""
