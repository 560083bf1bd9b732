"""What a trace shows of the layers whose costs the analytical model gives: calls, operations and GPU time per forward.

    with_trace(costs, calls, {"unet": "UNet2DConditionModel"})

Calls of attention are matched by role, lengths and heads. Where several kinds have these in common, as temporal
attention at the levels of a U-Net has, the one with the most operations matches the one with the most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from ttinsys.attribution.labels import ATTENTION_ROLES
from ttinsys.measures.analytical import LAYER_ROLES, MODEL_COSTS
from ttinsys.measures.sums import known_sum

_MATCHED = ("component", "role", "q_len", "kv_len", "heads", "rank")
_TOLERANCE = 1e-9
"""Relative difference of two numbers of operations that is rounding, as those of a trace are divided by forwards."""


class RootCalls(NamedTuple):
    """The module of a trace that is a component: its name there, and how often it ran."""

    module: str
    forwards: int


def root_calls(calls: pl.DataFrame, classes: Mapping[str, str]) -> dict[str, RootCalls]:
    """The modules of a trace that are the components of a model.

    Components of one class are told apart by their order: the first to run is the first that the model declares.

    Args:
        calls: `CALLS` of the trace.
        classes: class of each component.

    Returns:
        By component. A component that did not run is left out.
    """
    found: dict[str, RootCalls] = {}
    for cls in dict.fromkeys(classes.values()):
        opened = calls.filter(pl.col("class") == cls).sort("cpu_start_ns")
        modules = opened["module"].unique(maintain_order=True)
        components = [name for name, own in classes.items() if own == cls]
        for component, module in zip(components, modules, strict=False):
            found[component] = RootCalls(module, _forwards(calls, module))
    return found


def _forwards(calls: pl.DataFrame, root: str) -> int:
    """How often a root module ran; replays of a CUDA graph, which open no range, count by kernels of modules in it."""
    own = calls.filter(pl.col("module") == root).height
    once = (
        calls.filter(_inside(root) | (pl.col("module") == root))
        .group_by("module")
        .agg(pl.len().alias("ranges"), pl.col("executions").sum())
        .filter(pl.col("ranges") == own)
    )
    return int(once["executions"].max())  # type: ignore[arg-type]


def _inside(root: str) -> pl.Expr:
    return pl.col("module").str.starts_with(root + ".")


def with_trace(costs: pl.DataFrame, calls: pl.DataFrame, roots: Mapping[str, RootCalls]) -> pl.DataFrame:
    """Put what a trace shows beside the costs by formula.

    Args:
        costs: `MODEL_COSTS` of the model, of the size that the trace ran.
        calls: `CALLS` of the trace, without the decoding of tokens.
        roots: modules of the trace by component, as `root_calls` returns them.

    Returns:
        `MODEL_COSTS`, in the same order; calls that only the trace has follow the rows of their component.
    """
    shown = pl.concat([_measured(calls, component, root) for component, root in roots.items()])
    order = {name: place for place, name in enumerate(costs["component"].unique(maintain_order=True))}
    ranked = costs.drop("measured_calls", "measured_flops", "gpu_ns", "note").with_columns(
        _rank(pl.col("sequences") * pl.col("channels")), pl.int_range(pl.len()).alias("_place")
    )
    return (
        ranked.join(shown, on=_MATCHED, how="full", coalesce=True, nulls_equal=True, maintain_order="left_right")
        .with_columns(_difference().alias("note"))
        .sort(pl.col("component").replace_strict(order), "_place", nulls_last=True, maintain_order=True)
        .select(MODEL_COSTS.schema.names())
    )


def _measured(calls: pl.DataFrame, component: str, root: RootCalls) -> pl.DataFrame:
    """Calls, operations and GPU time per forward of the layers in a root module."""
    core = pl.col("q_len").is_not_null()
    # Attention that computes without a core of its own, as pooling does, has no length to be matched by.
    counted = core | (pl.col("role").is_in(LAYER_ROLES) & ~pl.col("role").is_in(ATTENTION_ROLES))
    per_call = pl.when(core).then("flops").alias("_per_call")
    executions = pl.col("executions").cast(pl.Int64)
    return (
        calls.filter(_inside(root.module), counted, (pl.col("flops") > 0).fill_null(value=True))
        .group_by("role", "q_len", "kv_len", "heads", per_call)
        .agg(
            executions.sum().alias("measured_calls") / root.forwards,
            known_sum(pl.col("flops") * executions).alias("measured_flops") / root.forwards,
            pl.when(pl.col("ops").sum() > 0).then(pl.col("gpu_ns").sum()).alias("gpu_ns") / root.forwards,
        )
        .with_columns(pl.lit(component).alias("component"))
        .sort("role", "q_len", "kv_len", "heads", "_per_call", descending=True, nulls_last=True)
        .with_columns(_rank(pl.col("_per_call")))
        .drop("_per_call")
    )


def _rank(size: pl.Expr) -> pl.Expr:
    """`rank`: place of a kind of call among those with its lengths and heads, the largest first."""
    alike = ("component", "role", "q_len", "kv_len", "heads")
    return size.rank("dense", descending=True).over(alike).alias("rank")


def _difference() -> pl.Expr:
    """How the two differ, in words."""
    calls = pl.col("calls") != pl.col("measured_calls")
    flops = (pl.col("flops") - pl.col("measured_flops")).abs() > _TOLERANCE * pl.col("flops")
    return (
        pl.when(pl.col("measured_calls").is_null())
        .then(pl.lit("not in the trace"))
        .when(pl.col("calls").is_null())
        .then(pl.lit("only in the trace"))
        .when(calls & flops)
        .then(pl.lit("calls and FLOPs differ"))
        .when(calls)
        .then(pl.lit("calls differ"))
        .when(flops)
        .then(pl.lit("FLOPs differ"))
    )
