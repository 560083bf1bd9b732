"""Attention by role: calls, FLOPs, and time in the core, the projections and the copies around it.

ttinsys attention run.sqlite
ttinsys attention eager.sqlite flash.sqlite --plot attention.svg

Temporal attention is set against spatial, of the core alone and with its
projections and copies: how many times fewer FLOPs it has depends on that.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import ATTENTION_ROLES, CONVOLUTION_ROLES
from ttinsys.attribution.nesting import lift
from ttinsys.measures.attention_parts import PART_SOURCES, with_parts
from ttinsys.measures.sums import known_sum, ratio, share
from ttinsys.runner.registry import analysis
from ttinsys.tables.calls import executed
from ttinsys.tables.needs import ATTENTION_LENGTHS, GPU_ACTIVITY

ATTENTION = Table(
    "attention",
    Column("component", pl.String, "part of the pipeline"),
    Column("role", pl.String, "of the attention"),
    Column("calls", pl.UInt32, "of its cores"),
    Column("total_ns", pl.Int64, "durations added up: core, projections, layout, rearrange and other", unit="ns"),
    Column("share", pl.Float64, "of all attention of the trace", unit="ratio"),
    Column("core_ns", pl.Int64, "in the core: QK, softmax and AV, or what is fused of them; added up", unit="ns"),
    Column("projections_ns", pl.Int64, "in linear layers of queries, keys, values and output; added up", unit="ns"),
    Column("layout_ns", pl.Int64, "in copies within the attention, added up", unit="ns"),
    Column("rearrange_ns", pl.Int64, "in copies right around it that serve no other attention, added up", unit="ns"),
    Column("other_ns", pl.Int64, "in norms, rotary embeddings and the like within it, added up", unit="ns"),
    Column("share_of_component", pl.Float64, "of all attention of the component", unit="ratio"),
    Column("q_len_min", pl.Int64, "least queries of a call"),
    Column("q_len_max", pl.Int64, "most queries of a call"),
    Column("kv_len_min", pl.Int64, "least keys of a call"),
    Column("kv_len_max", pl.Int64, "most keys of a call"),
    Column("core_flops", pl.Int64, "of its cores; null where not annotated", unit="FLOP"),
    Column("core_flops_per_s", pl.Float64, "of its cores, by the time in them", unit="FLOP/s"),
    Column("projections_flops", pl.Int64, "of its projections; null where not annotated", unit="FLOP"),
    Column("core_time_ratio", pl.Float64, "`core_ns` of that of the component's spatial attention", unit="ratio"),
    Column("time_ratio", pl.Float64, "`total_ns` of the same", unit="ratio"),
    Column("flops_ratio", pl.Float64, "FLOPs of core and projections of the same", unit="ratio"),
    Column("core_flops_ratio", pl.Float64, "`core_flops` of the same", unit="ratio"),
    doc="one row per component and role of attention, the longest total first",
)

TIMES = {
    "core_ns": ("qk", "softmax", "av", "fused_sdpa"),
    "projections_ns": ("projection",),
    "layout_ns": ("layout",),
    "rearrange_ns": ("rearrange",),
    "other_ns": ("other",),
}
"""Columns that add up to `total_ns`, and the parts of attention in each."""

_KEYS = ("component", "role")
_COPIES = ("copy", "memcpy")
_ALONG_AN_AXIS = ("spatial_attention", "temporal_attention", "spatiotemporal_attention")
_OWN = tuple(role for role in ATTENTION_ROLES if role != "cross_attention")
_MIXING = tuple(role for role in CONVOLUTION_ROLES if role != "pointwise_conv")


@analysis(returns=ATTENTION, needs=(GPU_ACTIVITY, ATTENTION_LENGTHS))
def attention(ops: pl.LazyFrame, ranges: pl.LazyFrame, calls: pl.LazyFrame) -> pl.LazyFrame:
    """Divide attention by role, and each role by part (Fig. 11 of the study).

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.
        calls: `CALLS`, one row per call of an annotated module.

    Returns:
        `ATTENTION`. `total_ns` adds up to the time of the operations within attention and of the copies that
        `serving` finds around it.
    """
    columns = {*PART_SOURCES, "component", "duration_ns"}
    mine = pl.col("attention").is_not_null()
    parted = with_parts(ops.select(sorted(columns)).filter(mine | pl.col("operator").is_in(_COPIES)))
    duration = pl.col("duration_ns")
    times = (
        parted.join(serving(ranges), on="module_id", how="left")
        .with_columns(pl.coalesce("attention", "serves").alias("role"), pl.col("part").fill_null("rearrange"))
        .filter(pl.col("role").is_not_null())
        .group_by(_KEYS)
        .agg(
            duration.sum().alias("total_ns"),
            *(duration.filter(pl.col("part").is_in(parts)).sum().alias(name) for name, parts in TIMES.items()),
        )
    )
    return (
        times.join(_costs(calls), on=_KEYS, how="full", coalesce=True, nulls_equal=True)
        .with_columns(
            pl.col("total_ns", "calls", *TIMES).fill_null(0),
            (pl.col("core_flops") + pl.col("projections_flops").fill_null(0)).alias("_flops"),
        )
        .with_columns(
            share("total_ns").alias("share"),
            share("total_ns").over("component").alias("share_of_component"),
            ratio(pl.col("core_flops") * 1e9, "core_ns").alias("core_flops_per_s"),
            _to_spatial("core_ns").alias("core_time_ratio"),
            _to_spatial("core_flops").alias("core_flops_ratio"),
            _to_spatial("total_ns").alias("time_ratio"),
            _to_spatial("_flops").alias("flops_ratio"),
        )
        .sort(pl.col("total_ns").neg(), *_KEYS)
    )


def _costs(calls: pl.LazyFrame) -> pl.LazyFrame:
    """Number, lengths and FLOPs of the calls of each attention's cores, and FLOPs of its projections."""
    core, projection = pl.col("q_len").is_not_null(), pl.col("role") == "linear"
    q_len, kv_len = pl.col("q_len"), pl.col("kv_len")
    return (
        calls.filter(pl.col("attention").is_not_null())
        .group_by("component", "attention")
        .agg(
            pl.col("executions").filter(core).sum().alias("calls"),
            known_sum(executed("flops").filter(core)).alias("core_flops"),
            known_sum(executed("flops").filter(projection)).alias("projections_flops"),
            q_len.min().alias("q_len_min"),
            q_len.max().alias("q_len_max"),
            kv_len.min().alias("kv_len_min"),
            kv_len.max().alias("kv_len_max"),
        )
        .rename({"attention": "role"})
    )


def serving(ranges: pl.LazyFrame) -> pl.LazyFrame:
    """The calls of modules around attention whose own copies serve attention of one role alone.

    Such a module has no convolution that mixes neighbours in it, and its attentions (but for cross-attention) are of
    one role, along the axes of a picture or clip: what it copies puts those axes where that attention wants them.
    Where attentions of several roles follow each other in one module, as in Latte, its copies serve none alone. Copies
    that a norm makes of permuted input stay with the norm.

    Args:
        ranges: `RANGES`, one row per NVTX range.

    Returns:
        `module_id` (the call's RangeId) and `serves` (the role).
    """
    return ranges.select("range_id", "parent", "depth", "role", "attention").map_batches(
        _serving, schema={"module_id": pl.Int64(), "serves": pl.String()}
    )


def _serving(nested: pl.DataFrame) -> pl.DataFrame:
    present = set(nested["attention"].unique())
    inside = {role: _holds(nested, nested["attention"] == role) for role in _OWN if role in present}
    inside["convolution"] = _holds(nested, nested["role"].is_in(_MIXING))
    roles = pl.sum_horizontal(pl.col(role).cast(pl.UInt32) for role in inside)
    served = [pl.when(role).then(pl.lit(role)) for role in _ALONG_AN_AXIS if role in inside]
    serves = pl.coalesce(*served, pl.lit(None, pl.String))
    return (
        nested.select(pl.col("range_id").alias("module_id"), "attention")
        .with_columns(values.alias(name) for name, values in inside.items())
        .filter(pl.col("attention").is_null(), roles == 1)
        .select("module_id", serves.alias("serves"))
        .drop_nulls()
    )


def _holds(nested: pl.DataFrame, flags: pl.Series) -> pl.Series:
    """Which ranges are flagged or hold one that is."""
    return lift(nested, flags.fill_null(value=False).cast(pl.Int64)) > 0


def _to_spatial(column: str) -> pl.Expr:
    spatial = pl.col(column).filter(pl.col("role") == "spatial_attention").first()
    return ratio(column, spatial.over("component"))
