"""One click command per registered analysis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.analysis import TABLES, Analysis, Option, find
from ttinsys.commands.options import (
    Command,
    each,
    help_text,
    note,
    output_options,
    selection_options,
    together,
    trace_arguments,
)

if TYPE_CHECKING:
    from ttinsys.render import Destination
    from ttinsys.select import Selection


def command_of(name: str) -> click.Command:
    """The subcommand of the analysis called `name`."""
    analysis = find(name)

    @click.command(name.replace("_", "-"), help=_help(analysis))
    @trace_arguments
    @_own_options(analysis.options)
    @selection_options
    @output_options
    def command(
        traces: tuple[Path, ...], nsys: str | None, selection: Selection, destination: Destination, **own: Any
    ) -> None:
        from ttinsys.coverage import coverage, in_words
        from ttinsys.render import emit
        from ttinsys.select import select

        results, covered = [], []
        for path, trace in each(traces, nsys):
            part = select(trace, selection)
            # Both plans read the same operations: once.
            tables = {name: table(part).cache() for name, table in TABLES.items()}
            results.append((path, analysis.on(tables, **own)))
            covered.append(coverage(tables["ops"]))
        result, *counts = together(results, covered)
        emit(result, destination, table=analysis.returns, tree=analysis.tree)
        for path, count in zip(traces, counts, strict=True):
            note(f"{path}: {in_words(count, filtered=bool(selection))}")

    return command


def _own_options(options: tuple[Option, ...]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            flag = "--" + option.name.replace("_", "-")
            command = click.option(flag, option.name, type=option.type, default=option.default, help=option.help)(
                command
            )
        return command

    return decorate


def _help(analysis: Analysis) -> str:
    columns = "\n".join(
        f"  {column.name}{f' [{column.unit}]' if column.unit else ''}: {column.doc}"
        for column in analysis.returns.columns
    )
    return help_text(analysis.help) + f"\n\n\b\nColumns, {analysis.returns.doc}:\n{columns}"
