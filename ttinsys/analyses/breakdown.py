"""GPU time by what it is for: role, operator, component, step, phase or part of attention, or two of them crossed.

ttinsys breakdown run.sqlite
ttinsys breakdown run.sqlite --by role --by step --projections attention
ttinsys breakdown eager.sqlite flash.sqlite --plot breakdown.svg
"""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl

from parsers.schema import Column, Table
from ttinsys.measures.attention_parts import with_parts
from ttinsys.measures.dimensions import PROJECTIONS, Projections, component, role
from ttinsys.measures.intervals import busy_by
from ttinsys.measures.options import Option
from ttinsys.measures.sums import percentile_95, ratio, share
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

BREAKDOWN = Table(
    "breakdown",
    Column("trace", pl.String, "the trace; the first one is the baseline"),
    Column("role", pl.String, "what the layer does; `(not annotated)`, or `(reason)` without a range"),
    Column("operator", pl.String, "what the kernel does"),
    Column("component", pl.String, "part of the pipeline; `(pipeline)` outside all, else as for `role`"),
    Column("step", pl.Int64, "denoising step or token; null outside steps"),
    Column("phase", pl.String, "`prefill` or `decode`; `(none)` elsewhere"),
    Column("part", pl.String, "part of attention, see `ttinsys.measures.attention_parts`; `(no attention)` elsewhere"),
    Column("instances", pl.UInt32, "GPU operations"),
    Column("sum_ns", pl.Int64, "durations added up", unit="ns"),
    Column("busy_ns", pl.Int64, "time in which at least one runs, on each device", unit="ns"),
    Column("share", pl.Float64, "of the trace's GPU time added up", unit="ratio"),
    Column("relative", pl.Float64, "of the GPU time of the first trace; null where there is one trace", unit="ratio"),
    Column("median_ns", pl.Float64, "median duration", unit="ns"),
    Column("p95_ns", pl.Int64, "Shortest duration that at least 95% of the operations do not exceed.", unit="ns"),
    Column("max_ns", pl.Int64, "longest", unit="ns"),
    doc="one row per trace and value of what was asked `--by`; columns that were not asked for are null",
)

Dimension = Literal["role", "operator", "component", "step", "phase", "part"]
DIMENSIONS: tuple[str, ...] = get_args(Dimension)


@analysis(
    returns=BREAKDOWN,
    options=(Option("by", "Divide by this; give it twice to cross two."), PROJECTIONS),
    needs=(GPU_ACTIVITY,),
    across=True,
)
def breakdown(
    ops: pl.LazyFrame, *, by: tuple[Dimension, ...] = ("role",), projections: Projections = "linear"
) -> pl.LazyFrame:
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
    values = {
        "role": role(projections),
        "operator": pl.col("operator"),
        "component": component(),
        "step": pl.col("step"),
        "phase": pl.col("phase").fill_null("(none)"),
        "part": pl.col("part").fill_null("(no attention)"),
    }
    duration = pl.col("duration_ns")
    baseline = pl.col("trace").to_physical() == 0
    traces = pl.col("trace").n_unique()
    keys = ["trace", *wanted]
    divided = ops.select(
        "trace", "device", "start_ns", "end_ns", "duration_ns", *(values[name].alias(name) for name in wanted)
    )
    return (
        divided.group_by(keys)
        .agg(
            pl.len().alias("instances"),
            duration.sum().alias("sum_ns"),
            duration.median().alias("median_ns"),
            percentile_95("duration_ns").alias("p95_ns"),
            duration.max().alias("max_ns"),
        )
        .join(busy_by(divided, keys), on=keys, nulls_equal=True, validate="1:1")
        .with_columns(
            share("sum_ns").over("trace").alias("share"),
            pl.when(traces > 1).then(ratio("sum_ns", pl.col("sum_ns").filter(baseline).sum())).alias("relative"),
            *(pl.lit(None, BREAKDOWN.schema[name]).alias(name) for name in DIMENSIONS if name not in wanted),
        )
        .sort("trace", *(name for name in wanted if name == "step"), pl.col("sum_ns").neg(), *wanted)
    )
