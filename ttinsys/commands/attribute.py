"""Write the attribution table: every GPU operation and the layer that launched it.

ttinsys attribute run.sqlite -o ops.parquet
ttinsys attribute rank0.sqlite rank1.sqlite --range 'unet*' -o ops.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ttinsys.commands.options import (
    collected,
    coverage_line,
    each,
    note,
    output_options,
    selection_options,
    trace_arguments,
)

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command()
@trace_arguments
@selection_options
@output_options
def command(traces: tuple[Path, ...], nsys: str | None, selection: Selection, destination: Destination) -> None:
    """Run `ttinsys attribute`."""
    import polars as pl

    from ttinsys.attribution.attribute import OPS, attribute
    from ttinsys.attribution.coverage import coverage
    from ttinsys.attribution.select import apply_selection
    from ttinsys.render import emit
    from ttinsys.tables.registry import distinct_names

    # A sweep's folder stands for its captures, so there may be more traces than arguments.
    opened = [trace for _, trace in each(traces, nsys)]
    names = distinct_names([str(trace.path) for trace in opened])
    frames = [attribute(apply_selection(trace, selection)).cache() for trace in opened]
    rows = frames
    if len(frames) > 1:
        rows = [frame.select(pl.lit(name).alias("trace"), pl.all()) for name, frame in zip(names, frames, strict=True)]
    ops, *coverages = collected([pl.concat(rows), *map(coverage, frames)])
    # A table for people has the columns that fit a terminal; other formats have all columns.
    shown = (
        ops.select(name for name in ("trace", *_FOR_PEOPLE) if name in ops.columns) if destination.for_people else ops
    )
    emit(shown, destination, table=OPS, traces=names)
    for name, covered, trace in zip(names, coverages, opened, strict=True):
        note(coverage_line(name, covered, trace, selection))


_FOR_PEOPLE = ("kind", "operator", "role", "start_ns", "duration_ns", "queue_ns", "stream", "attributed_by", "path")
"""Columns that a table for people shows: what ran, when, and where it belongs."""
