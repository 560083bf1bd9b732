"""The roofline: by hand on a small trace, and what must hold on the sample and every real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import parsers
from annotate.labels import DTYPES
from tests.labelled import Labelled
from tests.shared import each_capture, planned, slow
from ttinsys.analyses.roofline import ROOFLINE_KEYS
from ttinsys.figures import draw_figure
from ttinsys.figures.style import NothingToDraw
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

SAMPLE = Path(__file__).resolve().parents[2] / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"
HALF, FULL = DTYPES.index("float16"), DTYPES.index("float32")
GIVEN: dict[str, Any] = {"peak": 100.0, "bandwidth": 1000.0}
"""100,000 operations and 1,000 bytes a nanosecond: the ridge is at 100."""


def layers(scale: int = 1) -> Labelled:
    """Two linear layers, one on each side of the ridge; a norm; a parent without a cost; and work of no layer."""
    t = Labelled()
    t.gpu(name="NVIDIA H200")
    t.module("unet", "other")
    t.module("unet.to_q", "linear")
    t.module("unet.to_k", "linear")
    t.module("unet.norm", "layer_norm")
    t.call("unet", 0, 100, gpu=[("copy_kernel", 1000, 1000 + 30 * scale)])
    at = 2000
    for opened, name, flops, size in (
        (10, "unet.to_q", 4_000_000, 10_000),
        (20, "unet.to_k", 1_000_000, 40_000),
        (30, "unet.norm", 0, 50_000),
    ):
        t.call(name, opened, opened + 5, gpu=[("k", at, at + 100 * scale)], flops=flops, bytes=size, dtype=HALF)
        at += 1000
    t.kernel(t.main, "k", launch=(200, 201), gpu=(9000, 9000 + 20 * scale))
    t.range(t.main, "mine", 300, 400)
    t.kernel(t.main, "k", launch=(310, 311), gpu=(9500, 9500 + 10 * scale))
    return t


def rows(trace: parsers.Trace, key: str = "role", **options: Any) -> dict[str, dict[str, Any]]:
    """The rows of a roofline, by one of their columns."""
    return {row[key]: row for row in analyse("roofline", trace, **options).iter_rows(named=True)}


def test_layers_are_held_against_the_roof(tmp_path: Path) -> None:
    found = rows(layers().load(tmp_path), "module", by="layer", **GIVEN)
    q, k, norm = found["unet.to_q"], found["unet.to_k"], found["unet.norm"]
    # 4 MFLOP take 40 ns at least and their 10 kB 10; 1 MFLOP takes 10 and its 40 kB 40. Each took 100.
    assert [q[name] for name in ("intensity", "mfu", "bandwidth_share", "bound", "roof_share", "least_ns")] == [
        400, pytest.approx(0.4), pytest.approx(0.1), "compute", pytest.approx(0.4), 40,
    ]  # fmt: skip
    assert [k[name] for name in ("intensity", "mfu", "bandwidth_share", "bound", "roof_share", "least_ns")] == [
        25, pytest.approx(0.1), pytest.approx(0.4), "memory", pytest.approx(0.4), 40,
    ]  # fmt: skip
    assert q["flops_per_s"] == pytest.approx(4e13)
    assert k["bytes_per_s"] == pytest.approx(4e11)
    # A norm multiplies no matrices: its roof is the memory's, and it has no peak to be a share of.
    assert [norm[name] for name in ("intensity", "mfu", "bound", "roof_share", "least_ns", "peak_flops_per_s")] == [
        0, None, "memory", pytest.approx(0.5), 50, None,
    ]  # fmt: skip


def test_roles_add_up_with_what_has_no_cost_and_what_has_no_layer(tmp_path: Path) -> None:
    found = rows(layers().load(tmp_path), **GIVEN)
    assert {role: row["gpu_ns"] for role, row in found.items()} == {
        "linear": 200, "layer_norm": 100, "other": 30, "(no_range_open)": 20, "(not annotated)": 10,
    }  # fmt: skip
    linear = found["linear"]
    assert (linear["calls"], linear["flops"], linear["least_bytes"]) == (2, 5_000_000, 50_000)
    # Together they lie on the ridge, where 50 of 200 ns are needed; call by call it is 40 and 40.
    assert (linear["mfu"], linear["bandwidth_share"]) == (pytest.approx(0.25), pytest.approx(0.25))
    assert linear["least_ns"] == 80
    for role in ("other", "(no_range_open)", "(not annotated)"):
        assert [found[role][name] for name in ("intensity", "mfu", "bound", "least_ns", "flops")] == [None] * 5
        assert found[role]["costed_ns"] == 0


def test_model_has_one_row_with_all_of_its_time(tmp_path: Path) -> None:
    found = rows(layers().load(tmp_path), by="model", **GIVEN)
    whole = found["(all layers)"]
    assert (whole["gpu_ns"], whole["costed_ns"], whole["flops"]) == (330, 300, 5_000_000)
    assert whole["mfu"] == pytest.approx(50 / 330)
    assert set(found) == {"(all layers)", "(no_range_open)", "(not annotated)"}


def test_weight_intensity_is_of_the_layers_that_have_weights_and_compute_with_them(tmp_path: Path) -> None:
    t = Labelled()
    t.module("block", "linear", parameters=1000)  # of the layer in it, which is not to count twice
    t.module("block.q", "linear", parameters=1000)
    t.module("block.core", "linear")
    t.call("block", 0, 100)
    for at in (10, 50):
        t.call("block.q", at, at + 5, gpu=[("k", at, at + 5)], flops=60_000, bytes=3000, dtype=HALF)
        t.call("block.core", at + 10, at + 15, gpu=[("k", at + 10, at + 15)], flops=40_000, bytes=1000, dtype=HALF)
    (row,) = rows(t.load(tmp_path), **GIVEN).values()
    # Two calls read 1,000 weights of 2 bytes each.
    assert (row["weight_intensity"], row["intensity"]) == (120_000 / 4000, 200_000 / 8000)


@pytest.mark.slow(1)
def test_each_type_has_its_own_peak(tmp_path: Path) -> None:
    t = Labelled()
    t.gpu(name="NVIDIA H200")
    t.module("half", "linear")
    t.module("full", "pointwise_conv")
    t.module("integer", "embedding")
    for at, (name, dtype) in enumerate((("half", HALF), ("full", FULL), ("integer", DTYPES.index("int8")))):
        t.call(name, 100 * at, 100 * at + 50, gpu=[("k", 1000 * at, 1000 * at + 10)], flops=10**6, bytes=1, dtype=dtype)
    trace = t.load(tmp_path)
    assert {role: row["peak_flops_per_s"] for role, row in rows(trace).items()} == {
        "linear": pytest.approx(989.4e12), "pointwise_conv": pytest.approx(494.7e12), "embedding": None,
    }  # fmt: skip
    single = rows(trace, float32="single")["pointwise_conv"]
    assert single["peak_flops_per_s"] == pytest.approx(66.9e12)
    # What is in no type that has a peak here is not guessed, nor is anything that it is a part of.
    assert [rows(trace)["embedding"][name] for name in ("mfu", "bound", "roof_share", "least_ns")] == [None] * 4
    assert rows(trace, by="model")["(all layers)"]["mfu"] is None


def test_unknown_gpu_leaves_shares_empty_and_says_what_to_give(tmp_path: Path) -> None:
    t = Labelled()
    t.module("unet", "linear")
    t.call("unet", 0, 9, gpu=[("k", 10, 20)], flops=100, bytes=10, dtype=HALF)
    (row,) = analyse("roofline", t.load(tmp_path)).iter_rows(named=True)
    assert (row["intensity"], row["mfu"], row["bandwidth_share"], row["bound"]) == (10, None, None, None)
    assert row["note"] == "the trace does not name its GPU: give --gpu, or --peak and --bandwidth"


def test_captured_call_costs_as_often_as_its_graph_was_replayed(tmp_path: Path) -> None:
    t = Labelled()
    t.module("unet", "linear")
    t.call("unet", 0, 100, flops=1_000_000, bytes=10_000, dtype=HALF)
    for node in (1, 2):
        t.graph_node(t.main, node, 10 * node)
    for replay in range(3):
        launched = t.api(t.main, "cudaGraphLaunch_v10000", 200 + 100 * replay, 210 + 100 * replay)
        for node in (1, 2):
            begins = 1000 * replay + 300 * node
            t.kernel(t.main, "k", api=None, gpu=(begins, begins + 10), graph_node=node, correlation_id=launched)
    (row,) = analyse("roofline", t.load(tmp_path), **GIVEN).iter_rows(named=True)
    assert (row["calls"], row["flops"], row["least_bytes"], row["gpu_ns"]) == (3, 3_000_000, 30_000, 60)
    assert row["mfu"] == pytest.approx(0.5)


def test_cost_of_a_call_without_gpu_work_has_no_device_and_no_rate(tmp_path: Path) -> None:
    t = layers()
    t.module("unet.lost", "linear")
    t.call("unet.lost", 50, 55, flops=7, bytes=7, dtype=HALF)
    frame = analyse("roofline", t.load(tmp_path), **GIVEN)
    lost = frame.filter(pl.col("device").is_null())
    assert lost.select("role", "flops", "gpu_ns", "mfu", "flops_per_s").rows() == [("linear", 7, 0, None, None)]
    assert frame.filter(role="linear", device=0)["flops"].item() == 5_000_000


def test_twice_the_time_is_half_of_every_rate(tmp_path: Path) -> None:
    once, twice = rows(layers().load(tmp_path), **GIVEN), rows(layers(2).load(tmp_path), **GIVEN)
    for role, row in once.items():
        for name in ("flops_per_s", "mfu", "bytes_per_s", "bandwidth_share", "roof_share"):
            if row[name] is not None:
                assert twice[role][name] == pytest.approx(row[name] / 2)
        assert [twice[role][name] for name in ("intensity", "least_ns", "bound")] == [
            row[name] for name in ("intensity", "least_ns", "bound")
        ]


@pytest.mark.parametrize("by", [by if by == "layer" else slow(by) for by in ROOFLINE_KEYS])
def test_points_have_a_roof_and_a_ridge(tmp_path: Path, by: str) -> None:
    frame = analyse("roofline", layers().load(tmp_path), by=by, **GIVEN)
    drawn = draw_figure("roofline", frame).to_dict()
    said = {row["text"] for data in drawn["datasets"].values() for row in data if "text" in row}
    assert {"100 TFLOP/s", "1,000 GB/s", "ridge 100"} <= said


def test_nothing_is_drawn_where_nothing_has_operations(tmp_path: Path) -> None:
    frame = analyse("roofline", layers().load(tmp_path), **GIVEN)
    with pytest.raises(NothingToDraw, match="no row with operations"):
        draw_figure("roofline", frame.filter(pl.col("role") == "other"))


@pytest.mark.slow(1)
@pytest.mark.parametrize("by", ROOFLINE_KEYS)
def test_sample_adds_up_to_its_operations_and_calls(by: str) -> None:
    trace = parsers.load(SAMPLE)
    frame = analyse("roofline", trace, by=by)
    ops = analyse("breakdown", trace)
    layer = analyse("roofline", trace, by="layer")
    assert frame["gpu_ns"].sum() == ops["sum_ns"].sum()
    assert [frame[name].sum() for name in ("flops", "least_bytes", "calls")] == [
        layer[name].sum() for name in ("flops", "least_bytes", "calls")
    ]
    assert (frame["roof_share"].drop_nulls() <= 1).all()
    assert (frame["least_ns"].drop_nulls() <= frame.drop_nulls("least_ns")["costed_ns"]).all()


@each_capture
def test_capture_without_costs_is_refused_with_the_remedy(capture: Path) -> None:
    trace = parsers.load(capture)
    with pytest.raises(Lacking, match=r"no call whose FLOPs are known|no GPU activity"):
        analyse("roofline", trace)
    frame = planned("roofline", trace)
    assert frame["gpu_ns"].sum() == planned("breakdown", trace)["sum_ns"].sum()
