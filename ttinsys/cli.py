"""The command line: `ttinsys COMMAND TRACE...`.

Commands are found by their files and imported when they run, so that help costs no more than click. This is the only
place that turns a trace's error into a line on standard error and an exit status.
"""

from __future__ import annotations

import ast
import os
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ttinsys import __version__, analyses, commands
from ttinsys.commands.options import help_text, note
from ttinsys.commands.questions import QUESTIONS, SHORT_NAMES
from ttinsys.render.output import discard

EPILOG = "TRACE is an nsys SQLite export, a parquetdir or arrowdir folder, or a .nsys-rep report."


class Commands(click.Group):
    """The modules of `ttinsys.commands` that have a command, and those of `ttinsys.analyses`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, as a person types them."""
        short = {name: command for command, name in SHORT_NAMES.items()}
        return sorted(short.get(name, name).replace("_", "-") for name in _modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None where there is none."""
        name = cmd_name.replace("-", "_")
        home = _modules().get(SHORT_NAMES.get(name, name))
        if home is None:
            return None
        if home.startswith(f"{analyses.__name__}."):
            from ttinsys.commands.analyses import command_of

            return command_of(home.rpartition(".")[2])
        module = import_module(home)
        command: click.Command = module.command
        command.help = help_text(module.__doc__ or "")
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by question, with the first lines of their files, without importing them."""
        homes = _modules()
        homes |= {short: homes.pop(name) for short, name in SHORT_NAMES.items()}
        width = max(map(len, homes)) + 2
        for question, names in QUESTIONS.items():
            rows = [(name.ljust(width), _first_line(homes[name])) for name in names if name in homes]
            if rows:
                with formatter.section(question):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and turn what is wrong with a trace or an output into one line and exit status 1."""
        with _descriptor_2_silenced(), _quiet_interrupts():
            try:
                return super().invoke(ctx)
            except BaseException as error:
                line = _line_for(error)
                if line is None:
                    raise
                note(f"Error: {line}")
                ctx.exit(1)


@click.command(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Where the GPU time of image and video generation goes, layer by layer, from Nsight Systems traces."""


@contextmanager
def _descriptor_2_silenced() -> Iterator[None]:
    """Leave standard error to Python: Polars' threads write their panics to its descriptor themselves.

    A damaged Parquet file can make its decoder panic, which reaches us as an exception too: that is one line.
    """
    theirs = sys.stderr
    try:
        ours = os.dup(theirs.fileno())
    except (AttributeError, OSError):  # closed, or none of the operating system's
        yield
        return
    with os.fdopen(ours, "w", buffering=1, encoding=theirs.encoding, errors=theirs.errors) as stream:
        discard(theirs)
        try:
            with redirect_stderr(stream):
                yield
        finally:
            os.dup2(ours, theirs.fileno())


@contextmanager
def _quiet_interrupts() -> Iterator[None]:
    """Say nothing where Ctrl-C falls into a callback that cannot raise: Polars raises it again when it returns."""
    theirs = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            theirs(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = theirs


def _line_for(error: BaseException) -> str | None:
    """What to tell the person; None for what is our own mistake."""
    if "polars" not in sys.modules:
        return None
    from polars.exceptions import PanicException, PolarsError

    from parsers import TraceError
    from ttinsys.render import OutputError

    if isinstance(error, TraceError | OutputError):
        return str(error)
    if isinstance(error, PolarsError | PanicException) and not os.environ.get("TTINSYS_DEBUG"):
        said = next(iter(str(error).splitlines()), "")[:200]
        remedy = "export the report again with `nsys export`; if it stays, report what TTINSYS_DEBUG=1 shows"
        return f"the trace holds what its schema does not allow: {said}: {remedy}"
    return None


def _modules() -> dict[str, str]:
    """Module of each command, by its name with underscores."""
    found = {module.name: f"{analyses.__name__}.{module.name}" for module in pkgutil.iter_modules(analyses.__path__)}
    shared = ("analyses", "options", "questions")
    found |= {
        module.name: f"{commands.__name__}.{module.name}"
        for module in pkgutil.iter_modules(commands.__path__)
        if module.name not in shared
    }
    return found


def _first_line(module: str) -> str:
    """First line of a module's docstring, read without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".")


if __name__ == "__main__":
    main()
