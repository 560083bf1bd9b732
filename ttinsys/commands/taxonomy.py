"""Describe models as published: architecture, parameters, levels of attention, channels and widths.

ttinsys taxonomy muse imagen
ttinsys taxonomy stable-diffusion imagen --plot parameters.svg

MODEL is a name that `python -m annotate.run --list` prints; without one, the table has all models.
Everything is as published: no trace is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ttinsys.commands.analyses import AnalysisCommand
from ttinsys.commands.options import output_options, plot_option, save_plot
from ttinsys.published.taxonomy import TAXONOMY

if TYPE_CHECKING:
    from ttinsys.render import Destination


@click.command(cls=AnalysisCommand)
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@output_options
@plot_option
def command(models: tuple[str, ...], destination: Destination, plot: Destination | None) -> None:
    """Run `ttinsys taxonomy`."""
    from ttinsys.published.sheets import unknown_model
    from ttinsys.published.taxonomy import taxonomy
    from ttinsys.render import emit

    if (error := unknown_model(models)) is not None:
        raise click.UsageError(error)
    result = taxonomy(models)
    save_plot(plot, "taxonomy", result)
    emit(result, destination, table=TAXONOMY)


command.table = TAXONOMY
