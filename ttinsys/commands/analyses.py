"""One click command per registered analysis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.commands.options import (
    Command,
    collected,
    each,
    help_text,
    note,
    output_options,
    plot_option,
    selection_options,
    trace_arguments,
)
from ttinsys.measures.options import Option
from ttinsys.runner.registry import Analysis, find

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination

_ONE, _TWO = 1, 2


def command_of(name: str) -> click.Command:
    """The subcommand of the analysis called `name`."""
    analysis = find(name)

    @click.command(name.replace("_", "-"), help=_help(analysis))
    @trace_arguments
    @_own_options(analysis.options + analysis.judged_by)
    @selection_options
    @output_options
    @plot_option
    def command(
        traces: tuple[Path, ...],
        nsys: str | None,
        selection: Selection,
        destination: Destination,
        plot: Destination | None,
        **own: Any,
    ) -> None:
        from ttinsys.attribution.coverage import coverage, coverage_sentence
        from ttinsys.attribution.select import select
        from ttinsys.render import emit
        from ttinsys.tables.needs import Lacking, present
        from ttinsys.tables.registry import distinct_names, tables_of

        if len(traces) < analysis.least:
            raise click.UsageError(f"{analysis.name} compares {_counted(analysis.least)}: name them all")
        paths, tables = [], []
        for path, trace in each(traces, nsys):
            paths.append(path)
            tables.append(tables_of(select(trace, selection)))
        by_name = dict(zip(distinct_names([str(path) for path in paths]), tables, strict=True))
        judged = {option.name: own.pop(option.name) for option in analysis.judged_by}
        needed = [(name, need) for name in by_name for need in analysis.needs]
        # All plans read the same tables: once.
        result, *rest = collected(
            [
                analysis.of(by_name, **own),
                *(coverage(of["ops"]) for of in tables),
                *(present(need, by_name[name]) for name, need in needed),
            ]
        )
        counts, found = rest[: len(tables)], rest[len(tables) :]
        for (of_trace, need), there in zip(needed, found, strict=True):
            if not there.item():
                left = ", as far as the filters leave it," if selection else ""
                raise Lacking(f"{of_trace}{left} {need.lacking}")
        # A column that says the same in every row tells a person nothing.
        shown = result.drop("trace", strict=False) if len(paths) == _ONE and destination.for_people else result
        if plot is not None:
            from ttinsys.figures import draw_figure, save_figure

            save_figure(draw_figure(analysis.name, result), plot)
        emit(shown, destination, table=analysis.returns, tree=analysis.tree)
        for path, count in zip(paths, counts, strict=True):
            note(f"{path}: {coverage_sentence(count, filtered=bool(selection))}")
        for sentence in analysis.remarks(result) if analysis.remarks is not None else ():
            note(sentence)
        if analysis.verdict is not None:
            sentences = analysis.verdict(result, **judged)
            for sentence in sentences:
                note(f"FAILED: {sentence}")
            if sentences:
                click.get_current_context().exit(1)

    return command


def _counted(traces: int) -> str:
    return "two traces" if traces == _TWO else f"{traces} traces"


def _own_options(options: tuple[Option, ...]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            flag = "--" + option.name.replace("_", "-")
            command = click.option(
                flag,
                option.name,
                type=click.Choice(option.choices) if option.choices else _click_type(option.type),
                is_flag=option.type is bool,
                default=option.default,
                multiple=option.multiple,
                help=option.help,
                show_default=option.default not in (None, False, ()),
            )(command)
        return command

    return decorate


class _Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """Values that a plain function parses; click's own type for functions drops the text of their ValueError."""

    def __init__(self, parse: Callable[[Any], Any]) -> None:
        self.parse = parse
        self.name = parse.__name__.removeprefix("parse_").upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The parsed value."""
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _click_type(parse: Any) -> Any:
    """Types, and click's own, as they are; any other function as a click type."""
    return parse if isinstance(parse, type | click.ParamType) else _Parsed(parse)


def _help(analysis: Analysis) -> str:
    columns = "\n".join(
        f"  {column.name}{f' [{column.unit}]' if column.unit else ''}: {column.doc}"
        for column in analysis.returns.columns
    )
    return help_text(analysis.help) + f"\n\n\b\nColumns, {analysis.returns.doc}:\n{columns}"
