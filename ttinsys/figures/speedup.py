"""Bars from parity: speedup of each trace over its baseline, or of each part of a single trace."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, configured, milliseconds, numbers_at_bars, short_traces

_COLOURS = {"end to end": "#0072b2", "component": "#009e73", "role": "#e69f00"}
_SHOWN = 0.01
"""Least share of the baseline's time of a part that is drawn."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw end-to-end bars of each trace where there are several, else bars of the parts of the only one.

    Args:
        frame: `SPEEDUP`.
    """
    rated = frame.drop_nulls("speedup")
    if rated.is_empty():
        reasons = frame["unfair"].drop_nulls().to_list()
        raise NothingToDraw(f"--plot: speedup has nothing to draw: {reasons[0] if reasons else 'no time'}")
    several = frame["trace"].n_unique() > 1
    level = pl.col("level").str.replace_all("_", " ")
    ends = (pl.col("level") == "end_to_end") & pl.col("part").is_in(["span", "sum"])
    kept = rated.filter(ends if several else (pl.col("level") == "end_to_end") | (pl.col("share") >= _SHOWN))
    data = kept.with_columns(
        level.alias("level"),
        milliseconds("before_ns"),
        milliseconds("after_ns"),
        (pl.col("gain") * 100).alias("percent"),
    )
    if several:
        labels = short_traces(data["trace"])
        data = data.with_columns(labels.alias("label"), pl.col("part").replace(_WORDS).alias("group"))
        title, subtitle = "End-to-end speedup over the baseline", _left_out(frame)
        drawn = _bars(data, list(dict.fromkeys(labels)), [_WORDS["span"], _WORDS["sum"]])
    else:
        data = data.with_columns(pl.col("part").replace(_WORDS).alias("label"), pl.col("level").alias("group"))
        title, subtitle = f"Speedup over the baseline: {short_traces(frame['trace'])[0]}", [
            f"parts with at least {100 * _SHOWN:g}% of the baseline's GPU time, sum of durations"
        ]  # fmt: skip
        groups = [name for name in _COLOURS if name in data["group"].unique().to_list()]
        charts = [
            _bars(of, of["label"].to_list(), groups, titled=name == groups[-1])
            for name in groups
            if not (of := data.filter(pl.col("group") == name)).is_empty()
        ]
        drawn = alt.vconcat(*charts, spacing=6).resolve_scale(x="shared", color="shared")
    return configured(drawn.properties(title=alt.TitleParams(title, subtitle=subtitle)))


_WORDS = {"span": "span (first start to last end)", "busy": "busy (at least one runs)", "sum": "sum of durations"}


def _left_out(frame: pl.DataFrame) -> list[str]:
    """Subtitles: what the bars show, and why traces are left out."""
    unfair = frame.drop_nulls("unfair")
    named = short_traces(frame["trace"].unique(maintain_order=True))
    names = dict(zip(frame["trace"].unique(maintain_order=True), named, strict=True))
    lines = [f"{names[trace]} left out: {why}" for trace, why in unfair.select("trace", "unfair").iter_rows()]
    return ["of GPU time; 1 is parity", *lines]


def _bars(
    data: pl.DataFrame, labels: list[str], groups: list[str], *, titled: bool = True
) -> alt.LayerChart | alt.FacetChart:
    """Bars from 1 to the speedup, with their number, and the line of parity."""
    grouped = data["label"].is_duplicated().any()
    title = "speedup (baseline's time / time)" if titled else None
    palette = list(_COLOURS.values())[: len(groups)]
    base = alt.Chart(data).encode(
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=300)),
        tooltip=[
            alt.Tooltip("trace:N"),
            alt.Tooltip("baseline:N"),
            alt.Tooltip("part:N"),
            alt.Tooltip("speedup:Q", format=".3f"),
            alt.Tooltip("before_ms:Q", title="before, ms", format=",.3f"),
            alt.Tooltip("after_ms:Q", title="after, ms", format=",.3f"),
            alt.Tooltip("percent:Q", title="saved of the baseline's whole, %", format=".1f"),
        ],
    )
    if grouped:
        base = base.encode(yOffset=alt.YOffset("group:N", sort=groups))
    bars = base.mark_bar().encode(
        x=alt.X("speedup:Q", title=title, scale=alt.Scale(zero=False, nice=False, padding=34)),
        x2=alt.X2Datum(1),
        color=alt.Color("group:N", scale=alt.Scale(domain=groups, range=palette), sort=groups, title=None),
    )
    numbers = numbers_at_bars(base, "speedup", alt.Text("speedup:Q", format=".2f"), start=1)
    parity = alt.Chart(pl.DataFrame({"at": [1]})).mark_rule(color="#222", strokeDash=[4, 3]).encode(x="at:Q")
    step = alt.Step(14 if grouped else 18)
    return alt.layer(bars, *numbers, parity).properties(width=WIDTH, height=step)
