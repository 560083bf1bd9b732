"""Read Nsight Systems exports, and traces of the PyTorch profiler, into typed Polars frames.

    import parsers
    trace = parsers.load("run.sqlite")
    trace.kernels.select("start_ns", "end_ns").collect()

`load` reads SQLite exports, Parquet and Arrow directories, reports (through nsys), and Chrome JSON of the PyTorch
profiler.
"""

from __future__ import annotations

from pathlib import Path

from parsers.directory import ArrowDirectory, ParquetDirectory
from parsers.errors import MissingColumn, MissingTable, TraceError, UnreadableTrace, did_you_mean
from parsers.export import Export, read, source_of
from parsers.folder import JSON_SUFFIXES, traces_in
from parsers.foreign import HEAD_BYTES, is_profiler_trace, recognized
from parsers.nsys_rep import SUFFIXES, exported
from parsers.sqlite import MAGIC, SqliteExport
from parsers.tables import TABLES
from parsers.trace import Trace

__all__ = ["MissingColumn", "MissingTable", "Trace", "TraceError", "UnreadableTrace", "load"]

MAKE_ONE = (
    "pass a .sqlite, a parquetdir or arrowdir folder, a .nsys-rep (`nsys export --help` tells how), "
    "or a .json of the PyTorch profiler"
)


def load(path: str | Path, *, nsys: str | None = None) -> Trace:
    """Open an nsys export, a report, or a trace of the PyTorch profiler.

    Args:
        path: an nsys SQLite file, a directory that `nsys export --type parquetdir|arrowdir` made,
            a `.nsys-rep`/`.qdrep` report, or a `.json`/`.json.gz` file of the PyTorch profiler.
        nsys: the nsys program that exports reports; None looks for it on PATH.

    Returns:
        The trace. No event has been read yet, but for JSON, which is read whole.

    Raises:
        UnreadableTrace: `path` is none of these, is damaged, or may not be read.
        MissingColumn: a table is there without a column that gives it meaning.
    """
    path = Path(path)
    try:
        export = _open(path, nsys)
    except OSError as error:
        elsewhere = error.filename if error.filename not in {None, str(path)} else None
        problem = error.strerror or str(error)
        remedy = _nearest(path) if isinstance(error, FileNotFoundError) and not elsewhere else MAKE_ONE
        raise UnreadableTrace(path, f"{problem}: {elsewhere}" if elsewhere else problem, remedy) from error
    if not any(source in export.tables for table in TABLES.values() for source in table.sources):
        kind = "database" if export.format == "sqlite" else "directory"
        raise UnreadableTrace(path, f"a {kind} without any table of Nsight Systems", MAKE_ONE)
    sources = {name: source for name, table in TABLES.items() if (source := source_of(export, table))}
    frames = {name: read(export, table) for name, table in TABLES.items()}
    return Trace(path=path, format=export.format, sources=sources, nsys_tables=tuple(export.tables), frames=frames)


def _open(path: Path, nsys: str | None) -> Export:
    if path.is_dir():
        for kind in (ParquetDirectory, ArrowDirectory):
            if kind.made(path):
                return kind(path)
        inside = [trace.name for trace in traces_in(path)]
        if inside:
            problem = "a folder of one trace" if len(inside) == 1 else f"a folder of {len(inside)} traces"
            raise UnreadableTrace(path, problem, f"pass what is in it, such as {inside[0]}")
        raise UnreadableTrace(path, "a directory without .parquet or .arrow files", MAKE_ONE)
    if path.exists() and not path.is_file():
        # Opening a pipe would wait for a writer.
        raise UnreadableTrace(path, "neither a file nor a directory", MAKE_ONE)
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if path.suffix in SUFFIXES:
        return SqliteExport(exported(path, nsys))
    if head.startswith(MAGIC):
        return SqliteExport(path)
    if is_profiler_trace(head):
        # Imported here: few traces are of this kind, and its decoder takes time to import.
        from parsers.kineto import KinetoTrace

        return KinetoTrace(path)
    problem, remedy = recognized(path, head) or ("not an nsys SQLite export" if head else "an empty file", MAKE_ONE)
    raise UnreadableTrace(path, problem, remedy)


def _nearest(path: Path) -> str:
    """What to do about a path that does not exist: the name in its folder that was likely meant, if any."""
    try:
        names = [
            entry.name
            for entry in path.parent.iterdir()
            if entry.is_dir() or entry.name.endswith((".sqlite", *SUFFIXES, *JSON_SUFFIXES))
        ]
    except OSError:
        return MAKE_ONE
    return did_you_mean(path.name, names).strip(" ()") or MAKE_ONE
