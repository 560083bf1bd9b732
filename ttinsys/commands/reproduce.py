"""The study from a folder of captures: every figure and table it has the data for, beside the published values.

ttinsys reproduce sweep -o reproduced
ttinsys reproduce captures -o reproduced --force
"""

from __future__ import annotations

from pathlib import Path

import click

from ttinsys.commands.options import note, progress


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path),
    help="Where to: a page, its figures as SVG, its tables as CSV.",
)
@click.option("--force", is_flag=True, help="Replace a reproduction that is there.")
@click.option("--nsys", metavar="PATH", help="The nsys that exports .nsys-rep reports; else the one on PATH.")
def command(folder: Path, output: Path, nsys: str | None, *, force: bool) -> None:
    """See the module."""
    from ttinsys.study.captures import captures_in
    from ttinsys.study.page import missing, write

    with progress(str(folder)) as say:
        captures = captures_in(folder, nsys)
        for sentence in captures.failed:
            note(sentence)
        results = write(captures, output, force=force, say=say)
    found = [result.item.title for result in results if result.found]
    click.echo(f"{output / 'index.html'}: {len(found)} of {len(results)} figures and tables")
    for title in found:
        click.echo(f"  {title}")
    for line in missing(results):
        note(f"missing: {line}")
