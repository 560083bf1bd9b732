"""Traces of the PyTorch profiler: the same tables, sums to the nanosecond, and one line for what cannot be read."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parsers
from parsers.folder import traces_in
from tests.build import Thread, TraceBuilder
from tests.kineto import PID, call, event, kineto, module, of_nsys, on_gpu, op
from tests.shared import ROOT, examples
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.nvtx import ranges
from ttinsys.tables.overview import overview


def ops_of(path: Path) -> pl.DataFrame:
    return attribute(parsers.load(path)).collect()


# A trace that an nsys export holds as well

moments = st.integers(0, 40)
spans = st.tuples(moments, st.integers(0, 15)).map(lambda drawn: (10 * drawn[0] + 7, 10 * sum(drawn) + 7))
threads = st.sampled_from([Thread(10, 11), Thread(10, 12)])


@st.composite
def built(draw: st.DrawFn) -> TraceBuilder:
    t = TraceBuilder()
    t.range(Thread(10, 11), "first", 0, 1)
    t.domain(10, 1, "PyTorch", 0)
    for text, thread, span, domain in draw(
        st.lists(st.tuples(st.sampled_from("abc"), threads, spans, st.sampled_from([0, 1])), max_size=10)
    ):
        t.range(thread, text, *span, domain=domain, payload=draw(st.none() | st.integers(0, 9)) if domain else None)
    for thread, launch, gpu, kind in draw(
        st.lists(st.tuples(threads, spans, spans, st.sampled_from(["kernel", "memcpy", "memset", "lost"])), max_size=10)
    ):
        if kind == "memcpy":
            t.memcpy(thread, draw(st.sampled_from(["HtoD", "DtoH", "DtoD"])), 64, launch=launch, gpu=gpu)
        elif kind == "memset":
            t.memset(thread, 32, launch=launch, gpu=gpu, stream=9)
        else:
            t.kernel(
                thread, "k<int>", launch=launch if kind == "kernel" else None, gpu=gpu, grid=(3, 2, 1), registers=40
            )
    return t


@pytest.mark.slow(6)
@examples(60)
@given(built())
def test_same_events_give_the_same_operations_and_ranges_as_an_export_of_nsys(t: TraceBuilder) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export = t.load(folder)
        profiled = parsers.load(kineto(folder / "run.json", *of_nsys(t.tables())))
        other = [
            "range_id",
            "module_id",
            "step_id",
            "kernel_short",
            "static_shared_bytes",
            "dynamic_shared_bytes",
            "api",
        ]
        one, two = (attribute(trace).drop(other).collect() for trace in (export, profiled))
        assert one.drop("pid").equals(two.drop("pid"), null_equal=True)
        keys = ["global_tid", "start_ns", "end_ns", "name", "domain", "payload_int64", "depth", "path"]
        one, two = (ranges(trace).select(keys).collect().sort(keys) for trace in (export, profiled))
        assert one.equals(two, null_equal=True)


# Times


@pytest.mark.parametrize(
    ("ts", "dur", "start", "end"),
    [
        (1.5, 0.25, 1500, 1750),
        ("1.5", "0.25", 1500, 1750),
        (12, 3, 12_000, 15_000),
        (1.5e2, 1, 150_000, 151_000),
        (1740461679479.123, 0.001, 1740461679479123, 1740461679479124),
    ],
)
def test_microseconds_of_any_spelling_are_nanoseconds(tmp_path: Path, ts: Any, dur: Any, start: int, end: int) -> None:
    path = kineto(tmp_path / "run.json", on_gpu("kernel", "k", ts, dur, correlation=1))
    (row,) = parsers.load(path).kernels.select("start_ns", "end_ns").collect().rows()
    assert row == (start, end)


def test_unix_time_in_microseconds_keeps_its_nanoseconds(tmp_path: Path) -> None:
    # As a float of 64 bits, 1740461679479712.123 is 1740461679479712.0.
    text = '[{"ph":"X","cat":"kernel","name":"k","pid":0,"tid":7,"ts":%s,"dur":1.002,"args":{"External id":1}},' * 2
    path = tmp_path / "run.json"
    path.write_text((text % ("1740461679479712.123", "1740461679479713.126")).replace(",[", ",")[:-1] + "]")
    kernels = parsers.load(path).kernels.select("start_ns", "end_ns").collect()
    assert kernels.rows() == [(0, 1002), (1003, 2005)]


def test_time_zero_is_the_first_event(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": [op("aten::mm", 1000.5, 1), op("b", 1002, 1)]}))
    assert parsers.load(path).nvtx_events.select("start_ns").collect()["start_ns"].to_list()[:2] == [0, 1500]


def test_child_of_whole_microseconds_that_outlives_its_parent_by_one_stays_its_child(tmp_path: Path) -> None:
    # The parent lasts 4.9 us from 10.9 on, its child 3.5 us from 12.0 on: cut to microseconds, they end at 14 and 15.
    path = kineto(tmp_path / "run.json", op("parent", 10, 4), op("child", 12, 3), op("next", 15, 5))
    nested = ranges(parsers.load(path)).select("name", "path", "start_ns", "end_ns").collect()
    assert nested.rows() == [
        ("parent", "parent", 10_000, 14_000),
        ("child", "parent/child", 12_000, 14_000),
        ("next", "next", 15_000, 20_000),
    ]


def test_range_that_outlives_another_by_more_than_rounding_is_not_cut(tmp_path: Path) -> None:
    path = kineto(tmp_path / "run.json", op("one", 10, 4), op("two", 12, 4))
    nested = ranges(parsers.load(path)).select("path", "end_ns").collect()
    assert nested.rows() == [("one", 14_000), ("two", 16_000)]


def test_module_and_operator_with_the_same_times_nest_as_one_calls_the_other(tmp_path: Path) -> None:
    path = kineto(tmp_path / "run.json", op("aten::mm", 10, 5), module("Linear_0", 10, 5))
    assert ranges(parsers.load(path)).select("path").collect()["path"].to_list()[1] == "Linear/aten::mm"


# Kinds of events


def test_launch_gives_a_kernel_its_range(tmp_path: Path) -> None:
    ops = ops_of(
        kineto(
            tmp_path / "run.json",
            module("Linear_0", 0, 100),
            op("aten::mm", 10, 50, Sequence_number=3),
            event("python_function", "model.py(12): forward", 5, 90),
            call("cudaLaunchKernel", 20, 5, correlation=1),
            on_gpu("kernel", "void cutlass::Kernel2<gemm<1>>(gemm<1>::Params)", 40, 30, correlation=1),
            event("gpu_user_annotation", "step", 40, 30, pid=0, tid=7),
        )
    )
    (row,) = ops.to_dicts()
    assert row["path"] == "Linear/aten::mm"
    assert (row["duration_ns"], row["queue_ns"], row["api"], row["pid"], row["tid"]) == (
        30_000,
        15_000,
        "cudaLaunchKernel",
        10,
        11,
    )
    assert (row["kernel_short"], row["attributed_by"]) == ("Kernel2", "launch")


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("void at::native::(anonymous namespace)::softmax<8, float>(float*, std::array<char*, 2ul>)", "softmax"),
        ("std::enable_if<!(false), void>::type internal::gemvx::kernel<int, float>(cublasGemvParams<int>)", "kernel"),
        ("void at::native::cut<std::array<char", "void at::native::cut<std::array<char"),
        ("triton_poi_fused_add_0", "triton_poi_fused_add_0"),
        ("_ZN2ck16kernel_gemm_mfmaEv.kd", "_ZN2ck16kernel_gemm_mfmaEv"),
        ("ncclDevKernel_AllReduce(ncclDevKernelArgsStorage<4096ul>)", "ncclDevKernel_AllReduce"),
    ],
)
def test_short_name_of_a_kernel_is_that_of_its_function(tmp_path: Path, name: str, short: str) -> None:
    ops = ops_of(kineto(tmp_path / "run.json", on_gpu("kernel", name, 0, 1, correlation=1)))
    assert ops["kernel_short"].to_list() == [short]


@pytest.mark.parametrize(
    ("name", "more", "label"),
    [
        ("Memcpy HtoD (Pageable -> Device)", {}, "Host-to-Device"),
        ("Memcpy DtoH (Device -> Pinned)", {}, "Device-to-Host"),
        ("Memcpy PtoP (Device -> Device)", {}, "Peer-to-Peer"),
        ("CopyDeviceToDevice", {}, "Device-to-Device"),
        ("Copy", {"kind": "HtoD"}, "Host-to-Device"),
        ("Memcpy", {}, "Unknown"),
    ],
)
def test_direction_of_a_copy_is_read_from_its_name(tmp_path: Path, name: str, more: dict[str, Any], label: str) -> None:
    ops = ops_of(kineto(tmp_path / "run.json", on_gpu("gpu_memcpy", name, 0, 1, correlation=1, bytes=64, **more)))
    assert (ops["kernel"].to_list(), ops["size_bytes"].to_list()) == ([f"[CUDA memcpy {label}]"], [64])


def test_categories_of_old_profilers_and_of_rocm_are_read(tmp_path: Path) -> None:
    ops = ops_of(
        kineto(
            tmp_path / "run.json",
            event("Operator", "aten::mm", 0, 50),
            call("hipLaunchKernel", 10, 5, cat="hip_runtime", correlation=1),
            call("cudaLaunchKernel", 20, 5, cat="Runtime", correlation=2),
            on_gpu("Kernel", "a", 20, 30, correlation=1),
            on_gpu("Memset", "Memset (Device)", 50, 30, correlation=2),
        )
    )
    assert ops.select("kind", "path").rows() == [("kernel", "aten::mm"), ("memset", "aten::mm")]


def test_graph_node_of_a_kernel_is_kept_and_zero_is_none(tmp_path: Path) -> None:
    kernels = [on_gpu("kernel", "k", n, 1, correlation=1, graph_node_id=n, graph_id=3) for n in (0, 5)]
    assert ops_of(kineto(tmp_path / "run.json", *kernels))["graph_node_id"].to_list() == [None, 5]


def test_grid_of_a_launch_that_counts_threads_is_in_blocks(tmp_path: Path) -> None:
    # 350,208 threads in blocks of 256 are 1,368 blocks.
    ops = ops_of(
        kineto(
            tmp_path / "run.json",
            call("hipExtModuleLaunchKernel", 10, 5, correlation=1),
            call("hipModuleLaunchKernel", 20, 5, correlation=2),
            on_gpu("kernel", "Cijk_Alik", 30, 5, correlation=1, grid=[350208, 1, 1], block=[256, 1, 1]),
            on_gpu("kernel", "attn_fwd", 40, 5, correlation=2, grid=[64, 16, 8], block=[128, 1, 1]),
        )
    )
    assert ops.select("grid_x", "grid_y", "grid_z").rows() == [(1368, 1, 1), (64, 16, 8)]


def test_trace_of_the_cpu_alone_opens(tmp_path: Path) -> None:
    trace = parsers.load(kineto(tmp_path / "run.json", op("aten::mm", 0, 5)))
    assert (trace.has("kernels"), trace.has("nvtx_events")) == (False, True)
    (note,) = overview(trace).notes
    assert "ProfilerActivity.CUDA" in note
    with pytest.raises(parsers.MissingTable, match=r"run\.json has no kernels: profile .*ProfilerActivity\.CUDA"):
        trace.require(["kernels"])


def test_trace_of_the_gpu_alone_opens(tmp_path: Path) -> None:
    assert ops_of(kineto(tmp_path / "run.json", on_gpu("kernel", "k", 0, 5, correlation=1)))["pid"].to_list() == [None]


# Processes and threads


def test_numbers_beyond_24_bits_and_names_stay_apart(tmp_path: Path) -> None:
    names: list[tuple[Any, Any]] = [
        (5, 7),
        ((1 << 24) + 5, 7),
        ((1 << 32) + 5, 7),
        ("rank 1", 7),
        (5, 140735340871808),
        (5, 140735340871809),
        (5, "Trace PyTorch Profiler"),
    ]
    events = [op(f"aten::{number}", number, 1, pid=pid, tid=tid) for number, (pid, tid) in enumerate(names)]
    label = {"ph": "M", "name": "process_name", "pid": "rank 1", "tid": 0, "ts": 0, "args": {"name": "python"}}
    trace = parsers.load(kineto(tmp_path / "run.json", *events, label))
    rows = ranges(trace).select("name", "pid", "tid").collect().sort("name")
    assert rows.select(pl.struct("pid", "tid").n_unique()).item() == 7
    assert rows.row(0) == ("aten::0", 5, 7)
    assert rows["pid"].n_unique() == 4
    programs = trace.processes.select("name").collect()["name"].to_list()
    assert {*programs} == {None, "(process 16777221)", "(process 4294967301)", "python (process rank 1)"}


def test_same_correlation_id_in_two_processes_finds_its_own_call(tmp_path: Path) -> None:
    """In a file that was merged from two ranks, ID 1 occurs in both, IDs 2 and 3 tell which GPU is whose."""
    events = [
        one
        for pid, gpu, own in ((20, 0, 2), (21, 1, 3))
        for one in (
            op(f"aten::of_{pid}", 0, 50, pid=pid),
            call("cudaLaunchKernel", 10, 1, pid=pid, correlation=1),
            call("cudaLaunchKernel", 12, 1, pid=pid, correlation=own),
            on_gpu("kernel", "k", 20, 5, device=gpu, correlation=1),
            on_gpu("kernel", "k", 30, 5, device=gpu, correlation=own),
        )
    ]
    ops = ops_of(kineto(tmp_path / "run.json", *events))
    assert ops.select("device", "pid", "path").rows() == [
        (0, 20, "aten::of_20"),
        (0, 20, "aten::of_20"),
        (1, 21, "aten::of_21"),
        (1, 21, "aten::of_21"),
    ]


def test_process_that_nothing_tells_is_unknown(tmp_path: Path) -> None:
    calls = [call("cudaLaunchKernel", 10, 1, pid=pid, correlation=1) for pid in (20, 21)]
    ops = ops_of(kineto(tmp_path / "run.json", *calls, on_gpu("kernel", "k", 20, 5, correlation=1)))
    assert ops["pid"].to_list() == [None]


def test_two_calls_with_one_correlation_id_give_one_row(tmp_path: Path) -> None:
    calls = [op("a", 0, 9), op("b", 10, 9), *(call("cudaLaunchKernel", at, 1, correlation=1) for at in (12, 2))]
    ops = ops_of(kineto(tmp_path / "run.json", *calls, on_gpu("kernel", "k", 20, 5, correlation=1)))
    assert ops.select("path").rows() == [("a",)]


# Files of strangers

HOSTILE: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda text: text[: len(text) // 2], "cut short: its JSON ends before its last event"),
    "cut in the last brace": (lambda text: text[:-1], "cut short: its JSON ends before its last event"),
    "malformed": (lambda text: text.replace('"dur": 5', '"dur": 5 5'), "damaged: JSON is malformed"),
    "no list": (lambda _: '{"schemaVersion": 1, "traceEvents": 5}', "not a list of trace events: Expected `array`"),
    "event is no object": (lambda _: '{"schemaVersion": 1, "traceEvents": [7]}', "not a list of trace events"),
    "no events": (lambda _: '{"schemaVersion": 1, "traceEvents": []}', "without any event"),
    "no list at all": (lambda _: '{"schemaVersion": 1, "deviceProperties": []}', "not a list of trace events"),
    "deep": (lambda _: '{"schemaVersion": 1, "traceEvents": ' + "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize(("change", "answer"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_damaged_file_is_refused_in_a_line(
    tmp_path: Path, change: Callable[[str], str], answer: str, suffix: str
) -> None:
    whole = kineto(tmp_path / "whole.json", op("aten::mm", 0, 5)).read_text()
    path = tmp_path / f"run{suffix}"
    content = change(whole).encode()
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    with pytest.raises(parsers.UnreadableTrace, match=re.escape(answer)) as caught:
        parsers.load(path)
    assert "\n" not in str(caught.value)


def test_compressed_file_that_ends_early_says_so(tmp_path: Path) -> None:
    events = [op(f"aten::{number * 7919 % 10007}", number, 1) for number in range(20_000)]
    path = kineto(tmp_path / "run.json.gz", *events)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(parsers.UnreadableTrace, match="cut short: its compressed data ends early"):
        parsers.load(path)


def test_compressed_file_of_two_members_is_read_whole(tmp_path: Path) -> None:
    text = kineto(tmp_path / "whole.json", op("aten::mm", 0, 5)).read_bytes()
    path = tmp_path / "run.json.gz"
    path.write_bytes(gzip.compress(text[:100]) + gzip.compress(text[100:]))
    assert ranges(parsers.load(path)).collect().height == 1


def test_odd_values_are_absent_and_lose_no_event(tmp_path: Path) -> None:
    huge, kernel = 10**30, on_gpu("kernel", "k", 5, 1)
    kernel["args"] = {"correlation": huge, "device": "x", "stream": [1], "grid": "no", "registers per thread": 1.0}
    bare = {"ph": "X", "cat": "kernel", "name": 7, "pid": 0, "tid": 7, "ts": 9, "dur": 2, "args": None}
    endless = {"ph": "X", "cat": "cpu_op", "name": "open", "pid": PID, "tid": 11, "ts": 3}
    strange: list[dict[str, Any]] = [
        {},
        {"ph": 5, "cat": {}, "name": []},
        {"ph": "X", "cat": "cpu_op"},
        {"ph": "X", "cat": "kernel", "ts": "NaN"},
        *({"ph": "X", "cat": "none", "args": args} for args in (5, 0.5, True, "x", [1, {}])),
    ]
    gpus = [{"id": [], "name": 5, "numSms": 2**64, "totalGlobalMem": True}, None, "GPU"]
    path = kineto(
        tmp_path / "run.json", kernel, bare, endless, *strange, deviceProperties=gpus, schemaVersion={"a": []}
    )
    trace = parsers.load(path)
    ops = (
        attribute(trace)
        .select("kernel", "correlation_id", "device", "stream", "grid_x", "registers_per_thread")
        .collect()
    )
    assert ops.rows() == [("k", None, 0, None, None, 1), ("7", None, 0, None, None, None)]
    assert ranges(trace).select("name", "end_ns").collect().rows() == [("open", None)]
    assert trace.gpus.select("name", "sm_count").collect().rows() == [(None, None)]
    assert "2 events do not say when they began: they are left out." in overview(trace).notes


def test_what_json_cannot_write_is_read_none_the_less(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    text = kineto(path, op("x", 0, 5), on_gpu("kernel", "k", 5, 2, correlation=1)).read_text()
    damaged = text.replace('"x"', '"half \\ud800 nan, NaN \\\\ud800 \\ud83d\\ude00"').replace(
        '"correlation"', '"blocks per SM": NaN, "memory": [-Infinity, inf, nan], "exponent": 1e-5, "correlation"'
    )
    path.write_text(damaged)
    trace = parsers.load(path)
    assert ranges(trace).collect()["name"].to_list() == ["half \ufffd nan, NaN \\ud800 \U0001f600"]
    assert trace.kernels.select("correlation_id").collect().item() == 1


def test_bytes_that_are_no_text_are_read_with_a_replacement(tmp_path: Path) -> None:
    path = kineto(tmp_path / "run.json", op("xyz", 0, 5))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"xyz", b"x\xffz"))
    assert ranges(parsers.load(path)).collect()["name"].to_list() == ["x\ufffdz"]


def test_bare_list_of_events_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps([op("aten::mm", 0, 5), on_gpu("kernel", "k", 5, 2, correlation=1)], indent=1))
    trace = parsers.load(path)
    assert (ranges(trace).collect().height, attribute(trace).collect().height) == (1, 1)
    assert not trace.has("export_info")


def test_members_of_many_lines_are_one_payload(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(
        json.dumps([op("aten::mm", 0, 5, Input_Dims=[[2, 3], [3, 4]], Input_type=["float", "float"])], indent=2)
    )
    trace = parsers.load(path)
    (text,) = (
        trace.nvtx_events.select("json_text_id")
        .drop_nulls()
        .join(trace.strings, left_on="json_text_id", right_on="id")
        .collect()["value"]
    )
    assert json.loads(text) == {"Input Dims": [[2, 3], [3, 4]], "Input type": ["float", "float"]}


def test_file_that_needs_more_memory_than_there_is_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parsers.chrome_json.LARGE_BYTES", 10_000)
    monkeypatch.setattr("parsers.chrome_json.available_bytes", lambda: 20_000)
    for suffix in (".json", ".json.gz"):
        path = kineto(tmp_path / f"run{suffix}", *(op("aten::mm", number, 1) for number in range(2000)))
        with pytest.raises(parsers.UnreadableTrace, match=r"of memory, and 0\.0 GiB are free: read it on a machine"):
            parsers.load(path)


# Folders, and files of other programs


def test_folder_of_profiler_traces_stands_for_them(tmp_path: Path) -> None:
    kineto(tmp_path / "b.json", op("aten::mm", 0, 5))
    kineto(tmp_path / "b.json.gz", op("aten::mm", 0, 5))
    kineto(tmp_path / "a.json.gz", op("aten::mm", 0, 5))
    (tmp_path / "rank0.1700000000.pt.trace.json").write_text("{")
    (tmp_path / "manifest.json").write_text('{"model": "sdxl"}')
    TraceBuilder().write(tmp_path / "b.sqlite")
    names = [path.name for path in traces_in(tmp_path)]
    assert names == ["a.json.gz", "b.json", "b.sqlite", "rank0.1700000000.pt.trace.json"]
    with pytest.raises(parsers.UnreadableTrace, match=r"a folder of 4 traces: pass what is in it, such as a\.json\.gz"):
        parsers.load(tmp_path)


def test_other_traces_are_opened_without_the_decoder_of_json() -> None:
    code = "import sys, parsers; sys.exit('msgspec' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
