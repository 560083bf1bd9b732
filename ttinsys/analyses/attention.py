"""Divide attention time by role, and into core, projections and copies.

ttinsys attention run.sqlite
ttinsys attention eager.sqlite flash.sqlite --plot attention.svg

The ratios compare each role with the spatial attention of its component,
once for the core alone and once with projections and copies. They may
differ by several times.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import ATTENTION_ROLES, CONVOLUTION_ROLES
from ttinsys.attribution.nesting import lift
from ttinsys.measures.attention_parts import PART_SOURCES, with_parts
from ttinsys.measures.sums import known_sum, ratio, share
from ttinsys.runner.registry import analysis
from ttinsys.tables.calls import executed, is_core
from ttinsys.tables.needs import ATTENTION_RANGES, GPU_ACTIVITY

ATTENTION = Table(
    "attention",
    Column("component", pl.String, "Part of the pipeline, such as `denoiser`; null for the pipeline as a whole."),
    Column("role", pl.String, "Role of the attention, such as `spatial_attention`."),
    Column("calls", pl.UInt32, "Number of calls of attention cores; each replay of a CUDA graph counts."),
    Column("total_ns", pl.Int64, "Sum of durations in the core, projections, layout, rearrange and other parts.",
           unit="ns"),
    Column("share", pl.Float64, "`total_ns` divided by that of all attention in the trace.", unit="ratio"),
    Column("core_ns", pl.Int64, "Sum of durations in the core: QK, softmax and AV, or the fused kernel for them.",
           unit="ns"),
    Column("projections_ns", pl.Int64, "Sum of durations in the linear layers of queries, keys, values and output.",
           unit="ns"),
    Column("layout_ns", pl.Int64, "Sum of durations of copies within the attention.", unit="ns"),
    Column("rearrange_ns", pl.Int64, "Sum of durations of copies around the attention that serve no other role.",
           unit="ns"),
    Column("other_ns", pl.Int64, "Sum of durations of other operations within the attention, such as norms and "
           "rotary embeddings.", unit="ns"),
    Column("share_of_component", pl.Float64, "`total_ns` divided by that of all attention in the component.",
           unit="ratio"),
    Column("q_len_min", pl.Int64, "Least number of queries of a call; null where no call is annotated."),
    Column("q_len_max", pl.Int64, "Greatest number of queries of a call; null where no call is annotated."),
    Column("kv_len_min", pl.Int64, "Least number of keys of a call; null where no call is annotated."),
    Column("kv_len_max", pl.Int64, "Greatest number of keys of a call; null where no call is annotated."),
    Column("core_flops", pl.Int64, "FLOPs of the cores; null where they are not annotated.", unit="FLOP"),
    Column("core_flops_per_s", pl.Float64, "`core_flops` divided by `core_ns`; null where either is missing.",
           unit="FLOP/s"),
    Column("projections_flops", pl.Int64, "FLOPs of the projections; null where they are not annotated.", unit="FLOP"),
    Column("core_time_ratio", pl.Float64, "`core_ns` divided by that of the component's spatial attention; null where "
           "there is none.", unit="ratio"),
    Column("time_ratio", pl.Float64, "`total_ns` divided by that of the component's spatial attention; null where "
           "there is none.", unit="ratio"),
    Column("flops_ratio", pl.Float64, "FLOPs of core and projections, divided by those of the component's spatial "
           "attention; null where either is not annotated.", unit="ratio"),
    Column("core_flops_ratio", pl.Float64, "`core_flops` divided by that of the component's spatial attention; null "
           "where either is not annotated.", unit="ratio"),
    doc="one row per component and role of attention, the longest total first",
)  # fmt: skip

TIMES = {
    "core_ns": ("qk", "softmax", "av", "fused_sdpa"),
    "projections_ns": ("projection",),
    "layout_ns": ("layout",),
    "rearrange_ns": ("rearrange",),
    "other_ns": ("other",),
}
"""Parts of attention that each column sums up; the columns add up to `total_ns`."""

_KEYS = ("component", "role")
_COPIES = ("copy", "memcpy")
_ALONG_AXES = ("spatial_attention", "temporal_attention", "spatiotemporal_attention")
_NOT_CROSS = tuple(role for role in ATTENTION_ROLES if role != "cross_attention")
_MIXING_CONVOLUTIONS = tuple(role for role in CONVOLUTION_ROLES if role != "pointwise_conv")


@analysis(returns=ATTENTION, needs=(GPU_ACTIVITY, ATTENTION_RANGES))
def attention(ops: pl.LazyFrame, ranges: pl.LazyFrame, calls: pl.LazyFrame) -> pl.LazyFrame:
    """Divide attention time by role, and each role by part (Fig. 11 of the study).

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.
        calls: `CALLS`, one row per call of an annotated module.

    Returns:
        `ATTENTION`. `total_ns` adds up to the time of all operations within attention, plus the copies around it that
        `serving` assigns to a role.
    """
    columns = {*PART_SOURCES, "component", "duration_ns"}
    in_attention = pl.col("attention").is_not_null()
    parted = with_parts(ops.select(sorted(columns)).filter(in_attention | pl.col("operator").is_in(_COPIES)))
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
            # An attention may have no projections of its own; without a core its FLOPs are not known.
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
    """Number, lengths and FLOPs of attention cores, and FLOPs of projections, by component and role."""
    core, projection = is_core(), pl.col("role") == "linear"
    q_len, kv_len = pl.col("q_len"), pl.col("kv_len")
    return (
        calls.filter(pl.col("attention").is_not_null())
        .group_by("component", "attention")
        .agg(
            # A gradient is no call of its own, though its FLOPs are of the core.
            pl.col("executions").filter(core & pl.col("direction").ne_missing("backward")).sum().alias("calls"),
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
    """Find modules around attention whose own copies serve a single role of attention.

    Such a module contains no convolution that mixes neighbours, and all attention in it (except cross-attention) has
    one role along the axes of an image or video: its copies bring these axes into the order that the attention needs.
    Where a module holds attention of several roles, as in Latte, its copies are assigned to none. A copy that a norm
    makes of permuted input stays with the norm.

    Args:
        ranges: `RANGES`, one row per NVTX range.

    Returns:
        `module_id` (RangeId of the module's call) and `serves` (role of attention), one row per such call.
    """
    return ranges.select("range_id", "parent", "depth", "role", "attention").map_batches(
        _serving, schema={"module_id": pl.Int64(), "serves": pl.String()}
    )


def _serving(nested: pl.DataFrame) -> pl.DataFrame:
    present = set(nested["attention"].unique())
    inside = {role: _holds(nested, nested["attention"] == role) for role in _NOT_CROSS if role in present}
    inside["convolution"] = _holds(nested, nested["role"].is_in(_MIXING_CONVOLUTIONS))
    kinds_inside = pl.sum_horizontal(pl.col(role).cast(pl.UInt32) for role in inside)
    role_inside = [pl.when(role).then(pl.lit(role)) for role in _ALONG_AXES if role in inside]
    serves = pl.coalesce(*role_inside, pl.lit(None, pl.String))
    return (
        nested.select(pl.col("range_id").alias("module_id"), "attention")
        .with_columns(values.alias(name) for name, values in inside.items())
        # A module that is part of an attention has its copies in `layout`.
        .filter(pl.col("attention").is_null(), kinds_inside == 1)
        .select("module_id", serves.alias("serves"))
        .drop_nulls()
    )


def _holds(nested: pl.DataFrame, flags: pl.Series) -> pl.Series:
    """Whether each range is flagged or contains a flagged one."""
    return lift(nested, flags.fill_null(value=False).cast(pl.Int64)) > 0


def _to_spatial(column: str) -> pl.Expr:
    """A column divided by its value for spatial attention in the same component."""
    spatial = pl.col(column).filter(pl.col("role") == "spatial_attention").first()
    return ratio(column, spatial.over("component"))
