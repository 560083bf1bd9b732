"""Bars of the hit rates of both caches, by kind of kernel and role of attention."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, colours, configured
from ttinsys.measures.sums import weighted

_SHOWN = 8
"""Kinds of kernels that there is room for: those that take the most time."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One panel for each cache, one group of bars for each operator, one bar for each attention role in it.

    Args:
        frame: `CACHE`. Roles that are not attention's are drawn where no attention was profiled.
    """
    told = frame.filter(pl.col("l1_hit_ratio").is_not_null() | pl.col("l2_hit_ratio").is_not_null())
    attention = told.filter(pl.col("role").str.ends_with("_attention"))
    chosen = told if attention.is_empty() else attention
    if chosen.is_empty():
        raise NothingToDraw("--plot: cache has no hit rate to draw")
    data = (
        chosen.with_columns(pl.col("role").fill_null("(unknown)"))
        .group_by("operator", "role", maintain_order=True)
        .agg(
            *(
                (100 * weighted(f"{cache}_hit_ratio", "sum_ns")).alias(heading)
                for cache, heading in (("l1", "L1"), ("l2", "L2"))
            ),
            pl.col("instances", "sum_ns").sum(),
        )
    )
    slowest = data.group_by("operator").agg(pl.col("sum_ns").sum()).sort("sum_ns", descending=True)["operator"]
    order = slowest.head(_SHOWN).to_list()
    data = data.filter(pl.col("operator").is_in(order)).unpivot(
        ["L1", "L2"], index=["operator", "role", "instances"], variable_name="cache", value_name="percent"
    )
    roles = data["role"].unique(maintain_order=True).sort().to_list()
    encoded = alt.Chart(data.drop_nulls("percent")).encode(
        x=alt.X("operator:N", sort=order, title=None, axis=alt.Axis(labelAngle=-30)),
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
    return configured(
        alt.layer(bars, numbers)
        .properties(width=WIDTH // 2, height=220)
        .facet(column=alt.Column("cache:N", title=None))
        .properties(
            title=alt.TitleParams(
                "Hit rates of the caches by kind of kernel",
                subtitle="Nsight Compute, mean over kernels weighted by their duration",
            )
        )
    )
