"""Options that several commands share, and the values that commands get from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce, wraps
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.attribution.window import Window, parse_window
from ttinsys.commands.input_options import input_options
from ttinsys.render import FORMATS, PICTURES, SUFFIXES, Destination, OutputError, printable

if TYPE_CHECKING:
    import polars as pl

    from parsers import Trace
    from parsers.schema import Table
    from ttinsys.attribution.select import Selection

Command = Callable[..., Any]


class WindowType(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """START/END, as `ttinsys.attribution.window` reads it."""

    name = "START/END"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Window:
        """Two moments in ns, None where left out."""
        try:
            return parse_window(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def trace_arguments(command: Command) -> Command:
    """`TRACE...`, `--nsys` and `--dialect`."""
    return _decorated(
        command,
        click.argument("traces", metavar="TRACE...", nargs=-1, required=True, type=click.Path(path_type=Path)),
        input_options,
    )


def selection_options(command: Command) -> Command:
    """Filters, which the command gets as one `selection`."""

    @wraps(command)
    def wrapped(
        *args: Any,
        domain: tuple[str, ...],
        range_: str | None,
        time: Window,
        device: tuple[int, ...],
        stream: tuple[int, ...],
        pid: tuple[int, ...],
        **kwargs: Any,
    ) -> Any:
        from ttinsys.attribution.select import Selection

        selection = Selection(domain, range_, *time, devices=device, streams=stream, pids=pid)
        return command(*args, selection=selection, **kwargs)

    return _decorated(
        wrapped,
        click.option(
            "--domain",
            multiple=True,
            metavar="NAME",
            help="Keep ranges of this NVTX domain ('default' is the unnamed one); repeatable.",
        ),
        click.option(
            "--range",
            "range_",
            metavar="GLOB",
            help="Keep GPU work launched inside ranges whose name matches this pattern.",
        ),
        click.option(
            "--time",
            type=WindowType(),
            default="/",
            help="Keep GPU work that starts in [START, END), such as 1.5s/2s or /300ms.",
        ),
        click.option(
            "--device",
            multiple=True,
            type=int,
            metavar="N",
            help="Keep GPU work of this CUDA device, as its process numbers it; repeatable.",
        ),
        click.option(
            "--stream", multiple=True, type=int, metavar="N", help="Keep GPU work of this CUDA stream; repeatable."
        ),
        click.option("--pid", multiple=True, type=int, metavar="N", help="Keep GPU work of this process; repeatable."),
    )


def output_options(command: Command, formats: Sequence[str] = FORMATS) -> Command:
    """`--format`, `-o`, `--force` and `--rows`, which the command receives as one `destination`."""

    @wraps(command)
    def wrapped(*args: Any, format: str | None, output: Path | None, force: bool, rows: int, **kwargs: Any) -> Any:
        chosen = format or _format_of(output, formats)
        destination = Destination(chosen, output, force, rows, announce=note)
        check_destination(destination)
        return command(*args, destination=destination, **kwargs)

    return _decorated(
        wrapped,
        click.option(
            "-f",
            "--format",
            type=click.Choice(formats),
            help="Write this format; by default that of the suffix of -o, else the first.",
        ),
        *_FILE,
        click.option(
            "--rows",
            type=click.IntRange(min=0),
            default=50,
            show_default=True,
            help="Show at most this many rows of a table, 0 for all; other formats have all rows.",
        ),
    )


def file_options(command: Command) -> Command:
    """`-o` and `--force`, which the command receives as one `destination`, for formats that no suffix names."""

    @wraps(command)
    def wrapped(*args: Any, output: Path | None, force: bool, **kwargs: Any) -> Any:
        destination = Destination("text", output, force, announce=note)
        check_destination(destination)
        return command(*args, destination=destination, **kwargs)

    return _decorated(wrapped, *_FILE)


_FILE = (
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write to FILE instead of standard output.",
    ),
    click.option("--force", is_flag=True, help="Replace FILE if it exists."),
)


def plot_option(command: Command) -> Command:
    """`--plot FILE`, which the command receives as the destination `plot`, or None; `output_options` wrap it."""

    @wraps(command)
    def wrapped(*args: Any, plot: Path | None, destination: Destination, **kwargs: Any) -> Any:
        picture = None
        if plot is not None:
            suffix = plot.suffix.removeprefix(".").lower()
            if suffix not in PICTURES:
                raise click.UsageError(f"--plot {plot}: name a file that ends in .{', .'.join(PICTURES)}")
            if destination.path is not None and realpath(plot) == realpath(destination.path):
                raise click.UsageError(f"--plot {plot}: -o is the same file: give another name")
            picture = Destination(suffix, plot, destination.force, announce=note)
            check_destination(picture)
        return command(*args, plot=picture, destination=destination, **kwargs)

    return click.option(
        "--plot",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"Draw the figure to this file: {', '.join(PICTURES)} by its suffix. HTML is interactive and offline.",
    )(wrapped)


def check_destination(destination: Destination) -> None:
    """Raise a usage error for a destination that cannot be written, before any work is done."""
    try:
        destination.check()
    except OutputError as error:
        raise click.UsageError(str(error)) from error


def each(paths: Sequence[Path], nsys: str | None, *, announce: bool = True) -> Iterator[tuple[Path, Trace]]:
    """Open traces one after the other.

    On a terminal, the one that is read is shown.

    Args:
        paths: what arguments name; see `captures`.
        nsys: the nsys that exports reports.
        announce: whether to note of a simulated trace that it is one.
    """
    import polars as pl

    import parsers
    from ttinsys.tables.overview import simulated

    paths = captures(paths)
    # A source that fails inside the streaming engine of Polars 2.1 may hang, or abort the process when it ends.
    click.get_current_context().with_resource(pl.Config(set_engine_affinity="in-memory"))
    for number, path in enumerate(paths, start=1):
        with progress(f"{path} ({number} of {len(paths)})" if len(paths) > 1 else str(path)):
            trace = parsers.load(path, nsys=nsys)
        if announce:
            sentence = simulated(dict(trace.export_info.drop_nulls().collect().iter_rows()))
            if sentence:
                note(f"{path}: {sentence}")
        yield path, trace


def one_trace(path: Path, nsys: str | None) -> Trace:
    """Open the trace of an option that takes one.

    Raises:
        click.UsageError: `path` is a folder of several.
    """
    named = captures([path])
    if len(named) > 1:
        raise click.UsageError(f"{path} holds {len(named)} traces: give one of them, such as {named[0]}")
    ((_, trace),) = each(named, nsys)
    return trace


def captures(paths: Sequence[Path]) -> list[Path]:
    """The traces that arguments name: a folder stands for the traces in it, that of a sweep for its captures."""
    from parsers.folder import traces_in
    from ttinsys.tables.sweeps import captures_of, is_sweep

    return [
        capture for path in paths for capture in (captures_of(path) if is_sweep(path) else traces_in(path) or [path])
    ]


def collected(plans: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
    """Collect plans in one pass, so that what they share is read once."""
    import polars as pl

    with progress("attributing"):
        return pl.collect_all(plans)


def coverage_line(name: str, covered: pl.DataFrame, whole: Trace, selection: Selection) -> str:
    """How much of a trace's GPU work is attributed; where filters leave no operation, what the trace has.

    Args:
        name: The trace.
        covered: What `ttinsys.attribution.coverage.coverage` returns, collected.
        whole: The trace before it was filtered.
        selection: The filters.
    """
    from ttinsys.attribution.availability import available
    from ttinsys.attribution.coverage import coverage_sentence

    filtered_away = selection and covered.is_empty()
    return f"{name}: {available(whole, selection) if filtered_away else coverage_sentence(covered)}"


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being worked on, where that is a terminal; gives what says the next thing."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status(what, spinner="line") as status:
        yield status.update


def save_plot(plot: Destination | None, name: str, frame: pl.DataFrame, table: Table | None = None) -> None:
    """Draw a table where `--plot` asks for it; arguments and errors are those of `figures.draw_figure`."""
    if plot is None:
        return
    from ttinsys.figures import draw_figure, save_figure

    save_figure(draw_figure(name, frame, table), plot)


def note(text: str) -> None:
    """A line for the person, on standard error; names in it may come from strangers."""
    click.echo(printable(text), err=True)


def help_text(docstring: str) -> str:
    """A docstring as click wants it: the lines of its example stay apart, and are indented."""
    return "\n\n".join(map(_paragraph, docstring.strip("\n").split("\n\n")))


def _paragraph(block: str) -> str:
    lines = [line.strip() for line in block.splitlines()]
    if not all(line.startswith("ttinsys ") for line in lines):
        return block
    return "\b\n" + "\n".join(f"    {line}" for line in lines)


def _format_of(output: Path | None, formats: Sequence[str]) -> str:
    """The format that the suffix of a file names, among those of a command; the first without a suffix."""
    suffix = output.suffix.removeprefix(".").lower() if output else ""
    if not suffix:
        return formats[0]
    named = SUFFIXES.get(suffix, suffix)
    if named in formats:
        return named
    if named in FORMATS:
        raise click.UsageError(f"{output}: there is no {named} of this: give --format {'|'.join(formats)}")
    suffixes = {name: suffix for suffix, name in SUFFIXES.items()}
    known = ", ".join(f".{suffixes.get(name, name)}" for name in formats)
    raise click.UsageError(f"{output}: .{suffix} names no format: end the name in {known}, or give --format")


def _decorated(command: Command, *decorators: Callable[[Command], Command]) -> Command:
    return reduce(lambda inner, decorate: decorate(inner), reversed(decorators), command)
