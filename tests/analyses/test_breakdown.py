"""The breakdown: by hand on a small trace, and what must hold on every real one."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import parsers
import ttinsys
from tests.labelled import Labelled
from tests.shared import each_capture, planned
from ttinsys.analyses.breakdown import DIMENSIONS
from ttinsys.runner.registry import find
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

ATTENTION = "spatial_attention"


def unet(scale: int = 1) -> Labelled:
    """One step: an unfused attention with its projection and a copy, a convolution, and a kernel outside all ranges."""
    t = Labelled()
    t.module("step", "other")
    t.module("unet.attn", ATTENTION, attention=ATTENTION)
    t.module("unet.attn.to_q", "linear", attention=ATTENTION)
    t.module("unet.attn.core", ATTENTION, attention=ATTENTION)
    t.module("unet.conv", "spatial_conv")
    t.call("step", 0, 100, step=0)
    t.call("unet.attn", 5, 50, gpu=[("at::native::copy_kernel", 1000, 1000 + 5 * scale)])
    t.call("unet.attn.to_q", 10, 20, gpu=[("sgemm", 2000, 2000 + 30 * scale)])
    core = [("sgemm", 40), ("scale_elementwise_kernel", 10), ("softmax_warp", 20), ("sgemm", 60)]
    t.call(
        "unet.attn.core", 30, 40, gpu=[(name, at, at + n * scale) for at, (name, n) in zip(_STARTS, core, strict=True)]
    )
    t.call("unet.conv", 60, 70, gpu=[("implicit_convolve_sgemm", 8000, 8000 + 100 * scale)])
    t.kernel(t.main, "sgemm", launch=(200, 201), gpu=(8000 + 50 * scale, 8000 + 85 * scale))
    return t


_STARTS = (3000, 4000, 5000, 6000)


def test_roles_add_up_with_the_rest_by_its_reason(tmp_path: Path) -> None:
    frame = analyse("breakdown", unet().load(tmp_path))
    assert frame.select("role", "instances", "sum_ns", pl.col("share").round(4), "max_ns").rows() == [
        (ATTENTION, 5, 135, 0.45, 60),
        ("spatial_conv", 1, 100, 0.3333, 100),
        ("(no_range_open)", 1, 35, 0.1167, 35),
        ("linear", 1, 30, 0.1, 30),
    ]
    assert frame["relative"].to_list() == [None] * 4


def test_projections_count_as_attention_where_so_asked(tmp_path: Path) -> None:
    frame = analyse("breakdown", unet().load(tmp_path), projections="attention")
    assert dict(frame.select("role", "sum_ns").iter_rows()) == {
        ATTENTION: 165, "spatial_conv": 100, "(no_range_open)": 35,
    }  # fmt: skip


@pytest.mark.parametrize("projections", ["linear", "attention"])
def test_parts_of_unfused_attention_are_told_by_the_order_of_launch(tmp_path: Path, projections: str) -> None:
    frame = analyse("breakdown", unet().load(tmp_path), by=("part",), projections=projections)
    assert dict(frame.select("part", "sum_ns").iter_rows()) == {
        "(no attention)": 135, "av": 60, "qk": 40, "projection": 30, "softmax": 30, "layout": 5,
    }  # fmt: skip


def test_sliced_attention_has_its_parts_in_each_slice(tmp_path: Path) -> None:
    t = Labelled()
    t.module("attn.core", ATTENTION, attention=ATTENTION)
    slices = ["sgemm", "softmax_warp", "sgemm", "sgemm", "softmax_warp", "sgemm"]
    t.call("attn.core", 0, 50, gpu=[(name, 100 * n, 100 * n + 2**n) for n, name in enumerate(slices)])
    frame = analyse("breakdown", t.load(tmp_path), by=("part",))
    assert dict(frame.select("part", "sum_ns").iter_rows()) == {"qk": 1 + 8, "softmax": 2 + 16, "av": 4 + 32}


def test_busy_time_counts_what_overlaps_once(tmp_path: Path) -> None:
    # The last sgemm runs from 50 to 85 of the convolution's 100 ns.
    t = unet()
    t.kernel(t.main, "implicit_convolve_sgemm", launch=(61, 61), gpu=(8090, 8110))
    frame = analyse("breakdown", t.load(tmp_path), by=("operator",))
    found = {row["operator"]: (row["sum_ns"], row["busy_ns"]) for row in frame.iter_rows(named=True)}
    assert found["conv"] == (120, 110)
    assert found["gemm"] == (165, 165)


def test_precision_and_variant_come_from_the_kernels_name(tmp_path: Path) -> None:
    t = unet()
    t.kernel(t.main, "qk_int_sv_f16_block_sparse_attn_kernel", launch=(61, 61), gpu=(9000, 9010))
    t.kernel(t.main, "nvjet_tst_128x256_64x4_1x2_h_bz_coopA_TNT", launch=(62, 62), gpu=(9010, 9030))
    t.memcpy(t.main, "HtoD", 16, launch=(63, 63), gpu=(9030, 9070))
    trace = t.load(tmp_path)
    by_precision = analyse("breakdown", trace, by=("precision",))
    # All else is `unet`, 300 ns.
    times = dict(by_precision.select("precision", "sum_ns").iter_rows())
    assert (times["int8"], times["bf16"], times["(no kernel)"]) == (10, 20, 40)
    assert sum(times.values()) == 300 + 70
    by_variant = dict(analyse("breakdown", trace, by=("variant",)).select("variant", "sum_ns").iter_rows())
    assert (by_variant["sparse_attention"], by_variant["conv"], by_variant["memcpy"]) == (10, 100, 40)


def test_two_dimensions_are_crossed(tmp_path: Path) -> None:
    frame = analyse("breakdown", unet().load(tmp_path), by=("operator", "step"))
    assert set(frame.select("step", "operator", "sum_ns").iter_rows()) == {
        (0, "conv", 100), (0, "copy", 5), (0, "elementwise", 10), (0, "gemm", 130), (0, "softmax", 20),
        (None, "gemm", 35),
    }  # fmt: skip


def test_later_traces_are_told_relative_to_the_first(tmp_path: Path) -> None:
    frame = planned("breakdown", unet(2).load(tmp_path), unet().load(tmp_path))
    assert frame.group_by("trace").agg(pl.col("relative").sum(), pl.col("share").sum()).sort("trace").rows() == [
        ("0", 1.0, 1.0),
        ("1", 0.5, 1.0),
    ]


def test_trace_without_gpu_work_is_refused_with_the_remedy(tmp_path: Path) -> None:
    t = Labelled()
    t.module("unet", "other")
    t.call("unet", 0, 100)
    assert find("breakdown").needs[0].lacking.startswith("has no GPU activity")
    with pytest.raises(Lacking, match="has no GPU activity"):
        analyse("breakdown", t.load(tmp_path))


@pytest.mark.slow(1)
@each_capture
def test_every_division_adds_up_to_the_operations(capture: Path) -> None:
    trace = parsers.load(capture)
    whole = ttinsys.attribute(trace).select("duration_ns").collect()
    for by in [*((name,) for name in DIMENSIONS), ("role", "operator"), ("component", "step")]:
        frame = planned("breakdown", trace, by=by)
        assert frame["sum_ns"].sum() == whole["duration_ns"].sum(), by
        assert frame["instances"].sum() == whole.height, by
        assert (frame["busy_ns"] <= frame["sum_ns"]).all(), by
