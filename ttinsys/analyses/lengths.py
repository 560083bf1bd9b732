"""Sequence lengths of the attention calls of a run: in their order, as a histogram, or step by step.

ttinsys lengths run.sqlite
ttinsys lengths run.sqlite --by length --role spatial_attention
ttinsys lengths run.sqlite --by step
ttinsys lengths run.sqlite --step 0 --plot lengths.svg

Needs no GPU: annotation tells the lengths. The length of self-attention is
its keys, which are the tokens so far where a decoder writes one at a time;
that of cross-attention and of joint attention, whose keys hold the text too,
is its queries.
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
    Column("call", pl.UInt32, "number among all calls of attention, from 0; by step: of its first one"),
    Column("step", pl.Int64, "denoising step or token; null outside steps"),
    Column("phase", pl.String, "`prefill` or `decode`, of an autoregressive step"),
    Column("component", pl.String, "part of the pipeline"),
    Column("role", pl.String, "of the attention"),
    Column("length", pl.Int64, "keys of self-attention, queries of cross- and joint attention"),
    Column("q_len", pl.Int64, "queries"),
    Column("kv_len", pl.Int64, "keys"),
    Column("calls", pl.UInt32, "of an attention core"),
    Column("share", pl.Float64, "of the calls listed", unit="ratio"),
    Column("lengths", pl.UInt32, "different lengths of self-attention in the step"),
    Column("smallest", pl.Int64, "of these lengths"),
    Column("largest", pl.Int64, "of these lengths"),
    Column("times", pl.Float64, "largest by smallest"),
    Column("adjacent", pl.Float64, "the greatest of a length by the next smaller one"),
    Column("gpu_ns", pl.Int64, "GPU time of the cores, added up; null where they launched nothing", unit="ns"),
    Column("flops", pl.Int64, "of the cores; null where not annotated", unit="FLOP"),
    Column("module", pl.String, "path of the module"),
    doc="one row per call in order, per role and length, or per step and component; the rest is null",
)

LengthGrouping = Literal["call", "length", "step"]


@analysis(
    returns=LENGTHS,
    options=(
        Option("by", "List calls in their order, or group them by role and length, or by step."),
        Option("role", "Keep attention of this role; repeatable.", ATTENTION_ROLES),
        Option("step", "Keep this step."),
    ),
    needs=(needs.ATTENTION_LENGTHS,),
)
def lengths(
    calls: pl.LazyFrame, *, by: LengthGrouping = "call", role: tuple[str, ...] = (), step: int | None = None
) -> pl.LazyFrame:
    """Sequence lengths over one inference (Figs. 7 and 8 of the study).

    Args:
        calls: `CALLS`, one row per call of an annotated module.
        by: one of `BY`.
        role: roles of attention; all if empty.
        step: number of a step; None for all, and what is outside steps.

    Returns:
        `LENGTHS`: calls in the order of their opening; lengths by role, the longest first; steps in their order. The
        calls of all rows are those chosen, each once.
    """
    chosen = cores(calls)
    if role:
        chosen = chosen.filter(pl.col("role").is_in(role))
    if step is not None:
        chosen = chosen.filter(pl.col("step") == step)
    result = {"call": _each, "length": _histogram, "step": _steps}[by](chosen)
    present = result.collect_schema()
    return result.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in LENGTHS.schema.items() if name not in present
    )


def _each(chosen: pl.LazyFrame) -> pl.LazyFrame:
    own = ("calls", "share", "lengths", "smallest", "largest", "times", "adjacent")
    return chosen.select(name for name in LENGTHS.schema if name not in own)


def _histogram(chosen: pl.LazyFrame) -> pl.LazyFrame:
    return (
        chosen.group_by("component", "role", "length", "q_len", "kv_len")
        .agg(pl.len().alias("calls"), *_known())
        .with_columns(share("calls").alias("share"))
        .sort("component", "role", "length", "kv_len", descending=[False, False, True, True])
    )


def _steps(chosen: pl.LazyFrame) -> pl.LazyFrame:
    own = pl.col("length").filter(pl.col("role") != "cross_attention")
    levels = own.unique().sort()
    return (
        chosen.group_by("component", "step_id", "step", "phase")
        .agg(
            pl.col("call").min(),
            pl.len().alias("calls"),
            own.n_unique().alias("lengths"),
            own.min().alias("smallest"),
            own.max().alias("largest"),
            ratio(own.max(), own.min()).alias("times"),
            (levels / levels.shift(1)).max().alias("adjacent"),
            *_known(),
        )
        .with_columns(share("calls").alias("share"))
        .sort("call")
    )


def _known() -> list[pl.Expr]:
    return [known_sum(name).alias(name) for name in ("gpu_ns", "flops")]
