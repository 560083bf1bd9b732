"""What a trace holds: how it was made, which tables, devices, processes, ranges and GPU work, and how it is covered.

    overview(ttinsys.load("run.sqlite")).notes

It is what `ttinsys info` prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from parsers import Trace
from parsers.tables import TABLES
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.coverage import coverage
from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.labels import marks, run_descriptions, unread
from ttinsys.attribution.nvtx import crossing, ranges

SIMULATED = "SIMULATED"
"""Key of the export's own table by which a trace says that its times come from a model of a GPU."""
_MADE_UP = (SIMULATED, "SYNTHETIC")


@dataclass(frozen=True, slots=True)
class Overview:
    """A trace at a glance.

    Args:
        path: what was opened.
        format: how it is stored.
        export: the export's own keys and values.
        start_ns, end_ns: first start and last end of any event that we read; None where there is none.
        tables: `table`, `source` (nsys's name; null where absent), `rows`.
        gpus: the machine's GPUs, `parsers.tables.GPUS`.
        threads: `pid`, `process`, `tid`, `thread`, `api_calls`, `ranges` of threads that made any.
        operations: `kind`, `device`, `streams`, `ops`, `sum_ns`.
        ranges: `domain`, `kind`, `ranges`, `names`, `deepest`, `unfinished`.
        coverage: see `ttinsys.attribution.coverage.coverage`.
        runs: what annotated runs say of themselves: model, request, versions.
        notes: what a reader must know before trusting a number, a sentence each.
    """

    path: Path
    format: str
    export: dict[str, str]
    start_ns: int | None
    end_ns: int | None
    tables: pl.DataFrame
    gpus: pl.DataFrame
    threads: pl.DataFrame
    operations: pl.DataFrame
    ranges: pl.DataFrame
    coverage: pl.DataFrame
    runs: tuple[dict[str, object], ...]
    notes: tuple[str, ...]


def overview(trace: Trace, read: Mapping[str, pl.LazyFrame] | None = None) -> Overview:
    """Look at all of a trace once.

    Args:
        trace: an opened trace.
        read: its `ops` and `ranges`, where they have been read already.
    """
    read = read or {"ops": attribute(trace), "ranges": ranges(trace)}
    used = ("kind", "device", "stream", "start_ns", "end_ns", "duration_ns", *_ATTRIBUTION)
    ops, nested = read["ops"].select(used).cache(), read["ranges"].cache()
    timed = ("kernels", "memcpys", "memsets", "graph_launches", "api_calls", "nvtx_events")
    spans = pl.concat([getattr(trace, name).select(pl.col("start_ns").min(), pl.col("end_ns").max()) for name in timed])
    counts = [getattr(trace, name).select(pl.len()) for name in TABLES]
    negative = ops.select((pl.col("duration_ns") < 0).sum())
    covered, operations, by_domain, elsewhere, span, backwards, export, gpus, threads, *rows = pl.collect_all(
        [
            coverage(ops),
            _operations(ops),
            _by_domain(nested),
            crossing(trace).select(pl.len()),
            spans.select(pl.col("start_ns").min(), pl.col("end_ns").max()),
            negative,
            trace.export_info,
            trace.gpus,
            _threads(trace, nested),
            *counts,
        ]
    )
    tables = pl.DataFrame(
        {
            "table": list(TABLES),
            "source": [trace.sources.get(name) for name in TABLES],
            "rows": [frame.item() for frame in rows],
        },
        schema_overrides={"source": pl.String},
    )
    keys = dict(export.drop_nulls().iter_rows())
    said = marks(trace)
    return Overview(
        path=trace.path,
        format=trace.format,
        export=keys,
        start_ns=span["start_ns"].item(),
        end_ns=span["end_ns"].item(),
        tables=tables,
        gpus=gpus,
        threads=threads,
        operations=operations,
        ranges=by_domain,
        coverage=covered,
        runs=tuple(run_descriptions(said)),
        notes=(
            *(f"No machine ran this: {keys[key]}." for key in _MADE_UP if key in keys),
            *_notes(trace, covered, by_domain, elsewhere.item(), backwards.item()),
            *unread(said),
        ),
    )


_ATTRIBUTION = ("range_id", "attributed_by")


def _operations(ops: pl.LazyFrame) -> pl.LazyFrame:
    return (
        ops.group_by("kind", "device")
        .agg(
            pl.col("stream").n_unique().alias("streams"),
            pl.len().alias("ops"),
            pl.col("duration_ns").sum().alias("sum_ns"),
        )
        .sort("sum_ns", "kind", "device", descending=[True, False, False])
    )


def _by_domain(nested: pl.LazyFrame) -> pl.LazyFrame:
    return (
        nested.group_by("domain", "kind")
        .agg(
            pl.len().alias("ranges"),
            pl.col("name").n_unique().alias("names"),
            pl.col("depth").max().alias("deepest"),
            pl.col("end_ns").is_null().sum().alias("unfinished"),
        )
        .sort("ranges", "domain", "kind", descending=[True, False, False])
    )


def _threads(trace: Trace, nested: pl.LazyFrame) -> pl.LazyFrame:
    """Threads that called CUDA or opened ranges, with the names of thread and process where the trace has them."""
    strings = trace.strings.select(pl.col("id").alias("name_id"), pl.col("value").alias("thread"))
    named = trace.threads.join(strings, on="name_id", how="left").unique(
        "global_tid", keep="first", maintain_order=True
    )
    programs = trace.processes.select("pid", pl.col("name").alias("process")).unique("pid", keep="first")
    calls = trace.api_calls.group_by("global_tid").agg(pl.len().alias("api_calls"))
    opened = nested.group_by("global_tid").agg(pl.len().alias("ranges"))
    return (
        calls.join(opened, on="global_tid", how="full", coalesce=True)
        .join(named, on="global_tid", how="left")
        .select(
            pid_of("global_tid").alias("pid"),
            tid_of("global_tid").alias("tid"),
            pl.col("api_calls", "ranges").fill_null(0),
            "thread",
        )
        .join(programs, on="pid", how="left")
        .select("pid", "process", "tid", "thread", "api_calls", "ranges")
        .sort("pid", "tid")
    )


def simulated(keys: Mapping[str, str]) -> str | None:
    """The sentence for a trace that a model of a GPU made up, and that looks like any other; None for those measured.

    Args:
        keys: the export's own keys and values.
    """
    return f"No machine ran this: {keys[SIMULATED]}." if SIMULATED in keys else None


def _notes(trace: Trace, covered: pl.DataFrame, by_domain: pl.DataFrame, elsewhere: int, backwards: int) -> list[str]:
    notes = []
    if covered.is_empty():
        notes.append("No GPU activity: profile on a machine with a GPU with --trace=cuda,nvtx.")
    if by_domain.is_empty():
        notes.append("No NVTX ranges: annotate the program and profile with --trace=cuda,nvtx.")
    if trace.has("graph_launches"):
        notes.append("CUDA graphs are traced as a whole: profile with --cuda-graph-trace=node to see their kernels.")
    early = covered.filter(pl.col("attributed_by") == "launched_before_capture")["ops"].sum()
    if early:
        notes.append(f"{early:,} operations were launched before the capture began, so no range can be known for them.")
    unfinished = by_domain["unfinished"].sum()
    if unfinished:
        notes.append(f"{unfinished:,} ranges were never closed: they count as open to the end of the capture.")
    if elsewhere:
        notes.append(f"{elsewhere:,} start/end ranges close on another thread: they enclose nothing.")
    if backwards:
        notes.append(
            f"{backwards:,} operations end before they start: their negative durations are counted as they are."
        )
    return notes
