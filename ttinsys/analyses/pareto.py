"""Compare models by time per image or clip and by published FID, and mark the Pareto front.

ttinsys pareto stable-diffusion.sqlite imagen.sqlite muse.sqlite
ttinsys pareto sweep/ --plot pareto.svg

Traces of few steps are scaled to the model's default number of steps: the result is an estimate, in estimated_ns.
The FID is that of the published model that fid_of names, not of this run, whose weights may be random.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import ITEM_BYTES
from ttinsys.measures.intervals import busy_by, span
from ttinsys.measures.sums import known_sum, ratio
from ttinsys.published.literature import QUALITY
from ttinsys.published.sheets import MODELS, model
from ttinsys.runner.registry import analysis
from ttinsys.tables.calls import executed
from ttinsys.tables.needs import ANNOTATED_RUNS, GPU_ACTIVITY

PARETO = Table(
    "pareto",
    Column("trace", pl.String, "Name of the trace."),
    Column("model", pl.String, "Name of the model; null where the trace ran several."),
    Column("front", pl.Boolean, "Whether the trace is on the Pareto front: no trace with an FID on the same data is at "
           "least as fast and as good, and better in one. Null without an FID."),
    Column("estimated_ns", pl.Int64, "Busy time per image or clip with the model's default number of steps, each stage "
           "scaled by its steps; null where that number is unknown.", unit="ns"),
    Column("fid", pl.Float64, "Published Fréchet inception distance, lower is better; null for tiny models and where "
           "none is published."),
    Column("attention", pl.String, "Attention implementation, such as `sdpa`."),
    Column("busy_ns", pl.Int64, "Time in which the GPU runs at least one operation, per image or clip, as traced.",
           unit="ns"),
    Column("span_ns", pl.Int64, "Time from the first start to the last end on the GPU, per image or clip, as traced.",
           unit="ns"),
    Column("step_ns", pl.Float64, "Mean busy time of a step, prefill steps left out.", unit="ns"),
    Column("steps", pl.Int64, "Number of steps per image or clip, as traced, over all stages."),
    Column("full_steps", pl.Int64, "Number of steps per image or clip with the model's defaults, over all stages."),
    Column("flops", pl.Int64, "Annotated FLOPs per image or clip, as traced; a multiply-add is two.", unit="FLOP"),
    Column("parameters", pl.Int64, "Published number of parameters of all components; null for tiny models."),
    Column("weight_bytes", pl.Int64, "Bytes of the parameters in the data type that ran, the least memory needed; "
           "null for tiny models.", unit="B"),
    Column("peak_bytes", pl.Int64, "Most memory allocated; null unless the manifest of a sweep gives it, see "
           "`with_memory`.", unit="B"),
    Column("peak_bytes_per_parameter", pl.Float64, "`peak_bytes` divided by `parameters` (Fig. 1 of the study).",
           unit="B"),
    Column("images", pl.Int64, "Number of images or clips in the trace."),
    Column("simulated", pl.Boolean, "Whether the times come from a simulated GPU."),
    Column("device", pl.String, "Name of the GPU."),
    Column("stands_for", pl.String, "Model of the study that this model is, or stands for; null where there is none."),
    Column("dataset", pl.String, "Data on which the FID was computed, and the protocol."),
    Column("source", pl.String, "Publication that reports the FID."),
    Column("checked", pl.String, "How the FID was verified."),
    Column("fid_of", pl.String, "Model that reached the FID."),
    doc="one row per trace",
)  # fmt: skip

_PER_IMAGE = ("busy_ns", "span_ns", "flops")
"""Columns that are divided by the number of images or clips."""


@analysis(returns=PARETO, needs=(GPU_ACTIVITY, ANNOTATED_RUNS), across=True)
def pareto(ops: pl.LazyFrame, ranges: pl.LazyFrame, calls: pl.LazyFrame, runs: pl.LazyFrame) -> pl.LazyFrame:
    """Weigh time against quality (Fig. 4 of the study).

    Args:
        ops: `OPS` of one or several traces.
        ranges: `RANGES` of the traces.
        calls: `CALLS` of the traces.
        runs: `RUNS` of the traces.

    Returns:
        `PARETO`, in the order of the traces. Where a run takes the model's default number of steps, `estimated_ns`
        equals `busy_ns`, apart from overlap between steps and the rest.
    """
    described = _described(runs)
    scaled = _scaled(ops, ranges, described)
    totals = ops.group_by("trace").agg(span().alias("span_ns")).join(busy_by(ops, ["trace"]), on="trace")
    costs = calls.group_by("trace").agg(known_sum(executed("flops")).alias("flops"))
    images = pl.col("_images").fill_null(1) * pl.col("batch").fill_null(1)
    # What runs outside steps stays as it is; time in steps is replaced by what the default steps would take.
    estimated = pl.col("busy_ns") - pl.col("_in_steps_ns") + pl.col("_grown_ns")
    all_scaled = pl.col("_unscaled_stages").eq(0).fill_null(value=False)
    bytes_per_parameter = pl.col("dtype").replace_strict(ITEM_BYTES, default=None)
    weighed = (
        described.join(totals, on="trace", how="left", maintain_order="left")
        .join(costs, on="trace", how="left", maintain_order="left")
        .join(scaled, on="trace", how="left", maintain_order="left")
        .with_columns(pl.when(all_scaled).then((estimated / images).round()).alias("estimated_ns"))
        .with_columns((pl.col(_PER_IMAGE) / images).round(), images.alias("images"))
        .with_columns((pl.col("parameters") * bytes_per_parameter).alias("weight_bytes"))
        .with_columns(pl.lit(None, pl.Int64).alias("peak_bytes"), pl.lit(None).alias("peak_bytes_per_parameter"))
    )
    return _with_front(weighed).select(
        pl.col(c.name).cast(c.dtype) if c.name != "trace" else "trace" for c in PARETO.columns
    )


def with_memory(frame: pl.DataFrame, peaks: Mapping[str, int]) -> pl.DataFrame:
    """Add the memory that runs allocated, which no trace holds: the manifest of a sweep does.

    Args:
        frame: `PARETO`.
        peaks: Most bytes allocated, by the name of the trace.

    Returns:
        `PARETO` with `peak_bytes` and `peak_bytes_per_parameter`; null for traces that `peaks` does not name.
    """
    peak = pl.col("trace").cast(pl.String).replace_strict(dict(peaks), default=None, return_dtype=pl.Int64)
    return frame.with_columns(peak.alias("peak_bytes"), (peak / pl.col("parameters")).alias("peak_bytes_per_parameter"))


def _described(runs: pl.LazyFrame) -> pl.LazyFrame:
    """What each trace ran and what was published about it: one row per trace."""
    first = runs.group_by("trace", maintain_order=True).agg(
        pl.when(pl.col("model").n_unique() == 1).then(pl.col("model").first()).alias("model"),
        pl.exclude("trace", "model").first(),
    )
    asked = pl.coalesce("steps", "tokens").alias("_asked")
    return first.select("trace", "model", "size", "attention", "dtype", "device", "batch", "simulated", asked).join(
        _published().lazy(), on=["model", "size"], how="left", maintain_order="left"
    )


def _published() -> pl.DataFrame:
    """Steps, parameters and quality of every model at its full size, as published; quality is null where unknown."""
    specs = [model(name) for name in MODELS]
    requests = [spec.requests["full"] for spec in specs]
    published = pl.DataFrame(
        {
            "model": [spec.name for spec in specs],
            "size": ["full"] * len(specs),
            "stands_for": [spec.study for spec in specs],
            "_full": [request.steps or request.tokens for request in requests],
            "parameters": [sum(spec.parameters.values()) for spec in specs],
        }
    )
    qualities = pl.DataFrame(
        [(name, each.fid, each.model, each.dataset, each.source, each.checked) for name, each in QUALITY.items()],
        schema=["model", "fid", "fid_of", "dataset", "source", "checked"],
        orient="row",
    )
    return published.join(qualities, on="model", how="left", maintain_order="left")


def _scaled(ops: pl.LazyFrame, ranges: pl.LazyFrame, described: pl.LazyFrame) -> pl.LazyFrame:
    """Steps of each trace over all stages, with the time in them as traced and with the default number of steps."""
    as_traced = pl.col("_decode_ns") + pl.col("_prefill_ns")
    grown = pl.col("_decode_ns") * pl.col("_growth") + pl.col("_prefill_ns")
    return (
        _stages(ops, ranges, described)
        .group_by("trace")
        .agg(
            pl.col("_images").max(),
            pl.col("steps", "full_steps").sum(),
            ratio(pl.col("_decode_ns").sum(), pl.col("_decoded").sum()).alias("step_ns"),
            as_traced.sum().alias("_in_steps_ns"),
            grown.sum().alias("_grown_ns"),
            pl.col("_growth").null_count().alias("_unscaled_stages"),
        )
    )


def _stages(ops: pl.LazyFrame, ranges: pl.LazyFrame, described: pl.LazyFrame) -> pl.LazyFrame:
    """Steps of each stage, their busy time, and the factor by which the time of its steps after prefill grows.

    A stage that takes fewer steps than were requested (the second one of Imagen) takes the same fraction of the default
    number; one that takes more (PNDM) takes as many more.
    """
    stage_of_step = ranges.filter(pl.col("range_id") == pl.col("step_id")).select(
        "trace", "step_id", pl.col("name").alias("_stage")
    )
    inside = ops.filter(pl.col("step_id").is_not_null())
    steps = busy_by(inside, ["trace", "step_id", "step", "phase"]).join(
        stage_of_step, on=["trace", "step_id"], how="left"
    )
    prefill = (pl.col("phase") == "prefill").fill_null(value=False)
    taken, asked, full, first = pl.col("steps"), pl.col("_asked"), pl.col("_full"), pl.col("_first")
    full_steps = pl.when(taken > asked).then(full + taken - asked).otherwise((full * taken / asked).round())
    growth = (pl.col("full_steps") - first) / (taken - first)
    return (
        steps.group_by("trace", "_stage")
        .agg(
            # Steps are numbered from 0 for each image or clip.
            pl.max_horizontal((pl.col("step") == 0).sum(), 1).alias("_images"),
            pl.len().alias("_taken"),
            prefill.sum().alias("_prefills"),
            pl.col("busy_ns").filter(prefill).sum().alias("_prefill_ns"),
            pl.col("busy_ns").filter(~prefill).sum().alias("_decode_ns"),
        )
        .join(described.select("trace", "_asked", "_full"), on="trace")
        .with_columns(
            (pl.col("_taken") / pl.col("_images")).round().cast(pl.Int64).alias("steps"),
            (pl.col("_taken") - pl.col("_prefills")).alias("_decoded"),
            (pl.col("_prefills") / pl.col("_images")).round().cast(pl.Int64).alias("_first"),
        )
        .with_columns(full_steps.cast(pl.Int64).alias("full_steps"))
        # A stage of nothing but prefill has no time to scale: its growth is null.
        .with_columns(pl.when(growth.is_finite()).then(growth).alias("_growth"))
    )


def _with_front(weighed: pl.LazyFrame) -> pl.LazyFrame:
    """Add `front`: whether no other row on the same data is at least as fast and as good, and better in one."""
    points = weighed.filter(pl.col("fid").is_not_null() & pl.col("estimated_ns").is_not_null())
    others = points.select("dataset", pl.col("estimated_ns").alias("_other_ns"), pl.col("fid").alias("_other_fid"))
    no_worse = (pl.col("_other_ns") <= pl.col("estimated_ns")) & (pl.col("_other_fid") <= pl.col("fid"))
    better = (pl.col("_other_ns") < pl.col("estimated_ns")) | (pl.col("_other_fid") < pl.col("fid"))
    beaten = points.join(others, on="dataset").group_by("trace").agg((no_worse & better).any().alias("_beaten"))
    return weighed.join(beaten, on="trace", how="left", maintain_order="left").with_columns(
        (~pl.col("_beaten")).alias("front")
    )
