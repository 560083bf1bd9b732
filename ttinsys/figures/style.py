"""Style of all figures: type, sizes, and one colour per role, operator and part wherever it appears.

Families have hues of Okabe and Ito's palette, which readers of any colour vision tell apart: attention is blue,
convolution orange, linear layers green, norms pink. Members of a family differ in lightness, so that they differ in
print. Unattributed time is light grey.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import altair as alt
import polars as pl

from ttinsys.render import OutputError, printable

Picture: TypeAlias = alt.LayerChart | alt.FacetChart

WIDTH, HEIGHT = 560, 320
"""Size of the drawn area of a figure, in pixels."""

ROLE_COLOURS = {
    "spatial_attention": "#0072b2",
    "temporal_attention": "#003f66",
    "spatiotemporal_attention": "#2b8cbe",
    "cross_attention": "#56b4e9",
    "joint_attention": "#084081",
    "self_attention": "#9ecae1",
    "spatial_conv": "#e69f00",
    "temporal_conv": "#b35806",
    "spatiotemporal_conv": "#d55e00",
    "pointwise_conv": "#fdc870",
    "linear": "#009e73",
    "group_norm": "#cc79a7",
    "layer_norm": "#a2487b",
    "rms_norm": "#e4b3cd",
    "activation": "#f0e442",
    "elementwise": "#c9bd1f",
    "embedding": "#8c6bb1",
    "rope": "#bcbddc",
    "resample": "#74c476",
    "rearrange": "#807d70",
    "scheduler": "#525252",
    "other": "#969696",
    "communication": "#7f3b08",
    "optimizer": "#35978f",
    "batch_norm": "#7a0177",
}

OPERATOR_COLOURS = {
    "gemm": ROLE_COLOURS["linear"],
    "conv": ROLE_COLOURS["spatial_conv"],
    "flash_attention": ROLE_COLOURS["spatial_attention"],
    "softmax": ROLE_COLOURS["cross_attention"],
    "group_norm": ROLE_COLOURS["group_norm"],
    "layer_norm": ROLE_COLOURS["layer_norm"],
    "rms_norm": ROLE_COLOURS["rms_norm"],
    "batch_norm": ROLE_COLOURS["batch_norm"],
    "elementwise": ROLE_COLOURS["elementwise"],
    "reduce": "#f0e442",
    "copy": ROLE_COLOURS["rearrange"],
    "memcpy": "#525252",
    "memset": "#bdbdbd",
    "index": ROLE_COLOURS["embedding"],
    "resample": ROLE_COLOURS["resample"],
    "graph": "#d55e00",
    "nccl": "#b35806",
    "triton_pointwise": "#c9bd1f",
    "triton_reduction": "#e4b3cd",
    "triton_persistent_reduction": "#cc79a7",
    "triton_template": "#74c476",
    "quantize": "#e6ab02",
    "other": "#969696",
}

PART_COLOURS = {
    "qk": "#0072b2",
    "softmax": "#56b4e9",
    "av": "#003f66",
    "fused_sdpa": "#2b8cbe",
    "projection": ROLE_COLOURS["linear"],
    "layout": ROLE_COLOURS["rearrange"],
    "other": "#969696",
}

COLOURS = {"role": ROLE_COLOURS, "operator": OPERATOR_COLOURS, "part": PART_COLOURS}
"""Colour of each value, by column."""

ABSENT = "#d9d9d9"
"""Colour of rows without a value, such as unattributed time."""

_MORE = ("#332288", "#117733", "#ddcc77", "#cc6677", "#882255", "#44aa99", "#aa4499", "#88ccee", "#999933")
"""Colours of Tol's muted palette, for values that have none of their own."""


class NothingToDraw(OutputError):
    """A table has nothing that its figure could show."""


def colours(column: str, values: Sequence[Any]) -> alt.Scale:
    """The scale that gives each value its colour, the same in every figure.

    Args:
        column: column of the values: `role`, `operator`, `part`, or another one.
        values: those in the figure, in the order of the legend.
    """
    own = COLOURS.get(column, {})
    spare = iter(_MORE * (len(values) // len(_MORE) + 1))
    range_ = [own.get(value) or (ABSENT if str(value).startswith("(") else next(spare)) for value in values]
    return alt.Scale(domain=list(values), range=range_)


def configured(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """The chart with the type and lines of all figures."""
    return chart.configure(  # type: ignore[no-any-return]
        font="Helvetica, Arial, sans-serif",
        background="white",
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", gridColor="#e8e8e8",
                            domainColor="#888", tickColor="#888", labelLimit=260),
        legend=alt.LegendConfig(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", labelLimit=260),
        title=alt.TitleConfig(fontSize=14, anchor="start", fontWeight="bold", subtitleFontSize=11,
                              subtitleColor="#555"),
        header=alt.HeaderConfig(labelFontSize=11, titleFontSize=12),
    )  # fmt: skip


def short_traces(traces: pl.Series) -> pl.Series:
    """Names of traces for legends, as `trace_labels` makes them."""
    names = traces.unique(maintain_order=True).drop_nulls().to_list()
    return traces.replace(dict(zip(names, trace_labels(names), strict=True)))


def trace_labels(names: Sequence[str]) -> list[str]:
    """Names of traces without the folders that all share, and, where they stay distinct, without suffixes."""
    common = os.path.commonpath([os.path.dirname(name) for name in names]) if names else ""  # noqa: PTH120
    own = [name[len(common) :].lstrip("/") for name in names]
    stems = [_stem(name) for name in own]
    return stems if len(set(stems)) == len(set(names)) else own


def _stem(name: str) -> str:
    return name.removesuffix(".sqlite").removesuffix("_pqtdir").removesuffix("_arwdir").removesuffix(".nsys-rep")


def milliseconds(column: str) -> pl.Expr:
    """A column of nanoseconds in milliseconds, under a name that ends in `_ms`."""
    return (pl.col(column) / 1e6).alias(column.removesuffix("_ns") + "_ms")


def numbers_at_bars(bars: alt.Chart, field: str, text: alt.Text, start: float = 0) -> list[alt.Chart]:
    """Numbers beside bars that go to the left and to the right.

    Args:
        bars: what the bars show, encoded.
        field: of their ends.
        text: what is written.
        start: value at which bars begin.
    """
    sides: tuple[tuple[str, Literal["left", "right"], int], ...] = (("<", "right", -3), (">=", "left", 3))
    return [
        bars.transform_filter(f"datum.{field} {sign} {start}")
        .mark_text(align=align, dx=dx, fontSize=10, color="#333")
        .encode(x=f"{field}:Q", text=text)
        for sign, align, dx in sides
    ]


def picture_per_trace(
    frame: pl.DataFrame, draw_one: Callable[[pl.DataFrame], Picture], title: alt.TitleParams
) -> alt.TopLevelMixin:
    """A picture per trace: one below the other, each with its name, where there are several.

    Args:
        frame: the table, with a column `trace` where there are several traces.
        draw_one: draws the rows of one trace.
        title: title of the whole figure.
    """
    if "trace" not in frame.columns:
        return draw_one(frame).properties(title=title)
    parts = frame.with_columns(short_traces(frame["trace"]).alias("trace")).partition_by("trace", maintain_order=True)
    drawn = [
        draw_one(part).properties(title=alt.TitleParams(printable(part["trace"][0]), fontSize=12)) for part in parts
    ]
    return alt.vconcat(*drawn).properties(title=title)
