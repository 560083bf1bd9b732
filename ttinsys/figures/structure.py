"""The parts of each device along its time; in a summary, their shares of its GPU time."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, configured, short_traces

_PART_COLOURS = {
    "prologue": "#cc79a7", "iteration": "#0072b2", "between": "#d9d9d9", "epilogue": "#e69f00", "block": "#56b4e9",
}  # fmt: skip
_MOST_BARS = 5000
"""Bars that a picture holds; the blocks of longer traces are left out."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw where the parts begin and end if they are listed, else how the time divides.

    Args:
        frame: `STRUCTURE`, of one trace or several.
    """
    parts = frame.filter(pl.col("depth") > 0)
    if parts.is_empty():
        raise NothingToDraw("--plot: structure found no iteration to draw")
    words = [pl.format("device {}, process {}", "device", "pid")]
    if "trace" in frame.columns and frame["trace"].n_unique() > 1:
        words.insert(0, pl.lit(short_traces(parts["trace"])))
    data = parts.with_columns(pl.concat_str(words, separator=" · ").alias("lane"))
    return configured(_along_time(data) if data["number"].null_count() < data.height else _divided(data))


def _colour(data: pl.DataFrame) -> alt.Color:
    names = [name for name in _PART_COLOURS if name in data["part"]]
    scale = alt.Scale(domain=names, range=[_PART_COLOURS[name] for name in names])
    return alt.Color("part:N", scale=scale, title=None, legend=alt.Legend(orient="top"))


def _along_time(data: pl.DataFrame) -> Any:
    """A bar from start to end of each part, with its blocks below it."""
    if data.height > _MOST_BARS:
        data = data.filter(pl.col("depth") == 1).head(_MOST_BARS)
    first = pl.col("start_ns").min().over("lane")
    suffix = pl.when(pl.col("depth") == 2).then(pl.lit(": blocks")).otherwise(pl.lit(""))
    bars = data.select(
        "name", "part", "ops", "operators",
        pl.format("{}{}", "lane", suffix).alias("row"),
        ((pl.col("start_ns") - first) / 1e6).alias("from_ms"),
        ((pl.col("end_ns") - first) / 1e6).alias("to_ms"),
        (pl.col("span_ns") / 1e6).alias("span_ms"),
    )  # fmt: skip
    rows = bars["row"].unique(maintain_order=True).to_list()
    return (
        alt.Chart(bars)
        .mark_bar(height=20, stroke="white", strokeWidth=0.5)
        .encode(
            x=alt.X("from_ms:Q", title="time on the GPU (ms)"),
            x2="to_ms:Q",
            y=alt.Y("row:N", sort=sorted(rows), title=None),
            color=_colour(data),
            tooltip=["name:N", alt.Tooltip("span_ms:Q", format=",.3f"), "ops:Q", "operators:N"],
        )
        .properties(width=WIDTH, height=30 * len(rows), title="Iterations and blocks along the time")
    )


def _divided(data: pl.DataFrame) -> Any:
    """A bar per device, divided by part."""
    top = data.filter(pl.col("depth") == 1).select(
        "lane", "part", "instances", "ops", "operators", (pl.col("sum_ns") / 1e6).alias("sum_ms"),
        pl.int_range(pl.len()).alias("rank"), (pl.col("median_ns") / 1e6).alias("median_ms"),
    )  # fmt: skip
    return (
        alt.Chart(top)
        .mark_bar(height=20)
        .encode(
            x=alt.X("sum_ms:Q", title="GPU time (ms)"),
            y=alt.Y("lane:N", title=None),
            color=_colour(top),
            order=alt.Order("rank:Q"),
            tooltip=["part:N", "instances:Q", "ops:Q", alt.Tooltip("sum_ms:Q", format=",.3f"),
                     alt.Tooltip("median_ms:Q", format=",.3f"), "operators:N"],
        )
        .properties(width=WIDTH, height=30 * top["lane"].n_unique(), title="GPU time by part of the run")
    )  # fmt: skip
