"""Prefill and decode: by hand, laws, against the models of the study, and on every real capture."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import parsers
from annotate.gpus import gpu
from annotate.labels import DTYPES, PHASES
from annotate.models import model
from tests.labelled import Labelled
from tests.shared import each_capture, planned
from ttinsys.analyses.phases import DECODE, PREFILL
from ttinsys.figures import draw_figure, svg
from ttinsys.figures.style import NothingToDraw
from ttinsys.runner.run import analyse
from ttinsys.tables.needs import Lacking

SELF, SPATIAL = "self_attention", "spatial_attention"
HALF, SINGLE = DTYPES.index("float16"), DTYPES.index("float32")
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def language(*, device: str | None = "NVIDIA H200", dtype: int = HALF, slower: int = 1) -> Labelled:
    """A prefill of 100 tokens in two layers, then three tokens one by one.

    Per layer, prefill has 30,000 FLOPs and 100 bytes, a token 200 FLOPs and 100 bytes.
    """
    t = Labelled()
    if device is not None:
        t.gpu(0, device, memoryBandwidth=10**9)
    t.module("step", "other", component="decoder")
    layers = [f"llm.{number}.core" for number in range(2)]
    for layer in layers:
        t.module(layer, SELF, component="decoder", attention=SELF)
    for step in range(4):
        at, first = 1000 * step, step == 0
        t.call("step", at, at + 900, step=step, phase=PHASES.index("prefill" if first else "decode"))
        for number, layer in enumerate(layers):
            start, took = at + 100 * (number + 1), (60 if first else 10) * slower
            t.call(
                layer, start, start + 50, dtype=dtype, flops=30_000 if first else 200, bytes=100,
                q_len=100 if first else 1, kv_len=100 + step,
                gpu=[("flash_fwd_kernel", 1000 * start, 1000 * start + took)],
            )  # fmt: skip
    return t


def found(t: Labelled, folder: Path, **options: object) -> list[dict[str, object]]:
    return list(analyse("phases", t.load(folder), **options).iter_rows(named=True))


def test_prefill_answers_many_queries_and_is_bound_by_arithmetic_and_decode_answers_one(tmp_path: Path) -> None:
    prefill, decode = found(language(), tmp_path)
    assert [prefill[name] for name in ("kind", "phase", "calls", "steps")] == [PREFILL, "prefill", 2, 1]
    assert [prefill[name] for name in ("queries", "keys", "gpu_ns", "flops", "bytes")] == [100, 100, 120, 60000, 200]
    # 300 FLOPs per byte lie above the H200's 989.4e12 / 4.8e12 = 206.
    assert (prefill["intensity"], prefill["above_ridge"]) == (300, 1)
    assert prefill["ridge"] == pytest.approx(206.125)
    assert [decode[name] for name in ("kind", "phase", "calls", "steps")] == [DECODE, "decode", 6, 3]
    assert [decode[name] for name in ("queries", "keys_min", "keys", "keys_max")] == [1, 101, 102, 103]
    assert (decode["intensity"], decode["above_ridge"]) == (2, 0)
    # 600 bytes and 1200 FLOPs in 60 ns
    assert decode["bytes_per_s"] == pytest.approx(10e9)
    assert decode["flops_per_s"] == pytest.approx(20e9)
    assert decode["bandwidth_share"] == pytest.approx(10e9 / 4.8e12)


@pytest.mark.slow(1)
def test_ridge_of_single_precision_is_lower_and_can_be_given(tmp_path: Path) -> None:
    assert found(language(dtype=SINGLE), tmp_path)[0]["ridge"] == pytest.approx(494.7 / 4.8)
    above = [row["above_ridge"] for row in found(language(), tmp_path, ridge=301.0)]
    assert above == [0, 0]
    assert [row["above_ridge"] for row in found(language(), tmp_path, ridge=2.0)] == [1, 1]


def test_unknown_gpu_has_no_ridge_and_the_bandwidth_that_the_trace_says(tmp_path: Path) -> None:
    _, decode = found(language(device="Strange GPU"), tmp_path)
    assert (decode["ridge"], decode["above_ridge"]) == (None, None)
    assert decode["bandwidth_share"] == pytest.approx(10e9 / 1e9)
    prefill, decode = found(language(device=None), tmp_path)
    assert (decode["ridge"], decode["bandwidth_share"], decode["bytes_per_s"]) == (None, None, pytest.approx(10e9))
    assert prefill["calls"] == 2


def test_most_queries_of_decode_are_a_choice(tmp_path: Path) -> None:
    assert {row["kind"] for row in found(language(), tmp_path, queries=100)} == {DECODE}
    assert {row["kind"] for row in found(language(), tmp_path, queries=0)} == {PREFILL}


def test_by_step_each_token_is_a_row(tmp_path: Path) -> None:
    rows = found(language(), tmp_path, by="step")
    assert [(row["step"], row["kind"], row["calls"], row["keys"]) for row in rows] == [
        (0, PREFILL, 2, 100), (1, DECODE, 2, 101), (2, DECODE, 2, 102), (3, DECODE, 2, 103),
    ]  # fmt: skip


def test_steps_add_up_to_the_model_and_rates_fall_as_time_grows(tmp_path: Path) -> None:
    trace = language().load(tmp_path)
    model_, steps = (analyse("phases", trace, by=by) for by in ("model", "step"))
    for column in ("calls", "gpu_ns", "flops", "bytes", "steps"):
        assert model_[column].sum() == steps[column].sum(), column
    slow = analyse("phases", language(slower=4).load(tmp_path))
    for column in ("flops_per_s", "bytes_per_s", "bandwidth_share"):
        assert (slow[column] * 4).to_list() == pytest.approx(model_[column].to_list()), column
    assert slow["intensity"].equals(model_["intensity"])


def test_rates_are_of_calls_with_a_time_and_without_any_there_is_none(tmp_path: Path) -> None:
    t = language()
    t.call("llm.0.core", 8000, 8050, q_len=1, kv_len=9, dtype=HALF, flops=10**6, bytes=10**6)
    rows = found(t, tmp_path)
    late = rows[-1]
    assert (late["phase"], late["calls"], late["gpu_ns"], late["bytes_per_s"]) == (None, 1, None, None)
    both = analyse("phases", t.load(tmp_path)).filter(pl.col("kind") == DECODE)
    assert both["bytes_per_s"].drop_nulls().to_list() == pytest.approx([10e9])


@pytest.mark.slow(1)
def test_figures_show_each_attention_and_its_kind(tmp_path: Path) -> None:
    frame = analyse("phases", language().load(tmp_path))
    picture = svg(draw_figure("phases", frame))
    for text in (PREFILL, DECODE, "decoder · self · prefill", "FLOPs per byte"):
        assert text in picture
    stepped = svg(draw_figure("phases", analyse("phases", language().load(tmp_path), by="step")))
    for text in ("queries", "keys", "decoder · self · decode"):
        assert text in stepped
    with pytest.raises(NothingToDraw):
        draw_figure("phases", frame.with_columns(pl.lit(None, pl.Float64).alias("queries")))


@quiet
@pytest.mark.slow(4)
def test_diffusion_is_like_prefill_and_autoregression_like_decode(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from annotate.simulation import export
    from annotate.simulation.run import simulate

    kinds = {}
    for name, component in (("stable-diffusion", "denoiser"), ("muse", "denoiser"), ("parti", "decoder")):
        declared = model(name)
        export.write(simulate(declared, "tiny", declared.request("tiny"), gpu("h200")), tmp_path / f"{name}_pqtdir")
        frame = analyse("phases", parsers.load(tmp_path / f"{name}_pqtdir"))
        kinds[name] = set(frame.filter(pl.col("component") == component)["kind"])
    assert kinds == {"stable-diffusion": {PREFILL}, "muse": {PREFILL}, "parti": {DECODE}}


@each_capture
def test_real_capture_has_every_call_in_a_row_or_is_refused(capture: Path) -> None:
    trace = parsers.load(capture)
    try:
        calls = analyse("phases", trace)["calls"].sum()
    except Lacking as error:
        assert "no attention call whose lengths are known" in str(error)  # noqa: PT017
        calls = 0
    assert planned("phases", trace, by="step")["calls"].sum() == calls
    assert planned("lengths", trace).height == calls
