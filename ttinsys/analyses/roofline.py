"""Roofline: what bounds each kind of layer, arithmetic or memory, and how near it comes to what the GPU can do.

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
from ttinsys.measures.options import Option, positive
from ttinsys.measures.sums import known_sum, ratio
from ttinsys.published.sheets import GPUS
from ttinsys.runner.registry import analysis
from ttinsys.tables.calls import executed
from ttinsys.tables.needs import ANNOTATED_COSTS, GPU_ACTIVITY

ROOFLINE = Table(
    "roofline",
    Column("component", pl.String, "part of the pipeline; `(pipeline)` outside all, else as for `role`"),
    Column("role", pl.String, "what the layer does; `(not annotated)`, or `(reason)` without a range"),
    Column("device", pl.Int64, "CUDA device; null for calls whose work is not in the trace"),
    Column("gpu_ns", pl.Int64, "GPU time of its calls outside the ranges in them, durations added up", unit="ns"),
    Column("intensity", pl.Float64, "operations by least traffic; null where no cost is annotated", unit="FLOP/B"),
    Column("bound", pl.String, "`compute` or `memory`: which of the two limits it, by its side of the ridge"),
    Column("mfu", pl.Float64, "of the peak: model FLOPs utilisation", unit="ratio"),
    Column("bandwidth_share", pl.Float64, "of the memory's bandwidth", unit="ratio"),
    Column("weight_intensity", pl.Float64, "operations by bytes of weights, of layers that have both", unit="FLOP/B"),
    Column("flops_per_s", pl.Float64, "operations a second achieved", unit="FLOP/s"),
    Column("bytes_per_s", pl.Float64, "least traffic a second achieved", unit="B/s"),
    Column("least_ns", pl.Int64, "time at the roof, call by call, added up: what is above could be saved", unit="ns"),
    Column("calls", pl.Int64, "calls that launched GPU work, replays of CUDA graphs counted"),
    Column("flops", pl.Int64, "their operations", unit="FLOP"),
    Column("least_bytes", pl.Int64, "their least traffic", unit="B"),
    Column("costed_ns", pl.Int64, "GPU time of the calls that have a cost, added up", unit="ns"),
    Column("peak_flops_per_s", pl.Float64, "peak for the types of its calls, weighted by operations", unit="FLOP/s"),
    Column("bandwidth_bytes_per_s", pl.Float64, "of the memory", unit="B/s"),
    Column("roof_share", pl.Float64, "achieved, of what the roof over its intensity allows", unit="ratio"),
    Column("note", pl.String, "what is not known of the GPU, and what to do"),
    Column("module", pl.String, "the module's path"),
    doc="one row per device and kind of layer, the longest first, and per reason for which work has no layer",
)

ROOFLINE_KEYS = {
    "layer": ("component", "role", "module"),
    "role": ("role",),
    "component": ("component",),
    "model": ("role",),
}
"""Columns that tell the rows of each `--by` apart."""

ALL_LAYERS = "(all layers)"
"""Role of the one row that `--by model` gives to what is annotated."""

RooflineGrouping = Literal["layer", "role", "component", "model"]


@analysis(
    returns=ROOFLINE,
    options=(
        Option("by", "Group rows by layer, role or component, or give one for the whole model."),
        Option("gpu", "Take this GPU, where the trace does not name one or names another.", tuple(GPUS)),
        Option("peak", "Peak of the GPU in TFLOP/s, for every type.", parse=positive, metavar="TFLOPS"),
        Option("bandwidth", "Bandwidth of its memory in GB/s.", parse=positive, metavar="GBPS"),
        Option("float32", "Hold 32-bit floats against the peak of TF32, or of single precision."),
    ),
    needs=(GPU_ACTIVITY, ANNOTATED_COSTS),
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
    """Hold layers against the ceilings of their GPU (Fig. 5 of the study).

    Rates are over all of a row's GPU time, that of calls without a cost included. A call's cost counts once for every
    time that it ran: a captured call as often as its CUDA graph was replayed.

    Args:
        ops: `OPS`, one row per GPU operation.
        calls: `CALLS`, one row per call of an annotated module.
        gpus: the GPUs of the machine.
        by: one of `KEYS`.
        gpu: key of the GPU.
        peak: TFLOP/s, for every type.
        bandwidth: GB/s.
        float32: whether 32-bit floats are held against the peak of `tf32` or of `single`.

    Returns:
        `ROOFLINE`. `gpu_ns` adds up to the GPU time of the trace.
    """
    launched = _launched(ops)
    ceiling = ceilings(launched.select("device").drop_nulls(), gpus, gpu=gpu, peak=peak, bandwidth=bandwidth)
    seconds = executed("flops") / peak_of_type(float32)
    moving = executed("bytes") / pl.col("bandwidth_bytes_per_s")
    costed = pl.col("flops").is_not_null() | pl.col("bytes").is_not_null()
    return (
        _placed(launched, calls, by)
        .join(ceiling, on="device", how="left", maintain_order="left")
        .with_columns(
            # Without operations no peak is needed: what an activation takes at least is the time to move its bytes.
            pl.when(pl.col("flops") == 0).then(0.0).otherwise(seconds).alias("_computing"),
            moving.alias("_moving"),
            costed.alias("_costed"),
        )
        # In their order: sums of floats would otherwise differ in their last digits from run to run.
        .group_by("device", *ROOFLINE_KEYS[by], maintain_order=True)
        .agg(
            pl.col("executions").sum().cast(pl.Int64).alias("calls"),
            *(known_sum(executed(name)).alias(name) for name in ("flops", "bytes")),
            pl.col("gpu_ns").sum(),
            pl.col("gpu_ns").filter("_costed").sum().alias("costed_ns"),
            _of_costed(pl.col("_computing")).alias("_computing"),
            _of_costed(pl.col("_moving")).alias("_moving"),
            _of_costed(_longer("_computing", "_moving")).alias("_least"),
            _weighed("flops").alias("_flops_of_weights"),
            _weighed("weight_bytes").alias("_weights"),
            pl.col("bandwidth_bytes_per_s", "note").first(),
        )
        .with_columns(*_rates())
        .with_columns(
            *(pl.lit(None, pl.String).alias(name) for name in ROOFLINE_KEYS["layer"] if name not in ROOFLINE_KEYS[by]),
            pl.col("bytes").alias("least_bytes"),
        )
        .sort(pl.col("gpu_ns").neg(), "device", *ROOFLINE_KEYS[by])
    )


def _launched(ops: pl.LazyFrame) -> pl.LazyFrame:
    """GPU time of each call, or of each reason for having none, by device."""
    module = pl.col("module_id")
    return (
        ops.group_by("device", "module_id", pl.when(module.is_null()).then(role()).alias("reason"))
        .agg(pl.col("duration_ns").sum().alias("gpu_ns"))
        .sort(pl.col("gpu_ns").neg(), "device", "module_id")
        # The cost of a call is that of one device, if ever it worked on several.
        .with_columns((module.is_not_null() & module.is_first_distinct()).alias("counts"))
    )


def _placed(launched: pl.LazyFrame, calls: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """Calls by device with their costs, and the time without a call by its reason, which stands for its layer."""
    without = launched.filter(pl.col("module_id").is_null()).with_columns(
        pl.col("reason").alias(name) for name in ("component", "role")
    )
    what = pl.lit(ALL_LAYERS) if by == "model" else pl.col("role")
    called = (
        calls.select(
            pl.col("range_id").alias("module_id"),
            pl.col("component").fill_null(PIPELINE),
            what.alias("role"),
            "module",
            "dtype",
            "flops",
            "bytes",
            "executions",
            _weights().alias("weight_bytes"),
        )
        .join(launched.drop("reason"), on="module_id", how="left", maintain_order="left_right")
        # A parent launches nothing by itself; a call with a cost and without work is told of.
        .filter(pl.col("gpu_ns").is_not_null() | (pl.col("flops") > 0))
        .with_columns(
            pl.col("gpu_ns").fill_null(0),
            pl.when(pl.col("counts").fill_null(value=True)).then("executions").otherwise(0).alias("executions"),
        )
    )
    return pl.concat([called, without], how="diagonal")


def _weights() -> pl.Expr:
    """Bytes of the weights of a call that computes with some; null for others, parents among them."""
    size = pl.col("dtype").replace_strict(ITEM_BYTES, default=None, return_dtype=pl.Int64)
    return pl.when((pl.col("flops") > 0) & (pl.col("parameters") > 0)).then(pl.col("parameters") * size)


def _weighed(name: str) -> pl.Expr:
    """The sum of a column over the calls whose weights are known, once for each time that they ran."""
    return executed(name).filter(pl.col("weight_bytes").is_not_null()).sum()


def _of_costed(seconds: pl.Expr) -> pl.Expr:
    """Seconds of the calls that have a cost, added up; null where one of them is not known."""
    known = seconds.filter("_costed")
    return pl.when((known.len() > 0) & (known.null_count() == 0)).then(known.sum())


def _longer(one: str, other: str) -> pl.Expr:
    """The greater of two columns; null where one is."""
    return pl.when(pl.col(one).is_not_null() & pl.col(other).is_not_null()).then(pl.max_horizontal(one, other))


def _rates() -> list[pl.Expr]:
    """What follows from the sums of a row.

    Its share of the roof, achieved / min(peak, intensity * bandwidth), is the greater of its shares of the ceilings.
    """
    seconds = pl.when(pl.col("gpu_ns") > 0).then(pl.col("gpu_ns") / 1e9)
    computes = pl.col("_computing") >= pl.col("_moving")
    worked = pl.col("flops") > 0
    return [
        ratio("flops", "bytes").alias("intensity"),
        ratio("_flops_of_weights", "_weights").alias("weight_intensity"),
        (pl.col("flops") / seconds).alias("flops_per_s"),
        (pl.col("bytes") / seconds).alias("bytes_per_s"),
        pl.when(worked).then(pl.col("_computing") / seconds).alias("mfu"),
        (pl.col("_moving") / seconds).alias("bandwidth_share"),
        pl.when(computes).then(pl.lit("compute")).when(computes.not_()).then(pl.lit("memory")).alias("bound"),
        (_longer("_computing", "_moving") / seconds).alias("roof_share"),
        (pl.col("_least") * 1e9).round().cast(pl.Int64).alias("least_ns"),
        pl.when(worked).then(pl.col("flops") / pl.col("_computing")).alias("peak_flops_per_s"),
    ]
