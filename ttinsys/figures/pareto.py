"""Points of time against FID, and the front: those that no other point beats in both."""

from __future__ import annotations

from typing import Any

import altair as alt
import polars as pl

from ttinsys.figures.style import HEIGHT, WIDTH, NothingToDraw, configured

_FRONT, _BEATEN = "#d55e00", "#0072b2"
_ON_FRONT, _BEHIND = "on the front", "beaten"


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One point per trace that has a FID on the data set that most of them have one on; lower left is best.

    Args:
        frame: `PARETO`.
    """
    known = frame.drop_nulls(["fid", "estimated_ns", "dataset"])
    if known.is_empty():
        raise NothingToDraw("--plot: pareto has no trace with a published FID to draw")
    dataset = known.group_by("dataset", maintain_order=True).len().sort("len", descending=True)["dataset"][0]
    data = _points(known.filter(pl.col("dataset") == dataset))
    x = alt.X(
        "seconds:Q",
        title="GPU time per picture, with the default steps (s)",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(tickCount=5),
    )
    y = alt.Y("fid:Q", title="FID, as published", scale=alt.Scale(zero=False, padding=24))
    best = data.filter(pl.col("place") == _ON_FRONT).sort("seconds")
    front = alt.Chart(best).mark_line(interpolate="step-after", strokeDash=[4, 3], color=_FRONT).encode(x=x, y=y)
    left_out = frame.height - data.height
    rest = f"; {left_out} of {frame.height} traces have none on it" if left_out else ""
    title = alt.TitleParams(
        "Quality against cost: lower left is best",
        subtitle=[
            f"FID on {dataset}{rest}",
            "time: the trace's steps, scaled to the default number; FID: of the paper's model, not of this run",
        ],
    )
    layers = alt.layer(front, _circles(data, x, y), *_names(data, x, y))
    return configured(layers.properties(width=WIDTH, height=HEIGHT, title=title))


def _points(known: pl.DataFrame) -> pl.DataFrame:
    """What is drawn of each trace; the attention is named where a model has several."""
    several = pl.col("attention").n_unique().over("model") > 1
    return known.select(
        "model",
        "fid",
        "fid_of",
        "attention",
        (pl.col("estimated_ns") / 1e9).alias("seconds"),
        (pl.col("parameters") / 1e9).alias("billions"),
        pl.when("front").then(pl.lit(_ON_FRONT)).otherwise(pl.lit(_BEHIND)).alias("place"),
        pl.when(several).then(pl.format("{} ({})", "model", "attention")).otherwise("model").alias("label"),
        (pl.int_range(pl.len()).over("model") % 2 == 1).alias("below"),
    )


def _circles(data: pl.DataFrame, x: alt.X, y: alt.Y) -> Any:
    places = alt.Scale(domain=[_ON_FRONT, _BEHIND], range=[_FRONT, _BEATEN])
    size = alt.Size(
        "billions:Q",
        title="parameters (billions)",
        legend=alt.Legend(tickCount=3),
        scale=alt.Scale(range=[60, 500]),
    )
    tooltip = [
        alt.Tooltip("model:N"),
        alt.Tooltip("attention:N"),
        alt.Tooltip("seconds:Q", format=",.3f", title="s"),
        alt.Tooltip("fid:Q", title="FID"),
        alt.Tooltip("fid_of:N", title="FID of"),
        alt.Tooltip("billions:Q", format=",.2f", title="billion parameters"),
    ]
    return (
        alt.Chart(data)
        .mark_circle(opacity=0.9, stroke="white", strokeWidth=1)
        .encode(x=x, y=y, size=size, color=alt.Color("place:N", title=None, scale=places), tooltip=tooltip)
    )


def _names(data: pl.DataFrame, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Names beside points: captures of one model have one FID, so theirs stand above and below in turn."""
    return [
        alt.Chart(data.filter(pl.col("below") == below))
        .mark_text(dy=20 if below else -18, fontSize=10, color="#222")
        .encode(x=x, y=y, text="label:N")
        for below in (False, True)
    ]
