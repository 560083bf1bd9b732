"""Bars of the parameters of models, coloured by the purpose of their components."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, configured

_PURPOSES = {
    "generator": "#0072b2",
    "text or image encoder": "#009e73",
    "autoencoder": "#e69f00",
}
_ENCODER, _AUTOENCODER = "_encoder", ("vae", "vqvae", "movq")


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a bar per model, the largest first, divided by component.

    Args:
        frame: `ttinsys.published.taxonomy.TAXONOMY`.
    """
    if frame["parameters"].sum() == 0:
        raise NothingToDraw("--plot: taxonomy has no parameters to draw")
    component = pl.col("component")
    purpose = (
        pl.when(component.str.contains(_ENCODER, literal=True))
        .then(pl.lit("text or image encoder"))
        .when(component.is_in(_AUTOENCODER))
        .then(pl.lit("autoencoder"))
        .otherwise(pl.lit("generator"))
    )
    data = frame.select(
        "model", "component", "architecture", (pl.col("parameters") / 1e9).alias("billions"), purpose.alias("purpose")
    )
    order = data.group_by("model").agg(pl.col("billions").sum()).sort("billions", descending=True)["model"].to_list()
    bars = (
        alt.Chart(data)
        .mark_bar(stroke="white", strokeWidth=0.5)
        .encode(
            y=alt.Y("model:N", sort=order, title=None),
            x=alt.X("sum(billions):Q", title="parameters (billions)"),
            color=alt.Color(
                "purpose:N",
                title=None,
                scale=alt.Scale(domain=list(_PURPOSES), range=list(_PURPOSES.values())),
            ),
            detail="component:N",
            tooltip=[
                alt.Tooltip("model:N"),
                alt.Tooltip("architecture:N"),
                alt.Tooltip("component:N"),
                alt.Tooltip("sum(billions):Q", format=",.3f", title="billion parameters"),
            ],
        )
    )
    return configured(
        bars.properties(
            width=WIDTH,
            height=max(70, 18 * len(order)),
            title=alt.TitleParams("Parameters of the models", subtitle="by component, as published"),
        )
    )
