"""Gaps: by hand on small traces, against counting every nanosecond, and what must hold on every real trace."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parsers
from tests.build import TraceBuilder
from tests.labelled import Labelled
from tests.shared import each_capture, examples, planned
from ttinsys.analyses.gaps import KINDS
from ttinsys.figures import draw_figure
from ttinsys.measures.intervals import busy, cumulative_cover, with_cover
from ttinsys.runner.registry import find
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

IDLE = [f"{kind}_ns" for kind in KINDS]


def one(trace: parsers.Trace) -> dict[str, int]:
    """The only row of a trace with one device."""
    (row,) = analyse("gaps", trace, by="trace").to_dicts()
    return row


def waiting() -> TraceBuilder:
    """A kernel that the CPU waits for, one it then launches late, one that was queued, and one of unknown launch."""
    t = TraceBuilder()
    main = t.thread()
    t.kernel(main, "gemm", launch=(0, 10), gpu=(20, 100))
    t.api(main, "cudaDeviceSynchronize_v3020", 30, 110)
    t.api(main, "cudaMalloc_v3020", 150, 160)
    t.kernel(main, "gemm", launch=(170, 180), gpu=(195, 300))
    t.kernel(main, "gemm", launch=(181, 185), gpu=(310, 400))
    t.kernel(main, "gemm", api=None, gpu=(420, 430))
    return t


def test_idle_time_is_told_by_what_the_launching_thread_did(tmp_path: Path) -> None:
    row = one(waiting().load(tmp_path))
    # From 100 to 195: 10 until the wait returns, 40 and 10 outside CUDA, 10 and 10 in calls, 15 after the launch.
    assert {kind: row[f"{kind}_ns"] for kind in KINDS} == {
        "cpu": 50, "launch": 20, "sync": 10, "latency": 15 + 10, "unknown": 20,
    }  # fmt: skip
    assert (row["span_ns"], row["busy_ns"], row["idle_ns"]) == (410, 285, 125)
    assert (row["gaps"], row["longest_ns"]) == (3, 95)
    assert row["idle_share"] == pytest.approx(125 / 410)


def test_another_threads_calls_do_not_excuse_the_launching_one(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, other = t.thread(10, 11), t.thread(10, 12)
    t.kernel(main, "gemm", launch=(0, 5), gpu=(10, 20))
    t.api(other, "cudaStreamSynchronize_v3020", 12, 90)
    t.kernel(main, "gemm", launch=(50, 60), gpu=(60, 70))
    row = one(t.load(tmp_path))
    assert {kind: row[f"{kind}_ns"] for kind in KINDS} == {
        "cpu": 30, "launch": 10, "sync": 0, "latency": 0, "unknown": 0,
    }  # fmt: skip


def test_kernel_that_starts_before_its_launch_returns_has_no_latency(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.kernel(main, "gemm", launch=(0, 5), gpu=(10, 20))
    t.kernel(main, "gemm", launch=(22, 50), gpu=(30, 40))
    row = one(t.load(tmp_path))
    assert [row[f"{kind}_ns"] for kind in ("cpu", "launch", "latency")] == [2, 8, 0]


def test_streams_that_overlap_count_once_as_busy_and_are_told_as_concurrent(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.kernel(main, "gemm", launch=(0, 1), gpu=(10, 50), stream=7)
    t.kernel(main, "gemm", launch=(2, 3), gpu=(30, 70), stream=8)
    t.kernel(main, "gemm", launch=(4, 5), gpu=(60, 65), stream=8)
    row = one(t.load(tmp_path))
    assert (row["span_ns"], row["busy_ns"], row["sum_ns"], row["overlapped_ns"]) == (60, 60, 85, 25)
    # The third runs beside the second, but on its stream.
    assert row["concurrent_ns"] == 20


def test_copies_and_nccl_are_hidden_only_behind_other_computation(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.kernel(main, "gemm", launch=(0, 1), gpu=(10, 50), stream=7)
    t.memcpy(main, "HtoD", 64, launch=(2, 3), gpu=(40, 70), stream=8)
    t.kernel(main, "ncclDevKernel_AllReduce_Sum_f16_RING_LL", launch=(4, 5), gpu=(45, 65), stream=9)
    row = one(t.load(tmp_path))
    assert (row["copy_ns"], row["copy_exposed_ns"]) == (30, 20)
    assert (row["nccl_ns"], row["nccl_exposed_ns"]) == (20, 15)


def test_devices_idle_apart(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.kernel(main, "gemm", launch=(0, 1), gpu=(10, 20), device=0)
    t.kernel(main, "gemm", launch=(2, 3), gpu=(15, 40), device=1)
    t.kernel(main, "gemm", launch=(4, 5), gpu=(30, 50), device=0)
    frame = analyse("gaps", t.load(tmp_path))
    assert frame.select("device", "component", "span_ns", "idle_ns", "latency_ns", "from_ns", "to_ns").rows() == [
        (0, "(no_range_open)", 40, 10, 10, 10, 50),
        (1, "(no_range_open)", 25, 0, 0, 15, 40),
    ]


def steps() -> Labelled:
    """Two steps of a denoiser between a text encoder and a kernel outside all ranges."""
    t = Labelled()
    t.module("text_encoder", "linear", component="text_encoder")
    t.module("step", "other")
    t.module("unet", "linear")
    t.call("text_encoder", 100, 110, gpu=[("sgemm", 120, 150)])
    t.call("step", 200, 300, step=0)
    t.call("unet", 210, 290, gpu=[("sgemm", 230, 330), ("sgemm", 340, 400)])
    t.call("step", 301, 390, step=1)
    t.call("unet", 310, 380, gpu=[("sgemm", 410, 500)])
    t.kernel(t.main, "sgemm", launch=(600, 610), gpu=(620, 640))
    return t


def test_gap_belongs_to_the_step_of_the_operation_that_ends_it(tmp_path: Path) -> None:
    frame = analyse("gaps", steps().load(tmp_path), by="step")
    columns = ["step", "span_ns", "busy_ns", "cpu_ns", "launch_ns", "latency_ns", "wait_ns", "from_ns", "to_ns"]
    # The first step's kernels are launched at 211 and 212: the GPU was idle from 150 on, and again from 330 on.
    # The first step is done 300 ns after the first annotated range opened, at 100.
    assert frame.select(columns).rows() == [
        (0, 80 + 10 + 160, 160, 61, 0, 19 + 10, 30, 130, 300),
        (1, 10 + 90, 90, 0, 0, 10, 410 - 301, 310, 400),
        (None, 30 + 120 + 20, 50, 100, 10, 10, None, 20, 540),
    ]
    assert frame["span_ns"].sum() == 640 - 120


def test_components_divide_the_same_time(tmp_path: Path) -> None:
    frame = analyse("gaps", steps().load(tmp_path))
    assert frame.select("component", "busy_ns", "idle_ns").rows() == [
        ("text_encoder", 30, 0),
        ("denoiser", 250, 100),
        ("(no_range_open)", 20, 120),
    ]


def test_trace_without_gpu_work_is_refused_with_the_remedy(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "unet", 0, 100)
    assert planned("gaps", t.load(tmp_path)).is_empty()
    with pytest.raises(Lacking, match="has no GPU activity"):
        analyse("gaps", t.load(tmp_path))


@pytest.mark.parametrize("by", ["trace", "component", "step"])
def test_bars_show_every_kind_of_time_that_there_is(tmp_path: Path, by: str) -> None:
    drawn = draw_figure("gaps", analyse("gaps", steps().load(tmp_path), by=by)).to_dict()
    (data,) = drawn["datasets"].values()
    assert {row["kind"] for row in data} >= {"busy", "cpu", "latency"}
    shown = 330 + 160 + 30 if by != "step" else 160 + 90 + 90 + 10
    assert sum(row["ms"] for row in data) * 1e6 == pytest.approx(shown)


class Op(NamedTuple):
    """An operation of the property test, and its launch."""

    start: int
    length: int
    stream: int
    kind: str
    launch: tuple[int, int] | None


TIME = st.integers(0, 40)
LENGTH = st.integers(0, 12)
OPS = st.lists(
    st.builds(
        Op, TIME, LENGTH, st.integers(0, 2), st.sampled_from(["gemm", "memcpy", "nccl"]),
        st.none() | st.tuples(TIME, LENGTH),
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip
CALLS = st.lists(st.tuples(TIME, LENGTH), max_size=5)


def counted(ops: list[Op], calls: list[tuple[int, int]]) -> dict[str, int]:
    """What `gaps` should say, by looking at every nanosecond."""
    names = (*IDLE, "busy_ns", "idle_ns", "span_ns", "concurrent_ns", "copy_ns", "copy_exposed_ns", "nccl_ns",
             "nccl_exposed_ns")  # fmt: skip
    found = dict.fromkeys(names, 0)
    calls = [*calls, *(op.launch for op in ops if op.launch)]
    first, last = min(op.start for op in ops), max(op.start + op.length for op in ops)
    for now in range(first, last):
        running = [op for op in ops if op.start <= now < op.start + op.length]
        found["span_ns"] += 1
        found["concurrent_ns"] += len({op.stream for op in running}) > 1
        computing = any(op.kind == "gemm" for op in running)
        for kind, name in (("memcpy", "copy"), ("nccl", "nccl")):
            number = sum(op.kind == kind for op in running)
            found[f"{name}_ns"] += number
            found[f"{name}_exposed_ns"] += 0 if computing else number
        if running:
            found["busy_ns"] += 1
            continue
        found["idle_ns"] += 1
        since = max(op.start + op.length for op in ops if op.start <= now)
        ender = min((op for op in ops if op.start > now), key=lambda op: (op.start, op.length))
        found[f"{_kind(now, since, ender, calls)}_ns"] += 1
    return found


def _kind(now: int, since: int, ender: Op, calls: list[tuple[int, int]]) -> str:
    if ender.launch is None:
        return "unknown"
    begin, length = ender.launch
    if now >= begin:
        return "launch" if now < begin + length else "latency"
    around = [start for start, length in calls if start <= now < start + length]
    if not around:
        return "cpu"
    return "sync" if min(around) <= since else "launch"


@examples(150)
@given(OPS, CALLS)
def test_every_nanosecond_is_counted_once(ops: list[Op], calls: list[tuple[int, int]]) -> None:
    thread = (10 << 24) | 11
    launched = [*calls, *(op.launch for op in ops if op.launch)]
    tables = {
        "ops": pl.LazyFrame(
            {
                "device": 0, "gpu": 0, "context": 1, "stream": op.stream, "pid": 10, "tid": 11 if op.launch else None,
                "kind": "memcpy" if op.kind == "memcpy" else "kernel", "operator": op.kind,
                "start_ns": op.start, "end_ns": op.start + op.length,
                "api_start_ns": op.launch[0] if op.launch else None,
                "api_duration_ns": op.launch[1] if op.launch else None,
            }
            for op in ops
        ).cast({"tid": pl.Int64, "api_start_ns": pl.Int64, "api_duration_ns": pl.Int64}),
        "ranges": pl.LazyFrame(schema={"step_id": pl.Int64, "range_id": pl.Int64, "role": pl.String,
                                       "start_ns": pl.Int64}),
        "api_calls": pl.LazyFrame(
            {"global_tid": [thread] * len(launched), "api_start_ns": [start for start, _ in launched],
             "api_end_ns": [start + length for start, length in launched]},
            schema={"global_tid": pl.Int64, "api_start_ns": pl.Int64, "api_end_ns": pl.Int64},
        ),
    }  # fmt: skip
    (row,) = find("gaps").plan({"run": tables}, by="trace").collect().to_dicts()
    assert {name: row[name] for name in counted(ops, calls)} == counted(ops, calls)


@examples(100)
@given(st.lists(st.tuples(st.integers(0, 1), TIME, LENGTH), max_size=8), st.tuples(st.integers(0, 1), TIME))
def test_coverage_before_a_moment_is_that_of_the_cut_intervals(
    spans: list[tuple[int, int, int]], point: tuple[int, int]
) -> None:
    rows = [(device, start, start + length) for device, start, length in spans]
    frame = pl.LazyFrame(rows, schema=["device", "start_ns", "end_ns"], orient="row").cast(pl.Int64)
    device, moment = point
    points = pl.LazyFrame({"device": [device], "at": [moment]})
    found = with_cover(points, "at", cumulative_cover(frame, ["device"]), ["device"]).collect()["covered_ns"].item()
    assert found == sum(any(d == device and a <= now < b for d, a, b in rows) for now in range(moment))
    whole = frame.filter(pl.col("device") == device).sort("start_ns").select(busy()).collect().item()
    assert whole == sum(any(d == device and a <= now < b for d, a, b in rows) for now in range(60))


@each_capture
@pytest.mark.parametrize("by", ["trace", "component", "step"])
def test_busy_and_idle_add_up_to_the_span_of_each_device(capture: Path, by: str) -> None:
    trace = parsers.load(capture)
    try:
        frame = analyse("gaps", trace, by=by)
    except Lacking:
        return
    raw = pl.concat(
        [kind.select("device_id", "start_ns", "end_ns") for kind in
         (trace.kernels, trace.memcpys, trace.memsets, trace.graph_launches)]
    ).group_by("device_id").agg(
        (pl.col("end_ns").max() - pl.col("start_ns").min()).alias("span_ns"),
        (pl.col("end_ns") - pl.col("start_ns")).sum().alias("sum_ns"), pl.len().alias("instances"),
    ).sort("device_id").collect()  # fmt: skip
    found = frame.group_by("device").agg(pl.col("span_ns", "sum_ns", "instances").sum()).sort("device")
    assert found.rows() == raw.rows()
    assert (frame.select(pl.sum_horizontal(IDLE)).to_series() == frame["idle_ns"]).all()
    assert frame.select((pl.col(*IDLE, "copy_exposed_ns", "nccl_exposed_ns", "overlapped_ns") >= 0).all()).row(0) == (
        True,
    ) * (len(IDLE) + 3)
    assert frame["overlapped_ns"].sum() >= frame["concurrent_ns"].sum()
