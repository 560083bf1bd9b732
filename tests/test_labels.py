"""Labels of annotated ranges: read from marks, carried to operations, null where there are none, never trusted."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import ttinsys
from annotate import labels
from annotate.labels import ModuleLabel, field_text, module_text
from tests.build import FORMATS, Format, Thread, TraceBuilder
from ttinsys.attribution.labels import LABEL_NAMES
from ttinsys.tables.overview import overview

DOMAIN = 3


def described(t: TraceBuilder, thread: Thread, name: str, role: str, cls: str, **more: str) -> None:
    """Make the mark of a module."""
    t.mark(thread, module_text(ModuleLabel(name, role, cls, **more)), 0, domain=DOMAIN)  # type: ignore[arg-type]


def called(t: TraceBuilder, thread: Thread, call: int, **values: int) -> None:
    """Make the marks of a call."""
    for name, value in values.items():
        t.mark(thread, field_text(name), 0, domain=DOMAIN, payload=value, category=call)


@pytest.fixture
def t() -> TraceBuilder:
    """A step with an attention core and a linear, a library's range inside the latter, and a stranger's mark."""
    t = TraceBuilder()
    main = t.thread()
    t.domain(10, DOMAIN, labels.DOMAIN, 0)
    t.domain(10, 4, "cuBLAS", 0)
    described(t, main, "step", "other", "step", component="denoiser")
    described(
        t, main, "unet.attn1.core", "spatial_attention", "sdpa", component="denoiser", attention="spatial_attention"
    )
    described(t, main, "unet.attn1.to_q", "linear", "Linear", component="denoiser", attention="spatial_attention")
    called(t, main, 1000, step=7, phase=1)
    called(t, main, 1001, q_len=4096, kv_len=77, heads=8, dtype=1, flops=100, bytes=10)
    called(t, main, 1002, flops=50, bytes=5)
    t.mark(main, "ttinsys/1 q_len", 0, domain=DOMAIN, payload=5)  # of no call
    t.mark(main, "ttinsys/1 module {", 0, domain=DOMAIN)
    t.mark(main, "hello", 0)
    t.range(main, "step", 10, 100, domain=DOMAIN, payload=1000)
    t.range(main, "unet.attn1.core", 20, 40, domain=DOMAIN, payload=1001)
    t.kernel(main, "flash_fwd", launch=(25, 26), gpu=(200, 230))
    t.range(main, "unet.attn1.to_q", 50, 80, domain=DOMAIN, payload=1002)
    t.range(main, "cublasGemmEx", 60, 70, domain=4, payload=1001)
    t.kernel(main, "sgemm", launch=(65, 66), gpu=(230, 250))
    t.kernel(main, "bias", launch=(75, 76), gpu=(250, 260))
    t.kernel(main, "euler", launch=(90, 91), gpu=(260, 270))
    t.kernel(main, "outside", launch=(110, 111), gpu=(270, 280))
    return t


@pytest.mark.parametrize("format", FORMATS)
def test_operation_has_what_the_innermost_annotated_range_says(t: TraceBuilder, tmp_path: Path, format: Format) -> None:
    ops = ttinsys.attribute(t.load(tmp_path, format)).collect()
    columns = ("kernel", "range", "module", "role", "class", "step", "phase", "q_len", "kv_len", "flops", "bytes")
    core, to_q = "unet.attn1.core", "unet.attn1.to_q"
    assert ops.select(columns).rows() == [
        ("flash_fwd", core, core, "spatial_attention", "sdpa", 7, "decode", 4096, 77, 100, 10),
        ("sgemm", "cublasGemmEx", to_q, "linear", "Linear", 7, "decode", None, None, 50, 5),
        ("bias", to_q, to_q, "linear", "Linear", 7, "decode", None, None, 50, 5),
        ("euler", "step", "step", "other", "step", 7, "decode", None, None, None, None),
        ("outside", None, None, None, None, None, None, None, None, None, None),
    ]
    assert ops["component"].to_list() == ["denoiser"] * 4 + [None]
    assert ops["attention"].to_list() == ["spatial_attention"] * 3 + [None] * 2
    assert ops.select("heads", "dtype").rows() == [(8, "float16")] + [(None, None)] * 4
    # FLOPs belong to the call: two kernels of one call share a `module_id`.
    assert ops["module_id"].n_unique() == 4
    assert ops["module_id"][1] == ops["module_id"][2]


def test_range_says_what_was_said_of_it_and_a_librarys_range_nothing(t: TraceBuilder, tmp_path: Path) -> None:
    ranges = ttinsys.ranges(t.load(tmp_path)).select("name", "role", "q_len", "step").collect()
    assert ranges.rows() == [
        ("step", "other", None, 7),
        ("unet.attn1.core", "spatial_attention", 4096, 7),
        ("unet.attn1.to_q", "linear", None, 7),
        ("cublasGemmEx", None, None, 7),
    ]


def test_mark_inside_a_range_gives_it_another_call(t: TraceBuilder, tmp_path: Path) -> None:
    main = t.thread()
    called(t, main, 1003, flops=999, bytes=9)
    t.mark(main, labels.CALL_TEXT, 95, domain=DOMAIN, payload=1003)
    ranges = ttinsys.ranges(t.load(tmp_path)).select("name", "flops").collect()
    assert ranges.rows()[0] == ("step", 999)


def test_name_and_call_mean_nothing_in_another_domain_or_process(t: TraceBuilder, tmp_path: Path) -> None:
    other = t.thread(pid=20, tid=21)
    t.range(other, "step", 10, 100, domain=DOMAIN, payload=1000)
    t.range(t.thread(), "step", 300, 400, payload=1000)
    ranges = ttinsys.ranges(t.load(tmp_path)).filter(pl.col("name") == "step").select("pid", "domain", "role", "step")
    assert sorted(ranges.collect().rows(), key=str) == [
        (10, "ttinsys", "other", 7),
        (10, None, None, None),
        (20, None, None, None),
    ]


def test_trace_without_annotation_has_the_columns_and_no_value(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "work", 0, 100)
    t.kernel(t.thread(), "sgemm", launch=(10, 15), gpu=(20, 30))
    trace = t.load(tmp_path)
    for frame in (ttinsys.ranges(trace).collect(), ttinsys.attribute(trace).collect()):
        assert frame.select(LABEL_NAMES).null_count().row(0) == (frame.height,) * len(LABEL_NAMES)


def test_annotation_of_another_version_is_told_and_not_guessed_at(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.mark(main, 'ttinsys/9 module {"name":"unet","role":"linear"}', 0, domain=DOMAIN)
    t.range(main, "unet", 0, 100, domain=DOMAIN)
    trace = t.load(tmp_path)
    assert ttinsys.ranges(trace).collect()["role"].to_list() == [None]
    assert (
        "Annotated in format 9, and this ttinsys reads 1 and 2: roles, steps and costs are missing; upgrade ttinsys."
        in overview(trace).notes
    )


def test_run_tells_what_it_was(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.mark(t.thread(), labels.run_text({"model": "wan-1.3b", "size": "tiny"}), 0, domain=DOMAIN)
    t.range(t.thread(), "unet", 0, 100, domain=DOMAIN)
    assert overview(t.load(tmp_path)).runs == ({"model": "wan-1.3b", "size": "tiny"},)


def test_path_of_a_name_that_begins_with_the_one_around_it_adds_the_rest(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    for depth, name in enumerate(["pipe", "unet", "unet.mid", "unet.mid.0", "unet.midway", "unet."]):
        t.range(main, name, depth, 100 - depth)
    assert ttinsys.ranges(t.load(tmp_path)).collect()["path"].to_list() == [
        "pipe",
        "pipe/unet",
        "pipe/unet/mid",
        "pipe/unet/mid/0",
        "pipe/unet/mid/0/unet.midway",
        "pipe/unet/mid/0/unet.midway/unet.",
    ]
