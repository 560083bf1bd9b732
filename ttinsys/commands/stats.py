"""Print a report of `nsys stats` in a fraction of its time, with the same header and rows.

ttinsys stats --report nvtx_kern_sum --format csv run.sqlite
ttinsys stats --report cuda_gpu_kern_sum run_pqtdir
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ttinsys.commands.options import each, note, output_options, selection_options, trace_arguments
from ttinsys.stats import REPORT_NAMES

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command()
@trace_arguments
@click.option(
    "-r",
    "--report",
    "name",
    type=click.Choice(REPORT_NAMES),
    required=True,
    help="Print this report, by its name in nsys.",
)
@selection_options
@partial(output_options, formats=("table", "csv", "json"))
def command(
    traces: tuple[Path, ...], nsys: str | None, name: str, selection: Selection, destination: Destination
) -> None:
    """Run `ttinsys stats`."""
    import polars as pl

    from ttinsys.attribution.select import apply_selection
    from ttinsys.render import emit_text
    from ttinsys.render.nsys import NSYS_TEXTS
    from ttinsys.stats import stats_report
    from ttinsys.tables.registry import distinct_names

    report = stats_report(name)
    # A folder stands for the traces in it, so there may be more than arguments.
    opened = [trace for _, trace in each(traces, nsys)]
    labels = distinct_names([str(trace.path) for trace in opened])
    frames = []
    for label, trace in zip(labels, opened, strict=True):
        missing = report.missing(trace)
        frame = None if missing else report.build(apply_selection(trace, selection))
        if frame is None or frame.is_empty():
            note(f"{label}: {name} has nothing to say: {missing or 'no row is left after the filters'}")
            continue
        frames.append(frame if len(opened) == 1 else frame.select(pl.lit(label).alias("trace"), pl.all()))
    if frames:
        emit_text(NSYS_TEXTS[destination.format](report, pl.concat(frames)), destination)
