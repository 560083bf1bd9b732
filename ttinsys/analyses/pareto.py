"""Cost of a picture or clip against published quality: time, size and FID of each model, and which ones no other beats.

ttinsys pareto stable-diffusion.sqlite imagen.sqlite muse.sqlite
ttinsys pareto sweep/ --plot pareto.svg

Traces of few steps are scaled to the steps that the model takes by default: that is an estimate, and `estimated_ns`.
FID is of the model that `fid_of` names, as its paper reports it, not of what ran: weights may be random.
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
    Column("trace", pl.String, "the trace"),
    Column("model", pl.String, "name of the model; null where the trace tells of several"),
    Column("front", pl.Boolean, "whether no model with a FID on the same data is both as fast and as good, and better "
           "in one; null without a FID"),
    Column("estimated_ns", pl.Int64, "busy time per picture or clip with the model's default number of steps: that of "
           "each stage in proportion", unit="ns"),
    Column("fid", pl.Float64, "published Fréchet inception distance; null for tiny models and those that have none"),
    Column("attention", pl.String, "how attention was computed"),
    Column("busy_ns", pl.Int64, "time in which the GPU ran something, per picture or clip, as traced", unit="ns"),
    Column("span_ns", pl.Int64, "first start to last end of the GPU's work, per picture or clip, as traced", unit="ns"),
    Column("step_ns", pl.Float64, "busy time of a step, mean, without those of prefill", unit="ns"),
    Column("steps", pl.Int64, "steps that were taken for a picture or clip, over all stages"),
    Column("full_steps", pl.Int64, "steps with the model's defaults, over all stages"),
    Column("flops", pl.Int64, "annotated, per picture or clip, as traced; a multiply-add is two", unit="FLOP"),
    Column("parameters", pl.Int64, "published number of parameters, all components; null for tiny models"),
    Column("weight_bytes", pl.Int64, "their bytes in the type that ran: the least memory", unit="B"),
    Column("peak_bytes", pl.Int64, "most memory held; null where only the trace is known: see `with_memory`", unit="B"),
    Column("peak_bytes_per_parameter", pl.Float64, "of `peak_bytes` (Fig. 1 of the study asks for it)", unit="B"),
    Column("images", pl.Int64, "pictures or clips in the trace"),
    Column("simulated", pl.Boolean, "no machine ran it"),
    Column("device", pl.String, "GPU"),
    Column("stands_for", pl.String, "model of the study that it is or stands for"),
    Column("dataset", pl.String, "on what data"),
    Column("source", pl.String, "who reports it"),
    Column("checked", pl.String, "How the number was verified."),
    Column("fid_of", pl.String, "whose FID it is"),
    doc="one row per trace",
)  # fmt: skip

_PICTURE = ("busy_ns", "span_ns", "flops")


@analysis(returns=PARETO, needs=(GPU_ACTIVITY, ANNOTATED_RUNS), across=True)
def pareto(ops: pl.LazyFrame, ranges: pl.LazyFrame, calls: pl.LazyFrame, runs: pl.LazyFrame) -> pl.LazyFrame:
    """Weigh time against quality (Fig. 4 of the study).

    Args:
        ops: `OPS` of one or several traces.
        ranges: `RANGES` of them.
        calls: `CALLS` of them.
        runs: `RUNS` of them.

    Returns:
        `PARETO`, in the order of the traces. Of a trace whose run takes as many steps as the model does by default,
        `estimated_ns` is `busy_ns`, but for what overlaps between its steps and the rest.
    """
    told = _told(runs)
    stages = _stages(ops, ranges, told)
    whole = ops.group_by("trace").agg(span().alias("span_ns")).join(busy_by(ops, ["trace"]), on="trace")
    costs = calls.group_by("trace").agg(known_sum(executed("flops")).alias("flops"))
    scaled = stages.group_by("trace").agg(
        pl.col("_images").max(),
        pl.col("steps", "full_steps").sum(),
        ratio(pl.col("_decode_ns").sum(), pl.col("_decoded").sum()).alias("step_ns"),
        (pl.col("_decode_ns") + pl.col("_prefill_ns")).sum().alias("_in_steps_ns"),
        (pl.col("_decode_ns") * pl.col("_grown") + pl.col("_prefill_ns")).sum().alias("_grown_ns"),
        pl.col("_grown").null_count().alias("_unknown"),
    )
    images = pl.col("_images").fill_null(1) * pl.col("batch").fill_null(1)
    estimated = pl.col("busy_ns") - pl.col("_in_steps_ns") + pl.col("_grown_ns")
    known = pl.col("_unknown").eq(0).fill_null(value=False)
    weighed = (
        told.join(whole, on="trace", how="left", maintain_order="left")
        .join(costs, on="trace", how="left", maintain_order="left")
        .join(scaled, on="trace", how="left", maintain_order="left")
        .with_columns(pl.when(known).then((estimated / images).round()).alias("estimated_ns"))
        .with_columns((pl.col(_PICTURE) / images).round(), images.alias("images"))
        .with_columns(
            (pl.col("parameters") * pl.col("dtype").replace_strict(ITEM_BYTES, default=None)).alias("weight_bytes")
        )
        .with_columns(pl.lit(None, pl.Int64).alias("peak_bytes"), pl.lit(None).alias("peak_bytes_per_parameter"))
    )
    return _with_front(weighed).select(
        pl.col(c.name).cast(c.dtype) if c.name != "trace" else "trace" for c in PARETO.columns
    )


def with_memory(frame: pl.DataFrame, peaks: Mapping[str, int]) -> pl.DataFrame:
    """Add the memory that runs held: traces do not tell it, the folder of a sweep does (`ttinsys.tables.sweeps`).

    Args:
        frame: `PARETO`.
        peaks: most bytes held, by the name of the trace.
    """
    peak = pl.col("trace").cast(pl.String).replace_strict(dict(peaks), default=None, return_dtype=pl.Int64)
    return frame.with_columns(peak.alias("peak_bytes"), (peak / pl.col("parameters")).alias("peak_bytes_per_parameter"))


def _told(runs: pl.LazyFrame) -> pl.LazyFrame:
    """What each trace runs, with what was published of it; one row per trace."""
    first = runs.group_by("trace", maintain_order=True).agg(
        pl.when(pl.col("model").n_unique() == 1).then(pl.col("model").first()).alias("model"),
        pl.exclude("trace", "model").first(),
    )
    known = [model(name) for name in MODELS]
    full = [(of.requests["full"].steps or of.requests["full"].tokens, sum(of.parameters.values())) for of in known]
    published = pl.LazyFrame(
        {
            "model": [of.name for of in known],
            "stands_for": [of.study for of in known],
            "_full": [steps for steps, _ in full],
            "parameters": [parameters for _, parameters in full],
            "fid": [QUALITY[of.name].fid if of.name in QUALITY else None for of in known],
            "fid_of": [QUALITY[of.name].model if of.name in QUALITY else None for of in known],
            "dataset": [QUALITY[of.name].dataset if of.name in QUALITY else None for of in known],
            "source": [QUALITY[of.name].source if of.name in QUALITY else None for of in known],
            "checked": [QUALITY[of.name].checked if of.name in QUALITY else None for of in known],
            "size": "full",
        }
    )
    asked = pl.coalesce("steps", "tokens").alias("_asked")
    return first.select("trace", "model", "size", "attention", "dtype", "device", "batch", "simulated", asked).join(
        published, on=["model", "size"], how="left", maintain_order="left"
    )


def _stages(ops: pl.LazyFrame, ranges: pl.LazyFrame, told: pl.LazyFrame) -> pl.LazyFrame:
    """Steps of each stage, their busy time, and the factor by which that of its steps after prefill grows.

    A stage that takes fewer steps than were asked for (the second of Imagen) takes the same share of the full number;
    one that takes more (PNDM) takes as many more.
    """
    opened = ranges.filter(pl.col("range_id") == pl.col("step_id")).select(
        "trace", "step_id", pl.col("name").alias("_stage")
    )
    inside = ops.filter(pl.col("step_id").is_not_null())
    steps = busy_by(inside, ["trace", "step_id", "step", "phase"]).join(opened, on=["trace", "step_id"], how="left")
    prefill = (pl.col("phase") == "prefill").fill_null(value=False)
    taken, asked, full = pl.col("steps"), pl.col("_asked"), pl.col("_full")
    more = pl.when(taken > asked).then(full + taken - asked).otherwise((full * taken / asked).round())
    return (
        steps.group_by("trace", "_stage")
        .agg(
            pl.max_horizontal((pl.col("step") == 0).sum(), 1).alias("_images"),
            pl.len().alias("_taken"),
            prefill.sum().alias("_prefills"),
            pl.col("busy_ns").filter(prefill).sum().alias("_prefill_ns"),
            pl.col("busy_ns").filter(~prefill).sum().alias("_decode_ns"),
        )
        .join(told.select("trace", "_asked", "_full"), on="trace")
        .with_columns(
            (pl.col("_taken") / pl.col("_images")).round().cast(pl.Int64).alias("steps"),
            (pl.col("_taken") - pl.col("_prefills")).alias("_decoded"),
            (pl.col("_prefills") / pl.col("_images")).round().cast(pl.Int64).alias("_first"),
        )
        .with_columns(more.cast(pl.Int64).alias("full_steps"))
        .with_columns(((pl.col("full_steps") - pl.col("_first")) / (taken - pl.col("_first"))).alias("_grown"))
        .with_columns(pl.when(pl.col("_grown").is_finite()).then("_grown").alias("_grown"))
    )


def _with_front(weighed: pl.LazyFrame) -> pl.LazyFrame:
    """Add `front`: there is no other row on the same data that is no worse in both, and better in one."""
    point = weighed.filter(pl.col("fid").is_not_null() & pl.col("estimated_ns").is_not_null())
    other = point.select("dataset", pl.col("estimated_ns").alias("_other_ns"), pl.col("fid").alias("_other_fid"))
    no_worse = (pl.col("_other_ns") <= pl.col("estimated_ns")) & (pl.col("_other_fid") <= pl.col("fid"))
    better = (pl.col("_other_ns") < pl.col("estimated_ns")) | (pl.col("_other_fid") < pl.col("fid"))
    beaten = point.join(other, on="dataset").group_by("trace").agg((no_worse & better).any().alias("_beaten"))
    return weighed.join(beaten, on="trace", how="left", maintain_order="left").with_columns(
        (~pl.col("_beaten")).alias("front")
    )
