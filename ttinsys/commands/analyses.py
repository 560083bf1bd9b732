"""One click command per analysis, made from its declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.commands.exit_status import ExitStatus
from ttinsys.commands.options import (
    Command,
    captures,
    collected,
    each,
    help_text,
    note,
    output_options,
    plot_option,
    selection_options,
    trace_arguments,
)
from ttinsys.commands.types import setting_type
from ttinsys.measures.options import OptionError, Setting
from ttinsys.runner.registry import Analysis, TooFewTraces, find

if TYPE_CHECKING:
    from parsers.schema import Table
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination
    from ttinsys.runner.run import AnalysisResult, Tables


def command_of(name: str) -> click.Command:
    """The subcommand of the analysis called `name`.

    Raises:
        UnknownAnalysis: No analysis has this name.
    """
    analysis = find(name)

    @click.command(name.replace("_", "-"), cls=AnalysisCommand, help=help_text(analysis.documentation))
    @trace_arguments
    @_analysis_options({**analysis.settings, **analysis.verdict_settings})
    @selection_options
    @output_options
    @plot_option
    def command(
        traces: tuple[Path, ...],
        nsys: str | None,
        selection: Selection,
        destination: Destination,
        plot: Destination | None,
        **options: Any,
    ) -> None:
        tables, why_empty = _tables(analysis, traces, nsys, selection)
        result = _run(analysis, tables, options, why_empty)
        _print(result, destination, plot, why_empty)
        for sentence in result.failures:
            note(f"FAILED: {sentence}")
        if result.failures:
            click.get_current_context().exit(ExitStatus.GATE_FAILED)

    command.table = analysis.returns
    return command


class AnalysisCommand(click.Command):
    """A command whose help ends with the columns of its table."""

    table: Table

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the columns with their units and meanings."""
        rows = [
            (f"{column.name} [{column.unit}]" if column.unit else column.name, column.doc)
            for column in self.table.columns
        ]
        with formatter.section(f"Columns, {self.table.doc}" if self.table.doc else "Columns"):
            formatter.write_dl(rows)


def _tables(
    analysis: Analysis, paths: Sequence[Path], nsys: str | None, selection: Selection
) -> tuple[dict[str, Tables], Callable[[str], str] | None]:
    """The tables of each trace, by its name.

    Returns:
        The tables; and for filtered traces a function that explains why a trace has no operation left, else None.
    """
    from ttinsys.attribution.availability import available
    from ttinsys.attribution.select import apply_selection
    from ttinsys.tables.registry import distinct_names, tables_of

    paths = captures(paths)
    if len(paths) < analysis.least:
        raise click.UsageError(analysis.too_few)
    opened = [trace for _, trace in each(paths, nsys)]
    names = distinct_names([str(trace.path) for trace in opened])
    tables: dict[str, Tables] = {
        name: tables_of(apply_selection(trace, selection)) for name, trace in zip(names, opened, strict=True)
    }
    if not selection:
        return tables, None
    whole = dict(zip(names, opened, strict=True))
    return tables, lambda name: f"{name}: {available(whole[name], selection)}"


def _run(
    analysis: Analysis, tables: Mapping[str, Tables], options: Mapping[str, Any], why_empty: Callable[[str], str] | None
) -> AnalysisResult:
    from ttinsys.runner.run import run_analysis

    try:
        return run_analysis(analysis, tables, options, collect=collected, why_empty=why_empty)
    except (TooFewTraces, OptionError) as error:
        raise click.UsageError(str(error)) from error


def _print(
    result: AnalysisResult, destination: Destination, plot: Destination | None, why_empty: Callable[[str], str] | None
) -> None:
    """Write the table and the figure; note the share attributed and all remarks."""
    from ttinsys.attribution.coverage import coverage_sentence
    from ttinsys.render import emit

    analysis, frame = result.analysis, result.frame
    # In a table for people, a column with one value takes room from the others.
    hide_trace = len(result.coverage) == 1 and destination.for_people
    if plot is not None:
        from ttinsys.figures import draw_figure, save_figure

        save_figure(draw_figure(analysis.name, frame), plot)
    shown = frame.drop("trace", strict=False) if hide_trace else frame
    emit(shown, destination, table=analysis.returns, tree=analysis.tree, traces=[*result.coverage])
    for name, counts in result.coverage.items():
        filtered_away = why_empty is not None and counts.is_empty()
        note(why_empty(name) if filtered_away and why_empty else f"{name}: {coverage_sentence(counts)}")
    for sentence in result.remarks:
        note(sentence)


def _analysis_options(settings: Mapping[str, Setting]) -> Callable[[Command], Command]:
    """A decorator that adds an option to a command for each setting."""

    def decorate(command: Command) -> Command:
        # Decorators apply from the last to the first: help lists options in the order in which they were declared.
        for name, setting in reversed([*settings.items()]):
            command = click.option(
                "--" + name.replace("_", "-"),
                name,
                type=setting_type(setting),
                metavar=setting.option.metavar,
                is_flag=setting.type is bool,
                default=setting.default,
                multiple=setting.multiple,
                help=setting.option.help,
                show_default=setting.default not in (None, False, ()),
            )(command)
        return command

    return decorate
