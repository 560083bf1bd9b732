"""The command line: `ttinsys COMMAND TRACE...`.

Commands are found by their files and imported when they run, so that help costs no more than click. This is the only
place that turns the errors of traces and outputs, and only those, into a line on standard error and an exit status; a
bug stays a traceback.
"""

from __future__ import annotations

import ast
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ttinsys import __version__, analyses, commands
from ttinsys.commands.exit_status import ExitStatus
from ttinsys.commands.options import help_text, note
from ttinsys.commands.questions import OTHER, QUESTIONS, SHORT_NAMES
from ttinsys.render.output import discard

ISSUES = "https://github.com/ttinsys/ttinsys/issues"

EPILOG = (
    "TRACE is an nsys SQLite export, a parquetdir or arrowdir folder, a .nsys-rep report, a .json or .json.gz of the "
    "PyTorch profiler, or a folder of these. "
    "Exit status: 0 done, 1 a gate failed, 2 wrong usage, 3 the trace or the output failed."
)


class Commands(click.Group):
    """The modules of `ttinsys.commands` that have a command, and those of `ttinsys.analyses`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, as a person types them."""
        return sorted(_command_modules())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None where there is none."""
        home = _command_modules().get(cmd_name) or _modules().get(cmd_name.replace("-", "_"))
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; where there is none, suggest what was meant."""
        name = args[0]
        known = self.list_commands(ctx)
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            from parsers.errors import did_you_mean

            later = next((word for word in args[1:] if word in known), None)
            if later is not None:
                rest = [word for word in args if word != later]
                ctx.fail(f"the command comes first: ttinsys {' '.join([later, *rest])}")
            if os.path.exists(name):  # noqa: PTH110  # a name may be too long for a path
                ctx.fail(f"{name} is a trace: say what to do with it, as in `ttinsys breakdown {name}`")
            ctx.fail(f"no command {name!r}{did_you_mean(name, known)}: `ttinsys --help` lists all")
        return super().resolve_command(ctx, args)

    def ordered_commands(self) -> list[str]:
        """Names of the commands in the order in which help lists them."""
        return [name for names in self.by_question().values() for name in names]

    def by_question(self) -> dict[str, list[str]]:
        """Names of the commands by the question that they answer."""
        homes = _command_modules()
        listed = {question: [name for name in names if name in homes] for question, names in QUESTIONS.items()}
        asked = {name for names in listed.values() for name in names}
        return {**listed, OTHER: sorted(homes.keys() - asked)}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by question, with the first lines of their files, without importing them."""
        homes = _command_modules()
        width = max(map(len, homes)) + 2
        for question, names in self.by_question().items():
            rows = [(name.ljust(width), _first_line(homes[name])) for name in names]
            if rows:
                with formatter.section(question):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and turn what is wrong with a trace or an output into one line and an exit status."""
        with _descriptor_2_silenced(), _quiet_interrupts():
            try:
                return super().invoke(ctx)
            except BrokenPipeError:
                # What is left in the buffer would fail again when Python closes it.
                discard(sys.stdout)
                ctx.exit(ExitStatus.NOT_READ)
            except Exception as error:
                if not _is_expected(error):
                    raise
                note(f"Error: {error}")
                ctx.exit(ExitStatus.FAILED)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002  # click's own signature
        **extra: Any,
    ) -> Any:
        """Run as a program: whatever ends it gets its exit status."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
            sys.exit(status if isinstance(status, int) else ExitStatus.DONE)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            note("interrupted")
            sys.exit(ExitStatus.INTERRUPTED)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # a bug: told as one, where a panic of Polars is no `Exception` too
            traceback.print_exception(error)
            note(f"This is a bug in ttinsys, not a fault of your trace. Please report it with these lines: {ISSUES}")
            sys.exit(ExitStatus.BUG)


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
    except (AttributeError, OSError):  # closed, or not a file of the operating system
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
    """Print nothing where Ctrl-C falls into a callback that cannot raise: Polars raises it again when it returns."""
    theirs = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            theirs(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = theirs


def _is_expected(error: Exception) -> bool:
    """Whether an error is of a trace or of an output, and not a bug."""
    from parsers.errors import TraceError
    from ttinsys.render.output import OutputError

    return isinstance(error, TraceError | OutputError)


def _modules() -> dict[str, str]:
    """Module of each command, by the name of its file."""
    shared = ("analyses", "exit_status", "input_options", "options", "questions", "types")
    found = {module.name: f"{analyses.__name__}.{module.name}" for module in pkgutil.iter_modules(analyses.__path__)}
    found |= {
        module.name: f"{commands.__name__}.{module.name}"
        for module in pkgutil.iter_modules(commands.__path__)
        if module.name not in shared
    }
    return found


def _command_modules() -> dict[str, str]:
    """Module of each command, by the name that a person types."""
    modules = _modules()
    modules |= {short: modules.pop(name) for short, name in SHORT_NAMES.items()}
    return {name.replace("_", "-"): home for name, home in modules.items()}


def _first_line(module: str) -> str:
    """First line of a module's docstring, read without importing it."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return ""
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".")
