"""Show cache hit rates and DRAM traffic by operator and role, from an Nsight Compute profile.

ttinsys cache profile.csv --trace run.sqlite
ttinsys cache profile.ncu-rep --trace run.sqlite --plot cache.svg

PROFILE is the output of `ncu --csv --page raw`, or a .ncu-rep report. A trace of the same program, given with --trace,
tells the role of each kernel; filters select operations of that trace. Without a trace, rows are modules, provided that
the program was annotated while it was profiled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ttinsys.commands.analyses import AnalysisCommand
from ttinsys.commands.input_options import input_options
from ttinsys.commands.options import note, one_trace, output_options, plot_option, save_plot, selection_options
from ttinsys.measures.counters import CACHE

if TYPE_CHECKING:
    from ttinsys.attribution.select import Selection
    from ttinsys.render import Destination


@click.command(cls=AnalysisCommand)
@click.argument("profile", metavar="PROFILE", type=click.Path(path_type=Path))
@click.option(
    "--trace", metavar="TRACE", type=click.Path(path_type=Path), help="Take roles from this trace of the same program."
)
@click.option(
    "--match",
    type=click.Choice(("auto", "nvtx", "order")),
    default="auto",
    show_default=True,
    help="Match kernels to layers by NVTX range, by order of launches, or by whichever matches first (auto).",
)
@click.option("--ncu", metavar="PATH", help="Read .ncu-rep reports with this ncu instead of the one on PATH.")
@input_options
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
    """Run `ttinsys cache`."""
    from parsers.ncu import load
    from ttinsys.attribution.select import apply_selection
    from ttinsys.measures.counters import counters
    from ttinsys.render import emit
    from ttinsys.tables.registry import tables_of

    if trace is None and selection:
        raise click.UsageError("filters select operations of a trace: give --trace, too")
    _refuse_other_files(profile)
    kernels = load(profile, ncu)
    tables = None
    if trace is not None:
        tables = tables_of(apply_selection(one_trace(trace, nsys), selection))
    result = counters(kernels, tables, match=match)
    save_plot(plot, "cache", result)
    emit(result, destination, table=CACHE)
    matched = result.filter(result["matched_by"].is_in(["nvtx", "order"]))["instances"].sum()
    outcome = f"{matched} of them matched to a layer" if tables is not None else "give --trace to get their roles"
    note(f"{profile}: {kernels.height} kernels profiled; {outcome}")


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
