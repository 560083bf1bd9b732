"""Two traces side by side: time by key before and after, and how much of a difference is noise.

    pairs = against_first(["eager", "flash"])
    compared(ops, pairs, by=("role",)).collect()

`ops` is `OPS` of several traces, stacked. What may not be compared at all, `ttinsys.comparison.fairness` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from parsers import TraceError
from ttinsys.comparison.noise import noise
from ttinsys.measures.dimensions import REASON, component, role

TOTAL, ALL = "total", "(all)"
"""`by` and `key` of the row that holds the whole trace."""

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
"""What operations of two traces may be aligned by. A layer is an annotated module; where one of the traces has no
annotation it is the stack of ranges, whatever it is named in the program."""

PER = ("trace", "step")
"""What times are of: the whole trace, or the mean step, without what runs outside steps."""


def traces_of(frame: pl.LazyFrame) -> list[str]:
    """Names of the traces of a stacked table, in their order."""
    dtype = frame.collect_schema()["trace"]
    return dtype.categories.to_list() if isinstance(dtype, pl.Enum) else []


def against_first(traces: Sequence[str]) -> dict[str, str]:
    """The baseline of each trace but the first: the first."""
    return dict.fromkeys(traces[1:], traces[0]) if traces else {}


def two_by_two(traces: Sequence[str]) -> dict[str, str]:
    """The baseline of every second trace: the one before it.

    Raises:
        TraceError: one is left over.
    """
    if len(traces) % 2:
        raise TraceError(f"--pairs compares the traces two by two, and {len(traces)} are named: add or drop one")
    return dict(zip(traces[1::2], traces[::2], strict=True))


def paired(pairs: Mapping[str, str], traces: Sequence[str]) -> pl.LazyFrame:
    """`trace` and its `baseline`, as the Enum of the stacked tables."""
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
    """GPU time of each trace beside its baseline's, by each of `by` and as a whole.

    Args:
        ops: `OPS` of several traces.
        pairs: the baseline of each trace that is compared.
        by: some of `KEYS`.
        per: one of `PER`.
        confidence: of the noise: how often differences of two runs of the same thing stay below it.

    Returns:
        `trace`, `baseline`, `by`, `key`, `role`, `operator`, `before_ns`, `after_ns`, `before_ops`, `after_ops` and
        `noise_ns` (see `noise`). A whole (`by` is `TOTAL`) is there for each trace, and each `by` adds up to it; the
        means of `per="step"` do so but for their rounding to the nanosecond.
    """
    traces = traces_of(ops)
    inside = ops.filter(pl.col("step_id").is_not_null())
    divided = inside if per == "step" else ops
    sums = [_by_step(divided, name, key) for name, key in ((TOTAL, pl.lit(ALL)), *((name, KEYS[name]) for name in by))]
    whole = pl.LazyFrame({"trace": traces}, schema={"trace": pl.Enum(traces)}).select(
        "trace", pl.lit(TOTAL).alias("by"), pl.lit(ALL).alias("key")
    )
    here = ["trace", "by", "key"]
    spread = _statistics(pl.concat(sums), _steps(inside), per)
    spread = pl.concat([spread, whole.join(spread, on=here, how="anti")], how="diagonal").with_columns(
        pl.col("ns", "ops").fill_null(0)
    )
    named = paired(pairs, traces)
    before = named.join(spread.rename({"trace": "baseline"}), on="baseline")
    return before.join(
        named.join(spread, on="trace"), on=[*here, "baseline"], how="full", coalesce=True, suffix="_after"
    ).select(
        "trace",
        "baseline",
        "by",
        "key",
        *(pl.coalesce(name, f"{name}_after").alias(name) for name in ("role", "operator")),
        pl.col("ns").fill_null(0).alias("before_ns"),
        pl.col("ns_after").fill_null(0).alias("after_ns"),
        pl.col("ops").fill_null(0).alias("before_ops"),
        pl.col("ops_after").fill_null(0).alias("after_ops"),
        noise(confidence).alias("noise_ns"),
    )


def _by_step(ops: pl.LazyFrame, name: str, key: pl.Expr) -> pl.LazyFrame:
    """Time of each key in each step, and outside steps."""
    told = {"role": name in ("layer", "path"), "operator": name == "kernel"}
    return (
        ops.select("trace", "step_id", "duration_ns", key.alias("key"), *(c for c, said in told.items() if said))
        .group_by("trace", "key", "step_id")
        .agg(
            pl.col("duration_ns").sum().alias("ns"),
            pl.len().alias("ops"),
            *((pl.col(c).min() if said else pl.lit(None, pl.String)).alias(c) for c, said in told.items()),
        )
        .select("trace", pl.lit(name).alias("by"), "key", "step_id", "ns", "ops", "role", "operator")
    )


def _steps(inside: pl.LazyFrame) -> pl.LazyFrame:
    """The steps of each trace: how many there are, and how many are like each.

    Steps are alike that are of one phase and launch as many operations. Prefill and decode, or the networks of a
    cascade, differ by what they do: that is no noise. The scheduler does not count: its first steps differ.
    """
    launched = (pl.col("component") != "scheduler").fill_null(value=True).sum()
    return (
        inside.group_by("trace", "step_id")
        .agg(pl.format("{} {}", pl.col("phase").first().fill_null(""), launched).alias("kind"))
        .with_columns(pl.len().over("trace", "kind").alias("alike"), pl.len().over("trace").alias("steps"))
    )


def _statistics(sums: pl.LazyFrame, steps: pl.LazyFrame, per: str) -> pl.LazyFrame:
    """Of each key of a trace: its time, and the variance of that time as the variance of like steps gives it."""
    here = ["trace", "by", "key"]
    told = sums.join(steps, on=["trace", "step_id"], how="left")
    alike = pl.col("alike").first().cast(pl.Float64)
    mean = pl.col("ns").sum() / alike
    # A step without the key is a step that took 0 ns for it.
    squares = ((pl.col("ns") - mean) ** 2).sum() + (alike - pl.len()) * mean**2
    repeated = (
        told.filter(pl.col("alike") > 1)
        .group_by(*here, "kind")
        .agg((squares / (alike - 1) * alike).alias("variance"), (alike - 1).alias("freedom"))
        .group_by(here)
        .agg(pl.col("variance").sum(), (pl.col("variance") ** 2 / pl.col("freedom")).sum().alias("weight"))
    )
    timed = told.group_by(here).agg(pl.col("ns", "ops").sum(), pl.col("role", "operator").min(), pl.col("steps").max())
    found = timed.join(repeated, on=here, how="left")
    if per == "trace":
        return found
    steps_taken = pl.col("steps").cast(pl.Float64)
    return found.with_columns(
        (pl.col("ns") / steps_taken).round().cast(pl.Int64),
        pl.col("variance") / steps_taken**2,
        pl.col("weight") / steps_taken**4,
    )
