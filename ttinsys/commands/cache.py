"""Cache hit rates and DRAM traffic by what kernels are for, from a profile of Nsight Compute and a trace for the roles.

ttinsys cache profile.csv --trace run.sqlite
ttinsys cache profile.ncu-rep --trace run.sqlite --plot cache.svg

PROFILE is the output of `ncu --csv --page raw`, or a .ncu-rep report. Options that select operations select those of
the trace. Without a trace, rows are of modules, where the program was annotated as it was profiled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.commands.options import each, note, output_options, plot_option, selection_options

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command()
@click.argument("profile", metavar="PROFILE", type=click.Path(path_type=Path))
@click.option(
    "--trace", metavar="TRACE", type=click.Path(path_type=Path), help="A trace of the same program, which tells roles."
)
@click.option(
    "--match",
    type=click.Choice(("auto", "nvtx", "order")),
    default="auto",
    show_default=True,
    help="Find layers by the NVTX range around a launch, by the order of launches, or by the first that finds one.",
)
@click.option("--ncu", metavar="PATH", help="The ncu that reads .ncu-rep reports; else the one on PATH.")
@click.option("--nsys", metavar="PATH", help="The nsys that exports .nsys-rep reports; else the one on PATH.")
@selection_options
@output_options
@plot_option
def command(
    profile: Path,
    trace: Path | None,
    match: Any,
    ncu: str | None,
    nsys: str | None,
    selection: Selection,
    destination: Destination,
    plot: Destination | None,
) -> None:
    """See the module."""
    from parsers.ncu import load
    from ttinsys.attribution.select import apply_selection
    from ttinsys.measures.counters import CACHE, counters
    from ttinsys.render import emit
    from ttinsys.tables.registry import tables_of

    if trace is None and selection:
        raise click.UsageError("operations are selected from a trace: give --trace, too")
    kernels = load(profile, ncu)
    tables = None
    if trace is not None:
        ((_, opened),) = each((trace,), nsys)
        tables = tables_of(apply_selection(opened, selection))
    result = counters(kernels, tables, match=match)
    if plot is not None:
        from ttinsys.figures import draw_figure, save_figure

        save_figure(draw_figure("cache", result), plot)
    emit(result, destination, table=CACHE)
    found = result.filter(result["matched_by"].is_in(["nvtx", "order"]))["instances"].sum()
    told = f"the layers of {found} found" if tables is not None else "and no --trace that tells what their layers do"
    note(f"{profile}: {kernels.height} kernels profiled, {told}")
