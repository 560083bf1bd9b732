"""Time of a step against size: measured points, fitted curves, and where attention overtakes convolution."""

from __future__ import annotations

from math import ceil, floor, isqrt, log2, log10

import altair as alt
import polars as pl

from ttinsys.analyses.scaling import SCALING_BY
from ttinsys.figures.style import HEIGHT, ROLE_COLOURS, WIDTH, NothingToDraw, colours, configured, milliseconds

_LINES = 8
"""Most curves of a panel: attention first, then those that take longest at any size."""
_SAMPLES = 40
"""Points of a curve."""
_BEYOND = 2
"""Greatest crossover that is drawn, as a factor of the greatest size; the subtitle names all."""

_FAMILIES = {
    "attention": ROLE_COLOURS["spatial_attention"],
    "convolution": ROLE_COLOURS["spatial_conv"],
    "linear": ROLE_COLOURS["linear"],
    "norm": ROLE_COLOURS["group_norm"],
    "other": ROLE_COLOURS["other"],
}


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a panel per series, with logarithmic axes: a line of slope p grows as n^p.

    Args:
        frame: `SCALING`, with all its points.
    """
    timed = frame.filter(pl.col("time_ns") > 0)
    by = next((name for name in SCALING_BY if frame[name].null_count() < frame.height), None)
    if by is None or timed["n"].n_unique() < 2:
        raise NothingToDraw("--plot: scaling draws several sizes: leave out --fits")
    peak = pl.col("time_ns").max()
    every = timed.group_by(by).agg(peak).sort("time_ns", by, descending=[True, False])[by].to_list()
    attention = [name for name in every if name.endswith("_attention")]
    kept = {*attention, *[name for name in every if name not in attention][: max(0, _LINES - len(attention))]}
    shown = [name for name in every if name in kept]
    timed = timed.filter(pl.col(by).is_in(shown))
    series = timed["series"].unique(maintain_order=True).to_list()
    sizes = sorted(set(timed["n"]))
    over = timed["over"][0]
    low, high = timed["time_ns"].min(), timed["time_ns"].max()
    y = alt.Scale(type="log", domain=[_number(low) / 1.3e6, _number(high) * 1.3 / 1e6], nice=False)
    right = max([float(sizes[-1]), *(at for at in timed["crossover"].drop_nulls() if at <= _BEYOND * sizes[-1])])
    x = alt.Scale(type="log", domain=[sizes[0] * 0.9, right * 1.1], nice=False)
    width = max(200, WIDTH // len(series))
    panels = [
        _panel(timed.filter(pl.col("series") == name), by, shown, x, y, sizes, right).properties(
            width=width,
            height=HEIGHT,
            title=alt.TitleParams(_series_title(name), subtitle=_crossing(timed, name, over), fontSize=12, offset=8),
        )
        for name in series
    ]
    left = f"{len(shown)} of {len(every)}; " if len(every) > len(shown) else ""
    subtitle = f"{left}points: measured; lines: constant + linear + quadratic term, fitted; both axes logarithmic"
    return configured(
        alt.hconcat(*panels, spacing=24).properties(
            title=alt.TitleParams(f"GPU time of one step against {over}, by {by}", subtitle=subtitle, offset=14)
        )
    )


def _panel(
    points: pl.DataFrame, by: str, shown: list[str], x: alt.Scale, y: alt.Scale, sizes: list[int], right: float
) -> alt.LayerChart:
    """The points, curves and crossover of one series."""
    over = points["over"][0]
    colour = alt.Color(f"{by}:N", scale=_scale(by, shown), sort=shown, title=by)
    axis_y = alt.Axis(values=_round(y.domain), format="~g")
    labels = "round(sqrt(datum.value)) + '²'" if over == "pixels" and _squares(sizes) else alt.Undefined
    axis = alt.Axis(values=_apart(sizes), labelExpr=labels, format=",d", labelOverlap=False, grid=False)
    where = {
        "x": alt.X("n:Q", scale=x, axis=axis, title=over),
        "y": alt.Y("time_ms:Q", scale=y, axis=axis_y, title="sum of durations per step (ms)"),
        "color": colour,
    }
    tooltip = [
        alt.Tooltip(f"{by}:N"),
        alt.Tooltip("n:Q", title=over, format=",d"),
        alt.Tooltip("time_ms:Q", title="ms", format=",.4f"),
        alt.Tooltip("fitted_ms:Q", title="fitted ms", format=",.4f"),
        alt.Tooltip("exponent:Q", format=".2f"),
        alt.Tooltip("trace:N"),
    ]
    data = points.select(
        by, "n", "exponent", "trace", "off", milliseconds("time_ns"), milliseconds("fitted_ns")
    ).with_columns(pl.col("off").fill_null(value=False))
    layers: list[alt.Chart] = []
    curves = _curves(points, by, right)
    if not curves.is_empty():
        dashes = alt.StrokeDash("beyond:N", scale=alt.Scale(domain=[False, True], range=[[1, 0], [3, 3]]), legend=None)
        layers.append(
            alt.Chart(curves).mark_line(strokeWidth=1.6, clip=True).encode(**where, strokeDash=dashes, detail=f"{by}:N")
        )
    shape = alt.Shape("off:N", scale=alt.Scale(domain=[False, True], range=["circle", "cross"]), legend=None)
    layers.append(
        alt.Chart(data).mark_point(filled=True, size=46, opacity=1).encode(**where, shape=shape, tooltip=tooltip)
    )
    at = points["crossover"][0]
    if at is not None and sizes[0] <= at <= right:
        rule = pl.DataFrame({"n": [at]})
        layers.append(alt.Chart(rule).mark_rule(color="#555", strokeDash=[5, 3]).encode(x=where["x"]))
    return alt.LayerChart(layer=layers)


def _curves(points: pl.DataFrame, by: str, right: float) -> pl.DataFrame:
    """The fitted curves at sizes with even ratios; `beyond` is true past the greatest measured size."""
    fitted = points.filter(pl.col("fitted_ns").is_not_null()).unique(by, keep="last", maintain_order=True)
    first, last = points["n"].min(), points["n"].max()
    ends = [(False, _number(first), _number(last))]
    ends += [(True, _number(last), right)] if right > _number(last) else []
    grid = pl.DataFrame(
        [
            (beyond, start * (end / start) ** (step / _SAMPLES))
            for beyond, start, end in ends
            for step in range(_SAMPLES + 1)
        ],
        schema={"beyond": pl.Boolean, "at": pl.Float64},
        orient="row",
    )
    ratio = pl.col("at") / pl.col("n")
    time = pl.col("constant_ns") + pl.col("linear_ns") * ratio + pl.col("quadratic_ns") * ratio**2
    return fitted.join(grid, how="cross").select(by, "beyond", pl.col("at").alias("n"), (time / 1e6).alias("time_ms"))


def _crossing(timed: pl.DataFrame, name: str, over: str) -> list[str]:
    """Two lines about where attention overtakes convolution."""
    row = timed.filter(pl.col("series") == name).row(0, named=True)
    at = row["crossover"]
    if at is None:
        return ["attention does not overtake convolution", row["crossover_is"].removeprefix("none ")]
    size = f"{round(at**0.5):,}² pixels" if over == "pixels" else f"{at:,.0f} {over}"
    beyond = "" if row["crossover_is"] == "within sizes" else " (extrapolated)"
    return ["attention overtakes convolution", f"at {size}{beyond}"]


def _series_title(series: str) -> str:
    """Title of a series: its settings; a single one without its name."""
    return series if "," in series else series.partition("=")[2] or ("" if series == "all" else series)


def _scale(by: str, shown: list[str]) -> alt.Scale:
    if by != "family":
        return colours(by, shown)
    return alt.Scale(domain=shown, range=[_FAMILIES.get(name, "#d9d9d9") for name in shown])


def _squares(sizes: list[int]) -> bool:
    return all(isqrt(size) ** 2 == size for size in sizes)


def _apart(sizes: list[int]) -> list[int]:
    """Sizes whose labels do not overlap on a logarithmic axis."""
    kept: list[int] = []
    least = log2(sizes[-1] / sizes[0]) / 12
    for size in sizes:
        if not kept or log2(size / kept[-1]) >= least:
            kept.append(size)
    return kept


def _round(ends: list[float]) -> list[float]:
    """1, 2 and 5 times powers of ten between the ends of an axis."""
    low, high = ends
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    return [value for power in powers for first in (1, 2, 5) if low <= (value := first * 10.0**power) <= high]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
