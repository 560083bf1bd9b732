"""Classify attention as prefill-like or decode-like, with its intensity and bandwidth.

ttinsys phases run.sqlite
ttinsys phases diffusion.sqlite transformer.sqlite --plot phases.svg
ttinsys phases run.sqlite --by step --queries 4

Prefill computes many queries in one call; decode computes one query against
all keys so far. A denoising step works like prefill, a decoded token like
decode. Many queries do not make a call compute-bound: that takes more FLOPs
per byte than the ridge point of the GPU, and above_ridge counts such calls.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.measures.ceilings import ceilings, peak_of_type
from ttinsys.measures.options import Option
from ttinsys.measures.sums import known_sum, ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.calls import cores, executed
from ttinsys.tables.needs import ATTENTION_LENGTHS

PHASES = Table(
    "phases",
    Column("step", pl.Int64, "Number of the denoising step or token, from 0; null outside steps, and where rows are "
           "not divided by step."),
    Column("component", pl.String, "Part of the pipeline, such as `denoiser`; null for the pipeline as a whole."),
    Column("role", pl.String, "Role of the attention, such as `spatial_attention`."),
    Column("phase", pl.String, "Phase of an autoregressive step, from annotation: `prefill` or `decode`; null for "
           "other steps."),
    Column("kind", pl.String, "`decode-like` where a call has few queries (the option `queries`), else "
           "`prefill-like`."),
    Column("calls", pl.UInt32, "Number of calls of attention cores; each replay of a CUDA graph counts."),
    Column("steps", pl.UInt32, "Number of steps with such calls."),
    Column("queries", pl.Float64, "Median number of queries of a call."),
    Column("keys", pl.Float64, "Median number of keys of a call."),
    Column("above_ridge", pl.Float64, "Share of calls that are compute-bound: their intensity is at least that of the "
           "ridge point. Null where the GPU is unknown.", unit="ratio"),
    Column("gpu_ns", pl.Int64, "Sum of GPU durations of the cores; null where they launched nothing.", unit="ns"),
    Column("bandwidth_share", pl.Float64, "`bytes_per_s` divided by the memory bandwidth of the GPU; null where that "
           "is unknown.", unit="ratio"),
    Column("queries_min", pl.Int64, "Least number of queries of a call."),
    Column("queries_max", pl.Int64, "Greatest number of queries of a call."),
    Column("keys_min", pl.Int64, "Least number of keys of a call."),
    Column("keys_max", pl.Int64, "Greatest number of keys of a call."),
    Column("flops_per_s", pl.Float64, "FLOPs of the cores divided by their GPU time.", unit="FLOP/s"),
    Column("bytes_per_s", pl.Float64, "Least memory traffic of the cores divided by their GPU time.", unit="B/s"),
    Column("flops", pl.Int64, "FLOPs of the cores; null where they are not annotated.", unit="FLOP"),
    Column("bytes", pl.Int64, "Least memory traffic of the cores; null where it is not annotated.", unit="B"),
    Column("ridge", pl.Float64, "Median over calls of the ridge point, the intensity above which arithmetic is the "
           "bound; null where the GPU is unknown.", unit="FLOP/B"),
    Column("intensity", pl.Float64, "`flops` divided by `bytes`: arithmetic intensity of the cores.", unit="FLOP/B"),
    doc="one row per component, role, phase and kind, and per step where rows are divided by step",
)  # fmt: skip

PREFILL, DECODE = "prefill-like", "decode-like"

_CEILINGS = ("half_flops_per_s", "tf32_flops_per_s", "bandwidth_bytes_per_s")
_BANDWIDTH = pl.col(_CEILINGS[-1])


@analysis(
    returns=PHASES,
    options=(
        Option("by", "Give rows for the whole run (model), or for each step."),
        Option("queries", "Count calls of up to this many queries as decode-like."),
        Option("ridge", "Set the ridge point in FLOPs per byte; the default is that of the GPU."),
    ),
    needs=(ATTENTION_LENGTHS,),
)
def phases(
    calls: pl.LazyFrame,
    gpus: pl.LazyFrame,
    *,
    by: Literal["model", "step"] = "model",
    queries: int = 1,
    ridge: float | None = None,
) -> pl.LazyFrame:
    """Tell attention that works like prefill from attention that works like decode (Table III of the study).

    Args:
        calls: `CALLS`, one row per call of an annotated module.
        gpus: `NUMBERED_GPUS`, one row per GPU.
        by: `model` or `step`.
        queries: Greatest number of queries of a decode-like call.
        ridge: FLOPs per byte from which on a call is compute-bound; None for peak divided by bandwidth in the GPU's
            data sheet, for the type of the call (TF32 for `float32`).

    Returns:
        `PHASES`, in the order of first calls. Every call of an attention core counts in exactly one row.
    """
    keys = ["component", "role", "phase", "kind"]
    if by == "step":
        keys = ["step_id", "step", *keys]
    kind = pl.when(pl.col("q_len") <= queries).then(pl.lit(DECODE)).otherwise(pl.lit(PREFILL))
    ridge_of_call = pl.lit(ridge, pl.Float64) if ridge is not None else peak_of_type() / _BANDWIDTH
    called = cores(calls)
    ceiling = ceilings(called.select("gpu"), gpus).select("gpu", *_CEILINGS)
    grouped = (
        called.join(ceiling, on="gpu", how="left", nulls_equal=True, maintain_order="left")
        .with_columns(kind.alias("kind"), ridge_of_call.alias("_ridge"), executed("flops"), executed("bytes"))
        .with_columns((pl.col("flops") >= pl.col("_ridge") * pl.col("bytes")).alias("_above"))
        .group_by(keys)
        .agg(_BANDWIDTH.first(), *_sums())
    )
    step = pl.col("step") if by == "step" else pl.lit(None, pl.Int64)
    return (
        grouped.sort("call", *keys)
        .with_columns(
            step.alias("step"),
            ratio("flops", "bytes").alias("intensity"),
            *(ratio(pl.col(f"_timed_{name}") * 1e9, "gpu_ns").alias(f"{name}_per_s") for name in ("flops", "bytes")),
        )
        .with_columns(ratio("bytes_per_s", _BANDWIDTH).alias("bandwidth_share"))
    )


def _sums() -> list[pl.Expr]:
    """The columns that sum up the calls of a row."""
    timed = pl.col("gpu_ns") > 0
    return [
        pl.col("call").min(),
        pl.col("executions").sum().alias("calls"),
        pl.col("step_id").drop_nulls().n_unique().alias("steps"),
        *_spread("q_len", "queries"),
        *_spread("kv_len", "keys"),
        pl.col("_above").mean().alias("above_ridge"),
        pl.col("_ridge").median().alias("ridge"),
        *(known_sum(name).alias(name) for name in ("gpu_ns", "flops", "bytes")),
        # A call that launched nothing has a cost but no time: it has no part in rates.
        *(pl.col(name).filter(timed).sum().alias(f"_timed_{name}") for name in ("flops", "bytes")),
    ]


def _spread(column: str, name: str) -> tuple[pl.Expr, ...]:
    """Median, least and greatest value of a column, as `name`, `name_min` and `name_max`."""
    value = pl.col(column)
    return value.median().alias(name), value.min().alias(f"{name}_min"), value.max().alias(f"{name}_max")
