"""Bars of the operations of a model's layers by formula, and of the GPU time that a trace shows of them."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, colours, configured

_BAR, _ROOM = 18, 40


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One bar per row: operations, and beside them GPU time where a trace was given.

    Args:
        frame: `ttinsys.measures.analytical.MODEL_COSTS`.
    """
    if frame["flops"].sum() == 0:
        raise NothingToDraw("--plot: model has no operations to draw")
    lengths = pl.format("{} {} x {}", "role", "q_len", "kv_len")
    level = pl.when(pl.col("level").is_not_null()).then(pl.format(", level {}", "level")).otherwise(pl.lit(""))
    heads = pl.when(pl.col("heads").is_not_null()).then(pl.format(", {} heads", "heads")).otherwise(pl.lit(""))
    label = pl.concat_str(pl.coalesce(lengths, "role"), level, heads)
    data = frame.select(
        "component",
        "role",
        pl.when(pl.col("component").n_unique() > 1).then(pl.format("{}: {}", "component", label)).otherwise(label)
        .alias("layers"),
        "calls",
        (pl.col("flops") / 1e12).alias("tflop"),
        (pl.col("gpu_ns") / 1e6).alias("gpu_ms"),
    )  # fmt: skip
    titles = {"tflop": "TFLOP in one forward, by formula"}
    if data["gpu_ms"].null_count() < data.height:
        titles["gpu_ms"] = "GPU time of one forward, in the trace (ms)"
    panels = [_bars(data, value, title, first=value == "tflop") for value, title in titles.items()]
    return configured(
        alt.hconcat(*panels).properties(
            title=alt.TitleParams("Costs of a model", subtitle="attention is its core; linear layers hold projections")
        )
    )


def _bars(data: pl.DataFrame, value: str, title: str, *, first: bool) -> alt.Chart:
    """Bars of one value; the labels of the layers stand at the first panel."""
    roles = data["role"].unique(maintain_order=True).to_list()
    order = data["layers"].unique(maintain_order=True).to_list()
    axis = alt.Axis() if first else None
    bars: alt.Chart = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            y=alt.Y("layers:N", sort=order, title=None, axis=axis),
            x=alt.X(f"sum({value}):Q", title=title),
            color=alt.Color("role:N", title=None, scale=colours("role", roles)),
            tooltip=[
                alt.Tooltip("layers:N"),
                alt.Tooltip("sum(calls):Q", title="calls"),
                alt.Tooltip(f"sum({value}):Q", format=",.3f", title=title),
            ],
        )
        .properties(width=WIDTH / 2, height=_ROOM + _BAR * len(order))
    )
    return bars
