"""Operations that are attributed in no ordinary way, or not at all: each says why."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import parsers
import ttinsys
from tests.build import TraceBuilder
from ttinsys.attribution.coverage import coverage, coverage_sentence
from ttinsys.tables.overview import overview

MIGRATED_TO_HOST = 12


def reasons(trace: parsers.Trace) -> list[tuple[str, str | None]]:
    return ttinsys.attribute(trace).select("attributed_by", "path").collect().rows()


def migration(t: TraceBuilder, start: int, end: int, kind: int = MIGRATED_TO_HOST) -> None:
    """A copy that no API call launched."""
    t.row("CUPTI_ACTIVITY_KIND_MEMCPY", start=start, end=end, correlationId=0, bytes=65536, copyKind=kind,
          globalPid=t.thread().global_pid)  # fmt: skip


def test_migration_of_unified_memory_has_a_reason_of_its_own(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "layer", 0, 100)
    t.kernel(t.thread(), "gemm", launch=(10, 11), gpu=(20, 30))
    migration(t, 20, 23)
    # A plain copy without a call may be from before the capture.
    migration(t, 40, 45, kind=2)
    trace = t.load(tmp_path)
    assert reasons(trace) == [("launch", "layer"), ("unified_memory", None), ("launched_before_capture", None)]
    assert "unified_memory 16.67% (1 operations)" in coverage_sentence(coverage(ttinsys.attribute(trace)).collect())
    (note,) = (note for note in overview(trace).notes if "before the capture" in note)
    assert note.startswith("1 operations")


def without_process(t: TraceBuilder, *, correlation: int) -> None:
    t.row("CUPTI_ACTIVITY_KIND_KERNEL", start=20, end=30, correlationId=correlation, demangledName=t.string("k"),
          shortName=t.string("k"))  # fmt: skip


@pytest.mark.parametrize("processes", [1, 2])
def test_kernel_without_a_process_belongs_to_the_only_one(tmp_path: Path, processes: int) -> None:
    t = TraceBuilder()
    for pid in range(10, 10 + processes):
        t.range(t.thread(pid, 1), "layer", 0, 100)
        t.api(t.thread(pid, 1), "cudaLaunchKernel", 10, 11, correlation_id=7)
    without_process(t, correlation=7)
    trace = t.load(tmp_path)
    expected = ("launch", "layer") if processes == 1 else ("no_api_call", None)
    assert reasons(trace) == [expected]
    assert ttinsys.attribute(trace).select("pid").collect()["pid"].to_list() == [10 if processes == 1 else None]


def test_operation_that_ends_before_it_starts_is_counted_and_kept_out_of_sums(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "layer", 0, 100)
    for launch, gpu in ((10, (50, 40)), (12, (70, 70)), (14, (90, 100))):
        t.kernel(main, "k", launch=(launch, launch + 1), gpu=gpu)
    trace = t.load(tmp_path)
    assert ttinsys.attribute(trace).select("duration_ns").collect()["duration_ns"].to_list() == [None, 0, 10]
    assert ttinsys.layers(trace).select("ops", "total_ns").rows() == [(3, 10)]
    frame = ttinsys.gaps(trace, by="trace")
    assert frame.select("instances", "sum_ns", "busy_ns").rows() == [(3, 10, 10)]
    assert "1 operations end before they start: their negative durations are left out of sums." in overview(trace).notes
    assert coverage_sentence(coverage(ttinsys.attribute(trace)).collect()).endswith("100.00% attributed to a range")


def test_empty_table_of_graphs_hides_no_kernels(tmp_path: Path) -> None:
    # Exports that are not lazy have every table.
    t = TraceBuilder()
    t.kernel(t.thread(), "k", launch=(0, 1), gpu=(2, 3))
    trace = t.load(tmp_path)
    sources = {**trace.sources, "graph_launches": "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"}
    object.__setattr__(trace, "sources", sources)
    assert trace.has("graph_launches")
    assert trace.graph_launches.select(pl.len()).collect().item() == 0
    assert not [note for note in overview(trace).notes if "CUDA graphs" in note]
