"""Compare the GPU time of traces by layer, role, component, operator or kernel.

ttinsys diff before.sqlite after.sqlite
ttinsys diff before.sqlite after.sqlite --by kernel --format csv
ttinsys diff eager.sqlite flash.sqlite --by role --plot diff.svg
ttinsys diff main.sqlite branch.sqlite --by role --fail-over 3%
ttinsys diff main.sqlite branch.sqlite --by role --budget budget.toml

The first trace is the baseline of all others. Layers are annotated modules, or stacks of ranges where one of the
traces is not annotated; kernels are aligned by name. A change counts as noise where repeated steps vary by as much
(Welch's t-test), and as unknown where no step repeats it.

Traces are comparable only if they show the same work. Different steps, missing parts of the pipeline, another model or
size, other numbers of operations or FLOPs, or a truncated or empty trace make a comparison unfair: it has no speedup,
and it fails a gate. like_speedup still compares what both traces ran alike: the same kernel on the same grid, one by
one. Where only the number of steps differs, --per step compares the mean step.

Gates: --fail-over 3% exits with status 1 where the whole trace, or a row with at least 1% of its time, is slower by
more than 3% and by more than the noise. --budget FILE exits with status 1 where a limit is exceeded, or where nothing
was measured for it. The file is TOML, with a table [total] and one for each row that has a limit:

\b
    [total]
    sum = "120 ms"
    slowdown = "3%"
    [role.spatial_attention]
    sum = "30 ms"
    [component.denoiser]
    step = "9 ms"

sum limits the GPU time of the trace, step that of its mean step (with --per step), slowdown the increase over the
baseline. The name of a table is a value of --by and the key of a row.
"""  # noqa: D301

from __future__ import annotations

from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.comparison.alignment import KEYS, TOTAL, against_first, compared, traces_of
from ttinsys.comparison.fairness import unfair
from ttinsys.comparison.gate import Budget, exceeded, parse_budget, parse_confidence, parse_percent, slower
from ttinsys.comparison.remarks import remarks
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

CHANGES = {
    "faster": "faster by more than the noise",
    "slower": "slower by more than the noise",
    "noise": "differs by no more than the noise",
    "same": "equal to the nanosecond",
    "new": "not in the baseline",
    "gone": "only in the baseline",
    "count": "another number of operations of the operator or kernel, so that their sums do not compare",
    "unknown": "differs, but no step repeats it, so that its noise is unknown",
    "unfair": "differs, but the traces do not show the same work",
}
"""Meaning of each `change`."""

DIFF = Table(
    "diff",
    Column("trace", pl.String, "Name of the trace that is compared with the first one."),
    Column("by", pl.String, "What the row is aligned by, such as `layer`; `total` for the whole trace."),
    Column("change", pl.String, f"Verdict on the difference: `{'`, `'.join(CHANGES)}`."),
    Column("delta_ns", pl.Int64, "Time of the trace minus time of the baseline.", unit="ns"),
    Column("speedup", pl.Float64, "Time of the baseline divided by time of the trace; null where one is 0, the "
           "comparison is unfair, or `change` is `count`."),
    Column("like_speedup", pl.Float64, "Speedup of operations that both traces ran alike (the same kernel on the same "
           "grid, a copy of the same size), one by one, however often each ran; null where there are none."),
    Column("before_ns", pl.Int64, "Sum of GPU durations in the baseline.", unit="ns"),
    Column("after_ns", pl.Int64, "Sum of GPU durations in the trace.", unit="ns"),
    Column("before_ops", pl.UInt32, "Number of GPU operations in the baseline."),
    Column("after_ops", pl.UInt32, "Number of GPU operations in the trace."),
    Column("before_mean_ns", pl.Float64, "Mean duration of an operation in the baseline; null where there is none.",
           unit="ns"),
    Column("after_mean_ns", pl.Float64, "Mean duration of an operation in the trace; null where there is none.",
           unit="ns"),
    Column("noise_ns", pl.Int64, "Difference that repeated steps show anyway; null unless each trace has two such "
           "steps.", unit="ns"),
    Column("unfair", pl.String, "Why the traces are not comparable, in the row of the whole trace; null where they "
           "are."),
    Column("caveat", pl.String, "What sets comparable traces apart beside the program, such as another GPU, in the row "
           "of the whole trace."),
    Column("role", pl.String, "Role of the layer; null for rows that are not layers."),
    Column("operator", pl.String, "Operator of the kernel; null for rows that are not kernels."),
    Column("share", pl.Float64, "`before_ns` divided by that of the whole baseline.", unit="ratio"),
    Column("like_share", pl.Float64, "Share of `before_ns` in operations that the trace ran alike.", unit="ratio"),
    Column("per", pl.String, "`step` where times are those of the mean step; null where they are those of the whole "
           "trace."),
    Column("key", pl.String, "The layer, role, component, operator or kernel; `(reason)` for operations without a "
           "range."),
    doc="one row per trace after the first and value that traces are aligned by, the greatest difference first",
)  # fmt: skip


def judge(result: pl.DataFrame, *, fail_over: float | None = None, budget: Budget | None = None) -> list[str]:
    """Sentences for which a gate fails: none where all limits are kept, or where there is no gate.

    Args:
        result: `DIFF`.
        fail_over: Allowed slowdown, as a ratio.
        budget: Limits of a budget file.
    """
    if fail_over is None and budget is None:
        return []
    failures = [
        f"{trace} is not comparable with the baseline: {reasons}"
        for trace, reasons in result.drop_nulls("unfair").select("trace", "unfair").iter_rows()
    ]
    if fail_over is not None:
        failures += slower(result, fail_over)
    if budget is not None:
        failures += exceeded(result, budget)
    return failures


@analysis(
    returns=DIFF,
    options=(
        Option("by", "Align rows by this; give several to get a list for each.", tuple(KEYS)),
        Option("per", "Compare the time of whole traces, or of their mean steps without what runs outside steps."),
        Option(
            "confidence",
            "Set the confidence level of the noise band (Welch's t-test).",
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
            "Exit with status 1 where a trace is slower by more than this, such as 3%, and by more than the noise.",
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
    calls: pl.LazyFrame,
    runs: pl.LazyFrame,
    gpus: pl.LazyFrame,
    api_calls: pl.LazyFrame,
    *,
    by: tuple[str, ...] = ("layer",),
    per: Literal["trace", "step"] = "trace",
    confidence: float = 0.95,
) -> pl.LazyFrame:
    """Compare the GPU time of traces.

    Args:
        ops: `OPS` of at least two traces; the first is the baseline.
        ranges: `RANGES` of the traces.
        calls: `CALLS` of the traces.
        runs: `RUNS` of the traces.
        gpus: GPUs of the traces' machines.
        api_calls: CUDA API calls of the traces.
        by: Some of `ttinsys.comparison.alignment.KEYS`.
        per: `trace` for times of whole traces, `step` for those of mean steps.
        confidence: Confidence level of the noise, see `ttinsys.comparison.noise.noise`.

    Returns:
        `DIFF`: for each trace the whole, then its rows for each `by`, which add up to the whole. Swapping two traces
        negates `delta_ns` and inverts `speedup`.
    """
    keys = list(dict.fromkeys(by))
    pairs = against_first(traces_of(ops))
    is_total = pl.col("by") == TOTAL
    reasons = unfair(ops, ranges, calls, runs, gpus, api_calls, pairs, per=per)
    fair = pl.col("unfair").is_null() & (pl.col("before_ns") > 0) & (pl.col("after_ns") > 0)
    whole_ns = pl.col("before_ns").filter(is_total).first().over("trace")
    return (
        compared(ops, pairs, by=keys, per=per, confidence=confidence)
        .with_columns((pl.col("after_ns") - pl.col("before_ns")).alias("delta_ns"))
        .join(reasons, on="trace", how="left")
        .with_columns(_change().alias("change"))
        .with_columns(
            pl.when(fair & (pl.col("change") != "count"))
            .then(pl.col("before_ns") / pl.col("after_ns"))
            .alias("speedup"),
            ratio("before_ns", whole_ns).alias("share"),
            pl.lit("step" if per == "step" else None, pl.String).alias("per"),
            *(pl.when(is_total).then(name).alias(name) for name in ("unfair", "caveat")),
        )
        .sort("trace", pl.col("by").cast(pl.Enum([TOTAL, *keys])), pl.col("delta_ns").abs().neg(), "key")
    )


def _change() -> pl.Expr:
    """The key of `CHANGES` that describes a row."""
    delta, noise = pl.col("delta_ns"), pl.col("noise_ns")
    # A layer that does the same work may launch other numbers of kernels; an operator or kernel does other work then.
    counted = pl.col("by").is_in(["operator", "kernel"]) & (pl.col("before_ops") != pl.col("after_ops"))
    return (
        pl.when((pl.col("before_ops") == 0) & (pl.col("after_ops") > 0))
        .then(pl.lit("new"))
        .when((pl.col("after_ops") == 0) & (pl.col("before_ops") > 0))
        .then(pl.lit("gone"))
        .when(delta == 0)
        .then(pl.lit("same"))
        .when(pl.col("unfair").is_not_null())
        .then(pl.lit("unfair"))
        .when(counted)
        .then(pl.lit("count"))
        .when(noise.is_null())
        .then(pl.lit("unknown"))
        .when(delta.abs() <= noise)
        .then(pl.lit("noise"))
        .otherwise(pl.when(delta < 0).then(pl.lit("faster")).otherwise(pl.lit("slower")))
    )
