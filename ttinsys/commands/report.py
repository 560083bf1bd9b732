"""Write one HTML page with findings, figures and searchable tables.

ttinsys report run.sqlite -o report.html
ttinsys report eager.sqlite flash.sqlite compiled.sqlite -o report.html

The page needs no network to open.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ttinsys.commands.options import (
    each,
    output_options,
    progress,
    selection_options,
    trace_arguments,
)

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command()
@trace_arguments
@selection_options
@partial(output_options, formats=("html",))
def command(traces: tuple[Path, ...], nsys: str | None, selection: Selection, destination: Destination) -> None:
    """Run `ttinsys report`."""
    from ttinsys.attribution.select import apply_selection
    from ttinsys.figures.style import trace_labels
    from ttinsys.pages.report import report_page
    from ttinsys.render import emit_text
    from ttinsys.tables.registry import distinct_names

    opened = [(str(path), apply_selection(trace, selection)) for path, trace in each(traces, nsys)]
    # Pages are passed on: they show the names of traces, not their folders on this machine.
    names = distinct_names(trace_labels([name for name, _ in opened]))
    with progress("reading") as say:
        text = report_page(dict(zip(names, (trace for _, trace in opened), strict=True)), say)
    emit_text(text, destination)
