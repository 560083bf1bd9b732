"""Compare traces end to end, by component and by role.

ttinsys speedup eager.sqlite flash.sqlite
ttinsys speedup sd.sqlite sd-fa.sqlite muse.sqlite muse-fa.sqlite --pairs
ttinsys speedup eager.sqlite flash.sqlite --plot speedup.svg

The first trace is the baseline of all others; with --pairs, each second trace is compared with the one before it.
End to end has three rows: the time from the first start to the last end (span), the time in which at least one
operation runs (busy), and the sum of durations (sum). Components and roles divide the sum. The gain is the part of the
baseline's sum that was saved; gains of components, or of roles, add up to that of the sum. The limit is the speedup of
the sum if a part took no time at all (Amdahl's law). Traces that do not show the same work, down to the number of
operations of each operator and layer, are not comparable and get no speedup; the column unfair says why. like_speedup
still compares what both ran alike, one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from parsers.schema import Column, Table
from ttinsys.comparison.alignment import ALL, TOTAL, against_first, compared, paired, traces_of, two_by_two
from ttinsys.comparison.fairness import unfair
from ttinsys.comparison.remarks import remarks
from ttinsys.measures.intervals import busy_by, span
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

SPEEDUP = Table(
    "speedup",
    Column("trace", pl.String, "Name of the trace that is compared."),
    Column("level", pl.String, "What is compared: `end_to_end`, `component` or `role`."),
    Column("part", pl.String, "`span`, `busy` or `sum` end to end; else the component or role, `(reason)` without a "
           "range."),
    Column("speedup", pl.Float64, "Time of the baseline divided by time of the trace; null where one is 0 or the "
           "comparison is unfair."),
    Column("before_ns", pl.Int64, "Time of the baseline; for components and roles, the sum of durations.", unit="ns"),
    Column("after_ns", pl.Int64, "Time of the trace; for components and roles, the sum of durations.", unit="ns"),
    Column("like_speedup", pl.Float64, "Speedup of operations that both traces ran alike (the same kernel on the same "
           "grid, a copy of the same size), one by one, however often each ran; null where there are none, and for "
           "span and busy."),
    Column("before_ops", pl.UInt32, "Number of GPU operations in the baseline; null for span and busy."),
    Column("after_ops", pl.UInt32, "Number of GPU operations in the trace; null for span and busy."),
    Column("before_mean_ns", pl.Float64, "Mean duration of an operation in the baseline; null where there is none.",
           unit="ns"),
    Column("after_mean_ns", pl.Float64, "Mean duration of an operation in the trace; null where there is none.",
           unit="ns"),
    Column("gain", pl.Float64, "Time saved, divided by the time of the whole baseline.", unit="ratio"),
    Column("share", pl.Float64, "`before_ns` divided by the sum of the whole baseline; null for span and busy.",
           unit="ratio"),
    Column("limit", pl.Float64, "Speedup of the sum if the part took no time; null where the part is all of it, and "
           "end to end."),
    Column("noise_ns", pl.Int64, "Difference that repeated steps show anyway; null unless each trace has two such "
           "steps.", unit="ns"),
    Column("model", pl.String, "Model that the trace ran; null where annotation does not name it."),
    Column("baseline", pl.String, "Name of the trace that it is compared with."),
    Column("unfair", pl.String, "Why the traces are not comparable, in the row `span`; null where they are."),
    Column("caveat", pl.String, "What sets comparable traces apart beside the program, such as another GPU, in the row "
           "`span`."),
    Column("like_share", pl.Float64, "Share of `before_ns` in operations that the trace ran alike.", unit="ratio"),
    doc="one row per compared trace for each of span, busy and sum, then per component and per role, the longest in "
    "the baseline first",
)  # fmt: skip

END_TO_END = "end_to_end"
LEVELS = (END_TO_END, "component", "role")
_CLOCKS = ("span", "busy")
"""Times end to end that are not sums of durations: no parts add up to them."""
_ENDS = {"span": 0, "busy": 1, "sum": 2}
"""Rows end to end, in their order."""


@analysis(
    returns=SPEEDUP,
    options=(Option("pairs", "Compare each second trace with the one before it, not all with the first."),),
    needs=(GPU_ACTIVITY,),
    across=True,
    least=2,
    remarks=remarks,
)
def speedup(
    ops: pl.LazyFrame,
    ranges: pl.LazyFrame,
    calls: pl.LazyFrame,
    runs: pl.LazyFrame,
    gpus: pl.LazyFrame,
    api_calls: pl.LazyFrame,
    *,
    pairs: bool = False,
) -> pl.LazyFrame:
    """Compare traces end to end, by component and by role (Table II of the study).

    Args:
        ops: `OPS` of at least two traces.
        ranges: `RANGES` of the traces.
        calls: `CALLS` of the traces.
        runs: `RUNS` of the traces.
        gpus: GPUs of the traces' machines.
        api_calls: CUDA API calls of the traces.
        pairs: Whether the baseline of each second trace is the one before it; else the first trace is that of all.

    Returns:
        `SPEEDUP`. For each trace, `before_ns`, `after_ns`, `share` and `gain` of its components add up to those of the
        row `sum`, and so do those of its roles.

    Raises:
        TraceError: `pairs` is set for an odd number of traces.
    """
    names = traces_of(ops)
    baselines = two_by_two(names) if pairs else against_first(names)
    times = pl.concat([_clocks(ops, baselines, names), _sums(ops, baselines)], how="diagonal")
    reasons = unfair(ops, ranges, calls, runs, gpus, api_calls, baselines)
    return _rated(times, reasons, _models(runs))


def _sums(ops: pl.LazyFrame, baselines: Mapping[str, str]) -> pl.LazyFrame:
    """Sums of durations of each trace and its baseline: of the whole, of components and of roles."""
    sums = compared(ops, baselines, by=("component", "role")).rename({"by": "level", "key": "part"})
    is_total = pl.col("level") == TOTAL
    return sums.drop("role", "operator").with_columns(
        pl.when(is_total).then(pl.lit(END_TO_END)).otherwise("level").alias("level"),
        pl.when(is_total & (pl.col("part") == ALL)).then(pl.lit("sum")).otherwise("part").alias("part"),
    )


def _clocks(ops: pl.LazyFrame, baselines: Mapping[str, str], names: Sequence[str]) -> pl.LazyFrame:
    """Span and busy time of each trace and its baseline, in a row each."""
    of_trace = _end_to_end(ops)
    of_baseline = of_trace.rename({"trace": "baseline"})
    both = (
        paired(baselines, names)
        .join(of_baseline, on="baseline", how="left")
        .join(of_trace, on="trace", how="left", suffix="_after")
    )
    rows = [
        both.select(
            "trace",
            "baseline",
            pl.lit(END_TO_END).alias("level"),
            pl.lit(name).alias("part"),
            # A trace without operations has no times: they count as 0.
            pl.col(name).fill_null(0).alias("before_ns"),
            pl.col(f"{name}_after").fill_null(0).alias("after_ns"),
        )
        for name in _CLOCKS
    ]
    return pl.concat(rows)


def _end_to_end(ops: pl.LazyFrame) -> pl.LazyFrame:
    """`span` and `busy` of each trace, in ns; busy time is added up over devices."""
    covered = busy_by(ops, ["trace"]).rename({"busy_ns": "busy"})
    return ops.group_by("trace").agg(span().alias("span")).join(covered, on="trace")


def _models(runs: pl.LazyFrame) -> pl.LazyFrame:
    """The models that each trace ran, in one text."""
    return runs.group_by("trace").agg(pl.col("model").drop_nulls().unique().sort().str.join(", "))


def _rated(times: pl.LazyFrame, reasons: pl.LazyFrame, models: pl.LazyFrame) -> pl.LazyFrame:
    """Add what follows from the times of each row, and sort the rows."""
    before, after = pl.col("before_ns"), pl.col("after_ns")
    is_end = pl.col("level") == END_TO_END
    is_sum = is_end & (pl.col("part") == "sum")
    is_clock = is_end & ~is_sum
    whole = before.filter(is_sum).first().over("trace")
    limit = pl.when(before < whole).then(whole / (whole - before))
    comparable = pl.col("unfair").is_null() & (before > 0) & (after > 0)
    return (
        times.join(reasons, on="trace", how="left")
        .join(models, on="trace", how="left")
        .with_columns(
            pl.when(comparable).then(before / after).alias("speedup"),
            pl.when(~is_clock).then(ratio(before, whole)).alias("share"),
            ratio(before - after, pl.when(is_clock).then(before).otherwise(whole)).alias("gain"),
            pl.when(~is_end).then(limit).alias("limit"),
        )
        .with_columns(
            pl.when(is_end & (pl.col("part") == "span")).then(name).alias(name) for name in ("unfair", "caveat")
        )
        .sort(
            "trace",
            pl.col("level").cast(pl.Enum(LEVELS)),
            pl.when(is_end).then(pl.col("part").replace_strict(_ENDS, default=None)),
            before.neg(),
            "part",
        )
        .with_columns(pl.col("baseline").cast(pl.String))
    )
