"""Roofline: achieved FLOP/s over FLOPs per byte, below the limits of the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import Any, Literal, NamedTuple

import altair as alt
import polars as pl

from ttinsys.figures.style import HEIGHT, WIDTH, NothingToDraw, colours, configured, milliseconds, short_traces

_TALL = HEIGHT + 60
_LABELS = 8
"""Most points that are labelled, the longest first."""
_INTENSITY = "arithmetic intensity (FLOP per byte of least traffic)"
_WHOLE = 99.5
"""Percentage of GPU time from which on the points hold all of it."""
_REST = "the rest has no annotated FLOPs, such as norms, activations and copies"
_SMALLEST, _LARGEST = 20, 900
"""Areas of points, in square pixels."""
_FEW = 30
"""Most points among which there is room for large ones."""
_ROOFS = 2
"""Most peaks of a device that are drawn; of more, the highest and the lowest."""


class _Frame(NamedTuple):
    """Limits of both axes: powers of ten."""

    left: float
    right: float
    bottom: float
    top: float

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Position of a point in pixels, from the lower left."""
        across = (log10(x) - self.left) / (self.right - self.left)
        return across * WIDTH, (log10(y) - self.bottom) / (self.top - self.bottom) * _TALL

    def value(self, x: float, y: float) -> tuple[float, float]:
        """The point at a position in pixels."""
        across = 10 ** (self.left + x / WIDTH * (self.right - self.left))
        return across, 10 ** (self.bottom + y / _TALL * (self.top - self.bottom))


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Draw a point per row with FLOPs, as large as its time, and the roof of each device.

    Args:
        frame: `ROOFLINE`, of one trace or several.
    """
    points = frame.filter((pl.col("intensity") > 0) & (pl.col("flops_per_s") > 0))
    if points.is_empty():
        raise NothingToDraw("--plot: roofline has no row with operations and GPU time")
    coloured = "role" if frame["role"].null_count() < frame.height else "component"
    data = _data(points, coloured)
    roofs = points.select(pl.col("peak_flops_per_s", "bandwidth_bytes_per_s") / 1e12).drop_nulls(
        "bandwidth_bytes_per_s"
    )
    limits = _limits(data, roofs)
    largest = _LARGEST if data.height <= _FEW else _LARGEST / 4
    whole = int(frame["gpu_ns"].sum())
    share = 100 * int(points["gpu_ns"].sum()) / whole if whole else 0.0
    title = alt.TitleParams(
        f"Roofline by {_row_kind(frame)}",
        subtitle=f"points hold {share:z.0f}% of GPU time" + ("" if share > _WHOLE else f"; {_REST}"),
    )
    layers = [
        *_roof_layers(roofs, limits),
        _circles(data, coloured, limits, largest),
        *_labels(data, roofs, limits, largest),
    ]
    return configured(alt.layer(*layers).properties(width=WIDTH, height=_TALL, title=title))


def _data(points: pl.DataFrame, coloured: str) -> pl.DataFrame:
    """The columns that are drawn, the longest row first."""
    traces = short_traces(points["trace"]) if "trace" in points.columns else pl.lit("")
    return (
        points.with_columns(traces.alias("trace"))
        .sort("gpu_ns", descending=True)
        .select(
            coloured,
            pl.coalesce("module", coloured).alias("label"),
            "intensity",
            (pl.col("flops_per_s") / 1e12).alias("tflops"),
            milliseconds("gpu_ns"),
            (100 * pl.col("mfu")).alias("mfu"),
            (100 * pl.col("bandwidth_share")).alias("bandwidth"),
            "bound",
            "trace",
        )
    )


def _circles(data: pl.DataFrame, coloured: str, limits: _Frame, largest: float) -> Any:
    """The points, with areas up to `largest`; each of several traces has its own shape."""
    order = data[coloured].unique(maintain_order=True).to_list()
    several = data["trace"].n_unique() > 1
    across = alt.Scale(type="log", domain=[10**limits.left, 10**limits.right], nice=False)
    up = alt.Scale(type="log", domain=[10**limits.bottom, 10**limits.top], nice=False)
    axis = alt.Axis(format="~g")
    encoding = {
        "x": alt.X("intensity:Q", title=_INTENSITY, scale=across, axis=axis),
        "y": alt.Y("tflops:Q", title="achieved (TFLOP/s)", scale=up, axis=axis),
        "size": alt.Size("gpu_ms:Q", title="GPU time (ms)", scale=alt.Scale(type="sqrt", range=[_SMALLEST, largest])),
        "color": alt.Color(f"{coloured}:N", sort=order, scale=colours(coloured, order), title=coloured),
        "tooltip": [
            *([alt.Tooltip("trace:N")] if several else []),
            alt.Tooltip("label:N", title=coloured),
            alt.Tooltip("gpu_ms:Q", title="GPU time (ms)", format=",.3f"),
            alt.Tooltip("intensity:Q", format=",.2f"),
            alt.Tooltip("tflops:Q", title="TFLOP/s", format=",.2f"),
            alt.Tooltip("mfu:Q", title="% of peak", format=".1f"),
            alt.Tooltip("bandwidth:Q", title="% of bandwidth", format=".1f"),
            alt.Tooltip("bound:N"),
        ],
    }
    if several:
        encoding["shape"] = alt.Shape("trace:N", sort=None, title="trace")
    return alt.Chart(data).mark_point(filled=True, opacity=0.8, stroke="white", strokeWidth=1).encode(**encoding)


def _row_kind(frame: pl.DataFrame) -> str:
    if frame["module"].null_count() < frame.height:
        return "layer"
    return "role" if frame["role"].null_count() < frame.height else "component"


def _limits(data: pl.DataFrame, roofs: pl.DataFrame) -> _Frame:
    """Axes that hold all points, and the roof on both sides of its ridge."""
    ridge = (roofs["peak_flops_per_s"] / roofs["bandwidth_bytes_per_s"]).drop_nulls().to_list()
    across = data["intensity"].to_list() + [2.5 * value for value in ridge]
    up = data["tflops"].to_list() + roofs["peak_flops_per_s"].drop_nulls().to_list()
    left, bottom = log10(min(across)) - 0.35, log10(min(up)) - 0.35
    return _Frame(left, log10(max(across)) + 0.35, bottom, log10(max(up)) + 0.3)


def _roof_layers(roofs: pl.DataFrame, limits: _Frame) -> list[alt.Chart]:
    """Lines of the roofs with their names, and the ridges."""
    left, right = 10**limits.left, 10**limits.right
    lines, feet, tops, ridges = [], [], [], []
    for bandwidth in sorted(set(roofs["bandwidth_bytes_per_s"].to_list())):
        peaks = roofs.filter(pl.col("bandwidth_bytes_per_s") == bandwidth)["peak_flops_per_s"].drop_nulls()
        # Weighted means of peaks differ in their last digits where the types do not.
        distinct = sorted({float(f"{peak:.4g}") for peak in peaks.to_list()})
        start = max(left, 10**limits.bottom / bandwidth)
        for peak in distinct if len(distinct) <= _ROOFS else [distinct[0], distinct[-1]]:
            ridge = peak / bandwidth
            corners = ((start, start * bandwidth), (ridge, peak), (right, peak))
            lines += [{"roof": f"{bandwidth} {peak}", "intensity": x, "tflops": y} for x, y in corners]
            tops.append({"intensity": right, "tflops": peak, "text": f"{peak:,.4g} TFLOP/s"})
            ridges.append({"intensity": ridge, "text": f"ridge {ridge:,.0f}"})
        if not distinct:
            ends = (start, min(right, 10**limits.top / bandwidth))
            lines += [{"roof": f"{bandwidth}", "intensity": x, "tflops": x * bandwidth} for x in ends]
        feet.append({"intensity": start, "tflops": start * bandwidth, "text": f"{1000 * bandwidth:,.4g} GB/s"})
    return _drawn_roofs(lines, feet, tops, ridges) if lines else []


_FOOT: dict[str, Any] = {"align": "left", "dx": 14, "dy": 6}
_TOP: dict[str, Any] = {"align": "right", "dx": -2, "dy": -7}
"""Where the names of bandwidths and of peaks stand, relative to their points."""


def _drawn_roofs(
    lines: list[dict[str, object]],
    feet: list[dict[str, object]],
    peaks: list[dict[str, object]],
    ridges: list[dict[str, object]],
) -> list[alt.Chart]:
    roof = alt.Chart(pl.DataFrame(lines)).mark_line(color="#444", strokeWidth=1.5).encode(
        x="intensity:Q", y="tflops:Q", detail="roof:N"
    )  # fmt: skip
    drawn = [roof]
    for names, mark in ((feet, _FOOT), (peaks, _TOP)):
        if names:
            base = alt.Chart(pl.DataFrame(names)).encode(x="intensity:Q", y="tflops:Q", text="text:N")
            drawn.append(base.mark_text(**mark, color="#444"))
    if ridges:
        base = alt.Chart(pl.DataFrame(ridges)).encode(x="intensity:Q")
        drawn.append(base.mark_rule(color="#888", strokeDash=[3, 3]))
        text = base.encode(text="text:N", y=alt.value(_TALL - 6))
        drawn.append(text.mark_text(align="left", dx=4, color="#666"))
    return drawn


_LONGEST = 26
"""Most characters of a name that stands beside its point."""
_CHARACTER, _LINE = 5.8, 12
"""Width of a character and height of a line of a label, in pixels."""


def _labels(data: pl.DataFrame, roofs: pl.DataFrame, limits: _Frame, largest: float) -> list[alt.Chart]:
    """Names beside the longest points, where there is room: no label covers a point or another label.

    Of long names, numbers stand beside the points; the lower right corner, where few points are, has the names.
    """
    longest = data["gpu_ms"].to_list()[0]
    size = [
        (*limits.pixel(x, y), 1 + (_SMALLEST + (largest - _SMALLEST) * ms / longest) ** 0.5 / 2)
        for x, y, ms in data.select("intensity", "tflops", "gpu_ms").iter_rows()
    ]
    taken = [(x - r, y - r, x + r, y + r) for x, y, r in size]
    taken += [(x - 4, y - 4, x + 4, y + 16) for x, y in _along(roofs, limits)]
    names = data["label"].to_list()
    numbered = max(map(len, names)) > _LONGEST
    placed: list[dict[str, object]] = []
    explained: list[str] = []
    for (x, y, r), name in zip(size, names, strict=True):
        if len(placed) == _LABELS:
            break
        text = f"{len(placed) + 1}" if numbered else name
        width = _CHARACTER * len(text)
        boxes = ((left, low, left + width, low + _LINE) for left, low in _beside(x, y, r, width))
        box = next((box for box in boxes if _inside(box) and not any(_overlap(box, other) for other in taken)), None)
        if box is None:
            continue
        taken.append(box)
        at = limits.value(box[0], box[1] + _LINE / 2)
        placed.append({"intensity": at[0], "tflops": at[1], "text": text})
        explained.append(f"{text}  {name}")
    drawn = _written(placed, align="left", bold=numbered) if placed else []
    if not numbered or not placed:
        return drawn
    corner = [limits.value(WIDTH - 6, 12 + 14 * row) for row in range(len(explained), 0, -1)]
    lines = zip(corner, explained, strict=True)
    return drawn + _written([{"intensity": x, "tflops": y, "text": text} for (x, y), text in lines], align="right")


def _written(rows: list[dict[str, object]], *, align: Literal["left", "right"], bold: bool = False) -> list[alt.Chart]:
    base = alt.Chart(pl.DataFrame(rows)).encode(x="intensity:Q", y="tflops:Q", text="text:N")
    weight: Literal["bold", "normal"] = "bold" if bold else "normal"
    halo = base.mark_text(align=align, fontSize=11, fontWeight=weight, stroke="white", strokeWidth=3)
    return [halo, base.mark_text(align=align, fontSize=11, fontWeight=weight, color="#222")]


def _beside(x: float, y: float, r: float, width: float) -> Sequence[tuple[float, float]]:
    """Lower left corners that a label may have, the best first."""
    middle = x - width / 2
    return (
        (x + r + 3, y - _LINE / 2),
        (x - r - 3 - width, y - _LINE / 2),
        (middle, y + r + 2),
        (middle, y - r - 2 - _LINE),
        (x + r, y + r),
        (x + r, y - r - _LINE),
        (x - r - width, y + r),
        (x - r - width, y - r - _LINE),
    )


def _inside(box: Sequence[float]) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH and box[3] <= _TALL


def _along(roofs: pl.DataFrame, limits: _Frame) -> list[tuple[float, float]]:
    """Positions along the roofs, 8 pixels apart."""
    across = [limits.value(8 * step, 0)[0] for step in range(WIDTH // 8 + 1)]
    return [
        limits.pixel(x, min(peak or bandwidth * x, bandwidth * x))
        for peak, bandwidth in roofs.unique().iter_rows()
        for x in across
        if bandwidth * x > 10**limits.bottom
    ]


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
