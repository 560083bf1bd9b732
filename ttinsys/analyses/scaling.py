"""How time and FLOPs grow with the size of what is made, and where attention overtakes convolution.

ttinsys scaling sweep --fits
ttinsys scaling eager-*.sqlite flash-*.sqlite --by family --plot fig9.svg
ttinsys scaling 8f.sqlite 16f.sqlite 32f.sqlite --over frames

Each trace is a point: its size is told by its run, and its time is that of the kernels of one step. Traces that differ
in nothing but that size, and in the number of steps, are a series: backends and compilers are compared so.
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
    Column("series", pl.String, "settings that differ between traces, besides the size; `all` where none does"),
    Column("role", pl.String, "what the layer does; `(not annotated)`, or `(reason)` without a range"),
    Column("family", pl.String, "`attention`, `convolution`, `linear`, `norm` or `other`; `(reason)` without a role"),
    Column("operator", pl.String, "what the kernel does"),
    Column("n", pl.Int64, "size of the trace's request, in what `over` says"),
    Column("time_ns", pl.Float64, "durations added up, per step", unit="ns"),
    Column("exponent", pl.Float64, "p of time ~ n^p over the series, by least squares of logarithms"),
    Column("flops_exponent", pl.Float64, "p of FLOPs ~ n^p; null where there are none"),
    Column("law", pl.Int64, "power that the formulas give FLOPs: see `ttinsys.measures.formulas.growth`"),
    Column("crossover", pl.Float64, "size from which the fitted attention is longer than the fitted convolution"),
    Column("off", pl.Boolean, "whether the residual is beyond the tolerance"),
    Column("fitted_ns", pl.Float64, "constant + linear + quadratic term of the fit here; null without one", unit="ns"),
    Column("residual", pl.Float64, "time beyond the fitted, of the fitted", unit="ratio"),
    Column("constant_ns", pl.Float64, "term of the fit that does not grow", unit="ns"),
    Column("linear_ns", pl.Float64, "term that grows as n, here: the coefficient times n", unit="ns"),
    Column("quadratic_ns", pl.Float64, "term that grows as n^2, here: the coefficient times n^2", unit="ns"),
    Column("worst", pl.Float64, "residual that is farthest from 0", unit="ratio"),
    Column("worst_n", pl.Int64, "size at which it is"),
    Column("rms", pl.Float64, "root mean square of the residuals; of three sizes 0, unless a term is 0", unit="ratio"),
    Column("r2", pl.Float64, "variance of logarithms that n^p explains", unit="ratio"),
    Column("sizes", pl.UInt32, "distinct sizes at which it ran"),
    Column("crossover_is", pl.String, "`within sizes`, `extrapolated`, or why there is none"),
    Column("flops", pl.Float64, "annotated FLOPs, per step; null by operator and kernel", unit="FLOP"),
    Column("predicted_flops", pl.Float64, "FLOPs of the smallest size, grown by that power", unit="FLOP"),
    Column("share", pl.Float64, "of the trace's GPU time added up, its other components included", unit="ratio"),
    Column("sum_ns", pl.Int64, "durations added up, over the trace", unit="ns"),
    Column("steps", pl.UInt32, "steps of the trace in which the component ran; 1 where it ran outside steps"),
    Column("over", pl.String, "what size is: `pixels` (height times width), `frames`, `batch` or `tokens`"),
    Column("trace", pl.String, "the trace"),
    Column("note", pl.String, "what is missing, and why"),
    Column("kernel", pl.String, "kernel name with templates"),
    doc="one row per series, value of what was asked `--by`, and trace; what is told of a fit is repeated on its rows",
)

ScalingGrouping = Literal["role", "family", "operator", "kernel"]
SCALING_BY: tuple[str, ...] = get_args(ScalingGrouping)
ComponentChoice = Literal["denoiser", "decoder", "text_encoder", "image_encoder", "vae", "scheduler", "all"]

FARTHEST = 10
"""How far beyond the sizes a crossover is told of, as a factor: farther out, a fit says nothing."""


@analysis(
    returns=SCALING,
    options=(
        Option("over", "Take this as the size; auto takes the one that varies."),
        Option("by", "Fit the time of each role, family, operator or kernel."),
        Option("component", "Fit the time of this part of the pipeline."),
        PROJECTIONS,
        Option("tolerance", "Mark a point as off where its residual exceeds this; 0.25 is 25%."),
        Option("fits", "Keep the largest size of each series: one row per fit."),
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
        calls: `CALLS` of them.
        runs: `RUNS` of them.
        over: of `AXES`; `auto`: the one that varies.
        by: of `BY`.
        component: part of the pipeline; what is outside it is left out, and `all` leaves out nothing.
        projections: whether linear layers of an attention keep their role or take that of the attention.
        tolerance: residual beyond which a point is off.
        fits: only the largest size of each fit.

    Returns:
        `SCALING`, by series in the order of the traces; the longest at its largest size first; by size. `sum_ns` of a
        trace adds up to the sum over the operations of the component.

    Raises:
        NotASweep: once collected: no size varies, several do, or no trace has the component.
    """
    summed = (
        ops.with_columns(role(projections).alias("role"))
        .with_columns(family(pl.col("role")).alias("family"))
        .group_by("trace", "component", *dict.fromkeys(["role", "family", by]))
        .agg(pl.col("duration_ns").sum().alias("sum_ns"))
    )
    ours = calls if component == "all" else calls.filter(pl.col("component") == component)
    flops = ours.group_by("trace", "component", role_of_module(projections).alias("role")).agg(
        known_sum(executed("flops")).alias("flops")
    )
    steps = ours.group_by("trace").agg(pl.col("step_id").drop_nulls().n_unique().clip(lower_bound=1).alias("steps"))
    joined = summed.join(flops, on=["trace", "component", "role"], how="left", nulls_equal=True)
    fitted = partial(_fitted, by=by, component=component, tolerance=tolerance)
    result = (
        joined.join(points(runs, over), on="trace")
        .join(steps, on="trace", how="left")
        .map_batches(fitted, schema=SCALING.schema, projection_pushdown=False, predicate_pushdown=False)
    )
    return result.unique(["series", by], keep="last", maintain_order=True) if fits else result


def _fitted(joined: pl.DataFrame, *, by: str, component: str, tolerance: float) -> pl.DataFrame:
    """`SCALING` from time per trace, component, role and `by`."""
    whole = joined.group_by("trace").agg(pl.col("sum_ns").sum().alias("whole_ns"))
    ours = joined if component == "all" else joined.filter(pl.col("component") == component)
    there = joined["component"].drop_nulls().unique().sort().to_list()
    if ours.is_empty() and there:
        raise NotASweep(f"no GPU work in {component}: give --component {' or '.join(there)}")
    per_step = (pl.col("sum_ns") / pl.col("steps")).alias("time_ns")
    axes = ["series", "trace", "over", "n", "steps"]
    of_families = ours.group_by("series", "trace", "n", "steps", "family").agg(pl.col("sum_ns").sum())
    crossings = _crossings(of_families.with_columns(per_step))
    flops = known_sum("flops") if by in ("role", "family") else pl.lit(None)
    rows = (
        ours.group_by([*axes, by])
        .agg(pl.col("sum_ns").sum(), flops.alias("flops"))
        .join(whole, on="trace")
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
    parts = [_with_fit(part, by, tolerance) for part in rows.partition_by("series", by, maintain_order=True)]
    if not parts:
        return pl.DataFrame(schema=SCALING.schema)
    return (
        pl.concat(parts)
        .with_columns(pl.lit(None, SCALING.schema[name]).alias(name) for name in SCALING_BY if name != by)
        .select(pl.col(name).cast(dtype) for name, dtype in SCALING.schema.items())
    )


def _with_fit(rows: pl.DataFrame, by: str, tolerance: float) -> pl.DataFrame:
    """Rows of one fit, with what it says of them."""
    ran = rows.filter(pl.col("sum_ns") > 0)
    sizes, times = ran["n"].to_list(), ran["time_ns"].to_list()
    curve, slope = fit(sizes, times), power(sizes, times)
    grown = power(rows["n"].to_list(), rows["flops"].fill_null(0).to_list())
    law = growth(rows[by][0], rows["over"][0]) if by == "role" else None
    distinct, start = len(set(sizes)), rows["flops"][0]
    n, none = pl.col("n"), pl.lit(None, pl.Float64)
    predicted = start * (n / rows["n"][0]) ** law if law is not None and start else none
    terms = (pl.lit(curve.constant), n * curve.linear, n**2 * curve.quadratic) if curve else (none, none, none)
    rows = (
        rows.with_columns(
            pl.lit(slope.exponent if slope else None, pl.Float64).alias("exponent"),
            pl.lit(slope.r2 if slope else None, pl.Float64).alias("r2"),
            pl.lit(grown.exponent if grown else None, pl.Float64).alias("flops_exponent"),
            pl.lit(law, pl.Int64).alias("law"),
            predicted.alias("predicted_flops"),
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
    far = pl.col("residual").abs().arg_max()
    return rows.with_columns(
        (pl.col("residual").abs() > tolerance).alias("off"),
        pl.lit(rms(residuals) if residuals else None, pl.Float64).alias("rms"),
        pl.col("residual").get(far).alias("worst") if residuals else none.alias("worst"),
        n.get(far).alias("worst_n") if residuals else pl.lit(None, pl.Int64).alias("worst_n"),
    )


def _note(distinct: int, tried: int) -> str | None:
    ran = f"ran at {distinct} of {tried} sizes"
    if distinct < FEWEST:
        return f"{ran}: a fit takes {FEWEST}"
    return ran if distinct < tried else None


def _crossings(families: pl.DataFrame) -> pl.DataFrame:
    """Where attention overtakes convolution in each series, by the fits of their sums."""
    found = []
    for (series,), rows in families.sort("n").group_by("series", maintain_order=True):
        curves = {}
        for name in ("attention", "convolution"):
            of = rows.filter(pl.col("family") == name, pl.col("sum_ns") > 0)
            curves[name] = fit(of["n"].to_list(), of["time_ns"].to_list())
        found.append((series, *_crossing(curves["attention"], curves["convolution"], rows["n"].to_list())))
    schema = {"series": pl.String, "crossover": pl.Float64, "crossover_is": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row")


def _crossing(attention: Fit | None, convolution: Fit | None, sizes: list[int]) -> tuple[float | None, str]:
    if attention is None or convolution is None:
        return None, f"fewer than {FEWEST} sizes with both"
    at = overtakes(attention, convolution)
    if at is not None and sizes[0] <= at * FARTHEST and at <= sizes[-1] * FARTHEST:
        return at, "within sizes" if sizes[0] <= at <= sizes[-1] else "extrapolated"
    longer = "attention" if attention.at(sizes[-1]) > convolution.at(sizes[-1]) else "convolution"
    return None, f"none up to {FARTHEST} times the sizes: {longer} is longer at the largest"
