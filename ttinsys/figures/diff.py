"""Bars to both sides: what takes less time than in the baseline, and what takes more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from ttinsys.comparison.alignment import TOTAL
from ttinsys.figures.style import (
    WIDTH,
    NothingToDraw,
    colours,
    configured,
    milliseconds,
    numbers_at_bars,
    short_traces,
)
from ttinsys.render.grid import brief

_BARS = 20
"""Bars of all traces together; the rest of each trace is one bar more."""
_LABEL = 64
"""Characters of a name on the axis."""
_REST = "(others)"
_SHOWN = ("trace", "key", "change", "before_ns", "after_ns", "delta_ns", "before_ops", "after_ops", "before_mean_ns",
          "after_mean_ns", "like_speedup")  # fmt: skip
"""Columns of a bar and its tooltip."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw the greatest differences of each trace as bars, coloured by role where there are roles.

    Args:
        frame: `DIFF`; of several `by`, the first is drawn.
    """
    rows = frame.filter(pl.col("by") != TOTAL)
    if not (rows["delta_ns"] != 0).any():
        raise NothingToDraw("--plot: diff has no difference to draw")
    by = rows["by"][0]
    traces = frame["trace"].unique(maintain_order=True)
    rows = rows.filter((pl.col("by") == by) & (pl.col("delta_ns") != 0))
    family = {"role": "key", "operator": "key", "layer": "role", "path": "role", "kernel": "operator"}.get(by)
    scale = "role" if family == "role" or by == "role" else "operator" if family else "change"
    data = rows.select(*_SHOWN, pl.col(family or "change").alias("colour")).with_columns(
        pl.col("colour").fill_null("(none)"), pl.int_range(pl.len()).over("trace").alias("rank")
    )
    kept = max(_BARS // len(traces), 4)
    # All others are one bar, so that the bars add up to the whole difference.
    rest = data.filter(pl.col("rank") >= kept).group_by("trace", maintain_order=True).agg(
        pl.format("({} others)", pl.len()).alias("key"), pl.lit("").alias("change"), pl.lit(_REST).alias("colour"),
        pl.col("before_ns", "after_ns", "delta_ns", "before_ops", "after_ops").sum(),
        pl.lit(kept, pl.Int64).alias("rank"),
    )  # fmt: skip
    data = pl.concat([data.filter(pl.col("rank") < kept), rest], how="diagonal_relaxed").with_columns(
        _labels(by), *map(milliseconds, ("before_ns", "after_ns", "delta_ns", "before_mean_ns", "after_mean_ns"))
    )
    data = data.with_columns(_signed(data["delta_ms"], 2).alias("shown"), _signed(data["delta_ms"], 3).alias("exact"))
    order = data.group_by("colour").agg(pl.col("delta_ns").abs().sum()).sort("delta_ns", "colour", descending=True)
    charts = [_of_trace(data.filter(pl.col("trace") == name), order["colour"].to_list(), scale) for name in traces]
    subtitles = [_subtitle(whole) for whole in frame.filter(pl.col("by") == TOTAL).iter_rows(named=True)]
    title = f"What changed from the baseline, by {by}{' (mean step)' if frame['per'].count() else ''}"
    if len(charts) == 1:
        return configured(charts[0].properties(title=alt.TitleParams(title, subtitle=subtitles[0])))
    drawn = [
        chart.properties(title=alt.TitleParams(name, subtitle=subtitle, fontSize=12))
        for chart, name, subtitle in zip(charts, short_traces(traces), subtitles, strict=True)
    ]
    return configured(alt.vconcat(*drawn).resolve_scale(color="shared", x="shared").properties(title=title))


def _labels(by: str) -> pl.Expr:
    """Names short enough for an axis: layers by their end, kernels by their beginning, equal ones with their rank."""
    key = pl.col("key")
    named = by == "kernel"
    if named:
        key = key.map_elements(brief, return_dtype=pl.String)
    part = key.str.head(_LABEL) + "…" if named else pl.lit("…") + key.str.tail(_LABEL)
    cut = pl.when(key.str.len_chars() > _LABEL).then(part).otherwise(key)
    again = cut.is_duplicated().over("trace")
    label = pl.when(again).then(cut + pl.format(" #{}", pl.col("rank") + 1)).otherwise(cut)
    # A sum of fewer operations is no faster: say so at the bar.
    counted = pl.col("change").is_in(["count", "unfair"]) & (pl.col("before_ops") != pl.col("after_ops"))
    counts = pl.format(" ({} → {} operations)", "before_ops", "after_ops")
    return pl.when(counted).then(label + counts).otherwise(label).alias("label")


def _signed(values: pl.Series, digits: int) -> pl.Series:
    """Differences as text: Vega, too, would write -0.00 for a small one."""
    return pl.Series([f"{value:+z,.{digits}f}" for value in values], dtype=pl.String)


def _subtitle(whole: Mapping[str, Any]) -> list[str]:
    before, after = whole["before_ns"], whole["after_ns"]
    lines = [f"all: {before / 1e6:z,.2f} ms before, {after / 1e6:z,.2f} ms after, {(after - before) / 1e6:+z,.2f} ms"]
    if whole["unfair"]:
        lines.append(f"not a fair comparison: {whole['unfair']}")
        if whole["like_speedup"] is not None:
            lines.append(f"what both ran alike is {whole['like_speedup']:.3f} times as fast one by one")
    return [*lines, *([whole["caveat"]] if whole["caveat"] else [])]


def _of_trace(data: pl.DataFrame, families: list[str], column: str) -> alt.LayerChart | alt.FacetChart:
    bars = alt.Chart(data).encode(
        x=alt.X("delta_ms:Q", title="GPU time, after - before (ms)", scale=alt.Scale(nice=False, padding=40)),
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=420, labelFontSize=10)),
        tooltip=[
            alt.Tooltip("key:N"),
            alt.Tooltip("colour:N", title=column),
            alt.Tooltip("change:N"),
            alt.Tooltip("before_ms:Q", title="before, ms", format=",.3f"),
            alt.Tooltip("after_ms:Q", title="after, ms", format=",.3f"),
            alt.Tooltip("exact:N", title="difference, ms"),
            alt.Tooltip("before_ops:Q", title="operations before", format=","),
            alt.Tooltip("after_ops:Q", title="operations after", format=","),
            alt.Tooltip("before_mean_ms:Q", title="mean before, ms", format=",.4f"),
            alt.Tooltip("after_mean_ms:Q", title="mean after, ms", format=",.4f"),
            alt.Tooltip("like_speedup:Q", title="speedup of like operations", format=".3f"),
        ],
    )
    uncertain = alt.FieldOneOfPredicate(field="change", oneOf=["noise"])
    coloured = bars.mark_bar().encode(
        color=alt.Color("colour:N", scale=colours(column, families), sort=families, title=column),
        opacity=alt.condition(uncertain, alt.value(0.35), alt.value(1.0)),
    )
    numbers = numbers_at_bars(bars, "delta_ms", alt.Text("shown:N"))
    zero = alt.Chart(pl.DataFrame({"at": [0]})).mark_rule(color="#555").encode(x="at:Q")
    return alt.layer(coloured, *numbers, zero).properties(width=WIDTH, height=alt.Step(17))
