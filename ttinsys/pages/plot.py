"""Draw the table of an analysis from Python: in a notebook, or into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from parsers import Trace
from ttinsys.figures import draw_figure, save_figure
from ttinsys.render import PICTURES, Destination, OutputError
from ttinsys.runner.registry import analysis_names, find
from ttinsys.runner.run import analyse

if TYPE_CHECKING:
    import altair as alt


def plot(
    what: str | pl.DataFrame, *traces: Trace, path: str | Path | None = None, force: bool = False, **options: Any
) -> alt.TopLevelMixin:
    """Draw an analysis of traces, or a table that an analysis returned.

        ttinsys.plot("breakdown", trace, by="operator")
        ttinsys.plot(ttinsys.breakdown(trace), path="breakdown.svg")

    Args:
        what: The name of an analysis, or a table with all the columns of one.
        *traces: Opened traces, for a name.
        path: A file to write as well; its suffix is one of svg, png, pdf, html (interactive) and json (Vega-Lite).
        force: Whether a file that exists is replaced.
        **options: Of the analysis, for a name.

    Returns:
        An Altair chart, which a notebook shows.

    Raises:
        TypeError: A table comes with traces or options, or has the columns of no analysis.
        NothingToDraw: No row could be drawn.
        OutputError: The file could not be written.
    """
    if isinstance(what, str):
        name, frame = what, analyse(what, *traces, **options)
    elif traces or options:
        raise TypeError("a table is drawn as it is: give the name of an analysis with traces or options")
    else:
        name, frame = analysis_of(what), what
    chart = draw_figure(name, frame)
    if path is not None:
        file = Path(path)
        suffix = file.suffix.removeprefix(".").lower()
        if suffix not in PICTURES:
            raise OutputError(f"{file}: name a file that ends in .{', .'.join(PICTURES)}")
        destination = Destination(suffix, file, force)
        destination.check()
        save_figure(chart, destination)
    return chart


def analysis_of(frame: pl.DataFrame) -> str:
    """The name of the analysis whose columns a table has.

    Raises:
        TypeError: It has the columns of none.
    """
    columns = set(frame.columns) - {"trace"}
    for name in analysis_names():
        if columns == set(find(name).returns.schema) - {"trace"}:
            return name
    raise TypeError("the table has not the columns of an analysis: pass what one returned, or an analysis' name")
