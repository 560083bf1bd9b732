"""Export a trace for another viewer: Perfetto, speedscope or a flame graph.

ttinsys export run.sqlite --to perfetto -o run.perfetto.json
ttinsys export run.sqlite --to perfetto --flows --time 1s/1.2s -o run.json
ttinsys export run.sqlite --to speedscope -o run.speedscope.json
ttinsys export run.sqlite --to collapsed | flamegraph.pl > run.svg
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ttinsys.commands.options import (
    coverage_line,
    each,
    file_options,
    note,
    progress,
    selection_options,
    trace_arguments,
)
from ttinsys.exports import EXPORTS

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command()
@trace_arguments
@click.option(
    "--to",
    "--format",
    "to",
    type=click.Choice(EXPORTS),
    required=True,
    help="Write a Perfetto timeline (JSON of trace events), a speedscope profile (JSON), or collapsed stacks (text).",
)
@click.option("--flows", is_flag=True, help="Draw an arrow from each launch to its GPU operation (perfetto only).")
@selection_options
@file_options
def command(
    traces: tuple[Path, ...], nsys: str | None, selection: Selection, destination: Destination, *, to: str, flows: bool
) -> None:
    """Run `ttinsys export`."""
    from parsers import TraceError
    from ttinsys.attribution.coverage import coverage
    from ttinsys.attribution.select import apply_selection
    from ttinsys.exports import backwards, captured
    from ttinsys.render import write_to
    from ttinsys.tables.registry import distinct_names

    module = import_module(f"ttinsys.exports.{to}")
    writer = module.writer
    if to == "perfetto":
        writer = partial(writer, flows=flows, cut=bool(selection))
    elif flows:
        raise click.UsageError(f"--flows: {to} has no arrows: give --to perfetto")
    opened = [trace for _, trace in each(traces, nsys)]
    names = distinct_names([str(trace.path) for trace in opened])
    with progress(f"exporting to {to}"):
        captures = [
            captured(name, apply_selection(trace, selection), module.COLUMNS)
            for name, trace in zip(names, opened, strict=True)
        ]
        counts = [coverage(capture.ops.lazy()).collect() for capture in captures]
        lines = [coverage_line(*each_one, selection) for each_one in zip(names, counts, opened, strict=True)]
        # One rank of several may be idle: its threads still belong on the timeline.
        if all(capture.ops.is_empty() for capture in captures):
            raise TraceError(lines[0])
        write_to(destination, writer(captures))
    for capture, line in zip(captures, lines, strict=True):
        note(line)
        negative, negative_ns = backwards(capture)
        if negative:
            exported = f"exported with 0 ns, not {negative_ns} ns"
            note(f"{capture.name}: {negative:,} operations end before they start: {exported}")
