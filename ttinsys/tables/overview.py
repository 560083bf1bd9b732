"""Describe a trace: its capture, tables, devices, processes, ranges and GPU work, and how much is attributed.

    overview(ttinsys.load("run.sqlite")).notes

`ttinsys info` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from parsers import Trace
from parsers.origin import KINETO, UNTIMED
from parsers.tables import TABLES
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.availability import available
from ttinsys.attribution.coverage import coverage
from ttinsys.attribution.crossing import CROSS_THREAD
from ttinsys.attribution.devices import numbered_gpus
from ttinsys.attribution.diagnostics import gpu_remedy
from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.labels import marks, run_descriptions, unread
from ttinsys.attribution.nvtx import all_ranges
from ttinsys.attribution.select import Selection, apply_selection
from ttinsys.attribution.unpopped import leaks
from ttinsys.measures.intervals import doubt, timeline

SIMULATED = "SIMULATED"
"""Key of the export's own table by which a trace says that its times come from a model of a GPU."""
_MADE_UP = (SIMULATED, "SYNTHETIC")
_ATTRIBUTION = ("range_id", "attributed_by")
_USED = ("kind", "device", "gpu", "pid", "stream", "start_ns", "end_ns", "duration_ns", *_ATTRIBUTION)


@dataclass(frozen=True, slots=True)
class Overview:
    """A trace at a glance.

    Args:
        path: what was opened.
        format: how it is stored.
        export: keys and values that the export states about itself.
        start_ns, end_ns: first start and last end of any event that is read; None where there is none.
        tables: `table`, `source` (nsys's name; null where absent), `rows`.
        gpus: the machine's GPUs, `ttinsys.attribution.devices.NUMBERED_GPUS`, by CUDA device.
        threads: `pid`, `process`, `tid`, `thread`, `api_calls`, `ranges` of threads that made any.
        operations: `kind`, `device`, `gpu`, `streams`, `ops`, `sum_ns`; a GPU that is unknown has a row per process.
        ranges: `domain`, `kind`, `ranges`, `names`, `deepest`, `unfinished`.
        coverage: see `ttinsys.attribution.coverage.coverage`.
        runs: what annotated runs state about themselves: model, request, versions.
        notes: what a reader must know before trusting a number, a sentence each, none twice.
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


def overview(
    trace: Trace, read: Mapping[str, pl.LazyFrame] | None = None, *, selection: Selection | None = None
) -> Overview:
    """Look at a trace, or a part of it, once.

    Args:
        trace: an opened trace.
        read: its `ops` and `ranges`, where they have been read already.
        selection: the part to look at; None is the whole.
    """
    whole, trace = trace, apply_selection(trace, selection or Selection())
    read = read or {"ops": attribute(trace), "ranges": all_ranges(trace)}
    ops, nested = read["ops"].select(_USED).cache(), read["ranges"].cache()
    covered, operations, by_domain, elsewhere, leaking, span, *others = pl.collect_all(
        [
            coverage(ops),
            _operations(ops),
            _by_domain(nested),
            nested.filter(pl.col("kind") == CROSS_THREAD).select(pl.len()),
            leaks(nested.select("global_tid", "domain_id", "end_ns", pl.col("group").alias("name"))),
            _span(trace),
            ops.select((pl.col("end_ns") < pl.col("start_ns")).sum()),
            _doubtful(ops),
            trace.export_info,
            numbered_gpus(trace).sort("device_id", "id", nulls_last=True, maintain_order=True),
            _threads(trace, nested),
            *(trace.frames[name].select(pl.len()) for name in trace.frames),
        ]
    )
    backwards, doubtful, export, gpus, threads, *rows = others
    stated = dict(export.drop_nulls().iter_rows())
    annotations = marks(trace)
    made_up = [f"No machine ran this: {stated[key]}." for key in _MADE_UP if key in stated]
    missing = _missing(whole, covered, by_domain, selection)
    odd = _oddities(trace, operations, stated, covered, by_domain, elsewhere.item(), backwards.item())
    doubts = [doubt(doubtful["pid"].to_list())] if doubtful.height else []
    return Overview(
        path=trace.path,
        format=trace.format,
        export=stated,
        start_ns=span["start_ns"].item(),
        end_ns=span["end_ns"].item(),
        tables=_tables(trace, [frame.item() for frame in rows]),
        gpus=gpus,
        threads=threads,
        operations=operations,
        ranges=by_domain,
        coverage=covered,
        runs=tuple(run_descriptions(annotations)),
        notes=tuple(dict.fromkeys([*made_up, *missing, *odd, *_unpopped(leaking), *doubts, *unread(annotations)])),
    )


def _span(trace: Trace) -> pl.LazyFrame:
    """First start and last end in all tables of events."""
    timed = [name for name, table in TABLES.items() if {"start_ns", "end_ns"} <= table.schema.keys()]
    spans = [trace.frames[name].select(pl.col("start_ns").min(), pl.col("end_ns").max()) for name in timed]
    return pl.concat(spans).select(pl.col("start_ns").min(), pl.col("end_ns").max())


def _tables(trace: Trace, rows: Sequence[int]) -> pl.DataFrame:
    """Every table with its number of rows."""
    sources = [trace.sources.get(name) for name in trace.frames]
    # A part of a trace holds the devices of its processes, whether or not the export has a table of them.
    counts = [count if source else 0 for count, source in zip(rows, sources, strict=True)]
    listed = {"table": [*trace.frames], "source": sources, "rows": counts}
    return pl.DataFrame(listed, schema_overrides={"source": pl.String})


def _operations(ops: pl.LazyFrame) -> pl.LazyFrame:
    return (
        ops.group_by("kind", "device", timeline().alias("timeline"))
        .agg(
            pl.col("gpu").first(),
            pl.col("stream").n_unique().alias("streams"),
            pl.len().alias("ops"),
            pl.col("duration_ns").sum().alias("sum_ns"),
        )
        .sort("sum_ns", "kind", "device", "timeline", descending=[True, False, False, False])
        .drop("timeline")
    )


def _unpopped(leaking: pl.DataFrame) -> Iterator[str]:
    """What was pushed and not popped: the most frequent name of each thread."""
    worst = leaking.unique("global_tid", keep="first", maintain_order=True).head(_THREADS)
    for name, pushes, tid in worst.select("name", "pushes", tid_of("global_tid")).iter_rows():
        yield (
            f"{pushes:,} ranges such as {name or '(unnamed)'!r} were pushed on thread {tid} and never popped: each is "
            "read as taking the place of the one before. Pop every range that is pushed."
        )


_THREADS = 3
"""Threads that notes name."""


def _doubtful(ops: pl.LazyFrame) -> pl.LazyFrame:
    """Processes that use one device ordinal without saying which GPU they mean: `pid`."""
    claims = ops.filter(pl.col("gpu").is_null()).select("device", "pid").drop_nulls().unique()
    return claims.filter(pl.col("device").is_duplicated()).select(pl.col("pid").unique())


def _by_domain(nested: pl.LazyFrame) -> pl.LazyFrame:
    return (
        nested.group_by("domain", "kind")
        .agg(
            pl.len().alias("ranges"),
            pl.col("group").n_unique().alias("names"),
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
    opened = nested.filter(pl.col("captured_id").is_null()).group_by("global_tid").agg(pl.len().alias("ranges"))
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
    """The sentence for a trace whose times come from a model of a GPU; None for one that was measured.

    Args:
        keys: the export's own keys and values.
    """
    return f"No machine ran this: {keys[SIMULATED]}." if SIMULATED in keys else None


def _missing(
    whole: Trace, covered: pl.DataFrame, by_domain: pl.DataFrame, selection: Selection | None
) -> Iterator[str]:
    """What the trace lacks, and how to get it: by another capture, or by other filters."""
    if covered.is_empty() and selection:
        yield _sentence(available(whole, selection))
    elif covered.is_empty():
        yield f"No GPU activity: {gpu_remedy(whole)}."
    if by_domain.is_empty() and not (selection and whole.has("nvtx_events")):
        yield f"No NVTX ranges: {whole.remedy('nvtx_events')}."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith("?") else ".")


def _oddities(
    trace: Trace,
    operations: pl.DataFrame,
    stated: Mapping[str, str],
    covered: pl.DataFrame,
    by_domain: pl.DataFrame,
    elsewhere: int,
    backwards: int,
) -> Iterator[str]:
    """What a reader must know to read the numbers right."""
    if "graph" in operations["kind"]:
        yield "CUDA graphs are traced as a whole: profile with --cuda-graph-trace=node to see their kernels."
    early = covered.filter(pl.col("attributed_by") == "launched_before_capture")["ops"].sum()
    if early:
        yield f"{early:,} operations were launched before the capture began, so no range can be known for them."
    if trace.format == KINETO and UNTIMED in stated:
        yield f"{stated[UNTIMED]} events do not say when they began: they are left out."
    unfinished = by_domain["unfinished"].sum()
    if unfinished:
        yield f"{unfinished:,} ranges were never closed: they count as open to the end of the capture."
    if elsewhere:
        yield f"{elsewhere:,} start/end ranges close on another thread: they enclose nothing."
    if backwards:
        yield f"{backwards:,} operations end before they start: their negative durations are left out of sums."
