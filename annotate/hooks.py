"""Attach ranges to everything that a model calls, and take them away again.

    with annotate(pipeline):
        pipeline("a corgi riding a wave")

    annotation = attach(model, granularity="block")
    ...
    annotation.detach()

Results are the same to the bit. Exceptions leave no range open. Where nothing listens to NVTX, nothing is attached.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from annotate.attention import targets
from annotate.backends import Backend, Nvtx
from annotate.errors import ImpossibleRequest, unknown
from annotate.labels import LEVELS, ModuleLabel
from annotate.outer import Outer
from annotate.patches import Patches
from annotate.roles import is_opaque
from annotate.tracer import tracer_of
from annotate.tree import Root, Site, roots, sites
from annotate.wrappers import BlockRange, LeafCost, LeafRange, OpaqueCost, OpaqueRange


@functools.cache
def nvtx() -> Nvtx:
    """The NVTX backend of the process."""
    return Nvtx()


@contextmanager
def annotate(
    target: Any, *, granularity: str = "leaf", backend: Backend | None = None, name: str = ""
) -> Iterator[Annotation]:
    """Open a range around every call inside a model, within the block.

    Args:
        target: a torch module, a diffusers pipeline, or an object that has modules as attributes.
        granularity: finest level that has ranges of its own: `step`, `stage`, `component`, `block` or `leaf`.
        backend: where ranges go; NVTX if None.
        name: prefix of the names of ranges, where one process runs several models.

    Raises:
        AnnotateError: the target has no modules, or there is no such granularity.
        MissingPackage: nvtx is not installed.
    """
    annotation = attach(target, granularity=granularity, backend=backend, name=name)
    try:
        yield annotation
    finally:
        annotation.detach()


def attach(target: Any, *, granularity: str = "leaf", backend: Backend | None = None, name: str = "") -> Annotation:
    """As `annotate`, until `detach` is called on the annotation that is returned."""
    if granularity not in LEVELS:
        raise ImpossibleRequest(unknown("granularity", granularity, LEVELS))
    return Annotation(target, LEVELS.index(granularity), nvtx() if backend is None else backend, name)


_ATTACHED: WeakKeyDictionary[nn.Module, set[int]] = WeakKeyDictionary()
"""Annotated modules, and by which tracers: annotating twice is annotating once."""


class Annotation:
    """The ranges attached to one model.

    Attributes:
        labels: labels of its ranges, outermost first.
        tracer: opens and closes the ranges.
    """

    def __init__(self, target: Any, level: int, backend: Backend, name: str) -> None:
        self.tracer = tracer_of(backend)
        self.labels: list[ModuleLabel] = []
        self._level = level
        self._patches = Patches()
        self._outer: list[Outer] = []
        self._modules: dict[nn.Module, ModuleLabel | None] = {}
        found = roots(target, name)
        if not backend.active:
            return
        name = self.tracer.name_of(target, name, lambda tried: (site.label for site in sites(target, tried)))
        found, planned = roots(target, name), list(sites(target, name))
        mine = [site for site in planned if id(self.tracer) not in _ATTACHED.get(site.module, ())]
        try:
            self._attach(found, mine)
        except BaseException:
            self.detach()
            raise

    def describe(self) -> None:
        """Write the marks that ranges refer to again. Call it where a capture begins in the middle of a run."""
        self.tracer.describe()

    def detach(self) -> None:
        """Take all ranges away, and close those that are open on this thread."""
        for outer in self._outer:
            outer.abandon()
        self._patches.restore()
        for module in self._modules:
            _ATTACHED.get(module, set()).discard(id(self.tracer))
        self._modules.clear()

    def _attach(self, found: list[Root], mine: list[Site]) -> None:
        for site in mine:
            self._wrap(site)
        if mine:
            ranged = self._level >= LEVELS.index("block")
            everything = [module for root in found for part in root.components.values() for module in part.modules()]
            for owner, attribute, make in targets(self.tracer, everything, ranged=ranged):
                self._patches.put(owner, attribute, make)
            for root in found:
                outer = Outer(root, self.tracer, self._patches, self._level, set(self._modules))
                self._outer.append(outer)
                self.labels += outer.labels
            self._patches.put(nn.Module, "compile", self._compiling)
            if hasattr(torch._C, "_cudart"):
                self._patches.put(torch._C._cudart, "cudaProfilerStart", self._starting)
            self.tracer.claim(self.labels)

    def _wrap(self, site: Site) -> None:
        module, label, tracer = site.module, site.label, self.tracer
        _ATTACHED.setdefault(module, set()).add(id(tracer))
        ranged = LEVELS.index(label.level) <= self._level
        self._modules[module] = label if ranged else None
        if ranged:
            self.labels.append(label)
        elif not site.leaf:
            return
        wrapper = _WRAPPERS[site.leaf and site.entry == "forward", ranged, site.leaf and is_opaque(module)]
        self._patches.put(module, site.entry, lambda inner: wrapper(inner, tracer, label, module))

    def _compiling(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """Stand-in for `nn.Module.compile`: what is compiled while annotated keeps its range, around the compiled code.

        Inside, ranges would be traced away, and their stand-ins would have every block compiled apart.
        """

        @functools.wraps(inner)
        def compiling(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            around = self._patches.take(module, "forward")
            for within in module.modules():
                self._patches.take(within, "forward")
            result = inner(module, *args, **kwargs)
            for make in around:
                self._patches.put(module, "_compiled_call_impl", make)
            return result

        return compiling

    def _starting(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """Stand-in for `cudaProfilerStart`: a capture that begins there holds all that its ranges refer to."""

        @functools.wraps(inner)
        def starting(*args: Any, **kwargs: Any) -> Any:
            result = inner(*args, **kwargs)
            self.tracer.describe()
            return result

        return starting


_WRAPPERS: dict[tuple[bool, bool, bool], type[LeafRange | LeafCost | BlockRange]] = {
    # leaf, ranged, opaque
    (True, True, False): LeafRange,
    (True, True, True): OpaqueRange,
    (True, False, False): LeafCost,
    (True, False, True): OpaqueCost,
    (False, True, False): BlockRange,
}
