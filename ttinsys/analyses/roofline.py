"""Compare layers with the roofline: what bounds them, and how close to it they come.

ttinsys roofline run.sqlite
ttinsys roofline run.sqlite --by layer --gpu h100 --plot roofline.svg
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import ITEM_BYTES
from ttinsys.measures.ceilings import ceilings, peak_of_type
from ttinsys.measures.dimensions import PIPELINE, role
from ttinsys.measures.intervals import doubtful_gpus, gpu_of_rows, timeline
from ttinsys.measures.options import Option, positive
from ttinsys.measures.sums import exact_sum, known_sum, ratio
from ttinsys.published.sheets import GPUS
from ttinsys.runner.registry import analysis
from ttinsys.tables.calls import executed
from ttinsys.tables.needs import ANNOTATED_COSTS, GPU_ACTIVITY

ROOFLINE = Table(
    "roofline",
    Column("component", pl.String, "Part of the pipeline, such as `denoiser`; `(pipeline)` for the pipeline as a "
           "whole, `(not annotated)` in a range without annotation, `(reason)` without a range."),
    Column("role", pl.String, "What the layer does, such as `linear`; `(not annotated)` in a range without annotation, "
           "`(reason)` without a range."),
    Column("device", pl.Int64, "CUDA device ordinal; null for calls whose GPU work is not in the trace, and where the "
           "processes of a GPU number it differently."),
    Column("gpu", pl.Int64, "Number of the GPU, as in `info`; null for calls whose GPU work is not in the trace, and "
           "where the export does not tell which GPU it is."),
    Column("pid", pl.Int64, "ID of the process whose device it is, where `gpu` is null; else null."),
    Column("gpu_ns", pl.Int64, "Sum of GPU durations of the calls, without those of annotated ranges in them.",
           unit="ns"),
    Column("intensity", pl.Float64, "Arithmetic intensity: `flops` divided by `least_bytes`; null where no cost is "
           "annotated.", unit="FLOP/B"),
    Column("bound", pl.String, "What limits the row by its side of the ridge point: `compute` or `memory`; null where "
           "the ceilings or costs are unknown."),
    Column("mfu", pl.Float64, "Model FLOPs utilisation: `flops_per_s` divided by the peak; null where the peak is "
           "unknown.", unit="ratio"),
    Column("bandwidth_share", pl.Float64, "`bytes_per_s` divided by the memory bandwidth; null where that is unknown.",
           unit="ratio"),
    Column("weight_intensity", pl.Float64, "FLOPs divided by bytes of weights, over the calls that have both.",
           unit="FLOP/B"),
    Column("flops_per_s", pl.Float64, "Achieved rate: `flops` divided by `gpu_ns`.", unit="FLOP/s"),
    Column("bytes_per_s", pl.Float64, "Achieved rate: `least_bytes` divided by `gpu_ns`.", unit="B/s"),
    Column("least_ns", pl.Int64, "Sum over calls of the time at the roofline; what `gpu_ns` exceeds it by could be "
           "saved.", unit="ns"),
    Column("calls", pl.Int64, "Number of calls with GPU work or FLOPs; each replay of a CUDA graph counts."),
    Column("flops", pl.Int64, "FLOPs of the calls; null where they are not annotated.", unit="FLOP"),
    Column("least_bytes", pl.Int64, "Least memory traffic of the calls; null where it is not annotated.", unit="B"),
    Column("costed_ns", pl.Int64, "Sum of GPU durations of the calls whose cost is annotated.", unit="ns"),
    Column("peak_flops_per_s", pl.Float64, "Peak of the GPU for the data types of the calls, weighted by their FLOPs.",
           unit="FLOP/s"),
    Column("bandwidth_bytes_per_s", pl.Float64, "Memory bandwidth of the GPU; null where it is unknown.", unit="B/s"),
    Column("roof_share", pl.Float64, "Achieved rate divided by what the roofline allows at this intensity: the greater "
           "of `mfu` and `bandwidth_share`.", unit="ratio"),
    Column("note", pl.String, "What is unknown about the GPU, and which option to give; null where nothing is."),
    Column("module", pl.String, "Path of the module in the pipeline; null unless rows are layers."),
    doc="one row per GPU and layer, role or component, the longest first, and per reason why work has no layer",
)  # fmt: skip

ROOFLINE_KEYS = {
    "layer": ("component", "role", "module"),
    "role": ("role",),
    "component": ("component",),
    "model": ("role",),
}
"""Columns that tell rows apart, for each value of the option `by`."""

ALL_LAYERS = "(all layers)"
"""Role of the row that sums up all annotated layers."""

RooflineGrouping = Literal["layer", "role", "component", "model"]


@analysis(
    returns=ROOFLINE,
    options=(
        Option("by", "Group rows by layer, role or component, or give one row for the whole model."),
        Option("gpu", "Use the data sheet of this GPU instead of the one that the trace names.", tuple(GPUS)),
        Option("peak", "Set the peak of the GPU in TFLOP/s, for every data type.", parse=positive, metavar="TFLOPS"),
        Option("bandwidth", "Set the memory bandwidth of the GPU in GB/s.", parse=positive, metavar="GBPS"),
        Option("float32", "Compare 32-bit floats with the peak of TF32, or of single precision."),
    ),
    needs=(GPU_ACTIVITY, ANNOTATED_COSTS),
    remarks=doubtful_gpus,
)
def roofline(
    ops: pl.LazyFrame,
    calls: pl.LazyFrame,
    gpus: pl.LazyFrame,
    *,
    by: RooflineGrouping = "role",
    gpu: str | None = None,
    peak: float | None = None,
    bandwidth: float | None = None,
    float32: Literal["tf32", "single"] = "tf32",
) -> pl.LazyFrame:
    """Compare layers with the ceilings of their GPU (Fig. 5 of the study).

    Rates use all GPU time of a row, that of calls without an annotated cost included. The cost of a call counts each
    time that it ran: that of a captured call once per replay of its CUDA graph.

    Args:
        ops: `OPS`, one row per GPU operation.
        calls: `CALLS`, one row per call of an annotated module.
        gpus: `NUMBERED_GPUS`, one row per GPU of the machine.
        by: A key of `ROOFLINE_KEYS`.
        gpu: Key of the GPU in `ttinsys.published.sheets.GPUS`; None for the one that the trace names.
        peak: Peak in TFLOP/s for every data type; None for that of the data sheet.
        bandwidth: Memory bandwidth in GB/s; None for that of the data sheet.
        float32: Whether 32-bit floats are compared with the peak of `tf32` or of `single` precision.

    Returns:
        `ROOFLINE`. `gpu_ns` adds up to the GPU time of the trace.
    """
    launched = _launched(ops)
    ceiling = ceilings(launched.select("gpu"), gpus, gpu=gpu, peak=peak, bandwidth=bandwidth)
    keys = ROOFLINE_KEYS[by]
    return (
        _placed(launched, calls, by)
        .join(ceiling, on="gpu", how="left", nulls_equal=True, maintain_order="left")
        .with_columns(*_least_seconds(float32))
        .group_by("timeline", *keys)
        .agg(*gpu_of_rows(), *_sums())
        .with_columns(*_rates())
        .with_columns(
            *(pl.lit(None, pl.String).alias(name) for name in ROOFLINE_KEYS["layer"] if name not in keys),
            pl.col("bytes").alias("least_bytes"),
        )
        .sort(pl.col("gpu_ns").neg(), "gpu", "device", "pid", *keys)
    )


def _least_seconds(float32: str) -> list[pl.Expr]:
    """The seconds that each call takes at least, by its arithmetic and by its memory traffic."""
    computing = ratio(executed("flops"), peak_of_type(float32))
    moving = ratio(executed("bytes"), "bandwidth_bytes_per_s")
    costed = pl.col("flops").is_not_null() | pl.col("bytes").is_not_null()
    return [
        # A call without FLOPs needs no peak: an activation takes at least the time to move its bytes.
        pl.when(pl.col("flops") == 0).then(0.0).otherwise(computing).alias("_computing"),
        moving.alias("_moving"),
        costed.alias("_costed"),
    ]


def _sums() -> list[pl.Expr]:
    """The columns that sum up the calls of a row."""
    return [
        pl.col("executions").sum().cast(pl.Int64).alias("calls"),
        *(known_sum(executed(name)).alias(name) for name in ("flops", "bytes")),
        pl.col("gpu_ns").sum(),
        pl.col("gpu_ns").filter("_costed").sum().alias("costed_ns"),
        _of_costed(pl.col("_computing")).alias("_computing"),
        _of_costed(pl.col("_moving")).alias("_moving"),
        _of_costed(_longer("_computing", "_moving")).alias("_least"),
        _with_weights("flops").alias("_flops_of_weights"),
        _with_weights("weight_bytes").alias("_weights"),
        pl.col("bandwidth_bytes_per_s", "note").first(),
    ]


def _launched(ops: pl.LazyFrame) -> pl.LazyFrame:
    """GPU time of each call, or of each reason why work has no call, by GPU."""
    module = pl.col("module_id")
    return (
        ops.group_by(timeline().alias("timeline"), "module_id", pl.when(module.is_null()).then(role()).alias("reason"))
        .agg(pl.col("duration_ns").sum().alias("gpu_ns"), *gpu_of_rows())
        .sort(pl.col("gpu_ns").neg(), "timeline", "module_id")
        # A call that worked on several GPUs has one cost: it counts on the GPU with most of the time.
        .with_columns((module.is_not_null() & module.is_first_distinct()).alias("counts"))
    )


def _placed(launched: pl.LazyFrame, calls: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Calls by GPU with their costs, and the time without a call, whose reason takes the place of its layer."""
    without_call = launched.filter(pl.col("module_id").is_null()).with_columns(
        pl.col("reason").alias(name) for name in ("component", "role")
    )
    role_of_row = pl.lit(ALL_LAYERS) if by == "model" else pl.col("role")
    called = (
        calls.select(
            pl.col("range_id").alias("module_id"),
            pl.col("component").fill_null(PIPELINE),
            role_of_row.alias("role"),
            "module",
            "dtype",
            "flops",
            "bytes",
            "executions",
            _weights().alias("weight_bytes"),
        )
        .join(launched.drop("reason"), on="module_id", how="left", maintain_order="left_right")
        # A parent that launches nothing itself is no row; a call with FLOPs is one even where its work is missing.
        .filter(pl.col("gpu_ns").is_not_null() | (pl.col("flops") > 0))
        .with_columns(
            pl.col("gpu_ns").fill_null(0),
            pl.when(pl.col("counts").fill_null(value=True)).then("executions").otherwise(0).alias("executions"),
        )
    )
    return pl.concat([called, without_call], how="diagonal")


def _weights() -> pl.Expr:
    """Bytes of the weights that a call computes with; null for calls without weights or FLOPs, such as parents."""
    size = pl.col("dtype").replace_strict(ITEM_BYTES, default=None, return_dtype=pl.Int64)
    return pl.when((pl.col("flops") > 0) & (pl.col("parameters") > 0)).then(pl.col("parameters") * size)


def _with_weights(name: str) -> pl.Expr:
    """Sum of a column over the calls whose weights are known, once for each time that they ran."""
    return executed(name).filter(pl.col("weight_bytes").is_not_null()).sum()


def _of_costed(seconds: pl.Expr) -> pl.Expr:
    """Sum of seconds over the calls that have a cost; null where those of one call are unknown."""
    known = seconds.filter("_costed")
    return pl.when((known.len() > 0) & (known.null_count() == 0)).then(exact_sum(known))


def _longer(one: str, other: str) -> pl.Expr:
    """The greater of two columns; null where either is null."""
    return pl.when(pl.col(one).is_not_null() & pl.col(other).is_not_null()).then(pl.max_horizontal(one, other))


def _rates() -> list[pl.Expr]:
    """The columns that follow from the sums of a row.

    The share of the roofline, achieved / min(peak, intensity * bandwidth), equals the greater of the shares of the two
    ceilings.
    """
    seconds = pl.when(pl.col("gpu_ns") > 0).then(pl.col("gpu_ns") * 1e-9)
    is_compute_bound = pl.col("_computing") >= pl.col("_moving")
    has_flops = pl.col("flops") > 0
    return [
        ratio("flops", "bytes").alias("intensity"),
        ratio("_flops_of_weights", "_weights").alias("weight_intensity"),
        (pl.col("flops") / seconds).alias("flops_per_s"),
        (pl.col("bytes") / seconds).alias("bytes_per_s"),
        pl.when(has_flops).then(pl.col("_computing") / seconds).alias("mfu"),
        (pl.col("_moving") / seconds).alias("bandwidth_share"),
        pl.when(is_compute_bound).then(pl.lit("compute")).when(~is_compute_bound).then(pl.lit("memory")).alias("bound"),
        (_longer("_computing", "_moving") / seconds).alias("roof_share"),
        (pl.col("_least") * 1e9).round().cast(pl.Int64).alias("least_ns"),
        pl.when(has_flops).then(pl.col("flops") / pl.col("_computing")).alias("peak_flops_per_s"),
    ]
