"""Stacked bars: how the GPU time of each trace is divided."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.analyses.breakdown import DIMENSIONS
from ttinsys.figures.style import HEIGHT, WIDTH, NothingToDraw, colours, configured, milliseconds, short_traces

_LABELLED = 0.04
"""Share of the longest bar that a segment takes at least where its number has room."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a bar per trace where there are several; else one per value of the second dimension, or a single one.

    Args:
        frame: `BREAKDOWN`.
    """
    used = [name for name in DIMENSIONS if frame[name].null_count() < frame.height]
    if not used or frame["sum_ns"].sum() == 0:
        raise NothingToDraw("--plot: breakdown has no time to draw")
    several = frame["trace"].n_unique() > 1
    coloured = used[0]
    along = "trace" if several else used[1] if len(used) > 1 else None
    data = _sums(frame, coloured, along)
    order = data.group_by(coloured).agg(pl.col("sum_ms").sum()).sort("sum_ms", descending=True)[coloured].to_list()
    bars = data["along"].unique(maintain_order=True).to_list()
    if along == "step":
        bars.sort(key=lambda text: int(text) if text.isdigit() else -1)
    stacked = _stacked(data, coloured, order, percent="relative" if several else "share")
    y = alt.Y("along:N", sort=bars, title=None if along == "trace" else along, axis=alt.Axis(labels=bool(along)))
    colour = alt.Color(f"{coloured}:N", scale=colours(coloured, order), sort=order, title=coloured)
    tooltip = [
        alt.Tooltip("along:N", title=along or "trace"),
        alt.Tooltip(f"{coloured}:N"),
        alt.Tooltip("sum_ms:Q", title="ms", format=",.3f"),
        alt.Tooltip("percent:Q", title="% of baseline" if several else "%", format=".1f"),
    ]
    segments = alt.Chart(stacked).mark_bar(stroke="white", strokeWidth=0.5)
    x = alt.X("from:Q", title="GPU time, sum of durations (ms)")
    layers = [segments.encode(y=y, x=x, x2="to:Q", color=colour, tooltip=tooltip), *_numbers(stacked, y)]
    title = alt.TitleParams(
        f"GPU time by {coloured}" + (f" and {along}" if along and along != "trace" else ""),
        subtitle="numbers: % of the first trace's time" if several else "numbers: % of GPU time",
    )
    height = max(70, min(HEIGHT, 46 * len(bars)))
    return configured(alt.layer(*layers).properties(width=WIDTH, height=height, title=title))


def _sums(frame: pl.DataFrame, coloured: str, along: str | None) -> pl.DataFrame:
    """A row per segment: its colour, the bar `along` that it is in, `sum_ms`, `share` and `relative`."""
    bar = pl.col(along).cast(pl.String).fill_null("(none)") if along else pl.lit("")
    return (
        frame.with_columns(short_traces(frame["trace"].fill_null("trace")).alias("trace"), milliseconds("sum_ns"))
        .select(pl.col(coloured).cast(pl.String).fill_null("(none)"), bar.alias("along"), "sum_ms", "share", "relative")
        .group_by(coloured, "along", maintain_order=True)
        .agg(pl.col("sum_ms", "share", "relative").sum())
    )


def _stacked(data: pl.DataFrame, coloured: str, order: list[str], percent: str) -> pl.DataFrame:
    """Segments in their order within each bar: where each begins and ends, and its number in `percent`."""
    end = pl.col("sum_ms").cum_sum().over("along")
    return (
        data.with_columns(pl.col(coloured).replace_strict(order, list(range(len(order)))).alias("rank"))
        .sort("rank")
        .with_columns(
            end.alias("to"),
            (end - pl.col("sum_ms")).alias("from"),
            (end - pl.col("sum_ms") / 2).alias("middle"),
            (pl.col(percent) * 100).alias("percent"),
        )
    )


def _numbers(data: pl.DataFrame, y: alt.Y) -> list[alt.Chart]:
    """The numbers of segments that have room for them, legible on any colour."""
    wide = data.filter(pl.col("sum_ms") > _LABELLED * pl.col("to").max())
    numbers = alt.Chart(wide).encode(y=y, x="middle:Q", text=alt.Text("percent:Q", format=".0f"))
    return [
        numbers.mark_text(fontSize=10, fontWeight="bold", stroke="white", strokeWidth=2.5, strokeJoin="round"),
        numbers.mark_text(fontSize=10, fontWeight="bold", color="#222"),
    ]
