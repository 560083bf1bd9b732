"""Reproduce the study's figures and tables from a folder of captures, beside the published values.

ttinsys reproduce sweep -o reproduced
ttinsys reproduce captures -o reproduced --force

Figures and tables that lack captures are listed with the command that makes them.
"""

from __future__ import annotations

from pathlib import Path

import click

from ttinsys.commands.input_options import input_options
from ttinsys.commands.options import note, progress


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path),
    help="Write the page, its figures as SVG and its tables as CSV to this folder.",
)
@click.option("--force", is_flag=True, help="Replace FOLDER if an earlier reproduction wrote it.")
@input_options
def command(folder: Path, output: Path, nsys: str | None, *, force: bool) -> None:
    """Run `ttinsys reproduce`."""
    from ttinsys.study.captures import captures_in
    from ttinsys.study.page import missing, write

    with progress(str(folder)) as say:
        captures = captures_in(folder, nsys)
        for sentence in captures.failed:
            note(sentence)
        results = write(captures, output, force=force, progress=say)
    titles = [result.item.title for result in results if result.has_evidence]
    click.echo(f"{output / 'index.html'}: {len(titles)} of {len(results)} figures and tables")
    for title in titles:
        click.echo(f"  {title}")
    for line in missing(results):
        note(f"missing: {line}")
