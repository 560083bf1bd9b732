"""Options of every command that reads a trace: the nsys that exports it, and dialects of its ranges' names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FOLDER_VARIABLE = "TTINSYS_DIALECTS"
"""Environment variable that names the folder of a person's files; empty for none."""


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--nsys`, and `--dialect`, which the command itself does not receive: names are read so until it ends."""
    command = click.option(
        "--dialect",
        multiple=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_use,
        help="Read the names of ranges by the patterns in this TOML file first; repeatable.",
    )(command)
    return click.option(
        "--nsys", metavar="PATH", help="Export .nsys-rep reports with this nsys instead of the one on PATH."
    )(command)


def _use(context: click.Context, _: click.Parameter, paths: tuple[Path, ...]) -> None:
    """Let the files claim names: those of the command line in their order, then those of the person's folder."""
    files = [*paths, *personal_files()]
    if context.resilient_parsing or not files:
        return
    from ttinsys.attribution.dialects import added_dialects
    from ttinsys.attribution.dialects.files import DialectError, load_dialect

    try:
        dialects = [load_dialect(path) for path in files]
    except DialectError as error:
        raise click.UsageError(f"--dialect {error}" if paths else str(error)) from error
    context.with_resource(added_dialects(dialects))


def personal_files() -> list[Path]:
    """The person's files, by name."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        import platformdirs

        folder = str(Path(platformdirs.user_config_dir("ttinsys", appauthor=False)) / "dialects")
    return sorted(Path(folder).glob("*.toml")) if folder else []
