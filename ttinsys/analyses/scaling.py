"""Fit how time and FLOPs grow with size, and find where attention overtakes convolution.

ttinsys scaling sweep --fits
ttinsys scaling eager-*.sqlite flash-*.sqlite --by family --plot fig9.svg
ttinsys scaling 8f.sqlite 16f.sqlite 32f.sqlite --over frames

Each trace is a point: its size comes from the request of its run, its time is that of the kernels of one step. Traces
that differ only in that size, and in the number of steps, form a series; backends and compilers are compared as series.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

import polars as pl

from parsers.schema import Column, Table
from ttinsys.measures.dimensions import PROJECTIONS, Projections, family, role, role_of_module
from ttinsys.measures.fitting import FEWEST, Fit, fit, overtakes, power, rms
from ttinsys.measures.formulas import growth
from ttinsys.measures.options import Option
from ttinsys.measures.series import NotASweep, points
from ttinsys.measures.sums import known_sum, ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.calls import executed
from ttinsys.tables.needs import ANNOTATED_ROLES, ANNOTATED_RUNS, GPU_ACTIVITY

SCALING = Table(
    "scaling",
    Column("series", pl.String, "Settings that differ between the traces, other than the size; `all` where none does."),
    Column("role", pl.String, "What the layer does, such as `linear`; `(not annotated)` in a range without annotation, "
           "`(reason)` without a range."),
    Column("family", pl.String, "Family of the role: `attention`, `convolution`, `linear`, `norm` or `other`; "
           "`(not annotated)` or `(reason)` without a role."),
    Column("operator", pl.String, "What the kernel computes, such as `gemm`, read from its name."),
    Column("n", pl.Int64, "Size of the trace's request, counted as `over` says."),
    Column("time_ns", pl.Float64, "Sum of durations per step.", unit="ns"),
    Column("exponent", pl.Float64, "Exponent p of time ~ n^p over the series, by least squares of logarithms; null for "
           "fewer than two sizes."),
    Column("flops_exponent", pl.Float64, "Exponent p of FLOPs ~ n^p over the series; null where no FLOPs are "
           "annotated."),
    Column("law", pl.Int64, "Exponent of FLOPs by the formulas, see `ttinsys.measures.formulas.growth`; null where "
           "they give none."),
    Column("crossover", pl.Float64, "Size above which the fitted attention takes longer than the fitted convolution; "
           "null where there is none."),
    Column("off", pl.Boolean, "Whether the residual exceeds the tolerance; null without a fit."),
    Column("fitted_ns", pl.Float64, "Time by the fit: `constant_ns` + `linear_ns` + `quadratic_ns`; null without a "
           "fit.", unit="ns"),
    Column("residual", pl.Float64, "`time_ns` divided by `fitted_ns`, minus 1; null without a fit.", unit="ratio"),
    Column("constant_ns", pl.Float64, "Constant term of the fit; null without a fit.", unit="ns"),
    Column("linear_ns", pl.Float64, "Linear term of the fit at this size, its coefficient times n; null without a fit.",
           unit="ns"),
    Column("quadratic_ns", pl.Float64, "Quadratic term of the fit at this size, its coefficient times n^2; null "
           "without a fit.", unit="ns"),
    Column("worst", pl.Float64, "Residual of the fit that is farthest from 0; null without a fit.", unit="ratio"),
    Column("worst_n", pl.Int64, "Size at which the residual is farthest from 0; null without a fit."),
    Column("rms", pl.Float64, "Root mean square of the residuals; 0 for three sizes, unless a term is 0. Null without "
           "a fit.", unit="ratio"),
    Column("r2", pl.Float64, "Share of the variance of logarithms that n^p explains; null for fewer than three sizes.",
           unit="ratio"),
    Column("sizes", pl.UInt32, "Number of distinct sizes with GPU time."),
    Column("crossover_is", pl.String, "How far the crossover is known: `within sizes` or `extrapolated`; else why "
           "there is none."),
    Column("flops", pl.Float64, "Annotated FLOPs per step; null by operator and by kernel.", unit="FLOP"),
    Column("predicted_flops", pl.Float64, "FLOPs per step of the smallest size, scaled by `law`; null without a law.",
           unit="FLOP"),
    Column("share", pl.Float64, "`sum_ns` divided by that of the trace, all components included.", unit="ratio"),
    Column("sum_ns", pl.Int64, "Sum of durations over the trace.", unit="ns"),
    Column("steps", pl.UInt32, "Number of steps of the trace in which the component ran; 1 where it ran outside "
           "steps."),
    Column("over", pl.String, "What the size counts: `pixels` (height times width), `frames`, `batch` or `tokens`."),
    Column("trace", pl.String, "Name of the trace."),
    Column("note", pl.String, "At how many sizes the work ran, where that is fewer than the series has or than a fit "
           "needs; else null."),
    Column("kernel", pl.String, "Kernel name with template arguments."),
    doc="one row per series, trace, and role, family, operator or kernel; values of a fit repeat on all of its rows",
)  # fmt: skip

ScalingGrouping = Literal["role", "family", "operator", "kernel"]
SCALING_BY: tuple[str, ...] = get_args(ScalingGrouping)
"""Columns that a fit may be made for."""
ComponentChoice = Literal["denoiser", "decoder", "text_encoder", "image_encoder", "vae", "scheduler", "all"]

FARTHEST = 10
"""Factor beyond the sizes up to which a crossover is reported: farther out, a fit says nothing."""


@analysis(
    returns=SCALING,
    options=(
        Option("over", "Use this as the size; auto uses the one that varies."),
        Option("by", "Fit the time of each role, family, operator or kernel."),
        Option("component", "Fit the time of this part of the pipeline."),
        PROJECTIONS,
        Option("tolerance", "Mark a point as off where its residual exceeds this; 0.25 is 25%."),
        Option("fits", "Keep only the largest size of each series, for one row per fit."),
    ),
    needs=(GPU_ACTIVITY, ANNOTATED_ROLES, ANNOTATED_RUNS),
    across=True,
)
def scaling(
    ops: pl.LazyFrame,
    calls: pl.LazyFrame,
    runs: pl.LazyFrame,
    *,
    over: Literal["auto", "pixels", "frames", "batch", "tokens"] = "auto",
    by: ScalingGrouping = "role",
    component: ComponentChoice = "denoiser",
    projections: Projections = "linear",
    tolerance: float = 0.25,
    fits: bool = False,
) -> pl.LazyFrame:
    """Fit time against size (Fig. 9 of the study) and FLOPs against size (Fig. 13), and compare the two.

    Args:
        ops: `OPS` of the traces of a sweep.
        calls: `CALLS` of the traces.
        runs: `RUNS` of the traces.
        over: One of `ttinsys.measures.series.AXES`, or `auto` for the one that varies.
        by: One of `SCALING_BY`.
        component: Part of the pipeline whose time is fitted; `all` for the whole.
        projections: Whether linear layers of an attention keep their role (`linear`) or take that of the attention.
        tolerance: Residual above which a point is off, as a ratio.
        fits: Whether to keep only the largest size of each fit.

    Returns:
        `SCALING`, by series in the order of the traces, the longest at its largest size first, then by size.
        `sum_ns` of a trace adds up to the sum over the operations of the component.

    Raises:
        NotASweep: When collected: no size varies, several do, or no trace has the component.
    """
    summed = (
        ops.with_columns(role(projections).alias("role"))
        .with_columns(family(pl.col("role")).alias("family"))
        .group_by("trace", "component", *dict.fromkeys(["role", "family", by]))
        .agg(pl.col("duration_ns").sum().alias("sum_ns"))
    )
    calls = calls if component == "all" else calls.filter(pl.col("component") == component)
    flops = calls.group_by("trace", "component", role_of_module(projections).alias("role")).agg(
        known_sum(executed("flops")).alias("flops")
    )
    steps = calls.group_by("trace").agg(pl.col("step_id").drop_nulls().n_unique().clip(lower_bound=1).alias("steps"))
    joined = summed.join(flops, on=["trace", "component", "role"], how="left", nulls_equal=True)
    fitted = partial(_fitted, by=by, component=component, tolerance=tolerance)
    result = (
        joined.join(points(runs, over), on="trace")
        .join(steps, on="trace", how="left")
        .map_batches(fitted, schema=SCALING.schema, projection_pushdown=False, predicate_pushdown=False)
    )
    return result.unique(["series", by], keep="last", maintain_order=True) if fits else result


def _fitted(joined: pl.DataFrame, *, by: str, component: str, tolerance: float) -> pl.DataFrame:
    """`SCALING` from the time of each trace, component, role and value of `by`."""
    totals = joined.group_by("trace").agg(pl.col("sum_ns").sum().alias("whole_ns"))
    kept = joined if component == "all" else joined.filter(pl.col("component") == component)
    present = joined["component"].drop_nulls().unique().sort().to_list()
    if kept.is_empty() and present:
        raise NotASweep(f"no GPU work in {component}: give --component {' or '.join(present)}")
    per_step = (pl.col("sum_ns") / pl.col("steps")).alias("time_ns")
    axes = ["series", "trace", "over", "n", "steps"]
    families = kept.group_by("series", "trace", "n", "steps", "family").agg(pl.col("sum_ns").sum())
    crossings = _crossings(families.with_columns(per_step))
    flops = known_sum("flops") if by in ("role", "family") else pl.lit(None)
    rows = (
        kept.group_by([*axes, by])
        .agg(pl.col("sum_ns").sum(), flops.alias("flops"))
        .join(totals, on="trace")
        .join(crossings, on="series", how="left")
        .with_columns(
            per_step,
            pl.col("flops") / pl.col("steps"),
            ratio("sum_ns", "whole_ns").alias("share"),
            pl.col("n").n_unique().over("series").alias("_tried"),
            pl.col("trace").min().over("series").alias("_first"),
        )
        .with_columns(pl.col("time_ns").sort_by("n").last().over("series", by).alias("_longest"))
        .sort("_first", "series", pl.col("_longest").neg(), by, "n", "trace")
    )
    fits = [_with_fit(part, by, tolerance) for part in rows.partition_by("series", by, maintain_order=True)]
    if not fits:
        return pl.DataFrame(schema=SCALING.schema)
    return (
        pl.concat(fits)
        .with_columns(pl.lit(None, SCALING.schema[name]).alias(name) for name in SCALING_BY if name != by)
        .select(pl.col(name).cast(dtype) for name, dtype in SCALING.schema.items())
    )


def _with_fit(rows: pl.DataFrame, by: str, tolerance: float) -> pl.DataFrame:
    """Add to the rows of one fit the columns that describe it."""
    measured = rows.filter(pl.col("sum_ns") > 0)
    sizes, times = measured["n"].to_list(), measured["time_ns"].to_list()
    curve, slope = fit(sizes, times), power(sizes, times)
    distinct = len(set(sizes))
    n, null = pl.col("n"), pl.lit(None, pl.Float64)
    terms = (pl.lit(curve.constant), n * curve.linear, n**2 * curve.quadratic) if curve else (null, null, null)
    rows = (
        rows.with_columns(
            pl.lit(slope.exponent if slope else None, pl.Float64).alias("exponent"),
            pl.lit(slope.r2 if slope else None, pl.Float64).alias("r2"),
            *_flops_columns(rows, by),
            pl.lit(distinct, pl.UInt32).alias("sizes"),
            pl.lit(_note(distinct, rows["_tried"][0]), pl.String).alias("note"),
            *(term.alias(f"{name}_ns") for name, term in zip(("constant", "linear", "quadratic"), terms, strict=True)),
        )
        .with_columns(
            pl.sum_horizontal("constant_ns", "linear_ns", "quadratic_ns", ignore_nulls=False).alias("fitted_ns")
        )
        .with_columns((pl.col("time_ns") / pl.col("fitted_ns") - 1).alias("residual"))
    )
    residuals = rows["residual"].drop_nulls().to_list()
    farthest = pl.col("residual").abs().arg_max()
    return rows.with_columns(
        (pl.col("residual").abs() > tolerance).alias("off"),
        pl.lit(rms(residuals) if residuals else None, pl.Float64).alias("rms"),
        pl.col("residual").get(farthest).alias("worst") if residuals else null.alias("worst"),
        n.get(farthest).alias("worst_n") if residuals else pl.lit(None, pl.Int64).alias("worst_n"),
    )


def _flops_columns(rows: pl.DataFrame, by: str) -> tuple[pl.Expr, ...]:
    """How the FLOPs of a fit grow, as measured and by the formulas, which know roles only."""
    slope = power(rows["n"].to_list(), rows["flops"].fill_null(0).to_list())
    law = growth(rows[by][0], rows["over"][0]) if by == "role" else None
    smallest, smallest_flops = rows["n"][0], rows["flops"][0]
    predicted = pl.lit(None, pl.Float64)
    if law is not None and smallest_flops:
        predicted = smallest_flops * (pl.col("n") / smallest) ** law
    return (
        pl.lit(slope.exponent if slope else None, pl.Float64).alias("flops_exponent"),
        pl.lit(law, pl.Int64).alias("law"),
        predicted.alias("predicted_flops"),
    )


def _note(distinct: int, tried: int) -> str | None:
    ran = f"ran at {distinct} of {tried} sizes"
    if distinct < FEWEST:
        return f"{ran}, and a fit needs {FEWEST}"
    return ran if distinct < tried else None


def _crossings(families: pl.DataFrame) -> pl.DataFrame:
    """Where attention overtakes convolution in each series, by the fits of their times.

    Args:
        families: `series`, `n`, `family`, `sum_ns` and `time_ns`.

    Returns:
        `series`, `crossover` and `crossover_is`, one row per series.
    """
    crossings = []
    for (series,), rows in families.sort("n").group_by("series", maintain_order=True):
        curves = {}
        for name in ("attention", "convolution"):
            measured = rows.filter(pl.col("family") == name, pl.col("sum_ns") > 0)
            curves[name] = fit(measured["n"].to_list(), measured["time_ns"].to_list())
        crossings.append((series, *_crossing(curves["attention"], curves["convolution"], rows["n"].to_list())))
    schema = {"series": pl.String, "crossover": pl.Float64, "crossover_is": pl.String}
    return pl.DataFrame(crossings, schema=schema, orient="row")


def _crossing(attention: Fit | None, convolution: Fit | None, sizes: list[int]) -> tuple[float | None, str]:
    """The size at which attention overtakes convolution, and how far it is known; or None, and why."""
    if attention is None or convolution is None:
        return None, f"fewer than {FEWEST} sizes have both attention and convolution"
    smallest, largest = sizes[0], sizes[-1]
    size = overtakes(attention, convolution)
    if size is not None and smallest <= size * FARTHEST and size <= largest * FARTHEST:
        return size, "within sizes" if smallest <= size <= largest else "extrapolated"
    longer = "attention" if attention.at(largest) > convolution.at(largest) else "convolution"
    return None, f"none up to {FARTHEST} times the sizes: {longer} takes longer at the largest"
