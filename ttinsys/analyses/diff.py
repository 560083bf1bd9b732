"""What got faster or slower from one trace to another: by layer, role, component, operator or kernel.

ttinsys diff before.sqlite after.sqlite
ttinsys diff before.sqlite after.sqlite --by kernel --format csv
ttinsys diff eager.sqlite flash.sqlite --by role --plot diff.svg
ttinsys diff main.sqlite branch.sqlite --by role --fail-over 3%
ttinsys diff main.sqlite branch.sqlite --by role --budget budget.toml

The first trace is the baseline; each other one is compared with it. Layers are annotated modules, or stacks of ranges
where one of the traces is not annotated; kernels are aligned by their names. A change is called noise where steps that
do the same vary by as much anyway (Welch's t-test), and unknown where no step repeats it.

A comparison is unfair, and nobody has won, where the traces do not show the same work: other steps, parts of the
pipeline missing, another model or size, a truncated or an empty trace. Then there is no speedup, and a gate fails.

Gates: with --fail-over 3% the exit status is 1 where the whole trace, or a row with at least 1% of its time, is
slower by more than that and by more than the noise. With --budget FILE it is 1 where a limit is exceeded, or where
what it limits was not measured. The file is TOML, with a table for the whole and one for each row that has a limit:

\b
    [total]
    sum = "120 ms"
    slowdown = "3%"
    [role.spatial_attention]
    sum = "30 ms"
    [component.denoiser]
    step = "9 ms"

sum is GPU time of the trace, step that of its mean step (of --per step), slowdown what is lost against the baseline.
A table is named after a --by that was given, and a row of it.
"""  # noqa: D301

from __future__ import annotations

from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.comparison.alignment import KEYS, TOTAL, against_first, compared, traces_of
from ttinsys.comparison.fairness import remarks, unfair
from ttinsys.comparison.gate import Budget, exceeded, parse_budget, parse_confidence, parse_percent, slower
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

CHANGES = {
    "faster": "by more than the noise",
    "slower": "by more than the noise",
    "noise": "differs by no more than the noise",
    "same": "to the nanosecond",
    "new": "not in the baseline",
    "gone": "only in the baseline",
    "unknown": "differs, and was not repeated in steps, so that nothing is known of its noise",
    "unfair": "differs, and the traces do not show the same work",
}
"""Meaning of each `change`."""

DIFF = Table(
    "diff",
    Column("trace", pl.String, "the trace that is compared with the first one"),
    Column("by", pl.String, "what the row is a value of; `total` for the whole trace"),
    Column("change", pl.String, f"`{'`, `'.join(CHANGES)}`"),
    Column("delta_ns", pl.Int64, "after - before", unit="ns"),
    Column("speedup", pl.Float64, "before / after; null where one is 0 or the comparison is unfair"),
    Column("before_ns", pl.Int64, "GPU durations of the baseline, added up", unit="ns"),
    Column("after_ns", pl.Int64, "GPU durations of the trace, added up", unit="ns"),
    Column("noise_ns", pl.Int64, "difference that steps vary by anyway; null without two steps in each", unit="ns"),
    Column(
        "unfair",
        pl.String,
        "of the whole: why the traces may not be compared (`not`: the baseline); null where they may",
    ),
    Column("role", pl.String, "of a layer"),
    Column("operator", pl.String, "of a kernel"),
    Column("share", pl.Float64, "of the baseline's GPU time", unit="ratio"),
    Column("before_ops", pl.UInt32, "GPU operations of the baseline"),
    Column("after_ops", pl.UInt32, "GPU operations of the trace"),
    Column("per", pl.String, "`step` where times are of the mean step; null where they are of the whole trace"),
    Column("key", pl.String, "the layer, role, ...; `(reason)` for operations without a range"),
    doc="one row per trace but the first and value of what was asked `--by`, the greatest difference first",
)


def judge(result: pl.DataFrame, *, fail_over: float | None = None, budget: Budget | None = None) -> list[str]:
    """Sentences for which a gate fails: none without a gate.

    Args:
        result: `DIFF`.
        fail_over: slowdown that is allowed, as a ratio.
        budget: limits.
    """
    if fail_over is None and budget is None:
        return []
    found = [
        f"{trace} cannot be compared with the baseline: {reasons}"
        for trace, reasons in result.drop_nulls("unfair").select("trace", "unfair").iter_rows()
    ]
    if fail_over is not None:
        found += slower(result, fail_over)
    if budget is not None:
        found += exceeded(result, budget)
    return found


@analysis(
    returns=DIFF,
    options=(
        Option("by", "Align by this; repeat it for several lists.", tuple(KEYS)),
        Option("per", "Compare the time of the whole trace, or of its mean step without what is outside steps."),
        Option(
            "confidence",
            "Confidence level of the noise band (Welch's t-test).",
            parse=parse_confidence,
            metavar="PERCENT",
        ),
    ),
    needs=(GPU_ACTIVITY,),
    across=True,
    least=2,
    remarks=remarks,
    verdict=judge,
    judged_by=(
        Option(
            "fail_over",
            "Exit with status 1 where the trace is slower by more than this, such as 3%, and than noise.",
            parse=parse_percent,
            metavar="PERCENT",
        ),
        Option(
            "budget",
            "Exit with status 1 where a limit in this TOML file is exceeded.",
            parse=parse_budget,
            metavar="FILE",
        ),
    ),
)
def diff(
    ops: pl.LazyFrame,
    ranges: pl.LazyFrame,
    runs: pl.LazyFrame,
    api_calls: pl.LazyFrame,
    *,
    by: tuple[str, ...] = ("layer",),
    per: Literal["trace", "step"] = "trace",
    confidence: float = 0.95,
) -> pl.LazyFrame:
    """Compare the GPU time of traces.

    Args:
        ops: `OPS` of at least two traces; the first is the baseline.
        ranges: their `RANGES`.
        runs: their `RUNS`.
        api_calls: their API calls.
        by: some of `ttinsys.comparison.alignment.KEYS`.
        per: `trace` or `step`.
        confidence: of the noise, see `ttinsys.comparison.alignment.noise`.

    Returns:
        `DIFF`: of each trace the whole, then what each `by` divides it into, which adds up to it. Swapping two traces
        negates `delta_ns` and inverts `speedup`.
    """
    wanted = list(dict.fromkeys(by))
    pairs = against_first(traces_of(ops))
    delta, noise = pl.col("delta_ns"), pl.col("noise_ns")
    is_total = pl.col("by") == TOTAL
    reasons = unfair(ops, ranges, runs, api_calls, pairs, per=per)
    change = (
        pl.when((pl.col("before_ops") == 0) & (pl.col("after_ops") > 0))
        .then(pl.lit("new"))
        .when((pl.col("after_ops") == 0) & (pl.col("before_ops") > 0))
        .then(pl.lit("gone"))
        .when(delta == 0)
        .then(pl.lit("same"))
        .when(pl.col("unfair").is_not_null())
        .then(pl.lit("unfair"))
        .when(noise.is_null())
        .then(pl.lit("unknown"))
        .when(delta.abs() <= noise)
        .then(pl.lit("noise"))
        .otherwise(pl.when(delta < 0).then(pl.lit("faster")).otherwise(pl.lit("slower")))
    )
    fair = pl.col("unfair").is_null() & (pl.col("before_ns") > 0) & (pl.col("after_ns") > 0)
    whole = pl.col("before_ns").filter(is_total).first().over("trace")
    return (
        compared(ops, pairs, by=wanted, per=per, confidence=confidence)
        .with_columns((pl.col("after_ns") - pl.col("before_ns")).alias("delta_ns"))
        .join(reasons, on="trace", how="left")
        .with_columns(
            change.alias("change"),
            pl.when(fair).then(pl.col("before_ns") / pl.col("after_ns")).alias("speedup"),
            ratio("before_ns", whole).alias("share"),
            pl.lit("step" if per == "step" else None, pl.String).alias("per"),
            pl.when(is_total).then("unfair").alias("unfair"),
        )
        .sort("trace", pl.col("by").cast(pl.Enum([TOTAL, *wanted])), delta.abs().neg(), "key")
    )
