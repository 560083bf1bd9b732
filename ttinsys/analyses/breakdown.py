"""Divide GPU time by role, operator, precision, component, step, phase or part of attention.

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
from ttinsys.measures.intervals import busy_by, exposed_by
from ttinsys.measures.options import Option
from ttinsys.measures.sums import percentile_95, ratio, share
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

BREAKDOWN = Table(
    "breakdown",
    Column("trace", pl.String, "Name of the trace; the first one is the baseline."),
    Column("role", pl.String, "What the layer does, such as `linear`; `(not annotated)` in a range without annotation, "
           "`(reason)` without a range."),
    Column("operator", pl.String, "What the kernel computes, such as `gemm`, read from its name."),
    Column("variant", pl.String, "The operator, or its variant where the name tells one, such as `sparse_attention`."),
    Column("precision", pl.String, "Precision of the kernel's operands, such as `bf16`, read from its name; "
           "`(not in the name)` where it is not, `(no kernel)` for other operations."),
    Column("component", pl.String, "Part of the pipeline, such as `denoiser`; `(pipeline)` for the pipeline as a "
           "whole, `(not annotated)` in a range without annotation, `(reason)` without a range."),
    Column("step", pl.Int64, "Number of the denoising step or token, from 0; null outside steps."),
    Column("phase", pl.String, "Phase of an autoregressive step: `prefill` or `decode`; `(none)` elsewhere."),
    Column("direction", pl.String, "`backward` for the computation of gradients, `forward` for the rest of the "
           "trace; `(none)` in a trace without any."),
    Column("part", pl.String, "Part of attention, a key of `ttinsys.measures.attention_parts.PARTS`; `(no attention)` "
           "elsewhere."),
    Column("instances", pl.UInt32, "Number of GPU operations."),
    Column("sum_ns", pl.Int64, "Sum of durations of the operations.", unit="ns"),
    Column("busy_ns", pl.Int64, "Time in which at least one of the operations runs, added up over devices.", unit="ns"),
    Column("share", pl.Float64, "`sum_ns` divided by that of the whole trace.", unit="ratio"),
    Column("relative", pl.Float64, "`sum_ns` divided by that of the whole first trace; null for a single trace.",
           unit="ratio"),
    Column("median_ns", pl.Float64, "Median duration of an operation.", unit="ns"),
    Column("p95_ns", pl.Int64, "Shortest duration that at least 95% of the operations do not exceed.", unit="ns"),
    Column("max_ns", pl.Int64, "Longest duration of an operation.", unit="ns"),
    Column("exposed_ns", pl.Int64, "Time in which the operations alone run on their GPU, added up over GPUs: the most "
           "that the trace could be shorter without them.", unit="ns"),
    doc="one row per trace and per value of the chosen columns; the columns that were not chosen are null",
)  # fmt: skip

Dimension = Literal["role", "operator", "variant", "precision", "component", "step", "phase", "direction", "part"]
DIMENSIONS: tuple[str, ...] = get_args(Dimension)
"""Columns that GPU time can be divided by."""


@analysis(
    returns=BREAKDOWN,
    options=(
        Option(
            "by",
            "Divide GPU time by this column; give two to cross them. The default is role, or operator "
            "where the role of most time is unknown.",
        ),
        PROJECTIONS,
    ),
    needs=(GPU_ACTIVITY,),
    across=True,
    steps=True,
)
def breakdown(
    ops: pl.LazyFrame, *, by: tuple[Dimension, ...] = (), projections: Projections = "linear"
) -> pl.LazyFrame:
    """Divide GPU time (Fig. 6 of the study).

    Args:
        ops: `OPS` of one or several traces.
        by: Some of `DIMENSIONS`; none for the role, or for the operator where the role of most time is unknown.
        projections: Whether linear layers of an attention keep their role (`linear`) or take that of the attention.

    Returns:
        `BREAKDOWN`, by trace, the longest sum first; steps in their order. `sum_ns` of a trace adds up to the sum over
        all of its operations, those without a range included.
    """
    chosen = list(dict.fromkeys(by)) or ["role", "operator"]
    if "part" in chosen:
        ops = with_parts(ops)
    values = _values(projections)
    if not by:
        known = pl.col("duration_ns").filter(pl.col("role") != "other").sum()
        has_roles = 2 * known >= pl.col("duration_ns").sum()
        values["role"] = pl.when(has_roles).then(values["role"])
        values["operator"] = pl.when(~has_roles).then("operator")
    duration = pl.col("duration_ns")
    baseline = pl.col("trace").to_physical() == 0
    traces = pl.col("trace").n_unique()
    keys = ["trace", *chosen]
    divided = ops.select(
        "trace",
        "gpu",
        "pid",
        "device",
        "start_ns",
        "end_ns",
        "duration_ns",
        *(values[name].alias(name) for name in chosen),
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
        .join(exposed_by(divided, keys, apart=["trace"]), on=keys, how="left", nulls_equal=True, validate="1:1")
        .with_columns(
            pl.col("exposed_ns").fill_null(0),
            share("sum_ns").over("trace").alias("share"),
            pl.when(traces > 1).then(ratio("sum_ns", pl.col("sum_ns").filter(baseline).sum())).alias("relative"),
            *(pl.lit(None, BREAKDOWN.schema[name]).alias(name) for name in DIMENSIONS if name not in chosen),
        )
        .sort("trace", *(name for name in chosen if name == "step"), pl.col("sum_ns").neg(), *chosen)
    )


def _values(projections: Projections) -> dict[str, pl.Expr]:
    """The value of an operation in each of `DIMENSIONS`."""
    return {
        "role": role(projections),
        "operator": pl.col("operator"),
        "variant": pl.coalesce("variant", "operator"),
        "precision": pl.when(pl.col("kind") == "kernel")
        .then(pl.col("precision").fill_null("(not in the name)"))
        .otherwise(pl.lit("(no kernel)")),
        "component": component(),
        "step": pl.col("step"),
        "phase": pl.col("phase").fill_null("(none)"),
        "direction": pl.col("direction").fill_null("(none)"),
        "part": pl.col("part").fill_null("(no attention)"),
    }
