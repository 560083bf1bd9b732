"""GPU time by what it is for: role, operator, component, step, phase or part of attention, or two of them crossed.

ttinsys breakdown run.sqlite
ttinsys breakdown run.sqlite --by role --by step --projections attention
ttinsys breakdown eager.sqlite flash.sqlite --plot breakdown.svg
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.analysis import Option, analysis
from ttinsys.intervals import busy
from ttinsys.needs import GPU_WORK
from ttinsys.parts import with_parts

BREAKDOWN = Table(
    "breakdown",
    Column("trace", pl.String, "the trace; the first one is the baseline"),
    Column("role", pl.String, "what the layer does; `(reason)` without one"),
    Column("operator", pl.String, "what the kernel does"),
    Column("component", pl.String, "part of the pipeline; `(pipeline)` outside all"),
    Column("step", pl.Int64, "denoising step or token; null outside steps"),
    Column("phase", pl.String, "`prefill` or `decode`; `(none)` elsewhere"),
    Column("part", pl.String, "part of attention, see `ttinsys.parts`; `(no attention)` elsewhere"),
    Column("instances", pl.UInt32, "GPU operations"),
    Column("sum_ns", pl.Int64, "durations added up", unit="ns"),
    Column("busy_ns", pl.Int64, "time in which at least one runs, on each device", unit="ns"),
    Column("share", pl.Float64, "of the trace's GPU time added up", unit="ratio"),
    Column("relative", pl.Float64, "of the GPU time of the first trace; null where there is one trace", unit="ratio"),
    Column("median_ns", pl.Float64, "median duration", unit="ns"),
    Column("p95_ns", pl.Float64, "duration that 95% do not exceed", unit="ns"),
    Column("max_ns", pl.Int64, "longest", unit="ns"),
    doc="one row per trace and value of what was asked `--by`; columns that were not asked for are null",
)

DIMENSIONS = ("role", "operator", "component", "step", "phase", "part")

_WITHOUT_RANGE = pl.format("({})", "attributed_by")
_VALUES = {
    "role": pl.when(pl.col("range_id").is_null())
    .then(_WITHOUT_RANGE)
    .otherwise(pl.col("role").fill_null("(not annotated)")),
    "operator": pl.col("operator"),
    "component": pl.when(pl.col("range_id").is_null())
    .then(_WITHOUT_RANGE)
    .otherwise(pl.col("component").fill_null("(pipeline)")),
    "step": pl.col("step"),
    "phase": pl.col("phase").fill_null("(none)"),
    "part": pl.col("part").fill_null("(no attention)"),
}


@analysis(
    returns=BREAKDOWN,
    options=(
        Option("by", str, ("role",), "What to divide by; twice crosses two.", DIMENSIONS, multiple=True),
        Option(
            "projections",
            str,
            "linear",
            "Whether projections of queries, keys, values and output count as linear or as their attention.",
            ("linear", "attention"),
        ),
    ),
    needs=(GPU_WORK,),
    across=True,
)
def breakdown(ops: pl.LazyFrame, *, by: tuple[str, ...] = ("role",), projections: str = "linear") -> pl.LazyFrame:
    """Divide GPU time (Fig. 6 of the study).

    Args:
        ops: `OPS` of one or several traces.
        by: one or two of `DIMENSIONS`.
        projections: whether linear layers of an attention keep their role or take that of the attention.

    Returns:
        `BREAKDOWN`, by trace, the longest sum first (steps in their order). `sum_ns` of a trace adds up to the sum
        over its operations, those without a range included.
    """
    wanted = list(dict.fromkeys(by))
    if "part" in wanted:
        ops = with_parts(ops)
    if projections == "attention":
        ops = ops.with_columns(of_attention().alias("role"))
    duration = pl.col("duration_ns")
    baseline = pl.col("trace").to_physical() == 0
    traces, total = pl.col("trace").n_unique(), pl.col("sum_ns").sum()
    keys = ["trace", *wanted]
    divided = ops.select(
        "trace", "device", "start_ns", "end_ns", "duration_ns", *(_VALUES[name].alias(name) for name in wanted)
    )
    covered = (
        divided.sort("start_ns")
        .group_by(*keys, "device", maintain_order=True)
        .agg(busy().alias("busy_ns"))
        .group_by(keys)
        .agg(pl.col("busy_ns").sum())
    )
    return (
        divided.group_by(keys)
        .agg(
            pl.len().alias("instances"),
            duration.sum().alias("sum_ns"),
            duration.median().alias("median_ns"),
            duration.quantile(0.95, "nearest").alias("p95_ns"),
            duration.max().alias("max_ns"),
        )
        .join(covered, on=keys, nulls_equal=True, validate="1:1")
        .with_columns(
            (pl.col("sum_ns") / total.over("trace")).fill_nan(None).alias("share"),
            pl.when(traces > 1).then(pl.col("sum_ns") / pl.col("sum_ns").filter(baseline).sum()).alias("relative"),
            *(pl.lit(None, BREAKDOWN.schema[name]).alias(name) for name in DIMENSIONS if name not in wanted),
        )
        .sort("trace", *(name for name in wanted if name == "step"), pl.col("sum_ns").neg(), *wanted)
    )


def of_attention() -> pl.Expr:
    """The role, with that of their attention for its projections (a switch: it moves "linear" of the study's 49%)."""
    projection = (pl.col("role") == "linear") & pl.col("attention").is_not_null()
    return pl.when(projection).then("attention").otherwise("role")
