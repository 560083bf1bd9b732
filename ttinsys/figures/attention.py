"""Bars of the time of each role of attention, by part, beside bars of its FLOPs."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ttinsys.analyses.attention import TIMES
from ttinsys.figures.style import HEIGHT, PART_COLOURS, WIDTH, NothingToDraw, configured, short_traces

_COLOURS = {
    "core": PART_COLOURS["qk"],
    "projections": PART_COLOURS["projection"],
    "layout": PART_COLOURS["layout"],
    "rearrange": "#3d3b35",
    "other": PART_COLOURS["other"],
}
_FLOPS = ("core", "projections")


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw two panels that share their rows: time by part on the left, FLOPs of core and projections on the right.

    Args:
        frame: `ATTENTION`, of one or several traces.
    """
    if frame["total_ns"].sum() == 0:
        raise NothingToDraw("--plot: attention has no time to draw")
    data = frame.with_columns(_row(frame).alias("row"))
    rows = data["row"].to_list()
    times = _long(data, {name.removesuffix("_ns"): pl.col(name) / 1e6 for name in TIMES})
    flops = _long(data, {name: pl.col(f"{name}_flops") / 1e12 for name in _FLOPS})
    height = max(60, min(2 * HEIGHT, 28 * len(rows)))
    left = _panel(times, rows, "GPU time, sum of durations (ms)", "ms", height, labelled=True)
    right = _panel(flops, rows, "FLOPs (TFLOP)", "TFLOP", height, labelled=False)
    title = alt.TitleParams(
        "Attention by role: time and FLOPs", subtitle="rearrange: copies around the attention that serve it alone"
    )
    return configured(alt.hconcat(left, right, spacing=16).properties(title=title))


def _row(frame: pl.DataFrame) -> pl.Expr:
    """Label of a row: its trace, where there are several, its component and its role."""
    words = [pl.col("component").fill_null("(pipeline)"), pl.col("role").str.strip_suffix("_attention")]
    if "trace" in frame.columns and frame["trace"].n_unique() > 1:
        words.insert(0, pl.lit(short_traces(frame["trace"])))
    return pl.concat_str(words, separator=" · ")


def _long(data: pl.DataFrame, values: dict[str, pl.Expr]) -> pl.DataFrame:
    """One row per segment of a bar: `row`, `part`, `value`, and the sum of its bar as `whole`."""
    order = list(_COLOURS)
    return (
        data.select("row", *(value.fill_null(0).alias(name) for name, value in values.items()))
        .unpivot(index="row", variable_name="part")
        .with_columns(
            pl.col("value").sum().over("row").alias("whole"),
            pl.col("part").replace_strict(order, list(range(len(order)))).alias("rank"),
        )
    )


def _panel(data: pl.DataFrame, rows: list[str], title: str, unit: str, height: int, *, labelled: bool) -> Any:
    axis = alt.Axis(labelLimit=320) if labelled else alt.Axis(labels=False, ticks=False)
    y = alt.Y("row:N", sort=rows, title=None, axis=axis)
    parts = alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values()))
    bars = (
        alt.Chart(data)
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            y=y,
            x=alt.X("value:Q", title=title),
            color=alt.Color("part:N", scale=parts, sort=list(_COLOURS), title="part"),
            order="rank:Q",
            tooltip=[
                alt.Tooltip("row:N", title="attention"),
                alt.Tooltip("part:N"),
                alt.Tooltip("value:Q", title=unit, format=",.3f"),
            ],
        )
    )
    ends = data.unique("row", keep="first", maintain_order=True)
    totals = (
        alt.Chart(ends)
        .mark_text(align="left", dx=4, fontSize=10, color="#222")
        .encode(y=y, x="whole:Q", text=alt.Text("whole:Q", format=",.3~r"))
    )
    return alt.layer(bars, totals).properties(width=WIDTH * 0.55, height=height)
