"""Alignment of traces: GPU time by key before and after, and the noise band of each difference.

    pairs = against_first(["eager", "flash"])
    compared(ops, pairs, by=("role",)).collect()

`ops` is `OPS` of several traces, stacked. `ttinsys.comparison.fairness` tells which of them are comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from parsers import TraceError
from ttinsys.comparison.noise import noise
from ttinsys.measures.dimensions import REASON, component, role
from ttinsys.measures.sums import ascending_sum, exact_sum, ratio

TOTAL, ALL = "total", "(all)"
"""Values of `by` and `key` in the row of the whole trace."""

_PLACE = pl.coalesce("path", REASON)
_ANNOTATED = pl.col("module").is_not_null().any().over("trace").all()

KEYS = {
    "layer": pl.when(_ANNOTATED).then(pl.coalesce("module", _PLACE)).otherwise(_PLACE),
    "path": _PLACE,
    "role": role(),
    "component": component(),
    "operator": pl.col("operator"),
    "kernel": pl.col("kernel").fill_null("(unnamed)"),
}
"""Keys that operations of two traces are aligned by. A layer is an annotated module; if one of the traces has no
annotation, it is the stack of ranges instead."""

PER = ("trace", "step")
"""Units of time: the whole trace, or the mean step, without time outside steps."""


def traces_of(frame: pl.LazyFrame) -> list[str]:
    """Names of the traces of a stacked table, in their order: the categories of its Enum column `trace`."""
    dtype = frame.collect_schema()["trace"]
    return dtype.categories.to_list() if isinstance(dtype, pl.Enum) else []


def against_first(traces: Sequence[str]) -> dict[str, str]:
    """Pairs that compare each further trace with the first one: the baseline by the name of the trace."""
    return dict.fromkeys(traces[1:], traces[0]) if traces else {}


def two_by_two(traces: Sequence[str]) -> dict[str, str]:
    """Pairs that compare every second trace with the one before it: the baseline by the name of the trace.

    Raises:
        TraceError: the number of traces is odd.
    """
    if len(traces) % 2:
        raise TraceError(f"--pairs compares the traces two by two, and {len(traces)} are given: add or drop one")
    return dict(zip(traces[1::2], traces[::2], strict=True))


def paired(pairs: Mapping[str, str], traces: Sequence[str]) -> pl.LazyFrame:
    """The pairs as a frame of `trace` and `baseline`, of the same Enum as in the stacked tables."""
    names = pl.Enum(traces)
    return pl.LazyFrame({"trace": [*pairs], "baseline": [*pairs.values()]}, schema={"trace": names, "baseline": names})


def compared(
    ops: pl.LazyFrame,
    pairs: Mapping[str, str],
    *,
    by: Sequence[str],
    per: str = "trace",
    confidence: float = 0.95,
) -> pl.LazyFrame:
    """GPU time of each trace beside that of its baseline, as a whole and by each of `by`.

    Args:
        ops: `OPS` of several traces.
        pairs: the baseline of each compared trace.
        by: some of `KEYS`.
        per: one of `PER`.
        confidence: confidence level of the noise band: the probability that the difference of two runs of the same
            program stays within it.

    Returns:
        `trace`, `baseline`, `by`, `key`, `role`, `operator`, `before_ns`, `after_ns`, `before_ops`, `after_ops`,
        `before_mean_ns`, `after_mean_ns` (of an operation), `like_speedup`, `like_share` (see `_like`) and `noise_ns`
        (see `noise`). Every trace has a row for the whole (`by` is `TOTAL`), and the rows of each `by` add up to it,
        for `per="step"` up to the rounding of means to the nanosecond.
    """
    traces = traces_of(ops)
    inside = ops.filter(pl.col("step_id").is_not_null())
    timed = inside if per == "step" else ops
    levels = {TOTAL: pl.lit(ALL)} | {name: KEYS[name] for name in by}
    sums = [_by_step(timed, name, key) for name, key in levels.items()]
    keys = ["trace", "by", "key"]
    times = _with_wholes(_statistics(pl.concat(sums), _steps(inside), per), traces)
    pair_names = paired(pairs, traces)
    like = pl.concat([_like(timed, pair_names, name, key) for name, key in levels.items()])
    before = pair_names.join(times.rename({"trace": "baseline"}), on="baseline")
    # A full join: a key may be in one of the two traces only.
    both = before.join(
        pair_names.join(times, on="trace"), on=[*keys, "baseline"], how="full", coalesce=True, suffix="_after"
    )
    return both.join(like, on=keys, how="left").select(
        "trace",
        "baseline",
        "by",
        "key",
        *(pl.coalesce(name, f"{name}_after").alias(name) for name in ("role", "operator")),
        pl.col("ns").fill_null(0).alias("before_ns"),
        pl.col("ns_after").fill_null(0).alias("after_ns"),
        pl.col("ops").fill_null(0).alias("before_ops"),
        pl.col("ops_after").fill_null(0).alias("after_ops"),
        pl.col("mean_ns").alias("before_mean_ns"),
        pl.col("mean_ns_after").alias("after_mean_ns"),
        "like_speedup",
        "like_share",
        noise(confidence).alias("noise_ns"),
    )


def _with_wholes(times: pl.LazyFrame, traces: Sequence[str]) -> pl.LazyFrame:
    """Add a row for the whole, of 0 ns, to traces without operations."""
    wholes = pl.LazyFrame({"trace": traces}, schema={"trace": pl.Enum(traces)}).select(
        "trace", pl.lit(TOTAL).alias("by"), pl.lit(ALL).alias("key")
    )
    missing = wholes.join(times, on=["trace", "by", "key"], how="anti")
    return pl.concat([times, missing], how="diagonal").with_columns(pl.col("ns", "ops").fill_null(0))


_LIKE = ("kernel", "grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z", "size_bytes")
"""Operations that agree in these are alike: the same kernel on the same grid, or a copy of the same size."""


def _like(ops: pl.LazyFrame, pair_names: pl.LazyFrame, name: str, key: pl.Expr) -> pl.LazyFrame:
    """Time of like operations before and after, each kind counted as often as in the trace that has fewer.

    Returns:
        `trace`, `by`, `key`, `like_speedup` and `like_share`: the speedup of operations that both traces have, and the
        share of the key's time in the baseline that such kinds of operations take.
    """
    kinds = ["key", *_LIKE]
    sums = (
        ops.select("trace", "duration_ns", key.alias("key"), *_LIKE)
        .group_by("trace", *kinds)
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("ns"))
    )
    both = pair_names.join(sums.rename({"trace": "baseline"}), on="baseline").join(
        sums, on=["trace", *kinds], how="left", nulls_equal=True, suffix="_after"
    )
    fewer = pl.min_horizontal("ops", "ops_after").cast(pl.Float64)
    # In seconds, as exact_sum takes them. A kind that the trace lacks adds nothing: its number there is null.
    before_s, after_s = (
        exact_sum(pl.when(pl.col("ops_after") > 0).then(fewer * (pl.col(ns) / pl.col(ops)) / 1e9))
        for ns, ops in (("ns", "ops"), ("ns_after", "ops_after"))
    )
    return (
        both.group_by("trace", "key")
        .agg(
            pl.when((before_s > 0) & (after_s > 0)).then(before_s / after_s).alias("like_speedup"),
            ratio(pl.col("ns").filter(pl.col("ops_after") > 0).sum(), pl.col("ns").sum()).alias("like_share"),
        )
        .select("trace", pl.lit(name).alias("by"), "key", "like_speedup", "like_share")
    )


def _by_step(ops: pl.LazyFrame, name: str, key: pl.Expr) -> pl.LazyFrame:
    """Time of each key in each step, and outside steps (a null step)."""
    # Whether a key determines the column: a layer has one role, a kernel name one operator.
    determined = {"role": name in ("layer", "path"), "operator": name == "kernel"}
    return (
        ops.select(
            "trace", "step_id", "duration_ns", key.alias("key"), *(c for c, known in determined.items() if known)
        )
        .group_by("trace", "key", "step_id")
        .agg(
            pl.col("duration_ns").sum().alias("ns"),
            pl.len().alias("ops"),
            *((pl.col(c).min() if known else pl.lit(None, pl.String)).alias(c) for c, known in determined.items()),
        )
        .select("trace", pl.lit(name).alias("by"), "key", "step_id", "ns", "ops", "role", "operator")
    )


def _steps(inside: pl.LazyFrame) -> pl.LazyFrame:
    """The steps of each trace, with the number of steps that are alike (`alike`) and of all steps (`steps`).

    Steps are alike if they have the same phase and launch the same number of operations. Prefill and decode steps, or
    steps of the networks of a cascade, do different work: their difference is not noise. Operations of the scheduler
    do not count, as its first steps launch other numbers of them.
    """
    launched = (pl.col("component") != "scheduler").fill_null(value=True).sum()
    return (
        inside.group_by("trace", "step_id")
        .agg(pl.format("{} {}", pl.col("phase").first().fill_null(""), launched).alias("kind"))
        .with_columns(pl.len().over("trace", "kind").alias("alike"), pl.len().over("trace").alias("steps"))
    )


def _statistics(sums: pl.LazyFrame, steps: pl.LazyFrame, per: str) -> pl.LazyFrame:
    """Time of each key of a trace, and the variance of that time, estimated from steps that are alike.

    Of each kind of steps, s**2 is the sample variance of the n times, and n * s**2 that of their sum. `variance` adds
    these up over the kinds, and `weight` adds up (n * s**2)**2 / (n - 1), for the degrees of freedom in `noise`.
    """
    keys = ["trace", "by", "key"]
    by_step = sums.join(steps, on=["trace", "step_id"], how="left")
    alike = pl.col("alike").first().cast(pl.Float64)
    # n * s**2 is (n * sum(x**2) - sum(x)**2) / (n - 1), where sums of integers do not depend on the order of steps. A
    # step without a row for the key spent 0 ns on it, which adds nothing to either sum.
    ns = pl.col("ns").cast(pl.Int128)
    squares = pl.col("alike").first().cast(pl.Int128) * (ns * ns).sum() - ns.sum() * ns.sum()
    repeated = (
        by_step.filter(pl.col("alike") > 1)
        .group_by(*keys, "kind")
        .agg((squares.cast(pl.Float64) / (alike - 1)).alias("variance"), (alike - 1).alias("freedom"))
        .group_by(keys)
        .agg(
            ascending_sum(pl.col("variance")),
            ascending_sum(pl.col("variance") ** 2 / pl.col("freedom")).alias("weight"),
        )
    )
    timed = (
        by_step.group_by(keys)
        .agg(pl.col("ns", "ops").sum(), pl.col("role", "operator").min(), pl.col("steps").max())
        .with_columns((pl.col("ns") / pl.col("ops")).alias("mean_ns"))
    )
    times = timed.join(repeated, on=keys, how="left")
    if per == "trace":
        return times
    steps_taken = pl.col("steps").cast(pl.Float64)
    return times.with_columns(
        (pl.col("ns") / steps_taken).round().cast(pl.Int64),
        pl.col("variance") / steps_taken**2,
        pl.col("weight") / steps_taken**4,
    )
