"""Write the attribution table: every GPU operation, and the layer that launched it.

ttinsys attribute run.sqlite -o ops.parquet
ttinsys attribute rank0.sqlite rank1.sqlite --range 'unet*' -o ops.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ttinsys.commands.options import each, note, output_options, selection_options, together, trace_arguments

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command()
@trace_arguments
@selection_options
@output_options
def command(traces: tuple[Path, ...], nsys: str | None, selection: Selection, destination: Destination) -> None:
    """See the module."""
    from ttinsys.attribution.attribute import OPS, attribute
    from ttinsys.attribution.coverage import coverage, coverage_sentence
    from ttinsys.attribution.select import select
    from ttinsys.render import emit

    frames = [(path, attribute(select(trace, selection)).cache()) for path, trace in each(traces, nsys)]
    ops, *counts = together(frames, [coverage(frame) for _, frame in frames])
    # A line of a terminal holds the answer; the other formats hold all columns.
    shown = ops.select(name for name in ("trace", *_SHOWN) if name in ops.columns) if destination.for_people else ops
    emit(shown, destination, table=OPS)
    for path, count in zip(traces, counts, strict=True):
        note(f"{path}: {coverage_sentence(count, filtered=bool(selection))}")


_SHOWN = ("kind", "operator", "role", "start_ns", "duration_ns", "queue_ns", "stream", "attributed_by", "path")
