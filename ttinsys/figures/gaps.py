"""Stacked bars of the time of each step, component or device: busy, or idle and why."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ttinsys.analyses.gaps import KINDS
from ttinsys.figures.style import HEIGHT, WIDTH, NothingToDraw, configured, milliseconds, short_traces
from ttinsys.measures.intervals import gpu_label

GAP_COLOURS = {
    "busy": "#c6dbef",
    "cpu": "#d55e00",
    "launch": "#e69f00",
    "sync": "#cc79a7",
    "latency": "#807d70",
    "unknown": "#252525",
}
"""Colour of each kind of time; busy time is pale, so that idle time stands out."""

_MEANING = {
    "busy": "busy",
    "cpu": "idle: CPU outside CUDA",
    "launch": "idle: CUDA calls",
    "sync": "idle: returning from waiting",
    "latency": "idle: launched, not begun",
    "unknown": "idle: launch not captured",
}


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a bar per step where the table has steps; else one per component, or one per device.

    Args:
        frame: `GAPS`, of one trace or several.
    """
    if frame["span_ns"].sum() == 0:
        raise NothingToDraw("--plot: gaps has no time to draw")
    stepped = frame["step"].null_count() < frame.height
    data = _long(frame.drop_nulls("step") if stepped else frame)
    what = _bar_kind(frame, stepped=stepped)
    title = alt.TitleParams(f"Busy and idle GPU time by {what}", subtitle=_subtitle(frame, stepped=stepped))
    encoded = alt.Chart(data).encode(
        color=_colour(data),
        order=alt.Order("rank:Q"),
        tooltip=[
            alt.Tooltip("group:N", title="trace and device"),
            alt.Tooltip("label:N", title=what),
            alt.Tooltip("meaning:N", title="time"),
            alt.Tooltip("ms:Q", format=",.3f"),
            alt.Tooltip("percent:Q", title="% of the bar", format=".1f"),
        ],
    )
    return configured((_along_steps(encoded, data) if stepped else _rows(encoded, data)).properties(title=title))


def _along_steps(encoded: alt.Chart, data: pl.DataFrame) -> Any:
    """Upright bars in the order of the steps; each trace and device has its own panel."""
    groups = data["group"].unique(maintain_order=True).to_list()
    count = data["position"].max()
    every = max(1, -(-int(count) // 20)) if isinstance(count, int) else 1
    x = alt.X(
        "position:O",
        title="step, in the order of their first operations",
        axis=alt.Axis(labelAngle=0, labelExpr=f"datum.value % {every} == 0 ? datum.value : ''", ticks=False),
    )
    bars = encoded.mark_bar().encode(x=x, y=alt.Y("ms:Q", title="time (ms)"))
    bars = bars.properties(width=WIDTH, height=HEIGHT if len(groups) == 1 else HEIGHT // 2)
    return bars if len(groups) == 1 else bars.facet(row=alt.Row("group:N", sort=groups, title=None))


def _rows(encoded: alt.Chart, data: pl.DataFrame) -> Any:
    """Bars below each other."""
    rows = data["row"].unique(maintain_order=True).to_list()
    y = alt.Y("row:N", sort=rows, title=None, axis=alt.Axis(labelLimit=420))
    bars = encoded.mark_bar(stroke="white", strokeWidth=0.5).encode(y=y, x=alt.X("ms:Q", title="time (ms)"))
    return bars.properties(width=WIDTH, height=max(60, min(_TALLEST, 34 * len(rows))))


_TALLEST = 4000
"""Greatest height of a picture, in pixels."""


def _colour(data: pl.DataFrame) -> alt.Color:
    present = [kind for kind in GAP_COLOURS if kind in data["kind"].unique().to_list()]
    meanings = [_MEANING[kind] for kind in present]
    return alt.Color(
        "meaning:N",
        sort=meanings,
        scale=alt.Scale(domain=meanings, range=[GAP_COLOURS[kind] for kind in present]),
        legend=alt.Legend(title=None, orient="top", columns=3),
    )


def _subtitle(frame: pl.DataFrame, *, stepped: bool) -> str:
    idle = 100 * frame.select(pl.col("idle_ns").sum() / pl.col("span_ns").sum()).item()
    outside = frame.filter(pl.col("step").is_null() & stepped).select(pl.col("span_ns").sum() / 1e6).item()
    sentence = f"{idle:z.1f}% of the time from first to last operation is idle"
    return f"{sentence}; {outside:z,.1f} ms outside steps are not drawn" if outside else sentence


def _bar_kind(frame: pl.DataFrame, *, stepped: bool) -> str:
    if stepped:
        return "step"
    return "component" if frame["component"].null_count() < frame.height else "device"


def _long(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per bar and kind of time in it."""
    trace = frame["trace"] if "trace" in frame.columns else pl.Series([None] * frame.height, dtype=pl.String)
    device = gpu_label()
    several = frame.select(pl.struct("gpu", "pid", "device").n_unique()).item() > 1
    named = pl.concat_str("trace", device if several else pl.lit(None), separator=" ", ignore_nulls=True)
    kinds = ["busy", *KINDS]
    return (
        frame.with_columns(short_traces(trace).alias("trace"))
        .with_columns(named.alias("group"))
        .with_columns(
            pl.coalesce(pl.col("step").cast(pl.String), "component", device).alias("label"),
            pl.int_range(pl.len()).over("group").alias("position"),
            pl.col("busy_ns").add(pl.col("idle_ns")).alias("span"),
        )
        .with_columns(
            pl.when(pl.col("group") == "")
            .then("label")
            .when(pl.col("step").is_null() & pl.col("component").is_null())
            .then("group")
            .otherwise(pl.format("{}: {}", "group", "label"))
            .alias("row")
        )
        .unpivot(
            [f"{kind}_ns" for kind in kinds],
            index=["group", "label", "row", "position", "span"],
            variable_name="kind",
            value_name="time_ns",
        )
        .with_columns(pl.col("kind").str.strip_suffix("_ns"))
        .filter(pl.col("time_ns") > 0)
        .select(
            pl.exclude("span", "time_ns"),
            milliseconds("time_ns").alias("ms"),
            (100 * pl.col("time_ns") / pl.col("span")).alias("percent"),
            pl.col("kind").replace_strict(_MEANING).alias("meaning"),
            pl.col("kind").replace_strict({kind: rank for rank, kind in enumerate(kinds)}).alias("rank"),
        )
    )  # fmt: skip
