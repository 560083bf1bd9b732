"""Sequence lengths over the calls of attention, and their histogram on the same axis."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ttinsys.figures.style import HEIGHT, WIDTH, NothingToDraw, colours, configured, short_traces

MOST = 5000
"""Most corners of lines; of more, those of the first step, of the last and outside steps are drawn."""

_KINDS = ("self-attention", "cross-attention")
"""Panels of a trace, from top to bottom."""
_DOTTED = 200
"""Most corners of a line that has a dot at each."""
_APART = 40
"""Most lengths whose bars are thick."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw lengths in the order of the calls, and bars of how many calls have each; of lengths, only the bars.

    Args:
        frame: `LENGTHS`, of one or several traces.
    """
    if frame["length"].null_count() == frame.height:
        raise NothingToDraw("--plot: lengths are drawn by call or by length: leave out --by step")
    traces = pl.lit(short_traces(frame["trace"]) if "trace" in frame.columns else "")
    own, cross = _KINDS
    is_cross = pl.col("role") == "cross_attention"
    data = frame.with_columns(
        traces.alias("trace"), pl.when(is_cross).then(pl.lit(cross)).otherwise(pl.lit(own)).alias("kind")
    )
    ordered = data["call"].null_count() == 0
    lines, note = _thinned(data) if ordered else (data, "")
    shown = [
        (trace, kind)
        for trace in data["trace"].unique(maintain_order=True)
        for kind in _KINDS
        if not data.filter(trace=trace, kind=kind).is_empty()
    ]
    height = max(90, min(HEIGHT // 2, 2 * HEIGHT // len(shown)))
    rows = []
    for trace, kind in shown:
        calls = lines.filter(trace=trace)
        panel: Any = _histogram(data.filter(trace=trace, kind=kind), data, height, alone=not ordered)
        if ordered:
            panel = alt.hconcat(_line(calls, kind, data, height), panel, spacing=12)
        name = f"{trace}: {kind}" if trace else kind
        rows.append(panel.properties(title=alt.TitleParams(name, fontSize=12)))
    subtitle = ["length: keys of self-attention, queries of cross- and joint attention; logarithmic axis"]
    title = alt.TitleParams("Sequence lengths of attention", subtitle=[*subtitle, note] if note else subtitle)
    return configured(alt.vconcat(*rows, spacing=18).properties(title=title))


def _thinned(data: pl.DataFrame) -> tuple[pl.DataFrame, str]:
    """Calls at which a line turns or ends: all others lie on it. Of too many, those of two steps."""
    length, line, step = pl.col("length"), ["trace", "component", "role"], pl.col("step")
    number = pl.int_range(pl.len()).over(line)
    turns = (length != length.shift(1).over(line)).fill_null(value=True)
    corners = data.filter(turns | (number == pl.len().over(line) - 1))
    if corners.height <= MOST:
        return corners, ""
    of_two = (step.is_null() | (step == step.min()) | (step == step.max())).over("trace")
    # Numbered anew, so that the calls between them leave no gap.
    return (
        corners.filter(of_two).with_columns(pl.col("call").rank("dense").over("trace") - 1),
        "calls of the first and the last step, and those outside steps, numbered anew where the length changes",
    )


def _line(calls: pl.DataFrame, kind: str, data: pl.DataFrame, height: int) -> Any:
    ends = calls.select(pl.min("call"), last=pl.max("call")).row(0)
    axis = alt.Axis(tickCount=8, labelOverlap="greedy", format="d")
    x = alt.X("call:Q", title="call of attention, in order", scale=alt.Scale(domain=list(ends), nice=False), axis=axis)
    shown = calls.filter(kind=kind)
    few = shown.height <= _DOTTED
    return (
        alt.Chart(shown)
        .mark_line(
            interpolate="step-after",
            strokeWidth=1.4 if few else 0.9,
            point=alt.OverlayMarkDef(size=9 if few else 2, filled=True),
        )
        .encode(
            x=x,
            y=_length(labelled=True),
            color=_colour(data),
            detail="component:N",
            tooltip=["call:Q", "step:Q", "component:N", "role:N", "q_len:Q", "kv_len:Q"],
        )
        .properties(width=WIDTH * 0.75, height=height)
    )


def _histogram(panel: pl.DataFrame, data: pl.DataFrame, height: int, *, alone: bool) -> Any:
    calls = pl.len() if panel["calls"].null_count() else pl.col("calls").sum()
    counts = panel.group_by("role", "length").agg(calls.alias("calls"))
    # Of two bars at one length, the shorter lies on the longer.
    counts = counts.sort("calls", "role", "length", descending=True).with_columns(pl.lit(0).alias("none"))
    return (
        alt.Chart(counts)
        .mark_rule(strokeWidth=6 if counts.height <= _APART else 1.5)
        .encode(
            x=alt.X("none:Q", title="calls", axis=alt.Axis(tickCount=3, format="~s", labelOverlap="greedy")),
            x2="calls:Q",
            y=_length(labelled=alone),
            color=_colour(data),
            tooltip=["role:N", "length:Q", "calls:Q"],
        )
        .properties(width=WIDTH if alone else WIDTH * 0.22, height=height)
    )


def _length(*, labelled: bool) -> alt.Y:
    return alt.Y(
        "length:Q",
        scale=alt.Scale(type="log", base=2, nice=True),
        title="length" if labelled else None,
        axis=alt.Axis(format="d", tickCount=6, labels=labelled, ticks=labelled),
    )


def _colour(data: pl.DataFrame) -> alt.Color:
    roles = data["role"].unique(maintain_order=True).to_list()
    return alt.Color("role:N", scale=colours("role", roles), sort=roles, title="role")
