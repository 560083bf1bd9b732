"""Attaching and detaching: nothing changes but the ranges, and nothing stays behind."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from annotate.backends import Recorder
from annotate.errors import AnnotateError
from annotate.labels import LEVELS
from annotate.models import model
from tests.shared import slow

pytest.importorskip("torch")
pytest.importorskip("diffusers")

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import torch
    from diffusers.models.attention_dispatch import _AttentionBackendRegistry
    from diffusers.models.attention_processor import Attention, AttnProcessor
    from torch import nn
    from torch.nn import functional
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.models.llama import modeling_llama

    from annotate.build import build
    from annotate.hooks import annotate, attach
    from annotate.tree import sites
    from tests.tiny import built, generate, quiet

pytestmark = quiet


def recorded(name: str, **options: Any) -> Recorder:
    recorder = Recorder()
    with annotate(built(name), backend=recorder, **options):
        generate(name)
    assert recorder.open == []
    return recorder


def small() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.GELU(), nn.Linear(4, 2))).requires_grad_(requires_grad=False)


def replaced(target: Any) -> dict[str, Any]:
    """All that annotation may stand in for, as it is now."""
    scheduler = getattr(target, "scheduler", None)
    return {
        "forward": [site.label.name for site in sites(target) if "forward" in vars(site.module)],
        "sdpa": functional.scaled_dot_product_attention,
        "bmm": torch.bmm,
        "scores": Attention.__dict__["get_attention_scores"],
        "compile": nn.Module.compile,
        "eager": modeling_llama.eager_attention_forward,
        "transformers": dict(ALL_ATTENTION_FUNCTIONS._global_mapping),
        "diffusers": dict(_AttentionBackendRegistry._backends),
        "call": type(target).__dict__.get("__call__"),
        "own": [set(vars(owner)) for owner in (target, scheduler) if owner is not None],
        "step": getattr(scheduler, "step", None),
    }


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    "name",
    ["stable-diffusion", "llama2-7b", *map(slow, ("wan-1.3b", "svd"))],
)
def test_results_are_the_same_to_the_bit_and_not_for_want_of_ranges(name: str) -> None:
    before = generate(name)
    recorder = Recorder()
    with annotate(built(name), backend=recorder):
        during = generate(name)
    assert torch.equal(before, during)
    assert torch.equal(before, generate(name))
    assert len(recorder.ranges) > 100


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("name", "kept"),
    [("stable-diffusion", {"eager"}), ("llama2-7b", {"diffusers", "scores", "bmm", "call", "step"})],
)
def test_everything_is_as_it_was_after_detaching(name: str, kept: set[str]) -> None:
    generate(name)  # a pipeline notes its last request, from the first one on
    before = replaced(built(name))
    with annotate(built(name), backend=Recorder()):
        during = replaced(built(name))
        generate(name)
    assert replaced(built(name)) == before
    assert before["forward"] == []
    assert {key for key in before if during[key] == before[key]} == kept  # of models that this one does not have


@pytest.mark.slow(1)
@pytest.mark.parametrize("first", [0, slow(1)], ids=["outer detached first", "inner detached first"])
def test_annotating_twice_is_annotating_once(first: int) -> None:
    once = [opened.name for opened in recorded("stable-diffusion").ranges]
    pipeline, recorder = built("stable-diffusion"), Recorder()
    before = replaced(pipeline)
    annotations = [attach(pipeline, backend=recorder) for _ in range(2)]
    generate("stable-diffusion")
    assert [opened.name for opened in recorder.ranges] == once
    annotations[first].detach()
    annotations[1 - first].detach()
    assert replaced(pipeline) == before
    recorder.ranges.clear()
    generate("stable-diffusion")
    assert recorder.ranges == []


@pytest.mark.parametrize("granularity", [*map(slow, ("leaf", "block")), "stage"])
def test_two_recorders_each_get_everything(granularity: str) -> None:
    def said(recorder: Recorder, calls: Any) -> list[Any]:
        return [(opened.name, opened.role, dict(calls.values(opened.call))) for opened in recorder.ranges]

    pipeline, alone, recorders = built("stable-diffusion"), Recorder(), (Recorder(), Recorder())
    with annotate(pipeline, backend=alone, granularity=granularity) as annotation:
        generate("stable-diffusion")
    expected = said(alone, annotation.tracer.calls)
    texts = {mark.text for mark in alone.marks}
    with ExitStack() as stack:
        both = [stack.enter_context(annotate(pipeline, backend=r, granularity=granularity)) for r in recorders]
        generate("stable-diffusion")
    for recorder, annotation in zip(recorders, both, strict=True):
        assert said(recorder, annotation.tracer.calls) == expected
        assert {mark.text for mark in recorder.marks} == texts
        assert recorder.open == []


def test_copy_of_an_annotated_model_is_plain_and_has_its_own_weights() -> None:
    module, recorder, given = small(), Recorder(), torch.ones(2, 3)
    expected = module(given)
    with annotate(module, backend=recorder):
        copied, pickled = copy.deepcopy(module), pickle.loads(pickle.dumps(module))
        for made in (copied, pickled):
            assert torch.equal(made(given), expected)
            made[0].weight.fill_(7.0)
            assert not torch.equal(made(given), expected)
        assert recorder.ranges == []
        assert torch.equal(module(given), expected)
        assert [opened.name for opened in recorder.ranges][:2] == ["step", "Sequential"]
    assert all("forward" not in vars(part) for part in module.modules())


def test_copy_of_an_annotated_pipeline_runs_with_its_own_weights() -> None:
    pipeline, recorder = built("stable-diffusion"), Recorder()
    expected = generate("stable-diffusion")
    with annotate(pipeline, backend=recorder):
        copied = copy.deepcopy(pipeline)
        copied.unet.conv_out.bias.fill_(0.5)
        assert not torch.equal(generate("stable-diffusion", copied), expected)
        assert [opened.name for opened in recorder.ranges if opened.name.startswith("unet")] == []
        assert torch.equal(generate("stable-diffusion"), expected)


def test_threads_have_ranges_of_their_own() -> None:
    module, recorder, given = small(), Recorder(), torch.ones(2, 3)
    meet = threading.Barrier(2)

    def work() -> None:
        meet.wait()
        for _ in range(200):
            module(given)

    with annotate(module, backend=recorder):
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    one_call = [("step", 0), ("Sequential", 1), ("Sequential.0", 2), ("Sequential.1", 2)]
    one_call += [("Sequential.1.0", 3), ("Sequential.1.1", 3)]
    idents = {opened.thread for opened in recorder.ranges}
    assert len(idents) == 2
    for ident in idents:
        mine = [opened for opened in recorder.ranges if opened.thread == ident]
        assert [(opened.name, opened.depth) for opened in mine] == one_call * 200
        assert all(opened.parent is None or opened.parent.thread == ident for opened in mine)
    assert recorder.open == []


def cores(name: str) -> list[tuple[str, str, int, int]]:
    recorder = Recorder()
    with annotate(built(name), backend=recorder) as annotation:
        generate(name)
    values = annotation.tracer.calls.values
    found = [opened for opened in recorder.ranges if opened.name.endswith(".core")]
    return [(o.name, o.role, values(o.call)["q_len"], values(o.call)["kv_len"]) for o in found]


@pytest.fixture
def eager() -> Iterator[Callable[[str], None]]:
    """Switch models to attention that is written out."""
    undo: list[Callable[[], None]] = []

    def switch(name: str) -> None:
        pipeline = built(name)
        if name == "llama2-7b":
            pipeline.set_attn_implementation("eager")
            undo.append(lambda: pipeline.set_attn_implementation("sdpa"))
        else:
            processors = pipeline.unet.attn_processors
            pipeline.unet.set_attn_processor(AttnProcessor())
            undo.append(lambda: pipeline.unet.set_attn_processor(processors))

    yield switch
    for step in undo:
        step()


@pytest.mark.parametrize("name", ["stable-diffusion", "llama2-7b"])
def test_eager_attention_has_the_cores_of_fused(name: str, eager: Callable[[str], None]) -> None:
    fused = cores(name)
    eager(name)
    assert cores(name) == fused
    assert len(fused) >= 10


@pytest.mark.parametrize("name", [slow("stable-diffusion"), "llama2-7b"])
def test_coarser_ranges_are_among_finer_ones(name: str) -> None:
    names = [[opened.name for opened in recorded(name, granularity=level).ranges] for level in LEVELS]
    for coarse, fine in pairwise(names):
        rest = iter(fine)
        assert all(found in rest for found in coarse)  # in the same order
    assert len(names[0]) < len(names[-1])


def test_signatures_stay() -> None:
    pipeline = built("stable-diffusion")
    methods = (pipeline.scheduler.step, pipeline.unet.forward, pipeline.vae.decode, pipeline.__call__)
    before = [inspect.signature(method) for method in methods]
    with annotate(pipeline, backend=Recorder()):
        assert pipeline.scheduler.step is not methods[0]
        after = (pipeline.scheduler.step, pipeline.unet.forward, pipeline.vae.decode, pipeline.__call__)
        assert [inspect.signature(method) for method in after] == before


@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        (object(), {}, "object has no modules to annotate: pass a torch module or a diffusers pipeline"),
        (nn.GELU(), {"granularity": "fine"}, "no granularity fine: there are step, stage, component, block, leaf"),
    ],
)
def test_what_cannot_be_annotated_is_said_in_a_line(target: Any, options: dict[str, str], said: str) -> None:
    with pytest.raises(AnnotateError) as raised, annotate(target, backend=Recorder(), **options):
        pass
    assert str(raised.value) == said


def test_module_alone_has_a_step_per_call() -> None:
    module, recorder = small(), Recorder()
    with annotate(module, backend=recorder, granularity="step") as annotation:
        for _ in range(3):
            module(torch.ones(1, 3))
    assert [opened.name for opened in recorder.ranges] == ["step"] * 3
    assert [annotation.tracer.calls.values(opened.call)["step"] for opened in recorder.ranges] == [0, 1, 2]


@pytest.mark.parametrize("cached", [True, False], ids=["with a cache", "without a cache"])
@pytest.mark.slow(1)
def test_texts_are_bounded_over_a_long_decode(cached: bool) -> None:
    chosen = model("llama2-7b")
    part = chosen.tiny["model"].but(max_position_embeddings=512)
    llama = build(replace(chosen, tiny={"model": part}), "tiny")
    llama.generation_config.use_cache = cached
    texts, calls = [], []
    for tokens in (60, 240):
        recorder = Recorder()
        with annotate(llama, backend=recorder), torch.no_grad():
            chosen.generate(llama, chosen.request("tiny", tokens=tokens))
        texts.append({mark.text for mark in recorder.marks})
        calls.append({opened.call for opened in recorder.ranges})
    assert texts[0] == texts[1]
    assert len(calls[0]) < len(calls[1])
