"""List the sequence lengths of attention calls in order, as a histogram or by step.

ttinsys lengths run.sqlite
ttinsys lengths run.sqlite --by length --role spatial_attention
ttinsys lengths run.sqlite --by step
ttinsys lengths run.sqlite --step 0 --plot lengths.svg

Lengths come from annotation: no GPU is needed. The length of self-attention
is its number of keys, which includes all tokens so far where a decoder writes
one token at a time. The length of cross-attention and joint attention is its
number of queries, because the keys contain the text.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import ATTENTION_ROLES
from ttinsys.measures.options import Option
from ttinsys.measures.sums import known_sum, ratio, share
from ttinsys.runner.registry import analysis
from ttinsys.tables import needs
from ttinsys.tables.calls import cores

LENGTHS = Table(
    "lengths",
    Column("call", pl.UInt32, "Number of the call among all attention calls, from 0; by step, that of its first call."),
    Column("step", pl.Int64, "Number of the denoising step or token, from 0; null outside steps."),
    Column("phase", pl.String, "Phase of an autoregressive step: `prefill` or `decode`; null for other steps."),
    Column("component", pl.String, "Part of the pipeline, such as `denoiser`; null for the pipeline as a whole."),
    Column("role", pl.String, "Role of the attention, such as `spatial_attention`."),
    Column("length", pl.Int64, "Number of keys of self-attention; number of queries of cross- and joint attention."),
    Column("q_len", pl.Int64, "Number of queries."),
    Column("kv_len", pl.Int64, "Number of keys."),
    Column("calls", pl.UInt32, "Number of calls of attention cores."),
    Column("share", pl.Float64, "`calls` divided by the number of all calls listed.", unit="ratio"),
    Column("lengths", pl.UInt32, "Number of distinct lengths in the step, without cross-attention."),
    Column("smallest", pl.Int64, "Smallest length in the step, without cross-attention."),
    Column("largest", pl.Int64, "Largest length in the step, without cross-attention."),
    Column("times", pl.Float64, "Ratio of the largest length in the step to the smallest."),
    Column("adjacent", pl.Float64, "Greatest ratio of a length in the step to the next smaller one."),
    Column("gpu_ns", pl.Int64, "Sum of GPU durations of the cores; null where they launched nothing.", unit="ns"),
    Column("flops", pl.Int64, "FLOPs of the cores; null where they are not annotated.", unit="FLOP"),
    Column("module", pl.String, "Path of the module in the pipeline."),
    doc="one row per call, per role and length, or per step and component; columns of the other groupings are null",
)

LengthGrouping = Literal["call", "length", "step"]


@analysis(
    returns=LENGTHS,
    options=(
        Option("by", "List calls in order, or group them by role and length, or by step."),
        Option("role", "Keep attention of this role; give several to keep several.", ATTENTION_ROLES),
        Option("step", "Keep calls of this step."),
    ),
    needs=(needs.ATTENTION_LENGTHS,),
    steps=True,
)
def lengths(
    calls: pl.LazyFrame, *, by: LengthGrouping = "call", role: tuple[str, ...] = (), step: int | None = None
) -> pl.LazyFrame:
    """List sequence lengths over one inference (Figs. 7 and 8 of the study).

    Args:
        calls: `CALLS`, one row per call of an annotated module.
        by: `call`, `length` or `step`.
        role: Roles of attention; all if empty.
        step: Number of a step; None for all steps and what runs outside steps.

    Returns:
        `LENGTHS`: calls in the order of their opening; lengths by role, the longest first; steps in their order. Each
        call that was kept counts in exactly one row.
    """
    kept = cores(calls)
    if role:
        kept = kept.filter(pl.col("role").is_in(role))
    if step is not None:
        kept = kept.filter(pl.col("step") == step)
    result = {"call": _in_order, "length": _histogram, "step": _steps}[by](kept)
    present = result.collect_schema()
    return result.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in LENGTHS.schema.items() if name not in present
    )


def _in_order(kept: pl.LazyFrame) -> pl.LazyFrame:
    of_groups = ("calls", "share", "lengths", "smallest", "largest", "times", "adjacent")
    return kept.select(name for name in LENGTHS.schema if name not in of_groups)


def _histogram(kept: pl.LazyFrame) -> pl.LazyFrame:
    return (
        kept.group_by("component", "role", "length", "q_len", "kv_len")
        .agg(pl.len().alias("calls"), *_costs())
        .with_columns(share("calls").alias("share"))
        .sort("component", "role", "length", "kv_len", descending=[False, False, True, True])
    )


def _steps(kept: pl.LazyFrame) -> pl.LazyFrame:
    length = pl.col("length").filter(pl.col("role") != "cross_attention")
    levels = length.unique().sort()
    return (
        kept.group_by("component", "step_id", "step", "phase")
        .agg(
            pl.col("call").min(),
            pl.len().alias("calls"),
            length.n_unique().alias("lengths"),
            length.min().alias("smallest"),
            length.max().alias("largest"),
            ratio(length.max(), length.min()).alias("times"),
            (levels / levels.shift(1)).max().alias("adjacent"),
            *_costs(),
        )
        .with_columns(share("calls").alias("share"))
        .sort("call")
    )


def _costs() -> list[pl.Expr]:
    return [known_sum(name).alias(name) for name in ("gpu_ns", "flops")]
