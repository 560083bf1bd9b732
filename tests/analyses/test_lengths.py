"""Sequence lengths: by hand, against the lengths that follow from the picture's size, and on every real capture."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

import parsers
from annotate.gpus import gpu
from annotate.labels import PHASES
from annotate.models import model
from tests.labelled import Labelled
from tests.shared import each_capture, planned
from ttinsys.analyses.lengths import LengthGrouping
from ttinsys.figures import draw_figure, svg
from ttinsys.figures.style import NothingToDraw
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

SPATIAL, CROSS, SELF = "spatial_attention", "cross_attention", "self_attention"
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def unet(*, timed: bool = True) -> Labelled:
    """A text encoder's call, then two steps of lengths 64, 16, 4 and 64 with cross-attention to seven tokens."""
    t = Labelled()
    t.module("text.core", SELF, component="text_encoder", attention=SELF)
    t.module("step", "other")
    for name in ("a", "b", "c", "d"):
        t.module(f"unet.{name}.core", SPATIAL, attention=SPATIAL)
    t.module("unet.x.core", CROSS, attention=CROSS)
    t.call("text.core", 0, 10, q_len=7, kv_len=7, flops=70)
    for step in range(2):
        at = 1000 * (step + 1)
        t.call("step", at, at + 900, step=step)
        for number, (name, length) in enumerate([("a", 64), ("b", 16), ("c", 4), ("d", 64)]):
            start = at + 100 * (number + 1)
            gpu_work = [("flash_fwd_kernel", start + 50, start + 50 + length)] if timed else []
            t.call(
                f"unet.{name}.core", start, start + 40, q_len=length, kv_len=length, flops=length * length, gpu=gpu_work
            )
        t.call("unet.x.core", at + 600, at + 640, q_len=64, kv_len=7)
    return t


def decoder() -> Labelled:
    """A prefill of five tokens, and two tokens one at a time."""
    t = Labelled()
    t.module("step", "other", component="decoder")
    t.module("llm.core", SELF, component="decoder", attention=SELF)
    for step, (phase, queries, keys) in enumerate([("prefill", 5, 5), ("decode", 1, 6), ("decode", 1, 7)]):
        t.call("step", 100 * step, 100 * step + 90, step=step, phase=PHASES.index(phase))
        t.call("llm.core", 100 * step + 10, 100 * step + 50, q_len=queries, kv_len=keys)
    return t


def found(t: Labelled, folder: Path, **options: object) -> pl.DataFrame:
    return analyse("lengths", t.load(folder), **options)


def test_calls_come_in_order_with_their_step(tmp_path: Path) -> None:
    frame = found(unet(), tmp_path)
    assert frame["call"].to_list() == list(range(11))
    assert frame["length"].to_list() == [7, *[64, 16, 4, 64, 64] * 2]
    assert frame["step"].to_list() == [None, *[0] * 5, *[1] * 5]
    assert frame.row(1, named=True) == {
        "call": 1, "step": 0, "phase": None, "component": "denoiser", "role": SPATIAL, "length": 64, "q_len": 64,
        "kv_len": 64, "calls": None, "share": None, "lengths": None, "smallest": None, "largest": None, "times": None,
        "adjacent": None, "gpu_ns": 64, "flops": 4096, "module": "unet.a.core",
    }  # fmt: skip
    # Nothing was launched by the text encoder, nor by cross-attention.
    assert frame["gpu_ns"].to_list() == [None, *[64, 16, 4, 64, None] * 2]


def test_calls_keep_their_numbers_when_some_are_chosen(tmp_path: Path) -> None:
    assert found(unet(), tmp_path, step=1, role=(CROSS,))["call"].to_list() == [10]
    assert found(unet(), tmp_path, role=(CROSS, SELF))["call"].to_list() == [0, 5, 10]


def test_histogram_adds_up_to_the_calls(tmp_path: Path) -> None:
    frame = found(unet(), tmp_path, by="length")
    assert frame.select("role", "q_len", "kv_len", "calls", "flops", "gpu_ns").rows() == [
        (CROSS, 64, 7, 2, None, None),
        (SPATIAL, 64, 64, 4, 16384, 256),
        (SPATIAL, 16, 16, 2, 512, 32),
        (SPATIAL, 4, 4, 2, 32, 8),
        (SELF, 7, 7, 1, 70, None),
    ]
    assert frame["share"].to_list() == pytest.approx([2 / 11, 4 / 11, 2 / 11, 2 / 11, 1 / 11])


def test_steps_tell_how_far_apart_lengths_of_self_attention_are(tmp_path: Path) -> None:
    frame = found(unet(), tmp_path, by="step")
    columns = ["call", "step", "component", "calls", "lengths", "smallest", "largest", "times", "adjacent"]
    assert frame.select(columns).rows() == [
        (0, None, "text_encoder", 1, 1, 7, 7, 1.0, None),
        (1, 0, "denoiser", 5, 3, 4, 64, 16.0, 4.0),
        (6, 1, "denoiser", 5, 3, 4, 64, 16.0, 4.0),
    ]
    only_cross = found(unet(), tmp_path, by="step", role=(CROSS,), step=0)
    assert only_cross.select(columns).rows() == [(5, 0, "denoiser", 1, 0, None, None, None, None)]


def test_length_of_a_decoder_is_the_tokens_so_far(tmp_path: Path) -> None:
    frame = found(decoder(), tmp_path)
    assert frame.select("phase", "length", "q_len").rows() == [("prefill", 5, 5), ("decode", 6, 1), ("decode", 7, 1)]


@pytest.mark.slow(1)
def test_capture_without_a_gpu_has_lengths_and_no_times(tmp_path: Path) -> None:
    trace = unet(timed=False).load(tmp_path)
    for by in get_args(LengthGrouping):
        frame = analyse("lengths", trace, by=by)
        assert frame["gpu_ns"].null_count() == frame.height
    assert analyse("lengths", trace)["length"].to_list() == [7, *[64, 16, 4, 64, 64] * 2]


@pytest.mark.slow(1)
def test_figure_has_a_panel_each_for_self_and_cross_attention(tmp_path: Path) -> None:
    picture = svg(draw_figure("lengths", found(unet(), tmp_path)))
    for text in ("self-attention", "cross-attention", "call of attention, in order", "calls"):
        assert text in picture
    histogram = svg(draw_figure("lengths", found(unet(), tmp_path, by="length")))
    assert "in order" not in histogram
    with pytest.raises(NothingToDraw, match="--by step"):
        draw_figure("lengths", found(unet(), tmp_path, by="step"))


@pytest.mark.slow(1)
def test_figure_of_more_than_can_be_seen_shows_the_first_and_the_last_step_and_says_so(tmp_path: Path) -> None:
    once = found(unet(), tmp_path, step=0)
    copies = 2000
    many = pl.concat(
        once.with_columns(pl.lit(step, pl.Int64).alias("step"), pl.col("call") + 5 * step) for step in range(copies)
    )
    assert "the first and the last step" in svg(draw_figure("lengths", many))
    assert "the last step" not in svg(draw_figure("lengths", once))


@cache
def simulated(folder: Path, size: Any, **changes: int) -> parsers.Trace:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from annotate.simulation import export
    from annotate.simulation.run import simulate

    declared = model("stable-diffusion")
    place = folder / f"{size}{''.join(map(str, changes.values()))}_pqtdir"
    export.write(simulate(declared, size, declared.request(size, **changes), gpu("h200")), place)
    return parsers.load(place)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@quiet
@pytest.mark.parametrize("pixels", [256, 512])
@pytest.mark.slow(2)
def test_stable_diffusion_has_the_lengths_and_flops_that_follow_from_the_size_of_the_picture(
    folder: Path, pixels: int
) -> None:
    # Three stages and the middle, of 320, 640, 1280 and 1280 channels; five transformers in each stage, one in the
    # middle; the latent is an eighth of the picture's side, and each stage quarters it.
    stages = [((pixels // 8) ** 2 // 4**stage, channels) for stage, channels in enumerate((320, 640, 1280, 1280))]
    calls = (5, 5, 5, 1)
    trace = simulated(folder, "full", steps=1, height=pixels, width=pixels)
    frame = analyse("lengths", trace, by="length").filter(pl.col("component") == "denoiser")
    own = frame.filter(pl.col("role") == SPATIAL).select("q_len", "kv_len", "calls", "flops")
    guided = 2  # with and without the prompt, in one batch
    assert own.rows() == [
        (length, length, count, count * guided * 4 * length**2 * channels)
        for (length, channels), count in zip(stages, calls, strict=True)
    ]
    cross = frame.filter(pl.col("role") == CROSS).select("q_len", "kv_len", "calls", "flops")
    assert cross.rows() == [
        (length, 77, count, count * guided * 4 * length * 77 * channels)
        for (length, channels), count in zip(stages, calls, strict=True)
    ]
    (step,) = analyse("lengths", trace, by="step", step=0).iter_rows(named=True)
    assert (step["lengths"], step["times"], step["adjacent"]) == (4, 64.0, 4.0)


@quiet
@pytest.mark.slow(2)
def test_lengths_over_a_step_go_down_and_up_again(folder: Path) -> None:
    trace = simulated(folder, "full", steps=1, height=512, width=512)
    frame = analyse("lengths", trace, step=0, role=(SPATIAL,))
    down = [4096] * 2 + [1024] * 2 + [256] * 2
    assert frame["length"].to_list() == [*down, 64, *[256] * 3, *[1024] * 3, *[4096] * 3]


@quiet
@pytest.mark.slow(2)
def test_flops_of_the_denoisers_calls_are_what_torch_counts_in_the_same_run(folder: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from tests.tiny import generate

    # Unfused, a core is two products of batches of matrices, and nothing else in the U-Net is one.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        generate("stable-diffusion")
    denoiser = counter.get_flop_counts()["UNet2DConditionModel"]
    counted = Counter({str(name): flops for name, flops in denoiser.items()})
    products = counted["aten.bmm"] + counted["aten.baddbmm"]
    frame = analyse("lengths", simulated(folder, "tiny")).filter(pl.col("component") == "denoiser")
    assert frame["flops"].sum() == products > 0


@each_capture
def test_real_capture_lists_every_call_or_is_refused(capture: Path) -> None:
    trace = parsers.load(capture)
    try:
        calls = analyse("lengths", trace).height
    except Lacking as error:
        assert "no attention call whose lengths are known" in str(error)  # noqa: PT017
        calls = 0
    for by in ("length", "step"):
        assert planned("lengths", trace, by=by)["calls"].sum() == calls
