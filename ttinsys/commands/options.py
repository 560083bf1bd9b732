"""Options that several commands share, and the values that commands get from them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import reduce, wraps
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.render import FORMATS, PICTURES, SUFFIXES, Destination, OutputError, printable

if TYPE_CHECKING:
    import polars as pl

    from parsers import Trace

Command = Callable[..., Any]

_UNITS = {"": 1, "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


class Window(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """START/END in time since the capture began; either may be left out. Nanoseconds unless a unit is given."""

    name = "START/END"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, int | None]:
        """Two moments in ns, None where left out."""
        start, slash, end = value.partition("/")
        if not slash:
            self.fail(f"{value!r} has no slash: give START/END, such as 1.5s/2s or /300ms", param, ctx)
        window = (self._moment(start, param, ctx), self._moment(end, param, ctx))
        if None not in window and window[0] >= window[1]:  # type: ignore[operator]
            self.fail(f"{value!r} ends no later than it starts", param, ctx)
        return window

    def _moment(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if not text.strip():
            return None
        match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*(ns|us|ms|s|)\s*", text)
        if match is None:
            self.fail(f"{text!r} is not a time: give a number with ns, us, ms or s", param, ctx)
        moment = round(Fraction(match[1]) * _UNITS[match[2]])
        if abs(moment) >= 1 << 63:
            self.fail(f"{text!r} is longer than any capture", param, ctx)
        return moment


def trace_arguments(command: Command) -> Command:
    """TRACE..., and `--nsys`."""
    return _decorated(
        command,
        click.argument("traces", metavar="TRACE...", nargs=-1, required=True, type=click.Path(path_type=Path)),
        click.option(
            "--nsys", metavar="PATH", help="Export .nsys-rep reports with this nsys instead of the one on PATH."
        ),
    )


def selection_options(command: Command) -> Command:
    """Filters, given to the command as one `selection`."""

    @wraps(command)
    def wrapped(
        *args: Any,
        domain: tuple[str, ...],
        range_: str | None,
        time: tuple[int | None, int | None],
        device: tuple[int, ...],
        stream: tuple[int, ...],
        **kwargs: Any,
    ) -> Any:
        from ttinsys.attribution.select import Selection

        selection = Selection(domain, range_, *time, devices=device, streams=stream)
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
            type=Window(),
            default="/",
            help="Keep GPU work that starts in [START, END), such as 1.5s/2s or /300ms.",
        ),
        click.option(
            "--device", multiple=True, type=int, metavar="N", help="Keep GPU work of this CUDA device; repeatable."
        ),
        click.option(
            "--stream", multiple=True, type=int, metavar="N", help="Keep GPU work of this CUDA stream; repeatable."
        ),
    )


def output_options(command: Command, formats: Sequence[str] = FORMATS) -> Command:
    """Format and file, given to the command as one `destination`."""

    @wraps(command)
    def wrapped(*args: Any, format: str | None, output: Path | None, force: bool, rows: int, **kwargs: Any) -> Any:
        chosen = format or _format_of(output, formats)
        destination = Destination(chosen, output, force, rows)
        check(destination)
        return command(*args, destination=destination, **kwargs)

    return _decorated(
        wrapped,
        click.option(
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
    """File, given to the command as one `destination`, for what has a form of its own."""

    @wraps(command)
    def wrapped(*args: Any, output: Path | None, force: bool, **kwargs: Any) -> Any:
        destination = Destination("text", output, force)
        check(destination)
        return command(*args, destination=destination, **kwargs)

    return _decorated(wrapped, *_FILE)


_FILE = (
    click.option(
        "-o",
        "--output",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Write to this file instead of standard output.",
    ),
    click.option("--force", is_flag=True, help="Replace FILE if it exists."),
)


def plot_option(command: Command) -> Command:
    """`--plot FILE`, given to the command as the destination `plot`, or None; `output_options` go around it."""

    @wraps(command)
    def wrapped(*args: Any, plot: Path | None, destination: Destination, **kwargs: Any) -> Any:
        picture = None
        if plot is not None:
            suffix = plot.suffix.removeprefix(".").lower()
            if suffix not in PICTURES:
                raise click.UsageError(f"--plot {plot}: name a file that ends in .{', .'.join(PICTURES)}")
            if destination.path is not None and realpath(plot) == realpath(destination.path):
                raise click.UsageError(f"--plot {plot}: -o is the same file: give another name")
            picture = Destination(suffix, plot, destination.force)
            check(picture)
        return command(*args, plot=picture, destination=destination, **kwargs)

    return click.option(
        "--plot",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"Draw the figure to this file: {', '.join(PICTURES)} by its suffix. HTML is interactive and offline.",
    )(wrapped)


def check(destination: Destination) -> None:
    """Turn what is wrong with a destination into a usage error, before any work is done."""
    try:
        destination.check()
    except OutputError as error:
        raise click.UsageError(str(error)) from error


def each(paths: Sequence[Path], nsys: str | None, *, announce: bool = True) -> Iterator[tuple[Path, Trace]]:
    """Open traces one after the other, saying which on a terminal, and first of all whether a machine ran them."""
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


def captures(paths: Sequence[Path]) -> list[Path]:
    """The traces that arguments name: a sweep's folder stands for its captures."""
    from ttinsys.tables.sweeps import captures_of, is_sweep

    return [capture for path in paths for capture in (captures_of(path) if is_sweep(path) else [path])]


def collected(plans: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
    """Collect plans in one pass, so that what they share is read once."""
    import polars as pl

    with progress("attributing"):
        return pl.collect_all(plans)


@contextmanager
def progress(what: str) -> Iterator[Callable[[str], None]]:
    """Say on standard error what is being worked on, where that is a terminal; gives what says the next thing."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status(what, spinner="line") as status:
        yield status.update


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
    suffix = output.suffix.removeprefix(".").lower() if output else ""
    suffix = SUFFIXES.get(suffix, suffix)
    if suffix in FORMATS and suffix not in formats:
        raise click.UsageError(f"{output}: there is no {suffix} of this: give --format {'|'.join(formats)}")
    return suffix if suffix in formats else formats[0]


def _decorated(command: Command, *decorators: Callable[[Command], Command]) -> Command:
    return reduce(lambda inner, decorate: decorate(inner), reversed(decorators), command)
