"""One simulated run: the ordinary pipeline, annotated, on a GPU that is not there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from annotate.backends import Recorder
from annotate.build import build
from annotate.choices import attention
from annotate.errors import pipeline_failed
from annotate.gpus import Gpu
from annotate.hooks import annotate
from annotate.models import Model, Request, Size
from annotate.simulation.device import Device
from annotate.simulation.timeline import Timeline
from annotate.tree import roots

ATTENTIONS = ("sdpa", "flash", "eager")
"""Fused attention, as PyTorch chooses its kernel (`flash` is the same, by the name that captures have), or unfused."""


@dataclass(frozen=True)
class Simulated:
    """What a simulated run did.

    Args:
        gpu: where.
        timeline: calls and kernels.
        recorder: ranges and marks, by the timeline's clock.
        described: the run, in words and numbers.
        weights: bytes of all parameters.
    """

    gpu: Gpu
    timeline: Timeline
    recorder: Recorder
    described: dict[str, Any]
    weights: int


def simulate(
    model: Model,
    size: Size,
    request: Request,
    gpu: Gpu,
    *,
    attend: str = "sdpa",
    dtype: str | None = None,
    granularity: str = "leaf",
    progress: Callable[[int], None] = lambda _: None,
) -> Simulated:
    """Run a model once.

    Args:
        model: what to run.
        size: `full` or `tiny`.
        request: what to ask of it.
        gpu: what it would run on.
        attend: of `ATTENTIONS`.
        dtype: of weights and activations; None: half precision, as `annotate.run` has it on a GPU.
        granularity: the finest ranges.
        progress: told how many kernels there are, now and then.

    Raises:
        AnnotateError: the pipeline failed.
    """
    dtype = dtype or model.half
    timeline = Timeline(gpu, progress)
    recorder = Recorder(timeline.clock)
    device = Device(timeline)
    pipeline = build(model, size, device="meta", dtype=getattr(torch, dtype))
    components = {
        f"{root.prefix}{name}": component for root in roots(pipeline) for name, component in root.components.items()
    }
    described = {
        "model": model.name,
        "size": size,
        "request": request.asked(),
        "device": gpu.name,
        "dtype": dtype,
        "attention": attend,
        "granularity": granularity,
        "simulated": True,
        "versions": {name: version(name) for name in ("torch", "diffusers", "transformers")},
    }
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(attention(pipeline, "eager" if attend == "eager" else "sdpa"))
        stack.enter_context(device.holds(components, fused=attend != "eager"))
        annotation = stack.enter_context(annotate(pipeline, granularity=granularity, backend=recorder))
        annotation.tracer.tell_run(described)
        try:
            model.generate(pipeline, request)
        except Exception as error:
            raise pipeline_failed(model.name, error) from error
        timeline.wait()
    unique = {id(part): part for component in components.values() for part in component.parameters()}
    weights = sum(part.numel() * part.element_size() for part in unique.values())
    return Simulated(gpu, timeline, recorder, described, weights)


__all__ = ["ATTENTIONS", "Simulated", "simulate"]
