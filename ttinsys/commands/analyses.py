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
    coverage_line,
    each,
    help_text,
    note,
    output_options,
    plot_option,
    save_plot,
    selection_options,
    trace_arguments,
)
from ttinsys.commands.types import setting_type
from ttinsys.measures.options import OptionError, Setting
from ttinsys.runner.registry import Analysis, TooFewTraces, find

if TYPE_CHECKING:
    from parsers import Trace
    from parsers.schema import Table
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination
    from ttinsys.runner.run import AnalysisResult


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
        opened = _opened(analysis, traces, nsys)
        result = _run(analysis, opened, selection, options)
        _print(result, destination, plot)
        for trace, covered in result.coverage.items():
            note(coverage_line(trace, covered, opened[trace], selection))
        for sentence in result.remarks:
            note(sentence)
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


def _opened(analysis: Analysis, paths: Sequence[Path], nsys: str | None) -> dict[str, Trace]:
    """The traces by their names, unfiltered."""
    from ttinsys.tables.registry import distinct_names

    paths = captures(paths)
    if len(paths) < analysis.least:
        raise click.UsageError(analysis.too_few)
    opened = [trace for _, trace in each(paths, nsys)]
    return dict(zip(distinct_names([str(trace.path) for trace in opened]), opened, strict=True))


def _run(
    analysis: Analysis, traces: Mapping[str, Trace], selection: Selection, options: Mapping[str, Any]
) -> AnalysisResult:
    from ttinsys.attribution.availability import available
    from ttinsys.attribution.select import apply_selection
    from ttinsys.runner.run import run_analysis
    from ttinsys.tables.registry import tables_of

    def why_empty(name: str) -> str:
        return f"{name}: {available(traces[name], selection)}"

    tables = {name: tables_of(apply_selection(trace, selection)) for name, trace in traces.items()}
    explain = why_empty if selection else None
    try:
        return run_analysis(analysis, tables, options, collect=collected, why_empty=explain)
    except (TooFewTraces, OptionError) as error:
        raise click.UsageError(str(error)) from error


def _print(result: AnalysisResult, destination: Destination, plot: Destination | None) -> None:
    """Write the table and the figure."""
    from ttinsys.render import emit

    analysis, frame = result.analysis, result.frame
    # In a table for people, a column with one value takes room from the others.
    hide_trace = destination.for_people and "trace" in frame.columns and frame["trace"].n_unique() == 1
    save_plot(plot, analysis.name, frame, analysis.returns)
    shown = frame.drop("trace", strict=False) if hide_trace else frame
    emit(shown, destination, table=analysis.returns, tree=analysis.tree, traces=[*result.coverage])


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
