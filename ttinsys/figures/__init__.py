"""Figures: one file per analysis draws its table, `default` draws any other, and this one writes what was drawn.

    frame = find("breakdown").run(trace).collect()
    save_figure(draw_figure("breakdown", frame), Destination("svg", Path("breakdown.svg")))

A figure is a pure function from the table of the analysis of its name to an Altair chart.
"""

from __future__ import annotations

import json
import math
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ttinsys.render import Destination, printable, write_to

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

    from parsers.schema import Table

SCALE = 2
"""Pixels of a PNG per pixel of the figure, for print."""


def figure_names() -> list[str]:
    """Names of the analyses that have a figure of their own."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in _SHARED)


_SHARED = ("default", "style")
"""Modules of this folder that are of no single analysis."""


def draw_figure(name: str, frame: pl.DataFrame, table: Table | None = None) -> alt.TopLevelMixin:
    """The figure of an analysis: its own, or bars where it has none.

    Args:
        name: of the analysis.
        frame: its rows.
        table: the declaration of its columns, from which bars take units and meanings.

    Raises:
        NothingToDraw: there is nothing that the figure could show.
    """
    from ttinsys.figures.style import NothingToDraw

    if frame.is_empty():
        raise NothingToDraw(f"--plot: {name} has no row to draw")
    if name not in figure_names():
        from ttinsys.figures.default import default_figure

        return default_figure(name, frame, table)
    drawn: alt.TopLevelMixin = import_module(f"{__name__}.{name}").draw(frame)
    return drawn


def svg(chart: alt.TopLevelMixin) -> str:
    """A chart as SVG; the `aria-label` of a mark says what it shows."""
    import vl_convert

    text: str = vl_convert.vegalite_to_svg(specification(chart))
    return text


def specification(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """A chart as Vega-Lite, data included, without what names and numbers of a trace could break."""
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        drawn: dict[str, Any] = _drawable(chart.to_dict())
    return drawn


def _drawable(value: Any) -> Any:
    """The value without what makes the renderer fail: characters that XML cannot hold, NaN, and long sorts."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_drawable(each) for each in value]
    if not isinstance(value, dict):
        return value
    order = value.get("sort")
    if isinstance(order, list) and len(order) > _SORTED:
        # Vega-Lite nests one conditional per value of a sort; a domain costs nothing.
        value = {**value, "sort": None, "scale": {"domain": order, **value.get("scale", {})}}
    return {key: _drawable(each) for key, each in value.items()}


_SORTED = 100
"""Most values of a sort that stays a sort."""


def save_figure(chart: alt.TopLevelMixin, destination: Destination) -> None:
    """Write a chart whole, or not at all.

    Args:
        chart: a figure, as `draw_figure` returns it.
        destination: where to write; its format is one of `ttinsys.render.PICTURES`.

    Raises:
        OutputError: it could not be written.
    """
    import vl_convert

    drawn = specification(chart)
    if destination.format == "svg":
        data = svg(chart).encode()
    elif destination.format == "png":
        data = vl_convert.vegalite_to_png(drawn, scale=SCALE)
    elif destination.format == "pdf":
        data = vl_convert.vegalite_to_pdf(drawn)
    elif destination.format == "html":
        data = _page(drawn).encode()
    else:
        data = json.dumps(drawn, indent=1).encode() + b"\n"
    write_to(destination, lambda file: file.write(data))


def _page(drawn: dict[str, Any]) -> str:
    """An interactive chart as one page that needs no network."""
    import vl_convert

    # Names come from strangers: nothing in them may end the script. The bundler undoes escapes, so it gets no names.
    spec = json.dumps(drawn).replace("<", "\\u003c")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>ttinsys</title></head>\n'
        '<body style="margin: 2em"><div id="vis"></div>\n'
        f'<script type="application/json" id="spec">{spec}</script>\n'
        f'<script type="module">{vl_convert.javascript_bundle(_SHOW)}</script>\n</body></html>\n'
    )


_SHOW = (
    'vegaEmbed("#vis", JSON.parse(document.getElementById("spec").textContent), '
    '{renderer: "svg", actions: {export: true, source: false, editor: false}});'
)
