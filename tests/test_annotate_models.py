"""Every model at its tiny size: ranges, roles, steps, lengths attended over and FLOPs; and its published size."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

from annotate.backends import Range, Recorder
from annotate.labels import CALL_TEXT, COMPONENTS, ROLES
from annotate.models import MODELS, model
from tests.shared import QUICK_MODELS, slow

pytest.importorskip("torch")
pytest.importorskip("diffusers")

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from annotate.build import _WithoutFilling, build
    from annotate.hooks import annotate
    from annotate.tracer import Tracer

LEVELS = ("leaf", "block", "component", "stage", "step")

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't:DeprecationWarning"
)  # of torch by numpy


@dataclass(frozen=True)
class Run:
    """A model's tiny run at the finest granularity; FLOPs by granularity, and as torch counts them."""

    recorder: Recorder
    tracer: Tracer
    flops: dict[str, int]
    counted: int
    inside: int
    same: bool


def tensors(output: Any) -> list[torch.Tensor]:
    """All tensors in what a pipeline returned."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    return [output] if isinstance(output, torch.Tensor) else [found for value in values for found in tensors(value)]


def flops_of(recorder: Recorder, tracer: Tracer) -> int:
    calls = [opened.call for opened in recorder.ranges]
    calls += [mark.payload for mark in recorder.marks if mark.text == CALL_TEXT and mark.payload is not None]
    return sum(tracer.calls.values(call).get("flops", 0) for call in calls)


@cache
def run(name: str) -> Run:
    """Build and run a model, once per process."""
    torch.set_num_threads(1)  # tests run side by side, and tensors are small
    chosen = model(name)
    pipeline, request = build(chosen, "tiny"), chosen.request("tiny")
    for part in getattr(pipeline, "stages", {"": pipeline}).values():
        getattr(part, "set_progress_bar_config", lambda **_: None)(disable=True)
    recorders, flops, same = {}, {}, True
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):  # the CPU's fused attention is none that torch counts
        with FlopCounterMode(display=False) as counter:
            expected = tensors(chosen.generate(pipeline, request))
        for level in LEVELS:
            recorder = recorders[level] = Recorder()
            with annotate(pipeline, backend=recorder, granularity=level) as annotation:
                found = tensors(chosen.generate(pipeline, request))
            flops[level] = flops_of(recorder, annotation.tracer)
            same &= bool(expected) and len(expected) == len(found) and all(map(torch.equal, expected, found))
            if level == "leaf":
                tracer = annotation.tracer
    roots = {module: sum(counts.values()) for module, counts in counter.get_flop_counts().items() if "." not in module}
    return Run(recorders["leaf"], tracer, flops, roots.pop("Global"), sum(roots.values()), same)


@pytest.fixture(params=[name if name in QUICK_MODELS else slow(name, seconds=2) for name in MODELS])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def parents(recorder: Recorder) -> Iterator[tuple[Range, Range]]:
    return ((opened, opened.parent) for opened in recorder.ranges if opened.parent is not None)


def test_published_parameters_are_exact(name: str) -> None:
    chosen, counted = model(name), {}
    for part, declared in chosen.full.items():
        with torch.device("meta" if part in chosen.parameters else "cpu"), _WithoutFilling():
            made = declared.build()
        if isinstance(made, torch.nn.Module):
            counted[part] = sum(parameter.numel() for parameter in made.parameters())
    assert counted == chosen.parameters


def test_every_range_is_closed_and_lies_in_its_parent(name: str) -> None:
    recorder = run(name).recorder
    assert recorder.open == []
    for opened, parent in parents(recorder):
        assert opened.depth == parent.depth + 1
        assert opened.end_ns is not None
        assert parent.end_ns is not None
        assert parent.start_ns <= opened.start_ns <= opened.end_ns <= parent.end_ns


def test_names_inside_a_module_begin_with_its_name(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    within = [pair for pair in parents(recorder) if labels[pair[1].name].level in {"component", "block"}]
    assert within
    assert {(o.name, p.name) for o, p in within if "." in o.name and not o.name.startswith(f"{p.name}.")} == set()


def test_every_range_is_described_with_a_known_role_and_component(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    assert {(opened.name, opened.role) for opened in recorder.ranges} <= {(n, la.role) for n, la in labels.items()}
    assert {label.component for label in labels.values()} <= {None, *COMPONENTS}
    assert {opened.name for opened in recorder.ranges if labels[opened.name].component is None} <= {
        found for found, label in labels.items() if label.level in {"step", "stage"}
    }


def test_roles_and_steps_are_as_many_as_ever(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    golden = model(name).golden
    assert Counter(opened.role for opened in recorder.ranges) == golden.ranges
    assert golden.ranges.keys() <= {*ROLES}
    assert sum(labels[opened.name].cls == "step" for opened in recorder.ranges) == golden.steps


def test_steps_count_from_zero_in_each_pipeline(name: str) -> None:
    recorder, tracer = run(name).recorder, run(name).tracer
    steps: dict[str, list[int]] = {}
    for opened in recorder.ranges:
        if tracer.labels[opened.name].cls == "step":
            steps.setdefault(opened.name, []).append(tracer.calls.values(opened.call)["step"])
    assert steps
    assert all(numbers == list(range(len(numbers))) for numbers in steps.values())


def test_no_leaf_is_of_no_role(name: str) -> None:
    recorder, labels = run(name).recorder, run(name).tracer.labels
    leaves = [labels[opened.name] for opened in recorder.ranges if labels[opened.name].level == "leaf"]
    assert leaves
    assert {label.cls for label in leaves if label.role == "other"} == set()


def test_attention_is_over_the_lengths_that_its_role_says(name: str) -> None:
    recorder, calls = run(name).recorder, run(name).tracer.calls
    cores = [(opened.role, calls.values(opened.call)) for opened in recorder.ranges if opened.name.endswith(".core")]
    assert {(role, call["q_len"], call["kv_len"]) for role, call in cores} == model(name).golden.lengths


def test_flops_are_those_that_torch_counts(name: str) -> None:
    found = run(name)
    # Imagen's prompts are encoded before its pipelines are called: below stages nothing is around that.
    levels = [level for level in LEVELS if (name, level) != ("imagen", "step")]
    assert {level: found.flops[level] for level in levels} == dict.fromkeys(levels, found.inside)


def test_nothing_is_computed_outside_modules_but_by_svd(name: str) -> None:
    # Its pipeline blurs the picture that it is given, in two convolutions of three by one.
    blur = 2 * (2 * 3) * (3 * 128 * 128) if name == "svd" else 0
    assert run(name).counted - run(name).inside == blur


def test_results_are_the_same_to_the_bit(name: str) -> None:
    assert run(name).same
