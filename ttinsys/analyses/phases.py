"""Whether attention works like prefill or like decode: queries per call, intensity and bandwidth.

ttinsys phases run.sqlite
ttinsys phases diffusion.sqlite transformer.sqlite --plot phases.svg
ttinsys phases run.sqlite --by step --queries 4

Prefill answers many queries in one call, decode one query against all keys
so far. A denoising step is of the first kind, a decoded token of the second.
Having many queries does not yet mean being bound by arithmetic: that takes
more FLOPs per byte than the GPU's ridge, which `above_ridge` tells.
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
    Column("step", pl.Int64, "denoising step or token; null outside steps, and where not divided by step"),
    Column("component", pl.String, "part of the pipeline"),
    Column("role", pl.String, "of the attention"),
    Column("phase", pl.String, "`prefill` or `decode`, as annotation says of an autoregressive step"),
    Column("kind", pl.String, "`prefill-like`: many queries per call; `decode-like`: few, see `--queries`"),
    Column("calls", pl.UInt32, "of attention cores"),
    Column("steps", pl.UInt32, "steps that have such calls"),
    Column("queries", pl.Float64, "median of a call"),
    Column("keys", pl.Float64, "median of a call"),
    Column("above_ridge", pl.Float64, "calls bound by arithmetic; null where the GPU is not known", unit="ratio"),
    Column("gpu_ns", pl.Int64, "GPU time of the cores, added up; null where they launched nothing", unit="ns"),
    Column("bandwidth_share", pl.Float64, "`bytes_per_s` of the bandwidth of the GPU's memory", unit="ratio"),
    Column("queries_min", pl.Int64, "least of a call"),
    Column("queries_max", pl.Int64, "most of a call"),
    Column("keys_min", pl.Int64, "least of a call"),
    Column("keys_max", pl.Int64, "most of a call"),
    Column("flops_per_s", pl.Float64, "FLOPs by the GPU time", unit="FLOP/s"),
    Column("bytes_per_s", pl.Float64, "least bytes by the GPU time", unit="B/s"),
    Column("flops", pl.Int64, "of the cores; null where not annotated", unit="FLOP"),
    Column("bytes", pl.Int64, "that the cores move at least; null where not annotated", unit="B"),
    Column("ridge", pl.Float64, "FLOPs per byte from which on arithmetic bounds: median of calls", unit="FLOP/B"),
    Column("intensity", pl.Float64, "FLOPs of the cores by the least bytes they move", unit="FLOP/B"),
    doc="one row per component, role, phase and kind, and step where so asked",
)

PREFILL, DECODE = "prefill-like", "decode-like"

_CEILINGS = ("half_flops_per_s", "tf32_flops_per_s", "bandwidth_bytes_per_s")
_BANDWIDTH = pl.col(_CEILINGS[-1])


@analysis(
    returns=PHASES,
    options=(
        Option("by", "Give one row for the whole run, or one for each step."),
        Option("queries", "Count a call as decode-like up to this many queries."),
        Option("ridge", "FLOPs per byte from which arithmetic is the bound; by default that of the GPU."),
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
    """Tell attention that is like prefill from attention that is like decode (Table III of the study).

    Args:
        calls: `CALLS`, one row per call of an annotated module.
        gpus: `GPUS`, one row per GPU; the first that CUDA has counts.
        by: `model` or `step`.
        queries: most queries of a call that is like decode.
        ridge: FLOPs per byte from which on a call is bound by arithmetic; None: peak by bandwidth of the GPU's data
            sheet, in the type of the call (TF32 for `float32`).

    Returns:
        `PHASES`, in the order of the first calls. Every call of an attention core is in one row.
    """
    keys = ["component", "role", "phase", "kind"]
    if by == "step":
        keys = ["step_id", "step", *keys]
    flops, bytes_, time = pl.col("flops"), pl.col("bytes"), pl.col("gpu_ns")
    limit = pl.lit(ridge, pl.Float64) if ridge is not None else peak_of_type() / _BANDWIDTH
    kind = pl.when(pl.col("q_len") <= queries).then(pl.lit(DECODE)).otherwise(pl.lit(PREFILL))
    grouped = (
        cores(calls)
        .join(_gpu(gpus), how="cross")
        .with_columns(kind.alias("kind"), limit.alias("_ridge"), executed("flops"), executed("bytes"))
        .with_columns((flops >= pl.col("_ridge") * bytes_).alias("_above"))
        .group_by(keys)
        .agg(
            pl.col("call").min(),
            pl.col("executions").sum().alias("calls"),
            pl.col("step_id").drop_nulls().n_unique().alias("steps"),
            *_spread("q_len", "queries"),
            *_spread("kv_len", "keys"),
            pl.col("_above").mean().alias("above_ridge"),
            pl.col("_ridge").median().alias("ridge"),
            _BANDWIDTH.first(),
            *(known_sum(name).alias(name) for name in ("gpu_ns", "flops", "bytes")),
            # Of calls whose time is known: a rate is of what was timed.
            *(pl.col(name).filter(time > 0).sum().alias(f"_timed_{name}") for name in ("flops", "bytes")),
        )
    )
    own = pl.col("step") if by == "step" else pl.lit(None, pl.Int64)
    return (
        grouped.sort("call", *keys)
        .with_columns(
            own.alias("step"),
            ratio(flops, bytes_).alias("intensity"),
            *(ratio(pl.col(f"_timed_{name}") * 1e9, time).alias(f"{name}_per_s") for name in ("flops", "bytes")),
        )
        .with_columns(ratio("bytes_per_s", _BANDWIDTH).alias("bandwidth_share"))
    )


def _gpu(gpus: pl.LazyFrame) -> pl.LazyFrame:
    """One row: peaks and bandwidth of the first GPU, as `CEILINGS`; null where nothing is known of it."""
    first = gpus.select(pl.col("device_id").min().alias("device")).drop_nulls()
    return ceilings(first, gpus).select(pl.col(_CEILINGS).first())


def _spread(column: str, name: str) -> tuple[pl.Expr, ...]:
    value = pl.col(column)
    return value.median().alias(name), value.min().alias(f"{name}_min"), value.max().alias(f"{name}_max")
