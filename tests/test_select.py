"""Parts of a trace: what is kept, and that selecting commutes with attributing."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import parsers
import ttinsys
from parsers import Trace
from tests.build import TraceBuilder
from tests.shared import each_capture
from tests.test_attribution import programs
from ttinsys.attribution.availability import available
from ttinsys.attribution.select import Selection, apply_selection
from ttinsys.stats import stats_report


def two_layers() -> TraceBuilder:
    t = TraceBuilder()
    main = t.thread()
    t.domain(main.pid, 1, "cuBLAS", 0)
    t.range(main, "unet", 0, 100)
    t.range(main, "unet.conv", 10, 40)
    t.range(main, "gemm", 20, 30, domain=1)
    t.range(main, "vae", 200, 300)
    t.kernel(main, "conv", launch=(12, 14), gpu=(100, 110), stream=7)
    t.kernel(main, "sgemm", launch=(22, 24), gpu=(110, 130), stream=8)
    t.kernel(main, "norm", launch=(50, 52), gpu=(130, 131), stream=7, device=1)
    t.kernel(main, "decode", launch=(210, 220), gpu=(400, 480))
    t.memcpy(main, "DtoH", 8, launch=(250, 260), gpu=(500, 504))
    return t


def kept(folder: Path, **selection: object) -> list[tuple[str, str | None]]:
    part = apply_selection(two_layers().load(folder), Selection(**selection))  # type: ignore[arg-type]
    return ttinsys.attribute(part).select("kernel", "path").collect().rows()


def test_domain_attributes_to_its_own_ranges_only(tmp_path: Path) -> None:
    assert kept(tmp_path, domains=("default",)) == [
        ("conv", "unet/conv"),
        ("sgemm", "unet/conv"),
        ("norm", "unet"),
        ("decode", "vae"),
        ("[CUDA memcpy Device-to-Host]", "vae"),
    ]
    assert kept(tmp_path, domains=("cuBLAS",))[:3] == [("conv", None), ("sgemm", "gemm"), ("norm", None)]


def test_domain_that_is_not_there_is_an_error_that_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(parsers.TraceError, match=r"has no range in the domain cudnn: it has cuBLAS, default$"):
        kept(tmp_path, domains=("cudnn",))


@pytest.mark.slow(1)
def test_range_keeps_what_was_launched_inside_and_the_stack_around_it(tmp_path: Path) -> None:
    assert kept(tmp_path, range="unet.*") == [("conv", "unet/conv"), ("sgemm", "unet/conv/gemm")]
    assert kept(tmp_path, range="vae") == [("decode", "vae"), ("[CUDA memcpy Device-to-Host]", "vae")]
    assert kept(tmp_path, range="nothing") == []


def test_range_drops_the_ranges_beside_it(tmp_path: Path) -> None:
    part = apply_selection(two_layers().load(tmp_path), Selection(range="unet.conv"))
    assert ttinsys.ranges(part).collect()["name"].to_list() == ["unet", "unet.conv", "gemm"]


def test_time_keeps_what_starts_in_the_window_so_that_windows_add_up(tmp_path: Path) -> None:
    assert [name for name, _ in kept(tmp_path, start_ns=110, end_ns=400)] == ["sgemm", "norm"]
    assert [name for name, _ in kept(tmp_path, end_ns=110)] == ["conv"]
    assert [name for name, _ in kept(tmp_path, start_ns=400)] == ["decode", "[CUDA memcpy Device-to-Host]"]


def test_device_and_stream(tmp_path: Path) -> None:
    assert [name for name, _ in kept(tmp_path, devices=(1,))] == ["norm"]
    assert [name for name, _ in kept(tmp_path, streams=(8,))] == ["sgemm"]
    assert [name for name, _ in kept(tmp_path, streams=(8,), devices=(1,))] == []


@pytest.mark.slow(1)
def test_process_keeps_its_operations_and_all_calls_and_ranges(tmp_path: Path) -> None:
    t = two_layers()
    other = t.thread(20, 21)
    t.range(other, "unet", 0, 100)
    t.kernel(other, "theirs", launch=(10, 20), gpu=(600, 610))
    trace = t.load(tmp_path)
    for pid, left in ((20, ["theirs"]), (10, ["conv", "sgemm", "norm", "decode", "[CUDA memcpy Device-to-Host]"])):
        part = apply_selection(trace, Selection(pids=(pid,)))
        assert ttinsys.attribute(part).collect()["kernel"].to_list() == left
        # Five calls of process 10 and one of 20; four ranges and one.
        assert part.api_calls.select(pl.len()).collect().item() == 6
        assert ttinsys.ranges(part).select(pl.len()).collect().item() == 5
    assert ttinsys.attribute(apply_selection(trace, Selection(pids=(10, 20)))).collect().height == 6


# Kernels start at 100 and 110 ns on device 0, at 130 on device 1, at 400 on device 0; the copy starts at 500.
EMPTY = {
    "device": (Selection(devices=(9,)), "no GPU operation is on device 9: there are devices 0 and 1"),
    "stream": (Selection(streams=(3, 4)), "no GPU operation is on streams 3 and 4: there are streams 7 and 8"),
    "process": (Selection(pids=(11,)), "no GPU operation is in process 11: there is process 10"),
    "stream of a device": (
        Selection(devices=(1,), streams=(8,)),
        "no GPU operation on device 1 is on stream 8: there is stream 7",
    ),
    "start": (
        Selection(start_ns=2_500_000_000),
        "no GPU operation starts at 2.5 s or later: the first starts at 0.0000001 s, the last at 0.0000005 s",
    ),
    "end": (
        Selection(devices=(1,), end_ns=-1),
        (
            "no GPU operation on device 1 starts before -0.000000001 s: the first starts at 0.00000013 s, "
            "the last at 0.00000013 s"
        ),
    ),
    "window": (
        Selection(start_ns=140, end_ns=150),
        (
            "no GPU operation starts from 0.00000014 s to 0.00000015 s: the first starts at 0.0000001 s, "
            "the last at 0.0000005 s"
        ),
    ),
    "near name": (Selection(range="unet.con"), "no range is named 'unet.con': did you mean 'unet.conv', 'unet'?"),
    "part of a name": (Selection(range="conv"), "no range is named 'conv': did you mean 'unet.conv'?"),
    "other case": (Selection(range="VAE"), "no range is named 'VAE': did you mean 'vae'?"),
    "far name": (
        Selection(range="x*yz"),
        "no range is named 'x*yz': the most frequent names are 'gemm', 'unet', 'unet.conv'",
    ),
    "name of another domain": (
        Selection(range="vae", domains=("cuBLAS",)),
        "no range is named 'vae': the most frequent names are 'gemm'",
    ),
    "range of another stream": (
        Selection(range="gemm", streams=(7,)),
        # Of those on stream 7, the decoder launched two, and both others one.
        "no GPU operation on stream 7 was launched in a range named 'gemm': most are in 'vae', 'unet', 'unet.conv'",
    ),
    "range before the window": (
        Selection(range="unet", start_ns=400),
        "no GPU operation that starts at 0.0000004 s or later was launched in a range named 'unet': most are in 'vae'",
    ),
}


@pytest.mark.parametrize(("selection", "sentence"), EMPTY.values(), ids=EMPTY)
def test_filter_that_leaves_nothing_says_what_there_is(tmp_path: Path, selection: Selection, sentence: str) -> None:
    trace = two_layers().load(tmp_path)
    assert ttinsys.attribute(apply_selection(trace, selection)).collect().is_empty()
    assert available(trace, selection) == sentence


@pytest.mark.parametrize("selection", [Selection(), Selection(devices=(1,), range="unet"), Selection(start_ns=500)])
def test_filters_that_leave_something_need_no_sentence(tmp_path: Path, selection: Selection) -> None:
    assert available(two_layers().load(tmp_path), selection) == ""


def test_trace_without_gpu_activity_or_ranges_says_how_to_capture_them(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.api(t.thread(), "cudaMalloc", 0, 1)
    sentence = available(t.load(tmp_path), Selection(devices=(0,)))
    assert sentence == "no GPU activity: profile on a machine with a GPU with --trace=cuda,nvtx"
    t.kernel(t.thread(), "k", gpu=(5, 6))
    sentence = available(t.load(tmp_path), Selection(range="unet"))
    assert sentence == "no range has a name: annotate the program and profile with --trace=cuda,nvtx"


def test_many_values_are_counted_rather_than_listed(tmp_path: Path) -> None:
    t = TraceBuilder()
    for stream in range(12):
        t.kernel(t.thread(), "k", gpu=(stream, stream + 1), stream=stream)
    there = "streams 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert (
        available(t.load(tmp_path), Selection(streams=(99,))) == f"no GPU operation is on stream 99: there are {there}"
    )


def test_suggested_names_are_short_and_printable(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "a\x1b[31m" + "b" * 200, 0, 10)
    t.kernel(main, "k", launch=(1, 2), gpu=(20, 30))
    sentence = available(t.load(tmp_path), Selection(range="b"))
    assert sentence == f"no range is named 'b': did you mean 'a\\x1b[31m{'b' * 74}...'?"


def test_reports_of_nsys_take_the_part_too(tmp_path: Path) -> None:
    part = apply_selection(two_layers().load(tmp_path), Selection(range="unet.conv", streams=(7,)))
    assert stats_report("cuda_gpu_kern_sum").build(part)["Name"].to_list() == ["conv"]


selections = st.builds(
    Selection,
    streams=st.sampled_from(((), (7,), (7, 8))),
    start_ns=st.none() | st.integers(0, 10),
    end_ns=st.none() | st.integers(10, 20),
    range=st.sampled_from((None, "r1", "r[0-3]", "*")),
)


def expected(trace: Trace, selection: Selection) -> pl.DataFrame:
    """The selection made on the finished table, by the stacks of ranges."""
    ops = ttinsys.attribute(trace).collect()
    if selection.streams:
        ops = ops.filter(pl.col("stream").is_in(selection.streams))
    if selection.start_ns is not None:
        ops = ops.filter(pl.col("start_ns") >= selection.start_ns)
    if selection.end_ns is not None:
        ops = ops.filter(pl.col("start_ns") < selection.end_ns)
    if selection.range is not None:
        names = {"r1": r"^r1$", "r[0-3]": r"^r[0-3]$", "*": r""}[selection.range]
        ops = ops.filter(pl.col("path").str.split("/").list.eval(pl.element().str.contains(names)).list.any())
    return ops


@settings(max_examples=60, deadline=None)
@given(programs(), selections)
@pytest.mark.slow(12)
def test_selecting_and_attributing_commute(
    tmp_path_factory: pytest.TempPathFactory, t: TraceBuilder, selection: Selection
) -> None:
    trace = t.load(tmp_path_factory.mktemp("trace"))
    part = ttinsys.attribute(apply_selection(trace, selection)).collect()
    # Where ranges cross, one that encloses nothing kept may go, and with it nothing of what is kept.
    assert part.equals(expected(trace, selection))


@pytest.mark.slow(1)
@each_capture
def test_windows_of_a_real_capture_add_up_to_the_whole(capture: Path) -> None:
    trace = parsers.load(capture)
    whole = ttinsys.attribute(trace).collect()
    if whole.is_empty():
        assert ttinsys.attribute(apply_selection(trace, Selection(end_ns=0))).collect().is_empty()
        return
    middle = int(whole["start_ns"].median())  # type: ignore[arg-type]
    parts = [apply_selection(trace, Selection(end_ns=middle)), apply_selection(trace, Selection(start_ns=middle))]
    both = pl.concat([ttinsys.attribute(part).collect() for part in parts])
    by = ["kind", "start_ns", "device", "stream", "correlation_id", "pid"]
    assert both.sort(by).equals(whole.sort(by))
