"""Annotate a model: attach ranges to all that it calls, and take them away again.

    with annotate(pipeline):
        pipeline("a corgi riding a wave")

    annotation = attach(model, granularity="block")
    ...
    annotation.detach()

Results are the same to the bit. Exceptions leave no range open. Where nothing listens to NVTX, nothing is attached.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import nn

from annotate.attention import targets
from annotate.backends import Backend, Nvtx
from annotate.errors import AnnotateError
from annotate.labels import ModuleLabel
from annotate.patches import Patches
from annotate.steps import Begins, Denoises, Ends, IsStep, Restarts, Steps
from annotate.tracer import Tracer, tracer_of
from annotate.tree import LEVELS, Root, Site, roots, sites
from annotate.wrappers import BlockRange, LeafCost, LeafRange, MethodRange

PIPELINE_METHODS: Mapping[str, str] = {
    "encode_prompt": "text_encoder",
    "encode_image": "image_encoder",
    "_encode_image": "image_encoder",
    "_encode_vae_image": "vae",
    "decode_latents": "vae",
}
"""Methods of pipelines that are stages, and the component that each belongs to."""

PROCESSOR_METHODS = ("postprocess", "postprocess_video")
"""Methods of `image_processor` and `video_processor`: from a tensor to pictures."""


@functools.cache
def nvtx() -> Nvtx:
    """The NVTX backend of the process."""
    return Nvtx()


@contextmanager
def annotate(
    target: Any, *, granularity: str = "leaf", backend: Backend | None = None, name: str = ""
) -> Iterator[Annotation]:
    """Put ranges around everything that a model calls, for as long as the block lasts.

    Args:
        target: a torch module, a diffusers pipeline, or an object that has modules as attributes.
        granularity: the finest ranges: `step`, `stage`, `component`, `block` or `leaf`.
        backend: where ranges go; NVTX if None.
        name: what the names of ranges begin with, where one process runs several models.

    Raises:
        AnnotateError: nothing to annotate, or no such granularity.
        MissingPackage: nvtx is not installed.
    """
    annotation = attach(target, granularity=granularity, backend=backend, name=name)
    try:
        yield annotation
    finally:
        annotation.detach()


def attach(target: Any, *, granularity: str = "leaf", backend: Backend | None = None, name: str = "") -> Annotation:
    """As `annotate`, until `detach` is called on what is returned."""
    if granularity not in LEVELS:
        raise AnnotateError(f"no granularity {granularity}: there are {', '.join(LEVELS)}")
    return Annotation(target, LEVELS.index(granularity), nvtx() if backend is None else backend, name)


_ATTACHED: WeakKeyDictionary[nn.Module, set[int]] = WeakKeyDictionary()
"""Annotated modules, and by which tracers: annotating twice is annotating once."""


class Annotation:
    """The ranges attached to one model.

    Attributes:
        labels: what ranges around its modules say, outermost first.
        tracer: what opens and closes them.
    """

    def __init__(self, target: Any, level: int, backend: Backend, name: str) -> None:
        self.labels: list[ModuleLabel] = []
        self.tracer = tracer_of(backend)
        self._patches = Patches()
        self._steps: list[Steps] = []
        self._modules: list[nn.Module] = []
        found = roots(target, name)
        if not backend.active:
            return
        planned = list(sites(target, name))
        if self.tracer.clashes(site.label for site in planned):
            name = self._free_name(target, name)
            found, planned = roots(target, name), list(sites(target, name))
        mine = [site for site in planned if id(self.tracer) not in _ATTACHED.get(site.module, ())]
        try:
            self._attach(found, mine, level)
        except BaseException:
            self.detach()
            raise

    def _free_name(self, target: Any, name: str) -> str:
        """A beginning of names that no other model of this process has."""
        stem = name or type(target).__name__
        tries = (f"{stem}{number or ''}" for number in range(1 if name else 0, 1000))
        return next(tried for tried in tries if not self.tracer.clashes(s.label for s in sites(target, tried)))

    def _attach(self, found: list[Root], mine: list[Site], level: int) -> None:
        for site in mine:
            self._wrap(site, level)
        everything = [module for root in found for part in root.components.values() for module in part.modules()]
        if mine:
            for owner, attribute, make in targets(self.tracer, everything, ranged=level >= LEVELS.index("block")):
                self._patches.put(owner, attribute, make)
        for root in found:
            self._wrap_root(root, level, {id(site.module) for site in mine})
        self._watch_compile()
        self._watch_profiler()
        self.tracer.claim(self.labels)

    def describe(self) -> None:
        """Tell the trace again what ranges refer to: to be called where a capture begins in the middle of a run."""
        self.tracer.describe()

    def detach(self) -> None:
        """Take all ranges away, and close what is open on this thread."""
        for steps in self._steps:
            steps.abandon()
        self._patches.restore()
        for module in self._modules:
            _ATTACHED.get(module, set()).discard(id(self.tracer))
        self._modules.clear()

    def _wrap(self, site: Site, level: int) -> None:
        module, label, tracer = site.module, site.label, self.tracer
        _ATTACHED.setdefault(module, set()).add(id(tracer))
        self._modules.append(module)
        if LEVELS.index(label.level) <= level:
            self.labels.append(label)
            wrapper = LeafRange if site.leaf else BlockRange
        elif site.leaf:
            wrapper = LeafCost
        else:
            return
        self._patches.put(module, "forward", lambda inner: wrapper(inner, tracer, label, module))
        if getattr(module, "_compiled_call_impl", None) is not None:
            self._patches.put(module, "_compiled_call_impl", lambda inner: BlockRange(inner, tracer, label, module))

    def _wrap_root(self, root: Root, level: int, mine: set[int]) -> None:
        target = root.target
        parts = {label.name: label.component for label in self.labels}
        scheduler = getattr(target, "scheduler", None)
        if isinstance(target, nn.Module) or not hasattr(scheduler, "step"):
            writers = [module for module in root.components.values() if id(module) in mine and _writes(module, target)]
            for module in writers:
                self._step_by_call(root, module)
        else:
            self._step_by_schedule(root, scheduler, level, mine)
        if isinstance(target, nn.Module):
            return
        stage = level >= LEVELS.index("stage")
        for method, component in PIPELINE_METHODS.items() if stage else ():
            self._method(target, method, f"{root.prefix}{method}", component)
        for attribute, module in root.components.items():
            if stage and id(module) in mine and hasattr(module, "encode") and hasattr(module, "decode"):
                part = parts.get(f"{root.prefix}{attribute}", "vae")
                self._method(module, "encode", f"{root.prefix}{attribute}.encode", part)
                self._method(module, "decode", f"{root.prefix}{attribute}.decode", part)
        for processor in ("image_processor", "video_processor") if stage else ():
            for method in PROCESSOR_METHODS:
                self._method(getattr(target, processor, None), method, f"{root.prefix}{method}", None)
        label = ModuleLabel(root.name, cls=type(target).__name__, level="step")
        self.labels.append(label)
        _calls_of(type(target)).add(self, target, label)

    def _step_by_schedule(self, root: Root, scheduler: Any, level: int, mine: set[int]) -> None:
        target = ref(root.target)

        def guided() -> bool:
            return level >= LEVELS.index("stage") and getattr(target(), "do_classifier_free_guidance", False) is True

        steps = Steps(self.tracer, root.prefix, guided, "denoiser")
        self._steps.append(steps)
        if level >= LEVELS.index("stage"):
            label = ModuleLabel(f"{root.prefix}scheduler.step", "scheduler", type(scheduler).__name__, "scheduler")
            self._patches.put(scheduler, "step", lambda inner: MethodRange(inner, self.tracer, label))
        self._patches.put(scheduler, "step", lambda inner: Ends(inner, steps))
        if hasattr(scheduler, "scale_model_input"):
            self._patches.put(scheduler, "scale_model_input", lambda inner: Begins(inner, steps))
        if hasattr(scheduler, "set_timesteps"):
            self._patches.put(scheduler, "set_timesteps", lambda inner: Restarts(inner, steps))
        for site in list(sites(root.target, root.prefix.removesuffix("."))):
            if site.label.level == "component" and site.label.component == "denoiser" and id(site.module) in mine:
                self._patches.put(site.module, "forward", lambda inner: Denoises(inner, steps))

    def _step_by_call(self, root: Root, module: nn.Module) -> None:
        steps = Steps(self.tracer, root.prefix, lambda: False)
        self._steps.append(steps)
        self._patches.put(module, "forward", lambda inner: IsStep(inner, steps))
        if hasattr(module, "generate"):
            label = ModuleLabel(f"{root.prefix}generate", cls="generate", level="step")
            self.labels.append(label)
            tracer = self.tracer
            self._patches.put(module, "generate", lambda inner: Outermost(inner, tracer, label))
            self._patches.put(module, "generate", lambda inner: Restarts(inner, steps))

    def _method(self, owner: Any, method: str, name: str, component: str | None) -> None:
        if callable(getattr(owner, method, None)):
            label = ModuleLabel(name, cls=method, component=component, level="stage")
            self.labels.append(label)
            self._patches.put(owner, method, lambda inner: MethodRange(inner, self.tracer, label))

    def called(self, label: ModuleLabel, call: Callable[[], Any]) -> Any:
        """Run the pipeline itself."""
        self.tracer.describe_in_time()
        self.tracer.open(label)
        try:
            return call()
        finally:
            for steps in self._steps:
                steps.abandon()
            self.tracer.close()

    def _watch_compile(self) -> None:
        """Blocks that are compiled while annotated get their range around the compiled code."""
        labels = {label.name: label for label in self.labels}
        named = {id(module): label for module, label in self._labelled(labels)}
        tracer, patches = self.tracer, self._patches

        def make(inner: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(inner)
            def compile(module: nn.Module, *args: Any, **kwargs: Any) -> Any:  # noqa: A001 - nn.Module calls it so
                result = inner(module, *args, **kwargs)
                label = named.get(id(module))
                if label is not None:
                    patches.put(module, "_compiled_call_impl", lambda call: BlockRange(call, tracer, label, module))
                return result

            return compile

        patches.put(nn.Module, "compile", make)

    def _labelled(self, labels: Mapping[str, ModuleLabel]) -> Iterator[tuple[nn.Module, ModuleLabel]]:
        for module in self._modules:
            forward = vars(module).get("forward")
            label = getattr(forward, "label", None)
            if label is not None and label.name in labels:
                yield module, label

    def _watch_profiler(self) -> None:
        """A capture that begins at `cudaProfilerStart` finds all that its ranges refer to."""
        runtime = getattr(torch._C, "_cudart", None)  # noqa: SLF001 - what torch.cuda.cudart() returns
        if runtime is None:
            return

        def make(inner: Callable[..., Any]) -> Callable[..., Any]:
            def start(*args: Any, **kwargs: Any) -> Any:
                result = inner(*args, **kwargs)
                self.tracer.describe()
                return result

            return start

        self._patches.put(runtime, "cudaProfilerStart", make)


class Outermost(MethodRange):
    """A method that nothing of ours is around: what a capture would miss is described before it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.off:
            self.tracer.describe_in_time()
        return super().__call__(*args, **kwargs)


def _writes(module: nn.Module, target: Any) -> bool:
    """Whether calls of a module are steps: it stands alone, or writes tokens in a pipeline without a scheduler."""
    generates = getattr(module, "can_generate", None)
    return module is target or (generates is not None and bool(generates()))


class _Calls:
    """Stands in for the `__call__` of a class of pipelines, for those of its objects that are annotated."""

    def __init__(self, cls: type) -> None:
        self.annotated: dict[int, list[tuple[Annotation, ModuleLabel]]] = {}
        self.cls = cls

    def add(self, annotation: Annotation, target: Any, label: ModuleLabel) -> None:
        key = id(target)

        def make(inner: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(inner)
            def call(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
                if id(pipeline) != key or _RUNNING.inside(key):
                    return inner(pipeline, *args, **kwargs)
                with _RUNNING.within(key):
                    return annotation.called(label, lambda: inner(pipeline, *args, **kwargs))

            return call

        annotation._patches.put(self.cls, "__call__", make)  # noqa: SLF001


class _Running(threading.local):
    def __init__(self) -> None:
        self.keys: list[int] = []

    def inside(self, key: int) -> bool:
        return key in self.keys

    @contextmanager
    def within(self, key: int) -> Iterator[None]:
        self.keys.append(key)
        try:
            yield
        finally:
            self.keys.remove(key)


_RUNNING = _Running()


@functools.cache
def _calls_of(cls: type) -> _Calls:
    return _Calls(cls)
