"""Group cache hit rates and DRAM traffic by role and operator, from an Nsight Compute profile.

ttinsys cache profile.csv --trace run.sqlite
ttinsys cache profile.ncu-rep --trace run.sqlite --plot cache.svg

PROFILE is the output of `ncu --csv --page raw`, or a .ncu-rep report. A
trace of the same program gives the roles of the layers, and filters select its
operations. Without a trace, rows are of modules, where the profiled program was
annotated.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.commands.analyses import AnalysisCommand
from ttinsys.commands.options import each, note, output_options, plot_option, selection_options
from ttinsys.measures.counters import CACHE

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command(cls=AnalysisCommand)
@click.argument("profile", metavar="PROFILE", type=click.Path(path_type=Path))
@click.option(
    "--trace", metavar="TRACE", type=click.Path(path_type=Path), help="A trace of the same program, for the roles."
)
@click.option(
    "--match",
    type=click.Choice(("auto", "nvtx", "order")),
    default="auto",
    show_default=True,
    help="Find the layer of a kernel by the NVTX range around its launch, by the order of launches, or by either.",
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
    from ttinsys.measures.counters import counters
    from ttinsys.render import emit
    from ttinsys.tables.registry import tables_of

    if trace is None and selection:
        raise click.UsageError("operations are selected from a trace: give --trace, too")
    _refuse_other_files(profile)
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
    if tables is None:
        note(f"{profile}: {kernels.height} kernels profiled; without --trace, the roles of their layers are unknown")
        return
    matched = result.filter(result["matched_by"].is_in(["nvtx", "order"]))["instances"].sum()
    note(f"{profile}: {kernels.height} kernels profiled, {matched} of them matched with a layer of the trace")


command.table = CACHE

_REMEDY = "give the output of `ncu --csv --page raw`, or a .ncu-rep report"
_TRACES = (".sqlite", ".nsys-rep", "_pqtdir", "_arwdir")


def _refuse_other_files(profile: Path) -> None:
    """Raise `TraceError` for a path that is recognized as something else than a profile of Nsight Compute."""
    from parsers.errors import TraceError, UnreadableTrace, did_you_mean
    from parsers.foreign import HEAD_BYTES, recognized
    from parsers.ncu import SUFFIX

    if profile.name.endswith(_TRACES) and profile.exists():
        raise UnreadableTrace(profile, "a trace of Nsight Systems", f"pass it as --trace, and as PROFILE {_REMEDY}")
    if not profile.exists():
        folder = profile.parent.iterdir() if profile.parent.is_dir() else ()
        names = [path.name for path in folder if path.suffix in (".csv", SUFFIX)]
        raise TraceError(f"{profile}: no such file{did_you_mean(profile.name, names)}: {_REMEDY}")
    if profile.suffix == SUFFIX or not profile.is_file():
        return
    with profile.open("rb") as file:
        what = recognized(profile, file.read(HEAD_BYTES))
    if what is not None and "Nsight Compute" not in what[0]:
        problem, remedy = what
        raise UnreadableTrace(profile, problem, _REMEDY if "nsys" in f"{problem} {remedy}" else remedy)
