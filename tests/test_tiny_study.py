"""A real capture of the tiny Stable Diffusion through nsys: the study's numbers are those that torch's model gives."""

from __future__ import annotations

import sys

import polars as pl
import pytest

import parsers
from tests.shared import needs_nsys, under_nsys
from ttinsys.runner.run import analyse

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("nvtx")

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.tiny import built, generate, quiet

pytestmark = [needs_nsys, quiet, pytest.mark.slow(5)]

MODEL = "stable-diffusion"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> parsers.Trace:
    folder = tmp_path_factory.mktemp("sd")
    options = ["--model", MODEL, "--size", "tiny", "--device", "cpu", "--warmup", "0"]
    return parsers.load(under_nsys(folder, [sys.executable, "-m", "annotate.run", *options]))


def hooked() -> list[tuple[int, int]]:
    """Queries and keys of each attention of the U-Net in one run, in order, as plain hooks of torch see them."""
    seen = []

    def told(module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        text = kwargs.get("encoder_hidden_states")
        seen.append((hidden.shape[1], (hidden if text is None else text).shape[1]))  # type: ignore[attr-defined]

    pipeline = built(MODEL)
    attentions = [module for name, module in pipeline.unet.named_modules() if name.endswith((".attn1", ".attn2"))]
    hooks = [module.register_forward_pre_hook(told, with_kwargs=True) for module in attentions]
    try:
        generate(MODEL)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def test_lengths_and_calls_are_those_that_hooks_see(capture: parsers.Trace) -> None:
    lengths = analyse("lengths", capture).filter(pl.col("component") == "denoiser")
    assert lengths.select("q_len", "kv_len").rows() == hooked()
    roles = {q == kv: role for q, kv, role in lengths.select("q_len", "kv_len", "role").iter_rows()}
    assert roles == {True: "spatial_attention", False: "cross_attention"}


def test_flops_of_the_run_are_those_that_torch_counts(capture: parsers.Trace) -> None:
    # Torch counts attention only where it is made of matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        generate(MODEL)
    from ttinsys.tables.registry import tables_of

    calls = tables_of(capture)["calls"].select("flops").collect()
    assert calls["flops"].sum() == counter.get_total_flops() > 0
