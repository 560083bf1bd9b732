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
from ttinsys.attribution.select import Selection, select
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
    part = select(two_layers().load(folder), Selection(**selection))  # type: ignore[arg-type]
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


def test_range_keeps_what_was_launched_inside_and_the_stack_around_it(tmp_path: Path) -> None:
    assert kept(tmp_path, range="unet.*") == [("conv", "unet/conv"), ("sgemm", "unet/conv/gemm")]
    assert kept(tmp_path, range="vae") == [("decode", "vae"), ("[CUDA memcpy Device-to-Host]", "vae")]
    assert kept(tmp_path, range="nothing") == []


def test_range_drops_the_ranges_beside_it(tmp_path: Path) -> None:
    part = select(two_layers().load(tmp_path), Selection(range="unet.conv"))
    assert ttinsys.ranges(part).collect()["name"].to_list() == ["unet", "unet.conv", "gemm"]


def test_time_keeps_what_starts_in_the_window_so_that_windows_add_up(tmp_path: Path) -> None:
    assert [name for name, _ in kept(tmp_path, start_ns=110, end_ns=400)] == ["sgemm", "norm"]
    assert [name for name, _ in kept(tmp_path, end_ns=110)] == ["conv"]
    assert [name for name, _ in kept(tmp_path, start_ns=400)] == ["decode", "[CUDA memcpy Device-to-Host]"]


def test_device_and_stream(tmp_path: Path) -> None:
    assert [name for name, _ in kept(tmp_path, devices=(1,))] == ["norm"]
    assert [name for name, _ in kept(tmp_path, streams=(8,))] == ["sgemm"]
    assert [name for name, _ in kept(tmp_path, streams=(8,), devices=(1,))] == []


def test_reports_of_nsys_take_the_part_too(tmp_path: Path) -> None:
    part = select(two_layers().load(tmp_path), Selection(range="unet.conv", streams=(7,)))
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
def test_selecting_and_attributing_commute(
    tmp_path_factory: pytest.TempPathFactory, t: TraceBuilder, selection: Selection
) -> None:
    trace = t.load(tmp_path_factory.mktemp("trace"))
    part = ttinsys.attribute(select(trace, selection)).collect()
    # Where ranges cross, one that encloses nothing kept may go, and with it nothing of what is kept.
    assert part.equals(expected(trace, selection))


@each_capture
def test_windows_of_a_real_capture_add_up_to_the_whole(capture: Path) -> None:
    trace = parsers.load(capture)
    whole = ttinsys.attribute(trace).collect()
    if whole.is_empty():
        assert ttinsys.attribute(select(trace, Selection(end_ns=0))).collect().is_empty()
        return
    middle = int(whole["start_ns"].median())  # type: ignore[arg-type]
    parts = [select(trace, Selection(end_ns=middle)), select(trace, Selection(start_ns=middle))]
    both = pl.concat([ttinsys.attribute(part).collect() for part in parts])
    by = ["kind", "start_ns", "device", "stream", "correlation_id", "pid"]
    assert both.sort(by).equals(whole.sort(by))
