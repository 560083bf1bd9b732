"""A simulated run as nsys would have exported it: a Parquet directory that says inside that no machine ran it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotate.errors import OutputExists
from annotate.labels import DOMAIN, ROLES
from annotate.simulation.run import Simulated

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]

ROWS_AT_ONCE = 100_000
"""Rows turned into columns at once: a long decode launches millions of kernels."""
PID = 1000
_PROCESS = (1 << 48) | (PID << 24)
_THREAD = _PROCESS | PID
_DOMAIN_ID = 1
_RANGE, _MARK, _CATEGORY, _DOMAIN_CREATE = 59, 34, 33, 75
_DEVICE_TO_HOST, _DEVICE_MEMORY, _PAGEABLE = 2, 2, 0


class Strings:
    """nsys's table of strings, filled as they come up."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.ids.setdefault(text, len(self.ids) + 1)


def write(simulated: Simulated, folder: Path, *, force: bool = False) -> None:
    """Write a run as `nsys export --type parquetdir` would.

    Args:
        simulated: the run.
        folder: where; nothing is there until all of it is.
        force: replace an export that is there.

    Raises:
        OutputExists: `folder` exists and may not be replaced.
    """
    from parsers.writer import write_parquetdir

    check(folder, force=force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _replacing(folder) as new:
        write_parquetdir(new, tables(simulated))


def check(folder: Path, *, force: bool) -> None:
    """Refuse a folder that holds something, unless it is an export that may be replaced.

    Raises:
        OutputExists: with what to do instead.
    """
    if not os.path.lexists(folder):
        return
    holds = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else None
    if holds is None or any(path.suffix != ".parquet" for path in holds):
        raise OutputExists(f"{folder} exists and is no Parquet export: write elsewhere with -o")
    if not force:
        raise OutputExists(f"{folder} exists: replace it with --force, or write elsewhere with -o")


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside the old, which takes its place when it is whole."""
    new, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    try:
        yield new
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def tables(simulated: Simulated) -> dict[str, pl.DataFrame]:
    """The run under nsys's names of tables and columns."""
    import polars as pl

    from parsers.nsys_schema import NSYS_TABLES, enumerations, export_info

    strings = Strings()
    gpu = simulated.gpu
    rows: dict[str, Iterable[Row]] = {
        "NVTX_EVENTS": _events(simulated, strings),
        "CUPTI_ACTIVITY_KIND_RUNTIME": _calls(simulated, strings),
        "CUPTI_ACTIVITY_KIND_KERNEL": _kernels(simulated, strings),
        "CUPTI_ACTIVITY_KIND_MEMCPY": _copies(simulated),
        "ThreadNames": [{"nameId": strings("python"), "priority": 20, "globalTid": _THREAD}],
        "PROCESSES": [{"globalPid": _PROCESS, "pid": PID, "name": "python"}],
        "TARGET_INFO_GPU": [
            {
                "name": gpu.name,
                "isDiscrete": True,
                "totalMemory": gpu.memory,
                "memoryBandwidth": round(gpu.bandwidth),
                "clockRate": gpu.clock,
                "smCount": gpu.sms,
                "chipName": gpu.chip,
                "cuDevice": 0,
                "threadsPerWarp": 32,
                **dict.fromkeys(("computeMajor", "smMajor"), gpu.compute[0]),
                **dict.fromkeys(("computeMinor", "smMinor"), gpu.compute[1]),
            }
        ],
        "TARGET_INFO_CUDA_CONTEXT_INFO": [{"processId": PID}],
    }
    written = {}
    for table, given in rows.items():
        schema = {column.name: column.dtype for column in NSYS_TABLES[table]}
        unread = iter(given)
        parts = []
        while some := list(islice(unread, ROWS_AT_ONCE)):
            used = [name for name in schema if any(name in row for row in some)]
            columns = {name: [row.get(name) for row in some] for name in used}
            parts.append(pl.DataFrame(columns, schema={name: schema[name] for name in used}))
        if parts:
            written[table] = pl.concat(parts, how="diagonal")
    written["StringIds"] = pl.DataFrame({"id": list(strings.ids.values()), "value": list(strings.ids)})
    run = simulated.described
    said = f"simulated by annotate.simulate, {run['model']} ({run['size']}) on {gpu.name}, times from a roofline model"
    return {**written, **enumerations(), "META_DATA_EXPORT": export_info(SIMULATED=said)}


def _events(simulated: Simulated, strings: Strings) -> Iterator[Row]:
    """The domain, its categories, the ranges and the marks: as our NVTX backend makes them."""
    ours: Row = {"globalTid": _THREAD, "domainId": _DOMAIN_ID}
    roles = {role: number for number, role in enumerate(ROLES, start=1)}
    yield {**ours, "start": 0, "eventType": _DOMAIN_CREATE, "text": DOMAIN}
    for role, number in roles.items():
        yield {**ours, "start": 0, "eventType": _CATEGORY, "text": role, "category": number}
    made: list[Row] = [
        {
            **ours,
            "start": opened.start_ns,
            "end": opened.end_ns,
            "eventType": _RANGE,
            "textId": strings(opened.name),
            "category": roles[opened.role],
            "int64Value": opened.call or None,
        }
        for opened in simulated.recorder.ranges
    ]
    made += [
        {
            **ours,
            "start": mark.at_ns,
            "eventType": _MARK,
            "textId": strings(mark.text),
            "category": mark.category or None,
            "int64Value": mark.payload,
        }
        for mark in simulated.recorder.marks
    ]
    yield from sorted(made, key=lambda row: int(row["start"]))


def _calls(simulated: Simulated, strings: Strings) -> Iterator[Row]:
    unlinked = len(simulated.timeline.work)
    for call in simulated.timeline.calls:
        unlinked += not call.correlation
        yield {
            "start": call.start,
            "end": call.end,
            "globalTid": _THREAD,
            "correlationId": call.correlation or unlinked,
            "nameId": strings(call.name),
        }


def _kernels(simulated: Simulated, strings: Strings) -> Iterator[Row]:
    for done in simulated.timeline.work:
        if done.kernel is not None:
            yield {
                "start": done.start,
                "end": done.end,
                "globalPid": _PROCESS,
                "correlationId": done.correlation,
                "demangledName": strings(done.kernel.name),
                "shortName": strings(short_name(done.kernel.name)),
                "launchType": 1,
                "gridX": max(1, min(done.kernel.blocks, (1 << 31) - 1)),
                "blockX": done.kernel.threads,
                "gridId": done.correlation,
            }


def _copies(simulated: Simulated) -> Iterator[Row]:
    for done in simulated.timeline.work:
        if done.kernel is None:
            yield {
                "start": done.start,
                "end": done.end,
                "globalPid": _PROCESS,
                "correlationId": done.correlation,
                "bytes": done.bytes,
                "copyKind": _DEVICE_TO_HOST,
                "srcKind": _DEVICE_MEMORY,
                "dstKind": _PAGEABLE,
            }


def short_name(name: str) -> str:
    """The function's own name, without namespaces, templates and arguments."""
    depth, plain = 0, ""
    for letter in name.removeprefix("void ").replace("<unnamed>", "unnamed"):
        if letter == "(" and depth == 0:
            break
        depth += (letter == "<") - (letter == ">")
        plain += letter if depth == 0 and letter != ">" else ""
    return plain.rpartition("::")[2]
