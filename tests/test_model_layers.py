"""The layers that configurations imply, against those that torch ran: every model, traced by the simulator.

The oracle is annotation, whose FLOPs equal those of torch's FlopCounterMode: a derived layer has to have its role, its
lengths, its heads, its calls and its operations, to the last one.
"""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

import parsers
from tests.shared import QUICK_MODELS, slow
from ttinsys.measures.analytical import model_costs
from ttinsys.measures.analytical_trace import root_calls, with_trace
from ttinsys.published.defaults import CLASS_DEFAULTS
from ttinsys.published.layers import (
    NotDerivable,
    derivable_components,
    derivable_models,
    derive_layers,
    guidance_of,
    takes_text,
)
from ttinsys.published.sheets import MODELS, Request, Size, model
from ttinsys.tables.registry import tables_of

TOKEN_BY_TOKEN = ("parti", "parti-3b")
"""Models whose lengths follow from what they have written so far, and not from their configuration."""


def costs(
    name: str, size: Size = "full", text: int | None = None, *, guided: bool | None = None, **changes: int
) -> pl.DataFrame:
    """The costs of a forward of each component, with the guidance that the model has by default."""
    spec = model(name)
    request = spec.request(size, **changes)
    doubled = guidance_of(spec, size) == "batch" if guided is None else guided
    return model_costs(derive_layers(spec, size, request, text), batch=request.batch * (2 if doubled else 1))


def compared(name: str, size: Size = "full", **changes: int) -> pl.DataFrame:
    """The costs beside a simulated trace of the same model and sizes."""
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    from tests.simulated import simulated

    calls = tables_of(parsers.load(simulated(name, "sdpa", size, **changes)))["calls"]
    read = calls.filter((pl.col("phase") != "decode").fill_null(value=True)).collect()
    classes = derivable_components(model(name), size)
    roots = root_calls(read, classes)
    assert list(roots) == list(classes)
    # The meta device holds no text, so that Mochi there attends to none of it.
    text = 0 if name == "mochi" else None
    return with_trace(costs(name, size, text, guided=None, **changes), read, roots)


FULL_SIZE = ("stable-diffusion", "sdxl", "imagen", "make-a-video", "kandinsky-2.2", "sd3", "flux", "llama2-70b")


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, "tiny") if name in QUICK_MODELS else slow(name, "tiny") for name in derivable_models()),
        *(slow(name, "full", seconds=10) for name in FULL_SIZE),
    ],
)
def test_derived_layers_are_those_that_torch_runs(name: str, size: Size) -> None:
    frame = compared(name, size)
    assert frame["note"].to_list() == [None] * frame.height
    assert frame["measured_calls"].to_list() == frame["calls"].to_list()
    assert frame["measured_flops"].to_list() == pytest.approx(frame["flops"].to_list(), rel=1e-12)


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("name", "size", "changes"),
    [
        # Sides of 65 and 49 latents are odd: levels have 65, 33, 17 and 9 rows.
        slow("stable-diffusion", "full", {"height": 520, "width": 392}, seconds=3),
        slow("stable-diffusion", "full", {"height": 256, "width": 256, "batch": 3}, seconds=3),
        slow("imagen", "tiny", {"height": 96, "width": 160}),
        slow("make-a-video", "full", {"frames": 32}, seconds=4),
        slow("svd", "tiny", {"height": 72, "frames": 3}),
        slow("latte", "tiny", {"batch": 2, "frames": 5}),
        ("phenaki", "tiny", {"frames": 8}),
        slow("wan-1.3b", "tiny", {"frames": 12}),
        slow("cogvideox-2b", "tiny", {"frames": 9, "batch": 2}),
        ("llama2-7b", "tiny", {"prompt_tokens": 17, "batch": 3}),
        slow("muse", "tiny", {"height": 64, "width": 96}),
    ],
)
def test_layers_follow_the_request(name: str, size: Size, changes: dict[str, int]) -> None:
    frame = compared(name, size, **changes)
    assert frame["note"].to_list() == [None] * frame.height


def test_models_without_derivation_abstain() -> None:
    assert {*derivable_models()}.isdisjoint(TOKEN_BY_TOKEN)
    for name in {*MODELS} - {*derivable_models()}:
        with pytest.raises(NotDerivable, match=r"does not follow from the configuration of .*; it does of stable-diff"):
            costs(name)
    with pytest.raises(NotDerivable, match="those text tokens that are not padding: give --text-tokens"):
        costs("mochi")


def test_model_without_tokenizer_needs_the_number_of_text_tokens() -> None:
    whole = model("stable-diffusion")
    spec = replace(whole, full={name: part for name, part in whole.full.items() if name != "tokenizer"})
    with pytest.raises(NotDerivable, match="no tokenizer tells how many tokens the text has: give --text-tokens"):
        derive_layers(spec, "full", spec.request("full"))
    given = derive_layers(spec, "full", spec.request("full"), 77)
    assert given == derive_layers(whole, "full", whole.request("full"))


def total(frame: pl.DataFrame, name: str) -> int:
    return int(frame[name].sum())


def sums(frame: pl.DataFrame, *roles: str) -> float:
    return total(frame.filter(pl.col("role").is_in(roles)), "flops") / 1e12


@pytest.mark.parametrize(
    ("pixels", "lengths", "convolution", "linear", "core", "megabytes"),
    [
        (256, [1024, 256, 64, 16], 0.111, 0.061, 0.008, 12.2),
        (512, [4096, 1024, 256, 64], 0.444, 0.233, 0.122, 183.1),
        (1024, [16384, 4096, 1024, 256], 1.776, 0.924, 1.960, 2879),
    ],
)
def test_stable_diffusion_costs_what_was_computed_for_the_study(
    pixels: int, lengths: list[int], convolution: float, linear: float, core: float, megabytes: float
) -> None:
    frame = costs("stable-diffusion", height=pixels, width=pixels, guided=False)
    own = frame.filter(pl.col("role") == "spatial_attention")
    assert own["q_len"].to_list() == own["kv_len"].to_list() == lengths
    assert own["calls"].to_list() == [5, 5, 5, 1]
    assert frame.filter(pl.col("role") == "cross_attention")["kv_len"].unique().to_list() == [77]
    assert sums(frame, "spatial_conv", "pointwise_conv") == pytest.approx(convolution, abs=0.0005)
    assert sums(frame, "linear") == pytest.approx(linear, abs=0.0005)
    assert sums(frame, "spatial_attention") == pytest.approx(core, abs=0.0005)
    # Of one head of one picture; there are 8 heads.
    assert total(frame, "score_bytes") / 1e6 == pytest.approx(megabytes, abs=0.5 if pixels == 1024 else 0.05)
    assert frame["all_score_bytes"].sum() == 8 * frame["score_bytes"].sum()
    assert frame["share"].sum() == pytest.approx(1)


def test_heads_batch_and_guidance_multiply() -> None:
    once = costs("stable-diffusion", height=256, width=256, guided=False)
    many = costs("stable-diffusion", height=256, width=256, batch=3, guided=True)
    assert many["all_score_bytes"].sum() == 3 * 2 * 8 * once["score_bytes"].sum()
    assert many["score_bytes"].to_list() == once["score_bytes"].to_list()
    assert many["flops"].to_list() == [6 * flops for flops in once["flops"].to_list()]
    wide = model("stable-diffusion")
    layers = derive_layers(wide, "full", wide.request("full"))
    assert model_costs(layers, itemsize=4)["score_bytes"].sum() == 2 * model_costs(layers)["score_bytes"].sum()


@pytest.mark.parametrize(("frames", "ratio"), [(16, 17.5), (32, 8.8), (256, 1.10)])
def test_modelscope_has_the_ratio_of_spatial_to_temporal_of_the_study(frames: int, ratio: float) -> None:
    frame = costs("make-a-video", frames=frames)
    calls = dict(frame.group_by("role").agg(pl.col("calls").sum()).iter_rows())
    assert (calls["spatial_attention"], calls["temporal_attention"]) == (16, 34)
    assert sums(frame, "spatial_attention") / sums(frame, "temporal_attention") == pytest.approx(ratio, abs=0.05)


COUNTED = [
    ("wan-1.3b", "transformer", 283.0),
    *(
        (name, component, teraflops)
        for name in derivable_models()
        for component, teraflops in model(name).golden.teraflops.items()
        if component in derivable_components(model(name), "full")
    ),
]
"""What torch's FlopCounterMode counted on the meta device in one forward of one picture or clip."""


@pytest.mark.parametrize(("name", "component", "teraflops"), COUNTED)
def test_forwards_cost_what_the_flop_counter_of_torch_counted(name: str, component: str, teraflops: float) -> None:
    frame = costs(name, guided=False).filter(pl.col("component") == component)
    # The pooling of Imagen's text, which is left out, has 0.005 TFLOP.
    assert total(frame, "flops") / 1e12 == pytest.approx(teraflops, rel=0.002)


def test_flop_counter_of_torch_counted_pictures_and_clips() -> None:
    assert {"stable-diffusion", "imagen", "make-a-video"} <= {name for name, _, _ in COUNTED}


def test_prefill_costs_what_the_flop_counter_of_torch_counted_but_for_logits_that_are_not_used() -> None:
    # 29.26 with the logits of all 2048 tokens; generation computes those of the last one alone.
    unused = 2 * 2047 * 4096 * 32000
    assert (total(costs("llama2-7b"), "flops") + unused) / 1e12 == pytest.approx(29.26, abs=0.005)


def test_flux_and_hunyuan_take_guidance_as_an_input_and_wan_a_second_forward() -> None:
    kinds = {name: guidance_of(model(name), "full") for name in derivable_models()}
    assert {name for name, kind in kinds.items() if kind == "input"} == {"flux", "hunyuan-video"}
    assert {name for name, kind in kinds.items() if kind == "forward"} == {"wan-1.3b", "wan-14b"}
    assert {name for name, kind in kinds.items() if kind == "none"} == {"llama2-7b", "llama2-70b"}


def test_text_tokens_replace_those_of_the_tokenizer() -> None:
    keys = costs("stable-diffusion", text=5).filter(pl.col("role") == "cross_attention")["kv_len"].unique().to_list()
    assert keys == [5]
    # 4096 patches and the text of two tokenizers: 77 + 256.
    assert costs("sd3")["kv_len"].max() == 4096 + 333
    assert costs("mochi", text=9)["kv_len"].max() == 23850 + 9
    assert [name for name in derivable_models() if not takes_text(model(name), "full")] == ["svd"]


def test_decoder_of_kandinsky_attends_to_32_tokens_of_a_picture_whatever_the_text() -> None:
    frame = costs("kandinsky-2.2", text=10)
    joint = frame.filter(pl.col("role") == "joint_attention")
    assert (joint["kv_len"] - joint["q_len"]).unique().to_list() == [32]
    assert frame.filter(pl.col("component") == "prior")["kv_len"].max() == 10 + 4


def parameters_of(cls: str) -> dict[str, Any]:
    """Defaults of a class, or of a function of ours that makes a tokenizer."""
    pytest.importorskip("diffusers")
    if cls in {"clip", "t5", "words"}:
        made = getattr(importlib.import_module("annotate.models.parts.tokenizers"), cls)
    elif cls in {"MaskGitTransformer", "CViViTDecoder"}:
        made = getattr(importlib.import_module("annotate.models.parts.phenaki"), cls).__init__
    else:
        made = getattr(importlib.import_module("diffusers"), cls).__init__
    return {name: parameter.default for name, parameter in inspect.signature(made).parameters.items()}


@pytest.mark.parametrize("cls", CLASS_DEFAULTS)
def test_defaults_are_those_of_the_class(cls: str) -> None:
    defaults = parameters_of(cls)
    assert {name: defaults[name] for name in CLASS_DEFAULTS[cls]} == CLASS_DEFAULTS[cls]


def test_deriving_imports_neither_torch_nor_diffusers() -> None:
    code = """if True:
        import json, sys
        from ttinsys.published.layers import derivable_models, derive_layers
        from ttinsys.published.sheets import model
        for name in derivable_models():
            derive_layers(model(name), "full", model(name).requests["full"], 7)
        print(json.dumps(sorted({"torch", "diffusers", "transformers", "numpy"} & sys.modules.keys())))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_request_without_a_picture_has_no_positions() -> None:
    spec = model("llama2-7b")
    (layers,) = derive_layers(spec, "full", Request(prompt_tokens=5)).values()
    assert [(core.queries, core.keys, core.calls) for core in layers.attention] == [(5, 5, 32)]
    assert layers.convolutions == []
