"""Stacked bars: how the GPU time of each trace is divided."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.analyses.breakdown import DIMENSIONS
from ttinsys.figures.style import HEIGHT, WIDTH, NothingToDraw, colours, configured, milliseconds, short_traces

_LABELLED = 0.04
"""Share of the longest bar from which on a segment has room for its number."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Bars of the first trace's time where there are several; else of the second dimension's values, or one bar.

    Args:
        frame: `BREAKDOWN`.
    """
    asked = [name for name in DIMENSIONS if frame[name].null_count() < frame.height]
    if not asked or frame["sum_ns"].sum() == 0:
        raise NothingToDraw("--plot: breakdown has no time to draw")
    several = frame["trace"].n_unique() > 1
    coloured = asked[0]
    along = "trace" if several else asked[1] if len(asked) > 1 else None
    data = frame.with_columns(
        short_traces(frame["trace"].fill_null("trace")).alias("trace"), milliseconds("sum_ns")
    ).select(
        pl.col(coloured).cast(pl.String).fill_null("(none)"),
        pl.col(along).cast(pl.String).fill_null("(none)").alias("along") if along else pl.lit("").alias("along"),
        "sum_ms",
        "share",
        "relative",
    )
    data = data.group_by(coloured, "along", maintain_order=True).agg(pl.col("sum_ms", "share", "relative").sum())
    order = data.group_by(coloured).agg(pl.col("sum_ms").sum()).sort("sum_ms", descending=True)[coloured].to_list()
    bars = data["along"].unique(maintain_order=True).to_list()
    if along == "step":
        bars.sort(key=lambda text: int(text) if text.isdigit() else -1)
    ends = pl.col("sum_ms").cum_sum().over("along")
    data = (
        data.with_columns(pl.col(coloured).replace_strict(order, list(range(len(order)))).alias("rank"))
        .sort("rank")
        .with_columns(
            ends.alias("to"),
            (ends - pl.col("sum_ms")).alias("from"),
            (ends - pl.col("sum_ms") / 2).alias("middle"),
            (pl.col("relative" if several else "share") * 100).alias("percent"),
        )
    )
    y = alt.Y("along:N", sort=bars, title=None if along == "trace" else along, axis=alt.Axis(labels=bool(along)))
    stacked = (
        alt.Chart(data)
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            y=y,
            x=alt.X("from:Q", title="GPU time, durations added up (ms)"),
            x2="to:Q",
            color=alt.Color(f"{coloured}:N", scale=colours(coloured, order), sort=order, title=coloured),
            tooltip=[
                alt.Tooltip("along:N", title=along or "trace"),
                alt.Tooltip(f"{coloured}:N"),
                alt.Tooltip("sum_ms:Q", title="ms", format=",.3f"),
                alt.Tooltip("percent:Q", title="% of baseline" if several else "%", format=".1f"),
            ],
        )
    )
    wide = data.filter(pl.col("sum_ms") > _LABELLED * pl.col("to").max())
    numbers = alt.Chart(wide).encode(y=y, x="middle:Q", text=alt.Text("percent:Q", format=".0f"))
    halo = numbers.mark_text(fontSize=10, fontWeight="bold", stroke="white", strokeWidth=2.5, strokeJoin="round")
    text = numbers.mark_text(fontSize=10, fontWeight="bold", color="#222")
    height = max(70, min(HEIGHT, 46 * len(bars)))
    by = " by ".join(["GPU time", coloured]) + (f" and {along}" if along and along != "trace" else "")
    percent = "numbers: % of the first trace's time" if several else "numbers: % of GPU time"
    return configured(
        alt.layer(stacked, halo, text).properties(
            width=WIDTH, height=height, title=alt.TitleParams(by, subtitle=percent)
        )
    )
