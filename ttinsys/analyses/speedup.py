"""How much faster each trace is than its baseline, end to end, by component and by role, and what the gain came from.

ttinsys speedup eager.sqlite flash.sqlite
ttinsys speedup sd.sqlite sd-fa.sqlite muse.sqlite muse-fa.sqlite --pairs
ttinsys speedup eager.sqlite flash.sqlite --plot speedup.svg

The first trace is the baseline of all others, or with --pairs each second one is compared with the one before it.
End to end is told three ways: from the first operation's start to the last one's end (span), the time in which at
least one runs (busy), and durations added up (sum). Components and roles divide the sum. The gain is the part of the
baseline's sum that was saved; parts add up to it. The limit is the speedup of the whole if a part took no time at all
(Amdahl's law). Traces that do not show the same work have no speedup: `unfair` says why.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.comparison.alignment import ALL, TOTAL, against_first, compared, paired, traces_of, two_by_two
from ttinsys.comparison.fairness import remarks, unfair
from ttinsys.measures.intervals import busy_by, span
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

SPEEDUP = Table(
    "speedup",
    Column("trace", pl.String, "the trace that is compared"),
    Column("level", pl.String, "`end_to_end`, `component` or `role`"),
    Column("part", pl.String, "`span`, `busy` or `sum` of the whole; the component or role, `(reason)` without one"),
    Column("speedup", pl.Float64, "before / after; null where one is 0 or the comparison is unfair"),
    Column("before_ns", pl.Int64, "time of the baseline; of a part, durations added up", unit="ns"),
    Column("after_ns", pl.Int64, "the same of the trace", unit="ns"),
    Column("gain", pl.Float64, "(before - after) of the baseline's whole", unit="ratio"),
    Column("share", pl.Float64, "of the baseline's sum; null for span and busy", unit="ratio"),
    Column("limit", pl.Float64, "speedup of the sum if the part took no time; null where it is all of it"),
    Column("noise_ns", pl.Int64, "difference that steps vary by anyway; null without two steps in each", unit="ns"),
    Column("model", pl.String, "what it ran; null where it does not say"),
    Column("baseline", pl.String, "the trace it is compared with"),
    Column(
        "unfair", pl.String, "of `span`: why the traces may not be compared (`not`: the baseline); null where they may"
    ),
    doc="three rows per compared trace end to end, then its components and its roles, the longest in the baseline "
    "first",
)

LEVELS = ("end_to_end", "component", "role")
_WHOLE = ("span", "busy", "sum")


@analysis(
    returns=SPEEDUP,
    options=(Option("pairs", "Compare each second trace with the one before it."),),
    needs=(GPU_ACTIVITY,),
    across=True,
    least=2,
    remarks=remarks,
)
def speedup(
    ops: pl.LazyFrame, ranges: pl.LazyFrame, runs: pl.LazyFrame, api_calls: pl.LazyFrame, *, pairs: bool = False
) -> pl.LazyFrame:
    """Compare traces end to end, by component and by role (Table II of the study).

    Args:
        ops: `OPS` of at least two traces.
        ranges: their `RANGES`.
        runs: their `RUNS`.
        api_calls: their API calls.
        pairs: whether the baseline of each second trace is the one before it; else it is the first for all.

    Returns:
        `SPEEDUP`; of each trace, `before_ns`, `after_ns`, `share` and `gain` of its components, and of its roles, add
        up to those of the row `sum`.

    Raises:
        TraceError: `pairs` of an odd number of traces.
    """
    names = traces_of(ops)
    baselines = two_by_two(names) if pairs else against_first(names)
    is_total = pl.col("level") == TOTAL
    sums = compared(ops, baselines, by=("component", "role")).rename({"by": "level", "key": "part"})
    columns = ("trace", "baseline", "level", "part", "before_ns", "after_ns", "noise_ns")
    parts = sums.select(columns).with_columns(
        pl.when(is_total).then(pl.lit(LEVELS[0])).otherwise("level").alias("level"),
        pl.when(is_total & (pl.col("part") == ALL)).then(pl.lit("sum")).otherwise("part").alias("part"),
    )
    whole = _end_to_end(ops)
    ends = paired(baselines, names).join(whole.rename({"trace": "baseline"}), on="baseline", how="left")
    ends = ends.join(whole, on="trace", how="left", suffix="_after").select(
        "trace", "baseline", pl.lit(LEVELS[0]).alias("level"), pl.lit([*_WHOLE[:2]]).alias("part"),
        *(pl.concat_list(f"{name}{suffix}" for name in _WHOLE[:2]).alias(f"{when}_ns")
          for when, suffix in (("before", ""), ("after", "_after"))),
    )  # fmt: skip
    # No list is empty; Polars 1 wants to be told what would become of one.
    ends = ends.explode("part", "before_ns", "after_ns", empty_as_null=False)
    ends = ends.with_columns(pl.col("before_ns", "after_ns").fill_null(0))
    return _rated(
        pl.concat([ends, parts], how="diagonal"), unfair(ops, ranges, runs, api_calls, baselines), _models(runs)
    )


def _end_to_end(ops: pl.LazyFrame) -> pl.LazyFrame:
    """`span` and `busy` of each trace; busy time of several devices is added up."""
    covered = busy_by(ops, ["trace"]).rename({"busy_ns": "busy"})
    return ops.group_by("trace").agg(span().alias("span")).join(covered, on="trace")


def _models(runs: pl.LazyFrame) -> pl.LazyFrame:
    return runs.group_by("trace").agg(pl.col("model").drop_nulls().unique().sort().str.join(", "))


def _rated(times: pl.LazyFrame, reasons: pl.LazyFrame, models: pl.LazyFrame) -> pl.LazyFrame:
    """The rows with what follows from their times, in their order."""
    before, after = pl.col("before_ns"), pl.col("after_ns")
    is_sum = (pl.col("level") == LEVELS[0]) & (pl.col("part") == "sum")
    is_clock = (pl.col("level") == LEVELS[0]) & ~is_sum
    whole = before.filter(is_sum).first().over("trace")
    rest = pl.when(before < whole).then(whole / (whole - before))
    fair = pl.col("unfair").is_null() & (before > 0) & (after > 0)
    return (
        times.join(reasons, on="trace", how="left")
        .join(models, on="trace", how="left")
        .with_columns(
            pl.when(fair).then(before / after).alias("speedup"),
            pl.when(~is_clock).then(ratio(before, whole)).alias("share"),
            ratio(before - after, pl.when(is_clock).then(before).otherwise(whole)).alias("gain"),
            pl.when(pl.col("level") != LEVELS[0]).then(rest).alias("limit"),
        )
        .with_columns(
            pl.when(pl.col("part") == _WHOLE[0], pl.col("level") == LEVELS[0]).then("unfair").alias("unfair"),
        )
        .sort(
            "trace",
            pl.col("level").cast(pl.Enum(LEVELS)),
            pl.when(pl.col("level") == LEVELS[0]).then(pl.col("part").replace_strict(_RANK, default=None)),
            before.neg(),
            "part",
        )
        .with_columns(pl.col("baseline").cast(pl.String))
    )


_RANK = {name: rank for rank, name in enumerate(_WHOLE)}
