"""Ranges outside modules: the pipeline's own call, its stages, and the steps of its loop.

`vae.decode`, `scheduler.step` and `encode_prompt` are methods and not modules, and a step is no method at all.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from weakref import ref

from torch import nn

from annotate.labels import LEVELS, ModuleLabel
from annotate.patches import Patches
from annotate.roles import component
from annotate.steps import Begins, Denoises, Ends, IsStep, Restarts, Steps
from annotate.tracer import Tracer
from annotate.tree import Root, entry
from annotate.wrappers import MethodRange

PIPELINE_METHODS: Mapping[str, str | None] = {
    "encode_prompt": "text_encoder",
    "_encode_prompt": "text_encoder",
    "encode_image": "image_encoder",
    "_encode_image": "image_encoder",
    "_encode_vae_image": "vae",
    "decode_latents": "vae",
}
"""Methods of pipelines that are stages, and the component that each belongs to."""

_DENOISER = re.compile(r"unet|transformer|prior|controlnet|denoiser|dit$|^decoder$")

PROCESSORS = ("image_processor", "video_processor")
PROCESSOR_METHODS = ("postprocess", "postprocess_video")
"""From a tensor to pictures: methods of a pipeline's processors."""


class Outer:
    """The ranges of one root that are around its modules.

    Args:
        root: the pipeline, or the module that stands alone.
        tracer: what opens and closes ranges.
        patches: where stand-ins are put.
        level: position of the granularity in `LEVELS`.
        mine: modules that this annotation has.

    Attributes:
        labels: what the ranges say.
    """

    def __init__(self, root: Root, tracer: Tracer, patches: Patches, level: int, mine: Collection[nn.Module]) -> None:
        self.labels: list[ModuleLabel] = []
        self._root, self._tracer, self._patches = root, tracer, patches
        self._staged = level >= LEVELS.index("stage")
        self._steps: list[Steps] = []
        parts = {name: module for name, module in root.components.items() if module in mine}
        scheduler = getattr(root.target, "scheduler", None)
        alone = isinstance(root.target, nn.Module)
        if not alone and hasattr(scheduler, "step"):
            self._steps_by_schedule(scheduler, parts)
        else:
            for module in parts.values():
                if alone or _writes(module):
                    self._steps_by_call(module)
        if not alone:
            self._stages(parts)
            self._call()

    def abandon(self) -> None:
        """Close the step that is open on this thread, if one is."""
        for steps in self._steps:
            steps.abandon()

    def _label(self, name: str, cls: str, level: str, part: str | None = None, role: str = "other") -> ModuleLabel:
        label = ModuleLabel(name, role, cls, part, level=level)
        self.labels.append(label)
        return label

    def _steps_by_schedule(self, scheduler: Any, parts: Mapping[str, nn.Module]) -> None:
        prefix, tracer, put = self._root.prefix, self._tracer, self._patches.put
        target = ref(self._root.target)

        def guided() -> bool:
            return self._staged and getattr(target(), "do_classifier_free_guidance", False) is True

        steps = self._stepping(guided, "denoiser")
        if self._staged:
            label = self._label(f"{prefix}scheduler.step", type(scheduler).__name__, "stage", "scheduler", "scheduler")
            put(scheduler, "step", lambda inner: MethodRange(inner, tracer, label))
        put(scheduler, "step", lambda inner: Ends(inner, steps))
        if hasattr(scheduler, "scale_model_input"):
            put(scheduler, "scale_model_input", lambda inner: Begins(inner, steps))
        if hasattr(scheduler, "set_timesteps"):
            put(scheduler, "set_timesteps", lambda inner: Restarts(inner, steps))
        denoisers = {name: module for name, module in parts.items() if component(name, module) == "denoiser"}
        # Pipelines have projections and connectors, too, which run once, before the first step.
        named = {name: module for name, module in denoisers.items() if _DENOISER.search(name)}
        for module in (named or denoisers).values():
            put(module, entry(module), lambda inner: Denoises(inner, steps))

    def _steps_by_call(self, module: nn.Module) -> None:
        steps = self._stepping(lambda: False, None)
        self._patches.put(module, entry(module), lambda inner: IsStep(inner, steps))
        if hasattr(module, "generate"):
            label = self._label(f"{self._root.prefix}generate", "generate", "step")
            self._patches.put(module, "generate", lambda inner: Outermost(inner, self._tracer, label))
            self._patches.put(module, "generate", lambda inner: Restarts(inner, steps))

    def _stepping(self, guided: Callable[[], bool], part: str | None) -> Steps:
        steps = Steps(self._tracer, self._root.prefix, guided, part)
        self._steps.append(steps)
        self.labels += [steps.step, steps.guidance]
        return steps

    def _stages(self, parts: Mapping[str, nn.Module]) -> None:
        if not self._staged:
            return
        prefix, target = self._root.prefix, self._root.target
        for method, part in PIPELINE_METHODS.items():
            self._stage(target, method, f"{prefix}{method}", part)
        for name, module in parts.items():
            if component(name, module) == "vae":
                self._stage(module, "encode", f"{prefix}{name}.encode", "vae")
                self._stage(module, "decode", f"{prefix}{name}.decode", "vae")
        for processor in PROCESSORS:
            for method in PROCESSOR_METHODS:
                self._stage(getattr(target, processor, None), method, f"{prefix}{method}", None)

    def _stage(self, owner: Any, method: str, name: str, part: str | None) -> None:
        if callable(getattr(owner, method, None)):
            label = self._label(name, method, "stage", part)
            self._patches.put(owner, method, lambda inner: MethodRange(inner, self._tracer, label))

    def _call(self) -> None:
        """The pipeline's own `__call__`, which belongs to its class: that of others of its class stays as it was."""
        target = self._root.target
        label = self._label(self._root.name, type(target).__name__, "step")
        annotated, tracer = ref(target), self._tracer

        def make(inner: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(inner)
            def call(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
                if pipeline is not annotated() or tracer.thread.running is pipeline:
                    return inner(pipeline, *args, **kwargs)
                return self._run(label, pipeline, lambda: inner(pipeline, *args, **kwargs))

            return call

        self._patches.put(type(target), "__call__", make)

    def _run(self, label: ModuleLabel, pipeline: Any, call: Callable[[], Any]) -> Any:
        self._tracer.describe_in_time()
        self._tracer.open(label)
        thread = self._tracer.thread
        before, thread.running = thread.running, pipeline
        try:
            return call()
        finally:
            thread.running = before
            self.abandon()
            self._tracer.close()


class Outermost(MethodRange):
    """A method that nothing of ours is around: what a capture would miss is described before it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.off:
            self.tracer.describe_in_time()
        return super().__call__(*args, **kwargs)


def _writes(module: nn.Module) -> bool:
    """Whether a module writes tokens, one call each."""
    generates = getattr(module, "can_generate", None)
    return generates is not None and bool(generates())
