"""Stacked bars: what each step, component or device spends its time on, busy or idle and why."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.analyses.gaps import KINDS
from ttinsys.figures.style import HEIGHT, WIDTH, NothingToDraw, configured, milliseconds, short_traces

GAP_COLOURS = {
    "busy": "#c6dbef",
    "cpu": "#d55e00",
    "launch": "#e69f00",
    "sync": "#cc79a7",
    "latency": "#807d70",
    "unknown": "#252525",
}
"""Colour of each kind of time; what the GPU works is pale, so that its idle time stands out."""

_MEANING = {
    "busy": "busy",
    "cpu": "idle: CPU outside CUDA",
    "launch": "idle: CUDA calls",
    "sync": "idle: returning from waiting",
    "latency": "idle: launched, not begun",
    "unknown": "idle: launch not captured",
}


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A bar per step along the run where steps were asked for; else one per component, or device.

    Args:
        frame: `GAPS`, of one trace or several.
    """
    if frame["span_ns"].sum() == 0:
        raise NothingToDraw("--plot: gaps has no time to draw")
    stepped = frame["step"].null_count() < frame.height
    idle = 100 * frame.select(pl.col("idle_ns").sum() / pl.col("span_ns").sum()).item()
    outside = frame.filter(pl.col("step").is_null() & stepped).select(pl.col("span_ns").sum() / 1e6).item()
    subtitle = f"{idle:.1f}% of the time from first to last operation is idle"
    if outside:
        subtitle += f"; {outside:,.1f} ms outside steps are not drawn"
    data = _long(frame.drop_nulls("step") if stepped else frame)
    present = [kind for kind in GAP_COLOURS if kind in data["kind"].unique().to_list()]
    colour = alt.Color(
        "meaning:N",
        sort=[_MEANING[kind] for kind in present],
        scale=alt.Scale(domain=[_MEANING[kind] for kind in present], range=[GAP_COLOURS[kind] for kind in present]),
        legend=alt.Legend(title=None, orient="top", columns=3),
    )
    what = _what(frame, stepped=stepped)
    tooltip = [
        alt.Tooltip("group:N", title="trace and device"),
        alt.Tooltip("label:N", title=what),
        alt.Tooltip("meaning:N", title="time"),
        alt.Tooltip("ms:Q", format=",.3f"),
        alt.Tooltip("percent:Q", title="% of the bar", format=".1f"),
    ]
    bars = alt.Chart(data)
    order = alt.Order("rank:Q")
    title = alt.TitleParams(f"Busy and idle GPU time by {what}", subtitle=subtitle)
    time = "time (ms)"
    if stepped:
        groups = data["group"].unique(maintain_order=True).to_list()
        count = data["position"].max()
        every = max(1, -(-int(count) // 20)) if isinstance(count, int) else 1
        x = alt.X(
            "position:O",
            title="step, in the order of their first operations",
            axis=alt.Axis(labelAngle=0, labelExpr=f"datum.value % {every} == 0 ? datum.value : ''", ticks=False),
        )
        chart = bars.mark_bar().encode(x=x, y=alt.Y("ms:Q", title=time), color=colour, order=order, tooltip=tooltip)
        chart = chart.properties(width=WIDTH, height=HEIGHT if len(groups) == 1 else HEIGHT // 2)
        if len(groups) > 1:
            return configured(chart.facet(row=alt.Row("group:N", sort=groups, title=None)).properties(title=title))
        return configured(chart.properties(title=title))
    rows = data["row"].unique(maintain_order=True).to_list()
    chart = bars.mark_bar(stroke="white", strokeWidth=0.5).encode(
        y=alt.Y("row:N", sort=rows, title=None, axis=alt.Axis(labelLimit=420)),
        x=alt.X("ms:Q", title=time),
        color=colour,
        order=order,
        tooltip=tooltip,
    )
    return configured(chart.properties(width=WIDTH, height=max(60, min(_TALLEST, 34 * len(rows))), title=title))


_TALLEST = 4000
"""Height of a picture at most, in pixels."""


def _what(frame: pl.DataFrame, *, stepped: bool) -> str:
    if stepped:
        return "step"
    return "component" if frame["component"].null_count() < frame.height else "device"


def _long(frame: pl.DataFrame) -> pl.DataFrame:
    """A row per bar and kind of time that it has."""
    trace = frame["trace"] if "trace" in frame.columns else pl.Series([None] * frame.height, dtype=pl.String)
    device = pl.format("GPU {}", "device")
    several = frame["device"].n_unique() > 1
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
