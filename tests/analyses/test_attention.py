"""Attention by role: by hand on a small clip model, against oracles on simulated ones, and on every real capture."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import polars as pl
import pytest

import parsers
from annotate.gpus import gpu
from annotate.models import model
from tests.labelled import Labelled
from tests.shared import each_capture, planned
from ttinsys.analyses.attention import TIMES, serving
from ttinsys.figures import draw_figure, svg
from ttinsys.figures.style import NothingToDraw
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking
from ttinsys.tables.registry import tables_of

SPATIAL, TEMPORAL, CROSS = "spatial_attention", "temporal_attention", "cross_attention"
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def clip(scale: int = 1, pieces: int = 1) -> Labelled:
    """A UNet of a convolution, a block with spatial and cross-attention, and one with temporal attention.

    Args:
        scale: by which durations are multiplied.
        pieces: in which every kernel is cut.
    """
    t = Labelled()
    t.module("unet", "other")
    t.module("unet.conv", "spatial_conv")
    for block in ("unet.s", "unet.s.block", "unet.t", "unet.t.block"):
        t.module(block, "other")
    t.module("unet.s.proj_in", "pointwise_conv")
    for name, role in (
        ("unet.s.block.attn1", SPATIAL),
        ("unet.s.block.attn2", CROSS),
        ("unet.t.block.attn1", TEMPORAL),
    ):
        t.module(name, role, attention=role)
        t.module(f"{name}.to_q", "linear", attention=role)
        t.module(f"{name}.core", role, attention=role)
    t.module("vae.attn", SPATIAL, component="vae", attention=SPATIAL)
    t.module("vae.attn.core", SPATIAL, component="vae", attention=SPATIAL)
    clock = iter(range(10**6, 10**9, 10**4))

    def work(*kernels: tuple[str, int]) -> list[tuple[str, int, int]]:
        cut = [(name, length * scale // pieces) for name, length in kernels for _ in range(pieces)]
        return [(name, at, at + length) for (name, length), at in zip(cut, clock, strict=False)]

    copy = "at::native::copy_kernel"
    t.call("unet", 0, 1000, gpu=work((copy, 1000)))
    t.call("unet.conv", 20, 40, gpu=work((copy, 2000), ("implicit_convolve_sgemm", 700)))
    t.call("unet.s", 100, 500, gpu=work((copy, 6), ("add_elementwise_kernel", 40)))
    t.call("unet.s.proj_in", 120, 140, flops=5, gpu=work(("implicit_convolve_sgemm", 80)))
    t.call("unet.s.block", 150, 450)
    t.call("unet.s.block.attn1", 160, 290, gpu=work(("mul_elementwise_kernel", 12)))
    t.call("unet.s.block.attn1.to_q", 180, 200, flops=3000, gpu=work(("sgemm", 30)))
    t.call("unet.s.block.attn1.core", 220, 280, flops=8000, bytes=90, q_len=64, kv_len=64, gpu=work(
        (copy, 4), ("sgemm", 40), ("softmax_warp", 20), ("sgemm", 60)))  # fmt: skip
    t.call("unet.s.block.attn2", 300, 400)
    t.call("unet.s.block.attn2.core", 320, 380, flops=800, q_len=64, kv_len=7, gpu=work(("flash_fwd_kernel", 24)))
    t.call("unet.t", 510, 900, gpu=work((copy, 22), (copy, 18)))
    t.call("unet.t.block", 550, 850)
    t.call("unet.t.block.attn1", 560, 800, gpu=work((copy, 10)))
    t.call("unet.t.block.attn1.to_q", 580, 600, flops=6000, gpu=work(("sgemm", 50)))
    t.call("unet.t.block.attn1.core", 620, 640, flops=500, q_len=8, kv_len=8, gpu=work(("flash_fwd_kernel", 60)))
    t.call("unet.t.block.attn1.core", 660, 680, flops=500, q_len=16, kv_len=16, gpu=work(("flash_fwd_kernel", 120)))
    t.call("vae.attn", 2000, 2100)
    t.call("vae.attn.core", 2010, 2090, q_len=256, kv_len=256, gpu=work(("flash_fwd_kernel", 14)))
    return t


def by_role(frame: pl.DataFrame) -> dict[tuple[str, str], dict[str, object]]:
    return {(row["component"], row["role"]): row for row in frame.iter_rows(named=True)}


def test_time_of_each_role_is_divided_and_copies_around_it_that_serve_it_alone_are_its_own(tmp_path: Path) -> None:
    frame = analyse("attention", clip().load(tmp_path))
    columns = ["component", "role", "calls", "total_ns", *TIMES]
    assert frame.select(columns).rows() == [
        ("denoiser", TEMPORAL, 2, 280, 180, 50, 10, 40, 0),
        ("denoiser", SPATIAL, 1, 172, 120, 30, 4, 6, 12),
        ("denoiser", CROSS, 1, 24, 24, 0, 0, 0, 0),
        ("vae", SPATIAL, 1, 14, 14, 0, 0, 0, 0),
    ]
    # All of it is 490 ns, of which the denoiser has 476.
    assert frame["share"].to_list() == pytest.approx([280 / 490, 172 / 490, 24 / 490, 14 / 490])
    assert frame["share_of_component"].to_list() == pytest.approx([280 / 476, 172 / 476, 24 / 476, 1])


def test_flops_and_lengths_are_of_the_cores_and_ratios_are_to_the_spatial_attention_of_the_component(
    tmp_path: Path,
) -> None:
    rows = by_role(analyse("attention", clip().load(tmp_path)))
    temporal = rows["denoiser", TEMPORAL]
    assert (temporal["core_flops"], temporal["projections_flops"]) == (1000, 6000)
    assert [temporal[name] for name in ("q_len_min", "q_len_max", "kv_len_min", "kv_len_max")] == [8, 16, 8, 16]
    # 1000 FLOPs in 180 ns
    assert temporal["core_flops_per_s"] == pytest.approx(1000 / 180e-9)
    assert temporal["core_flops_ratio"] == pytest.approx(1000 / 8000)
    assert temporal["flops_ratio"] == pytest.approx(7000 / 11000)
    assert temporal["core_time_ratio"] == pytest.approx(180 / 120)
    assert temporal["time_ratio"] == pytest.approx(280 / 172)
    vae = rows["vae", SPATIAL]
    assert (vae["core_time_ratio"], vae["core_flops"], vae["core_flops_per_s"], vae["core_flops_ratio"]) == (
        1, None, None, None,
    )  # fmt: skip
    assert rows["denoiser", CROSS]["projections_flops"] is None


def test_copies_of_a_module_with_attention_of_two_roles_or_with_a_convolution_serve_none(tmp_path: Path) -> None:
    trace = clip().load(tmp_path)
    ranges = tables_of(trace)["ranges"]
    names = ranges.select(pl.col("range_id").alias("module_id"), "name")
    served = serving(ranges).join(names, on="module_id").select("name", "serves").collect()
    assert sorted(served.rows()) == [
        ("unet.s", SPATIAL), ("unet.s.block", SPATIAL), ("unet.t", TEMPORAL), ("unet.t.block", TEMPORAL),
    ]  # fmt: skip


@pytest.mark.slow(1)
def test_times_scale_and_ratios_stay_and_cutting_kernels_changes_nothing(tmp_path: Path) -> None:
    once, twice, cut = (
        analyse("attention", t.load(tmp_path)) for t in (clip(), clip(scale=2), clip(scale=2, pieces=2))
    )
    times = ["total_ns", *TIMES]
    assert twice.select(times).rows() == once.select(pl.col(times) * 2).rows()
    for column in ("share", "core_time_ratio", "time_ratio", "core_flops_ratio", "flops_ratio"):
        assert twice[column].to_list() == pytest.approx(once[column].to_list(), nan_ok=True), column
    # What a core has of products is told by their order, and of each there are two now; but they stay in the core.
    assert (
        cut.select("component", "role", "calls", *times).rows()
        == twice.select("component", "role", "calls", *times).rows()
    )


def test_trace_without_spatial_attention_has_no_ratios(tmp_path: Path) -> None:
    t = Labelled()
    t.module("llm.attn", "self_attention", component="decoder", attention="self_attention")
    t.module("llm.attn.core", "self_attention", component="decoder", attention="self_attention")
    t.call("llm.attn.core", 0, 10, q_len=1, kv_len=9, flops=36, gpu=[("flash_fwd_kernel", 100, 136)])
    (row,) = analyse("attention", t.load(tmp_path)).iter_rows(named=True)
    assert (row["core_ns"], row["share"], row["core_flops_per_s"]) == (36, 1, pytest.approx(1e9))
    assert [row[name] for name in row if name.endswith("_ratio")] == [None] * 4


@pytest.mark.slow(1)
def test_figure_shows_every_role_and_what_has_no_time_is_not_drawn(tmp_path: Path) -> None:
    frame = analyse("attention", clip().load(tmp_path))
    picture = svg(draw_figure("attention", frame))
    for text in ("denoiser · temporal", "vae · spatial", "rearrange", "FLOPs (TFLOP)"):
        assert text in picture
    with pytest.raises(NothingToDraw):
        draw_figure("attention", frame.with_columns(pl.lit(0).alias("total_ns")))


@cache
def make_a_video(folder: Path, frames: int) -> parsers.Trace:
    """A simulated clip at full size, of one step."""
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from annotate.simulation import export
    from annotate.simulation.run import simulate

    declared = model("make-a-video")
    simulated = simulate(
        declared, "full", declared.request("full", steps=1, frames=frames), gpu("h200"), attend="eager"
    )
    export.write(simulated, folder / f"clip-{frames}_pqtdir")
    return parsers.load(folder / f"clip-{frames}_pqtdir")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@quiet
@pytest.mark.parametrize(("frames", "expected"), [(16, 17.5), (32, 8.8)])
@pytest.mark.slow(3)
def test_temporal_attention_of_modelscope_has_the_calls_and_flops_worked_out_from_its_definition(
    folder: Path, frames: int, expected: float
) -> None:
    rows = by_role(analyse("attention", make_a_video(folder, frames)))
    temporal, spatial = rows["denoiser", TEMPORAL], rows["denoiser", SPATIAL]
    assert (temporal["calls"], spatial["calls"]) == (34, 16)
    assert round(1 / float(str(temporal["core_flops_ratio"])), 1) == expected
    assert (temporal["q_len_min"], temporal["q_len_max"]) == (frames, frames)
    # 256 pixels are 32 of the latent, and the three stages below halve them.
    assert (spatial["q_len_min"], spatial["q_len_max"]) == (4 * 4, 32 * 32)


@quiet
@pytest.mark.slow(3)
def test_copies_of_a_clip_go_to_the_blocks_whose_class_permutes_axes(folder: Path) -> None:
    # The classes are diffusers' own; the analysis does not look at them.
    permuting = {"TransformerTemporalModel": TEMPORAL, "Transformer2DModel": SPATIAL}
    trace = make_a_video(folder, 16)
    ops = tables_of(trace)["ops"].collect()
    copies = ops.filter(pl.col("operator") == "copy", pl.col("attention").is_null())
    rows = by_role(analyse("attention", trace))
    for name, role in permuting.items():
        around = copies.filter(pl.col("class") == name)["duration_ns"].sum()
        assert rows["denoiser", role]["rearrange_ns"] == around > 0
    others = [row["rearrange_ns"] for key, row in rows.items() if key[1] not in permuting.values()]
    assert set(others) == {0}
    within = pl.col("attention").is_not_null()
    rearranged = (pl.col("operator") == "copy") & pl.col("class").is_in(list(permuting))
    whole = ops.filter(within | rearranged)["duration_ns"].sum()
    assert sum(int(str(row["total_ns"])) for row in rows.values()) == whole


@each_capture
def test_real_capture_is_divided_whole_or_refused(capture: Path) -> None:
    trace = parsers.load(capture)
    try:
        frame = analyse("attention", trace)
    except Lacking as error:
        assert "profile" in str(error)  # noqa: PT017
        assert planned("attention", trace)["total_ns"].sum() == 0
        return
    within = tables_of(trace)["ops"].filter(pl.col("attention").is_not_null()).select("duration_ns").collect()
    assert frame.select(pl.sum("total_ns") - pl.sum("rearrange_ns")).item() == within["duration_ns"].sum()
    assert frame["total_ns"].sum() == frame.select(pl.sum_horizontal(*TIMES)).sum().item()
