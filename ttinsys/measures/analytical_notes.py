"""Sentences about the costs of a model: totals, memory in the study's plain form, lengths, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from ttinsys.attribution.labels import FAMILIES
from ttinsys.measures.formulas import adjacent_ratios, plain_memory, spatial_to_temporal, trajectory
from ttinsys.published.layers.records import Layers

FORMULAS = (
    "Formulas of arXiv 2312.14385, analytical model: attention core 4 B Nq Nk C, linear 2 N Cin Cout, convolution "
    "2 H W Cin Cout k^2; a multiply-add is two operations."
)


def cost_notes(costs: pl.DataFrame, layers: Mapping[str, Layers], itemsize: int = 2) -> Iterator[str]:
    """Say what a reader of the costs must know, component by component.

    Args:
        costs: `MODEL_COSTS` of a model.
        layers: the layers that they are the costs of.
        itemsize: bytes of a score.
    """
    yield FORMULAS
    for component in layers:
        rows = costs.filter(pl.col("component") == component)
        yield f"{component}: {_totals(rows)}"
        yield f"{component}: {_memory(rows, itemsize)}"
        if sentence := _lengths(rows):
            yield f"{component}: {sentence}"
        if sentence := _axes(rows):
            yield f"{component}: {sentence}"
    omitted = [f"{what} of {component}" for component, held in layers.items() for what in held.omitted]
    left_out = ["text encoders", "autoencoders", "norms", "activations", "elementwise operations", *omitted]
    yield f"Left out: {', '.join(left_out)}."


def _sum(rows: pl.DataFrame, name: str) -> int:
    return int(rows[name].sum())


def _totals(rows: pl.DataFrame) -> str:
    families = {"attention cores": "attention", "linear layers": "linear", "convolutions": "convolution"}
    sums = {name: _sum(rows.filter(pl.col("role").is_in(FAMILIES[own])), "flops") for name, own in families.items()}
    parts = ", ".join(f"{name} {flops / 1e12:,.3f}" for name, flops in sums.items() if flops)
    return f"{sum(sums.values()) / 1e12:,.3f} TFLOP in one forward: {parts}."


def _memory(rows: pl.DataFrame, itemsize: int) -> str:
    """Bytes of the score matrices, counted and in the study's plain form, where every level of a U-Net attends."""
    one, whole = (_sum(rows, name) / 1e6 for name in ("score_bytes", "all_score_bytes"))
    sentence = (
        f"score matrices of {one:,.1f} MB for one head of one sequence over all calls, of {whole:,.1f} MB with heads, "
        "sequences, batch and guidance; unfused attention stores them call by call, fused attention never"
    )
    own = rows.filter(pl.col("role") == "spatial_attention", pl.col("level").is_not_null())
    text = rows.filter(pl.col("role") == "cross_attention", pl.col("level") == 0)["kv_len"]
    if text.is_empty() or own["level"].to_list() != list(range(own.height)):
        return f"{sentence}."
    plain = plain_memory(own["q_len"][0], text[0], own.height - 1, itemsize=itemsize) / 1e6
    return f"{sentence}; the plain form M, of two calls a level and one in the middle, is {plain:,.1f} MB."


def _lengths(rows: pl.DataFrame) -> str | None:
    """The course of sequence lengths over the levels of a U-Net."""
    own = rows.filter(
        pl.col("role").is_in(["spatial_attention", "joint_attention"]), pl.col("level").is_not_null()
    ).sort("level")
    lengths = own["q_len"].to_list()
    if len(lengths) <= 1:
        return None
    course = ", ".join(map(str, trajectory(lengths)))
    greatest = max(adjacent_ratios(lengths))
    return f"sequence lengths {course}; adjacent levels differ up to {greatest:g} times."


def _axes(rows: pl.DataFrame) -> str | None:
    """Spatial against temporal attention (Fig. 13 of the study)."""
    spatial = rows.filter(pl.col("role") == "spatial_attention")
    temporal = rows.filter(pl.col("role") == "temporal_attention")
    if spatial.is_empty() or temporal.is_empty():
        return None
    ratio = _sum(spatial, "flops") / _sum(temporal, "flops")
    positions, frames = (max(axis["q_len"].to_list()) for axis in (spatial, temporal))
    pair = spatial_to_temporal(frames, positions)
    return (
        f"spatial attention has {ratio:,.3g} times the core FLOPs of temporal attention; one call of each on the "
        f"finest level differs N / F = {pair:,.3g} times, and they are equal at {positions:,} frames."
    )
