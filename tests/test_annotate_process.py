"""Several models in one process, pipelines in a person's script, and modules that hold their arithmetic themselves."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

from annotate.backends import Recorder
from annotate.labels import CALL_TEXT, parse_module
from annotate.models import model

pytest.importorskip("torch")
pytest.importorskip("diffusers")

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import torch
    from torch import nn

    from annotate.build import build
    from annotate.hooks import annotate
    from annotate.script import EveryPipeline
    from annotate.tracer import tracer_of
    from tests.shared import slow
    from tests.tiny import quiet

pytestmark = quiet


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    torch.set_num_threads(1)
    with torch.no_grad():
        yield


def built(name: str) -> Any:
    """A model of the test's own."""
    return build(model(name), "tiny")


def run(name: str, pipeline: Any) -> None:
    model(name).generate(pipeline, model(name).request("tiny"))


@pytest.mark.slow(1)
def test_models_with_the_same_names_are_told_apart_and_each_keeps_its_own() -> None:
    recorder = Recorder()
    first, second = built("stable-diffusion"), built("sdxl")
    for name, pipeline in (("stable-diffusion", first), ("sdxl", second), ("stable-diffusion", first)):
        with annotate(pipeline, backend=recorder):
            run(name, pipeline)
    names = [r.name for r in recorder.ranges if r.name.endswith(("unet", "Pipeline"))]
    unet, other = "unet", "StableDiffusionXLPipeline.unet"
    assert [name for name in names if name.endswith("unet")] == [unet] * 3 + [other] * 2 + [unet] * 3
    described = [label for mark in recorder.marks if (label := parse_module(mark.text))]
    meanings = {(label.name, label.cls, label.parameters) for label in described}
    assert len(meanings) == len({name for name, _, _ in meanings})


@pytest.mark.slow(1)
def test_model_whose_modules_were_exchanged_keeps_its_names() -> None:
    recorder = Recorder()
    pipeline = built("stable-diffusion")
    with annotate(pipeline, backend=recorder):
        pass
    pipeline.unet.conv_in = nn.Sequential(pipeline.unet.conv_in)
    with annotate(pipeline, backend=recorder):
        run("stable-diffusion", pipeline)
    assert {"unet", "unet.conv_in", "unet.conv_in.0"} <= {r.name for r in recorder.ranges}


@pytest.mark.slow(3)
def test_every_pipeline_of_a_script_is_annotated_and_left_as_it_was() -> None:
    recorder = Recorder()
    with EveryPipeline(backend=recorder) as script:
        pipeline = built("pixart")
        run("pixart", pipeline)
        run("pixart", pipeline)
        pipeline.transformer = torch.compile(pipeline.transformer, backend="eager")
        run("pixart", pipeline)
    assert script.calls == 2  # attached at the first call, and anew at the third
    assert [r.name for r in recorder.ranges].count("PixArtAlphaPipeline") == 3
    assert [r.name for r in recorder.ranges].count("step") == 6
    assert [r.name for r in recorder.ranges].count("transformer") == 6
    assert not recorder.open
    before = len(recorder.ranges)
    run("pixart", pipeline)
    assert len(recorder.ranges) == before
    assert "forward" not in vars(pipeline.vae)


def test_picture_alone_has_no_phase() -> None:
    recorder = Recorder()
    convolution = nn.Conv2d(3, 4, 3)
    with annotate(convolution, backend=recorder, name="net") as annotation:
        convolution(torch.zeros(1, 3, 8, 8))
    values = [annotation.tracer.calls.values(r.call) for r in recorder.ranges]
    assert values[0] == {"step": 0}
    # 6 * 6 positions, 4 channels out, 3 * 9 products each; twice.
    assert values[1]["flops"] == 2 * 36 * 4 * 27


class Block(nn.Module):
    """A block of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.linear(x)
        return x + hidden


@pytest.mark.slow(1)
@pytest.mark.parametrize("when", [*map(slow, ("never", "before")), "while annotated"])
def test_annotation_compiles_no_block_anew(when: str) -> None:
    """Blocks of one shape share their compiled code, and four of one shape have one graph."""
    torch.compiler.reset()
    graphs = 0

    def count(graph: Any, _inputs: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    def compile_blocks() -> None:
        for block in net:
            block.compile(backend=count, fullgraph=True)

    net = nn.Sequential(*(Block() for _ in range(4)))
    recorder = Recorder()
    if when != "while annotated":
        compile_blocks()
    with annotate(net, backend=recorder, name="net") if when != "never" else nullcontext():
        if when == "while annotated":
            compile_blocks()
        for _ in range(3):
            net(torch.ones(2, 4))
    assert graphs == 1
    if when != "never":
        assert [r.name for r in recorder.ranges] == ["net.step", "net", *(f"net.{i}" for i in range(4))] * 3
    net(torch.ones(2, 4))
    torch.compiler.reset()


class Table(nn.Module):
    """Multiplies by a weight that no linear holds."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(5, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("nc,cd->nd", x, self.table)


@pytest.mark.parametrize("granularity", ["leaf", "component"])
def test_arithmetic_that_a_module_holds_itself_is_counted_as_torch_counts_it(granularity: str) -> None:
    recorder = Recorder()
    net = nn.Sequential(nn.Sequential(Table()))
    with annotate(net, backend=recorder, granularity=granularity):
        for _ in range(2):
            net(torch.ones(3, 5))
    assert flops(recorder) == 2 * (2 * 3 * 5 * 7)


def test_attention_of_torch_is_one_range_with_all_its_products() -> None:
    recorder = Recorder()
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.ones(1, 6, 8)
    with annotate(nn.ModuleDict({"a": attention}), backend=recorder, name="net"):
        attention(x, x, x)
    assert [r.name for r in recorder.ranges] == ["net.a"]
    # Projections of queries, keys, values and the output; two heads of scores, and of values weighted by them.
    assert flops(recorder) == 4 * (2 * 6 * 8 * 8) + 2 * (2 * 2 * 6 * 6 * 4)


def flops(recorder: Recorder) -> int:
    calls = tracer_of(recorder).calls
    own = sum(calls.values(r.call).get("flops", 0) for r in recorder.ranges)
    corrected = (mark.payload for mark in recorder.marks if mark.text == CALL_TEXT)
    return own + sum(calls.values(call or 0).get("flops", 0) for call in corrected)
