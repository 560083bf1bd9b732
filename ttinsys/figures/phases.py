"""Queries per call of attention and its intensity: like prefill, or like decode (Table III of the study)."""

from __future__ import annotations

import math
from typing import Any

import altair as alt
import polars as pl

from ttinsys.analyses.phases import DECODE, PREFILL
from ttinsys.figures.style import HEIGHT, ROLE_COLOURS, WIDTH, NothingToDraw, configured, short_traces

_MARKS = (ROLE_COLOURS["spatial_attention"], "#222222")
"""Colours of queries and of keys."""
_KINDS = alt.Scale(
    domain=[PREFILL, DECODE], range=[ROLE_COLOURS["spatial_attention"], ROLE_COLOURS["spatiotemporal_conv"]]
)


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw the queries of each attention beside its intensity; by step, queries over the steps.

    Args:
        frame: `PHASES`, of one or several traces.
    """
    if frame["queries"].null_count() == frame.height:
        raise NothingToDraw("--plot: phases has no call of attention to draw")
    words = [pl.col("component").fill_null("(pipeline)"), pl.col("role").str.strip_suffix("_attention")]
    if "trace" in frame.columns and frame["trace"].n_unique() > 1:
        words.insert(0, pl.lit(short_traces(frame["trace"])))
    if frame["phase"].null_count() < frame.height:
        words.append(pl.col("phase"))
    named = frame.with_columns(pl.concat_str(words, separator=" · ", ignore_nulls=True).alias("row"))
    return configured(_by_step(named) if frame["step"].null_count() < frame.height else _by_role(named))


def _by_role(data: pl.DataFrame) -> alt.HConcatChart:
    rows = data["row"].unique(maintain_order=True).to_list()
    height = max(60, min(2 * HEIGHT, 26 * len(rows)))
    ridges = data.select("ridge").drop_nulls().unique()
    queries = _panel(data, rows, ("queries", "queries_min", "queries_max"), "queries per call: range and median")
    intensity = _panel(data, rows, ("intensity",), "FLOPs per byte; dashed: the GPU's ridge")
    rules: Any = alt.Chart(ridges).mark_rule(color="#666", strokeDash=[4, 3]).encode(x="ridge:Q")
    title = alt.TitleParams(
        "Attention like prefill, attention like decode", subtitle="cores of attention; both axes are logarithmic"
    )
    left = queries.properties(width=WIDTH * 0.55, height=height)
    right = alt.layer(intensity, rules).properties(width=WIDTH * 0.5, height=height)
    return alt.hconcat(left, right, spacing=16).properties(title=title)


def _panel(data: pl.DataFrame, rows: list[str], columns: tuple[str, ...], title: str) -> Any:
    """Dots along a logarithmic axis; with columns of a range, bars around them."""
    middle, *ends = columns
    labelled = bool(ends)
    ticks = _powers(data.select(columns if ends else (middle, "ridge")), base=4 if ends else 10)
    scale = alt.Scale(type="log", domain=[ticks[0], ticks[-1]])
    x = alt.X(f"{middle}:Q", scale=scale, title=title, axis=alt.Axis(values=ticks, format="~r"))
    y = alt.Y("row:N", sort=rows, title=None, axis=alt.Axis(labels=labelled, ticks=labelled, labelLimit=320, grid=True))
    colour = alt.Color("kind:N", scale=_KINDS, title=None, legend=alt.Legend(symbolOpacity=1))
    chart = alt.Chart(data.drop_nulls(middle))
    tips = ["row:N", "kind:N", "calls:Q", "queries:Q", "keys:Q", alt.Tooltip("intensity:Q", format=".1f")]
    dots: Any = chart.mark_point(filled=True, size=70, opacity=1).encode(x=x, y=y, color=colour, tooltip=tips)
    if not ends:
        return alt.layer(dots)
    least, most = ends
    spread = chart.mark_rule(strokeWidth=3, opacity=0.45).encode(x=f"{least}:Q", x2=f"{most}:Q", y=y, color=colour)
    return alt.layer(spread, dots)


def _powers(values: pl.DataFrame, base: int) -> list[float]:
    """Powers of the base that enclose all values: two or more."""
    known = [value for column in values for value in column if value and value > 0]
    low, high = (math.log(bound, base) for bound in (min(known, default=1), max(known, default=1)))
    first = math.floor(low + 1e-9)
    return [float(base) ** power for power in range(first, max(math.ceil(high - 1e-9), first + 1) + 1)]


def _by_step(data: pl.DataFrame) -> Any:
    """A strip per attention: medians of queries and keys in each step."""
    stepped = data.filter(pl.col("step").is_not_null())
    rows = stepped["row"].unique(maintain_order=True).to_list()
    x = alt.X(
        "step:Q",
        title="step",
        axis=alt.Axis(tickCount=max(1, min(10, stepped["step"].n_unique() - 1)), format="d"),
        scale=alt.Scale(nice=False, padding=8),
    )
    ticks = _powers(stepped.select("queries_min", "queries_max", "keys_min", "keys_max"), base=4)
    scale = alt.Scale(type="log", domain=[ticks[0], ticks[-1]], padding=6)
    axis = alt.Axis(values=ticks[:: math.ceil(len(ticks) / 4)], format="~r")
    names = ["queries", "keys"]
    dots = stepped.unpivot(
        names, index=["row", "step", "kind", "calls"], variable_name="of", value_name="median"
    ).drop_nulls("median")
    spread = stepped.select("row", "step", pl.lit("queries").alias("of"), "queries_min", "queries_max")
    colour = alt.Color("of:N", scale=alt.Scale(domain=names, range=list(_MARKS)), sort=names, title=None,
                       legend=alt.Legend(symbolOpacity=1))  # fmt: skip
    data_of = pl.concat([dots, spread], how="diagonal")
    base = alt.Chart(data_of)
    rules: Any = base.mark_rule(strokeWidth=3, opacity=0.25).encode(
        x=x, y=alt.Y("queries_min:Q", scale=scale), y2="queries_max:Q", color=colour
    )
    marks: Any = base.mark_point(strokeWidth=1.6, opacity=1).encode(
        x=x,
        y=alt.Y("median:Q", title=None, scale=scale, axis=axis),
        color=colour,
        shape=alt.Shape("of:N", scale=alt.Scale(domain=names, range=["circle", "cross"]), sort=names, title=None),
        size=alt.Size("of:N", scale=alt.Scale(domain=names, range=[60, 14]), sort=names, title=None),
        tooltip=["row:N", "step:Q", "kind:N", "of:N", "median:Q", "calls:Q"],
    )
    strip = alt.layer(rules, marks).properties(width=WIDTH, height=max(60, min(110, 2 * HEIGHT // len(rows))))
    header = alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold", labelPadding=3)
    title = alt.TitleParams(
        "Queries and keys of attention, step by step",
        subtitle="per call: medians, and for queries the range; logarithmic axis",
    )
    return strip.facet(row=alt.Row("row:N", sort=rows, title=None, header=header), spacing=8).properties(title=title)
