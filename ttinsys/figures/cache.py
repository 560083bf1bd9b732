"""Bars of the hit rates of both caches, by kind of kernel and role of attention."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, colours, configured
from ttinsys.measures.sums import weighted

_SHOWN = 8
"""Most operators that are drawn: those that take the most time."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a panel per cache, with a group of bars per operator and a bar per role of attention.

    Args:
        frame: `CACHE`. Other roles are drawn where no attention was profiled.
    """
    measured = frame.filter(pl.col("l1_hit_ratio").is_not_null() | pl.col("l2_hit_ratio").is_not_null())
    attention = measured.filter(pl.col("role").str.ends_with("_attention"))
    chosen = measured if attention.is_empty() else attention
    if chosen.is_empty():
        raise NothingToDraw("--plot: cache has no hit rate to draw")
    data = _rates(chosen)
    slowest = data.group_by("operator").agg(pl.col("sum_ns").sum()).sort("sum_ns", descending=True)["operator"]
    order = slowest.head(_SHOWN).to_list()
    panels = data.filter(pl.col("operator").is_in(order)).unpivot(
        ["L1", "L2"], index=["operator", "role", "instances"], variable_name="cache", value_name="percent"
    )
    title = alt.TitleParams(
        "Hit rates of the caches by kind of kernel",
        subtitle="Nsight Compute, mean over kernels weighted by their duration",
    )
    bars = _bars(panels, order).properties(width=WIDTH // 2, height=220)
    return configured(bars.facet(column=alt.Column("cache:N", title=None)).properties(title=title))


def _rates(kernels: pl.DataFrame) -> pl.DataFrame:
    """Hit rates in percent of both caches by operator and role, with `instances` and `sum_ns`."""
    caches = (("l1", "L1"), ("l2", "L2"))
    return (
        kernels.with_columns(pl.col("role").fill_null("(unknown)"))
        .group_by("operator", "role", maintain_order=True)
        .agg(
            *((100 * weighted(f"{cache}_hit_ratio", "sum_ns")).alias(heading) for cache, heading in caches),
            pl.col("instances", "sum_ns").sum(),
        )
    )


def _bars(data: pl.DataFrame, operators: list[str]) -> Any:
    roles = data["role"].unique(maintain_order=True).sort().to_list()
    encoded = alt.Chart(data.drop_nulls("percent")).encode(
        x=alt.X("operator:N", sort=operators, title=None, axis=alt.Axis(labelAngle=-30)),
        xOffset=alt.XOffset("role:N", sort=roles),
        y=alt.Y("percent:Q", title="sectors hit (%)", scale=alt.Scale(domain=[0, 100])),
    )
    bars = encoded.mark_bar().encode(
        color=alt.Color("role:N", scale=colours("role", roles), sort=roles, title="role"),
        tooltip=[
            alt.Tooltip("operator:N"),
            alt.Tooltip("role:N"),
            alt.Tooltip("cache:N"),
            alt.Tooltip("percent:Q", format=".1f", title="%"),
            alt.Tooltip("instances:Q", title="kernels"),
        ],
    )
    numbers = encoded.mark_text(dy=-5, fontSize=9, color="#333").encode(text=alt.Text("percent:Q", format=".0f"))
    return alt.layer(bars, numbers)
