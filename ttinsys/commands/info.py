"""Show what a trace holds: capture, devices, processes, ranges and attributed GPU work.

ttinsys info run.sqlite
ttinsys info run.sqlite --format json
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ttinsys.commands.options import each, output_options, selection_options, trace_arguments

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command()
@trace_arguments
@selection_options
@partial(output_options, formats=("table", "json"))
def command(traces: tuple[Path, ...], nsys: str | None, selection: Selection, destination: Destination) -> None:
    """Run `ttinsys info`."""
    from ttinsys.render import emit_text
    from ttinsys.render.overview import OVERVIEW_TEXTS
    from ttinsys.tables.overview import overview

    # The overview has a note of its own on simulated traces.
    opened = each(traces, nsys, announce=False)
    overviews = [overview(trace, selection=selection) for _, trace in opened]
    emit_text(OVERVIEW_TEXTS[destination.format](overviews, destination), destination)
