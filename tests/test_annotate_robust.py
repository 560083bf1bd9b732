"""Whatever fails or is compiled inside an annotated model: no range stays open, and the model is as it was."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.backends import Recorder

pytest.importorskip("torch")
pytest.importorskip("diffusers")

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import torch
    from diffusers.models.attention_processor import Attention, AttnProcessor
    from torch import nn
    from torch.nn import functional

    from annotate.hooks import annotate
    from tests.shared import examples, slow
    from tests.tiny import built, generate, quiet

pytestmark = quiet


@cache
def expected(name: str) -> tuple[torch.Tensor, list[str]]:
    """What a model makes, and its ranges where nothing fails."""
    recorder = Recorder()
    with annotate(built(name), backend=recorder):
        output = generate(name)
    return output, [opened.name for opened in recorder.ranges]


@dataclass
class Bomb:
    """Stands in for a function: raises after so many calls, until it is defused."""

    inner: Callable[..., Any]
    error: BaseException
    calls: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.calls == 0:
            raise self.error
        self.calls -= 1
        return self.inner(*args, **kwargs)

    def defuse(self) -> None:
        self.calls = -1


Place = Callable[[Any], tuple[Any, str]]
PLACES: dict[str, tuple[str, Place]] = {
    "leaf": ("stable-diffusion", lambda sd: (sd.unet.mid_block.resnets[0].conv1, "forward")),
    "block": ("stable-diffusion", lambda sd: (sd.unet.up_blocks[1], "forward")),
    "denoiser": ("stable-diffusion", lambda sd: (sd.unet, "forward")),
    "core": ("stable-diffusion", lambda sd: (functional, "scaled_dot_product_attention")),
    "scheduler": ("stable-diffusion", lambda sd: (sd.scheduler, "step")),
    "scale_model_input": ("stable-diffusion", lambda sd: (sd.scheduler, "scale_model_input")),
    "text encoder": ("stable-diffusion", lambda sd: (sd.text_encoder, "forward")),
    "vae.decode": ("stable-diffusion", lambda sd: (sd.vae, "decode")),
    "postprocess": ("stable-diffusion", lambda sd: (sd.image_processor, "postprocess")),
    "decoder layer": ("llama2-7b", lambda llama: (llama.model.layers[1].mlp, "forward")),
    "language model": ("llama2-7b", lambda llama: (llama, "forward")),
}


each_error = pytest.mark.parametrize("raised", [RuntimeError, slow(KeyboardInterrupt)])


@each_error
@pytest.mark.parametrize("calls", [0, slow(1)])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.slow(1)
def test_exception_leaves_nothing_open(
    place: str, calls: int, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, find = PLACES[place]
    once = place in {"vae.decode", "postprocess"}
    fails(name, *find(built(name)), raised("on purpose"), 0 if once else calls, monkeypatch)


@pytest.fixture
def eager() -> Iterator[None]:
    """Attention written out, in the U-Net."""
    expected("stable-diffusion")
    unet = built("stable-diffusion").unet
    processors = unet.attn_processors
    unet.set_attn_processor(AttnProcessor())
    yield
    unet.set_attn_processor(processors)


@each_error
@pytest.mark.parametrize(("owner", "attribute"), [(torch, "bmm"), (torch, "baddbmm")])
def test_exception_between_scores_and_values_leaves_nothing_open(
    owner: Any, attribute: str, raised: type[BaseException], eager: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails("stable-diffusion", owner, attribute, raised("on purpose"), 3, monkeypatch, same=False)


def test_exception_of_the_scores_leaves_nothing_open(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = Bomb(Attention.get_attention_scores, RuntimeError("on purpose"), 3)

    def before(*args: Any) -> Any:  # a function, to be a method
        return bomb(*args)

    monkeypatch.setattr(Attention, "get_attention_scores", before)
    recorder = Recorder()
    with annotate(built("stable-diffusion"), backend=recorder):
        with pytest.raises(RuntimeError, match="on purpose"):
            generate("stable-diffusion")
        nothing_is_open(recorder)
    assert Attention.__dict__["get_attention_scores"] is before


def nothing_is_open(recorder: Recorder) -> None:
    assert recorder.open == []
    for opened in recorder.ranges:
        assert opened.end_ns is not None
        assert opened.parent is None or (opened.parent.end_ns or 0) >= opened.end_ns


def fails(
    name: str,
    owner: Any,
    attribute: str,
    error: BaseException,
    calls: int,
    monkeypatch: pytest.MonkeyPatch,
    *,
    same: bool = True,
) -> None:
    """Let a model fail in one place, and then run as if it had not."""
    pipeline, (output, ranges), recorder = built(name), expected(name), Recorder()
    bomb = Bomb(getattr(owner, attribute), error, calls)
    monkeypatch.setattr(owner, attribute, bomb)
    with annotate(pipeline, backend=recorder) as annotation:
        with pytest.raises(type(error)) as raised:
            generate(name)
        assert raised.value is error
        nothing_is_open(recorder)
        failed = [opened.name for opened in recorder.ranges]
        assert failed
        assert failed == ranges[: len(failed)]
        bomb.defuse()
        recorder.ranges.clear()
        found = generate(name)
        assert torch.equal(found, output) or not same
        assert [opened.name for opened in recorder.ranges] == ranges
        steps = [opened for opened in recorder.ranges if annotation.tracer.labels[opened.name].cls == "step"]
        assert [annotation.tracer.calls.values(step.call)["step"] for step in steps] == list(range(len(steps)))
        nothing_is_open(recorder)
    assert getattr(owner, attribute) is bomb
    parts = pipeline.components.values() if hasattr(pipeline, "components") else [pipeline]
    modules = [module for part in parts if isinstance(part, nn.Module) for module in part.modules()]
    assert [module for module in modules if "forward" in vars(module) and module is not owner] == []


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = x + self.inner(x)
        return found


LEAVES: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(4, 4),
    "gelu": nn.GELU,
    "norm": lambda: nn.LayerNorm(4),
}
TREES = st.recursive(
    st.sampled_from(sorted(LEAVES)),
    lambda inner: st.tuples(st.just("residual"), inner) | st.lists(inner, min_size=1, max_size=3),
    max_leaves=8,
)


def grown(tree: Any) -> nn.Module:
    if isinstance(tree, str):
        return LEAVES[tree]()
    return Residual(grown(tree[1])) if isinstance(tree, tuple) else nn.Sequential(*map(grown, tree))


@examples(60)
@given(
    tree=TREES,
    which=st.integers(0, 7),
    calls=st.integers(0, 3),
    granularity=st.sampled_from(["step", "component", "block", "leaf"]),
)
def test_any_leaf_of_any_model_may_fail_at_any_call(tree: Any, which: int, calls: int, granularity: str) -> None:
    module, recorder, x = Residual(grown(tree)), Recorder(), torch.ones(2, 4)
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    leaf = leaves[which % len(leaves)]
    leaf.forward = Bomb(leaf.forward, RuntimeError("on purpose"), calls)
    sizes = []
    with annotate(module, backend=recorder, granularity=granularity) as annotation:
        labels = annotation.tracer.labels
        for _ in range(4):
            recorder.ranges.clear()
            with suppress(RuntimeError):
                module(x)
            nothing_is_open(recorder)
            sizes.append(len(recorder.ranges))
            for opened in recorder.ranges[2:]:
                assert opened.parent is not None
                assert opened.name.startswith(f"{opened.parent.name}.")
    whole = sum(label.cls != "guidance" for label in labels.values())
    assert sizes[:calls] == [whole] * calls
    assert all(1 <= size <= whole for size in sizes[calls:])
    assert list(vars(module)) == list(vars(Residual(nn.GELU())))


def compilable() -> Any:
    torch.manual_seed(0)
    blocks = [Residual(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4), nn.GELU())) for _ in range(2)]
    return nn.Sequential(*blocks).requires_grad_(requires_grad=False)


@pytest.fixture
def fresh() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.mark.slow(1)
def test_annotated_module_compiles_into_one_graph(fresh: None) -> None:
    module, x = compilable(), torch.ones(2, 4)
    plain = module(x)
    with annotate(module, backend=Recorder()):
        compiled: Any = torch.compile(module, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), plain)


@pytest.mark.parametrize("before", [True, False], ids=["compiled before", "compiled while annotated"])
def test_compiled_blocks_have_one_range_per_call(before: bool, fresh: None) -> None:
    module, recorder, x = compilable(), Recorder(), torch.ones(2, 4)
    plain = module(x)

    def compile_blocks() -> None:
        for block in module:
            block.compile(backend="eager", fullgraph=True)

    if before:
        compile_blocks()
    with annotate(module, backend=recorder):
        if not before:
            compile_blocks()
        for _ in range(3):
            assert torch.equal(module(x), plain)
    assert [opened.name for opened in recorder.ranges] == ["step", "Sequential", "Sequential.0", "Sequential.1"] * 3
    assert recorder.open == []
    recorder.ranges.clear()
    assert torch.equal(module(x), plain)
    assert recorder.ranges == []


@pytest.mark.slow(2)
def test_compiled_component_has_its_range(fresh: None) -> None:
    pipeline, recorder = built("flux"), Recorder()
    plain, inner = generate("flux"), pipeline.transformer
    pipeline.transformer = torch.compile(inner, backend="eager")
    try:
        with annotate(pipeline, backend=recorder):
            found = generate("flux")
    finally:
        pipeline.transformer = inner
    names = [opened.name for opened in recorder.ranges if opened.name.startswith("transformer")]
    assert names == ["transformer"] * 2
    assert torch.allclose(found, plain)
