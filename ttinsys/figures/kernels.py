"""Bars of the kernels that take most GPU time."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, Picture, colours, configured, milliseconds, picture_per_trace
from ttinsys.render import printable
from ttinsys.render.names import ellipsized
from ttinsys.tables.registry import distinct_names

_MOST = 25
"""Bars of a picture; all other kernels are one bar more."""
_BAR = 18
"""Height of a bar and the gap below it, in pixels."""
_LONGEST = 54
"""Characters of the name beside a bar."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a bar per kernel, the longest sum first, and one for all the others.

    Args:
        frame: `KERNELS_BY_NAME`; each of several traces has its own picture.
    """
    timed = frame.filter(pl.col("sum_ns") > 0)
    if timed.is_empty():
        raise NothingToDraw("--plot: kernels has no GPU time to draw")
    ranked = timed.group_by("operator").agg(pl.col("sum_ns").sum()).sort("sum_ns", "operator", descending=[True, False])
    operators = [*ranked["operator"].to_list(), *([_REST] if timed.height > _MOST else [])]
    title = alt.TitleParams("GPU time by kernel", subtitle="sum of durations; numbers: % of all GPU time")
    return configured(picture_per_trace(timed, lambda part: _bars(part, operators), title))


_REST = "(the rest)"


def _bars(kernels: pl.DataFrame, operators: list[str]) -> Picture:
    top, rest = kernels.head(_MOST), kernels.slice(_MOST)
    names = [ellipsized(printable(name or ""), _LONGEST) for name in top["name"]]
    data = top.select(
        "operator", "instances", "sum_ns", "share", pl.Series("kernel", distinct_names(names), dtype=pl.String)
    )
    if not rest.is_empty():
        sums = rest.select(
            pl.lit(_REST).alias("operator"), pl.col("instances", "sum_ns", "share").sum(),
            pl.lit(f"{rest.height:,} others").alias("kernel"),
        )  # fmt: skip
        data = pl.concat([data, sums.cast(dict(data.schema))])  # type: ignore[arg-type]
    data = data.with_columns(milliseconds("sum_ns"), (pl.col("share") * 100).alias("percent"))
    y = alt.Y("kernel:N", sort=data["kernel"].to_list(), title=None, axis=alt.Axis(labelLimit=400, labelFontSize=10))
    x = alt.X("sum_ms:Q", title="GPU time, sum of durations (ms)")
    bars = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            y=y,
            x=x,
            color=alt.Color("operator:N", scale=colours("operator", operators), sort=operators, title="operator"),
            tooltip=[
                alt.Tooltip("kernel:N"),
                alt.Tooltip("operator:N"),
                alt.Tooltip("instances:Q", format=","),
                alt.Tooltip("sum_ms:Q", title="ms", format=",.3f"),
            ],
        )
    )
    numbers = alt.Chart(data).mark_text(align="left", dx=3, fontSize=10, color="#444")
    numbers = numbers.encode(y=y, x=x, text=alt.Text("percent:Q", format=".1f"))
    return alt.layer(bars, numbers).properties(width=WIDTH, height=_BAR * data.height)
