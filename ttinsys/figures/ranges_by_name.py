"""Bars: the ranges in which most GPU time was launched, by name, with nested ranges and without."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, Picture, colours, configured, milliseconds, picture_per_trace
from ttinsys.render import printable
from ttinsys.render.names import ellipsized
from ttinsys.tables.registry import distinct_names

_MOST = 25
_BAR = 18
"""Height of a bar and the gap below it, in pixels."""
_LONGEST = 54
"""Characters of the name beside a bar."""
_NONE = "(no role)"


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a bar per name for its self time, within an outline for its total time, the longest self time first.

    Args:
        frame: `RANGES_BY_NAME`; each of several traces has its own picture.
    """
    timed = frame.filter(pl.col("self_ns") > 0).with_columns(pl.col("role").fill_null(_NONE))
    if timed.is_empty():
        raise NothingToDraw("--plot: ranges has no GPU time to draw")
    traces = ["trace"] if "trace" in timed.columns else []
    ranked = timed.sort("self_ns", descending=True, maintain_order=True)
    shown = ranked.group_by(traces, maintain_order=True).head(_MOST) if traces else ranked.head(_MOST)
    roles = shown["role"].unique(maintain_order=True).to_list()
    roles.sort(key=lambda role: role == _NONE)
    shown_share = 100 * int(shown["self_ns"].sum()) / int(timed["self_ns"].sum())
    title = alt.TitleParams(
        "GPU time by range",
        subtitle=[
            "sum of durations of what was launched right inside; outline: with nested ranges",
            f"{shown.height:,} of {timed.height:,} names with self time: {shown_share:z.1f}% of all GPU time",
        ],
    )
    return configured(picture_per_trace(shown, lambda part: _bars(part, roles), title))


def _bars(top: pl.DataFrame, roles: list[str]) -> Picture:
    twice = top["range"].is_duplicated()
    names = [
        ellipsized(printable(f"{name} [{domain or 'default'}]" if again else name), _LONGEST)
        for (name, domain), again in zip(top.select("range", "domain").iter_rows(), twice, strict=True)
    ]
    data = top.select(
        pl.Series("range", distinct_names(names), dtype=pl.String), "role", "instances",
        milliseconds("total_ns"), milliseconds("self_ns"),
    )  # fmt: skip
    encoded = alt.Chart(data).encode(
        y=alt.Y("range:N", sort=data["range"].to_list(), title=None, axis=alt.Axis(labelLimit=400, labelFontSize=10)),
        tooltip=[
            alt.Tooltip("range:N"),
            alt.Tooltip("role:N"),
            alt.Tooltip("instances:Q", format=","),
            alt.Tooltip("total_ms:Q", title="total, ms", format=",.3f"),
            alt.Tooltip("self_ms:Q", title="self, ms", format=",.3f"),
        ],
    )
    x = alt.X("total_ms:Q", title="GPU time, sum of durations (ms)", axis=alt.Axis(tickCount=8))
    colour = alt.Color("role:N", scale=colours("role", roles), sort=roles, title="role")
    total = encoded.mark_bar(fill="white", stroke="#777", strokeWidth=0.8).encode(x=x)
    own = encoded.mark_bar().encode(x="self_ms:Q", color=colour)
    return alt.layer(total, own).properties(width=WIDTH, height=_BAR * data.height)
