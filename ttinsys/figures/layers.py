"""An icicle: the tree of layers, each as wide as its GPU time, below the layer that contains it."""

from __future__ import annotations

import altair as alt
import polars as pl

from ttinsys.figures.style import WIDTH, NothingToDraw, Picture, colours, configured, picture_per_trace
from ttinsys.render import printable
from ttinsys.render.names import ellipsized

_MOST = 199
"""Most layers that are drawn; those left out below each layer, and at the top, are one box more."""
_LEVEL = 24
"""Height of a level, in pixels."""
_CHARACTER = 7
"""Width of a character, in pixels."""
_LEGIBLE = 3
"""Least number of characters of a label."""
_NONE = "(no role)"


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw boxes under boxes; each of several traces has its own icicle, all with one scale.

    Args:
        frame: `LAYERS`, whole or to some depth.
    """
    whole = frame.filter(pl.col("depth") == 0)
    widest = whole.group_by(_of_trace(frame)).agg(pl.col("total_ns").sum())["total_ns"].max()
    if not isinstance(widest, int) or widest <= 0:
        raise NothingToDraw("--plot: layers has no GPU time to draw")
    roles = _roles(frame)
    scale = alt.Scale(domain=[0, widest / 1e6], nice=False)

    def icicle(part: pl.DataFrame) -> Picture:
        return _icicle(_boxes(part, widest), scale, roles)

    title = alt.TitleParams(
        "GPU time by layer",
        subtitle="width: sum of durations of what was launched inside; …: smaller layers together",
    )
    return configured(picture_per_trace(frame, icicle, title))


def _of_trace(frame: pl.DataFrame) -> pl.Expr:
    return pl.col("trace") if "trace" in frame.columns else pl.lit("").alias("trace")


def _roles(frame: pl.DataFrame) -> list[str]:
    """Roles by their self time, the longest first; last, that of layers without a role."""
    ranked = frame.group_by(pl.col("role").fill_null(_NONE)).agg(pl.col("self_ns").sum()).sort("self_ns", "role")
    return [role for role in ranked["role"].reverse() if role != _NONE] + [_NONE]


def _boxes(layers: pl.DataFrame, widest: int) -> pl.DataFrame:
    """The boxes of one trace: the widest layers, and under each a box for all smaller ones together.

    Siblings stand next to each other in the order of the table, the longest first. The space to their right is the
    self time of the layer that contains them.
    """
    listed = layers.filter(pl.col("total_ns") > 0).with_row_index("row")
    # Less than a pixel cannot be seen. A layer that contains a kept one is no shorter and comes first: it is kept, too.
    visible = listed.filter(pl.col("total_ns") * WIDTH >= widest).sort("total_ns", "row", descending=[True, False])
    kept = {*visible.head(_MOST)["row"]}
    boxes: list[tuple[int, int, int, str, str, str]] = []
    free: list[int] = [0]  # by depth: where the next box begins
    rest: dict[int, tuple[int, int]] = {}  # by depth: time and number of the layers that are left out
    left_out: int | None = None
    columns = ("row", "depth", "total_ns", "name", "path", "role")
    for row, depth, total, name, path, role in [*listed.select(columns).iter_rows(), _END]:
        if left_out is not None and depth > left_out:
            continue
        for level in sorted(level for level in rest if level > depth):
            time, count = rest.pop(level)
            boxes.append((level, free[level], free[level] + time, "…", f"{count:,} smaller layers", _NONE))
        left_out = depth if row not in kept else None
        if row in kept:
            at = free[depth]
            boxes.append((depth, at, at + total, printable(name), printable(path or name), role or _NONE))
            free[depth:] = [at + total, at]
        else:
            time, count = rest.get(depth, (0, 0))
            rest[depth] = time + total, count + 1
    schema = {"depth": pl.Int64, "from": pl.Int64, "to": pl.Int64, "name": pl.String, "path": pl.String,
              "role": pl.String}  # fmt: skip
    milliseconds = (pl.col("from", "to") / 1e6, ((pl.col("to") - pl.col("from")) / 1e6).alias("ms"))
    return pl.DataFrame(boxes, schema=schema, orient="row").with_columns(*milliseconds)


_END = (-1, -1, 0, "", "", "")
"""A row after all layers, which closes them."""


def _icicle(boxes: pl.DataFrame, scale: alt.Scale, roles: list[str]) -> Picture:
    """Rectangles, with their names where these have room."""
    domain = scale.to_dict()["domain"][1]
    room = (pl.col("ms") / domain * WIDTH / _CHARACTER).cast(pl.Int64)
    labels = [
        ellipsized(name, space) if space >= _LEGIBLE else "" for name, space in boxes.select("name", room).iter_rows()
    ]
    data = boxes.with_columns(
        pl.Series("label", labels, dtype=pl.String),
        (pl.col("depth") * _LEVEL).alias("top"),
        ((pl.col("depth") + 1) * _LEVEL).alias("bottom"),
        ((pl.col("depth") + 0.5) * _LEVEL).alias("line"),
        ((pl.col("from") + pl.col("to")) / 2).alias("middle"),
        pl.col("role").is_in(_DARK).alias("dark"),
    )
    height = int(data["bottom"].max() or _LEVEL)  # type: ignore[arg-type]
    down = alt.Scale(domain=[0, height], reverse=True, nice=False)
    rectangles = (
        alt.Chart(data)
        .mark_rect(stroke="white", strokeWidth=0.7)
        .encode(
            x=alt.X(
                "from:Q", scale=scale, title="GPU time, sum of durations (ms)", axis=alt.Axis(grid=False, tickCount=8)
            ),
            x2="to:Q",
            y=alt.Y("top:Q", scale=down, axis=None),
            y2="bottom:Q",
            color=alt.Color("role:N", scale=colours("role", roles), sort=roles, title="role"),
            tooltip=[alt.Tooltip("path:N"), alt.Tooltip("role:N"), alt.Tooltip("ms:Q", format=",.3f")],
        )
    )
    names = (
        alt.Chart(data.filter(pl.col("label") != ""))
        .mark_text(fontSize=10, clip=True)
        .encode(
            x=alt.X("middle:Q", scale=scale),
            y=alt.Y("line:Q", scale=down),
            text="label:N",
            color=alt.condition("datum.dark", alt.value("white"), alt.value("#222")),
        )
    )
    return alt.layer(rectangles, names).properties(width=WIDTH, height=height)


_DARK = ("spatial_attention", "temporal_attention", "joint_attention", "temporal_conv", "layer_norm", "scheduler")
"""Roles whose colours need white letters."""
