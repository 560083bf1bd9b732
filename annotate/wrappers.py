"""What stands in for a module's `forward` while it is annotated.

A callable object and not a function: `copy.deepcopy` and `pickle` of an annotated model then give a plain one, for the
object copies as what it stands in for. (A function is copied as itself, and the copy's `forward` would run the
original's weights.) Hooks are not used: they cost more, and switch off fused paths of torch's own layers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from annotate.calls import shapes, tensors_in
from annotate.costs import Cost, Counted, has_formula, leaf_cost
from annotate.labels import ModuleLabel
from annotate.tracer import Frame, Tracer

MOST_SHAPES = 256
"""Calls that a wrapper remembers: a decode makes a new one with every token."""

is_compiling = torch.compiler.is_compiling


class Wrapper:
    """Stands in for a callable, and is it again when switched off, compiled, copied or pickled.

    Args:
        inner: what it stands in for.
    """

    def __init__(self, inner: Callable[..., Any]) -> None:
        self.inner = inner
        self.off = False
        self.__wrapped__ = inner  # what `inspect.signature` reads

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return copy.deepcopy(self.inner, memo)

    def __copy__(self) -> Any:
        return self.inner

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return _itself, (self.inner,)

    def __getattr__(self, name: str) -> Any:
        """Attributes of what it stands in for: `__name__`, `__self__`, `__func__`."""
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)


def _itself(inner: Any) -> Any:
    return inner


def signature(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Shapes and types of the tensors among arguments."""
    if len(args) == 1 and not kwargs and isinstance(args[0], Tensor):
        return args[0].shape, args[0].dtype
    key: list[Any] = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, Tensor):
            key += (value.shape, value.dtype)
    return tuple(key)


class _Labelled(Wrapper):
    def __init__(self, inner: Callable[..., Any], tracer: Tracer, label: ModuleLabel, module: nn.Module) -> None:
        super().__init__(inner)
        self.tracer = tracer
        self.label = label
        self.module = module
        self.push, self.pop, self.handle = tracer.backend.push, tracer.backend.pop, tracer.backend.handle
        self.thread = tracer.thread
        self.known: dict[Any, Any] = {}

    def remember(self, key: Any, value: Any) -> None:
        if len(self.known) >= MOST_SHAPES:
            self.known.clear()
        self.known[key] = value


class LeafRange(_Labelled):
    """A range around a module without modules in it, with its cost."""

    def __init__(self, inner: Callable[..., Any], tracer: Tracer, label: ModuleLabel, module: nn.Module) -> None:
        super().__init__(inner, tracer, label, module)
        self.kind = (type(module), tuple(parameter.shape for parameter in module.parameters()), module.extra_repr())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off:
            return self.inner(*args, **kwargs)
        key = signature(args, kwargs)
        prepared = self.known.get(key)
        if prepared is None:
            return self.first(key, args, kwargs)
        self.push(prepared, self.handle)
        try:
            return self.inner(*args, **kwargs)
        finally:
            self.pop(self.handle)

    def first(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run with new shapes: what the call costs is known once it has returned."""
        call, new = self.tracer.calls.number((self.kind, key))
        prepared = self.tracer.backend.prepared(self.label.name, self.label.role, call)
        self.push(prepared, self.handle)
        try:
            output, cost = measured(self.inner, self.module, args, kwargs)
        finally:
            self.pop(self.handle)
        if new:
            inputs = [*tensors_in(args), *tensors_in(kwargs)]
            self.tracer.calls.define(call, {**shapes(inputs), **cost._asdict()})
        self.remember(key, prepared)
        return output


class LeafCost(_Labelled):
    """No range around a leaf: its cost goes to the range that it is in."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off:
            return self.inner(*args, **kwargs)
        key = signature(args, kwargs)
        cost = self.known.get(key)
        if cost is not None:
            self.tracer.add_cost(cost)
            return self.inner(*args, **kwargs)
        output, cost = measured(self.inner, self.module, args, kwargs)
        self.tracer.add_cost(cost)
        self.remember(key, cost)
        return output


class _Opaque(_Labelled):
    """For a module that writes out its attention itself: the core in it is not told apart."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off:
            return self.inner(*args, **kwargs)
        thread = self.tracer.thread
        before, thread.in_core = thread.in_core, True
        try:
            return super().__call__(*args, **kwargs)  # type: ignore[misc]  # of the class that it is mixed into
        finally:
            thread.in_core = before


class OpaqueRange(_Opaque, LeafRange):
    """A range around such a module."""


class OpaqueCost(_Opaque, LeafCost):
    """The cost of such a module, without a range."""


def measured(
    inner: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Cost]:
    """Run a leaf, and find what it costs. One that only looks like a module we know must not fail for that."""
    counted = 0
    if has_formula(module):
        output = inner(*args, **kwargs)
    else:
        with Counted() as counter:
            output = inner(*args, **kwargs)
        counted = counter.flops
    returned = tensors_in(output)
    inputs = [*tensors_in(args), *tensors_in(kwargs)]
    try:
        return output, leaf_cost(module, inputs, returned[0] if returned else None, counted=counted)
    except (AttributeError, IndexError, TypeError, ValueError):
        return output, Cost(counted, 0)


class BlockRange(_Labelled):
    """A range around a module with modules in it, or around what was compiled of it."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off:
            return self.inner(*args, **kwargs)
        key = signature(args, kwargs)
        found = self.known.get(key)
        if found is None:
            found = self.prepare(key, args, kwargs)
        prepared, values = found
        frame = Frame(self.label, values)
        thread = self.thread
        stack = thread.stack
        stack.append(frame)
        self.push(prepared, self.handle)
        try:
            return self.inner(*args, **kwargs)
        finally:
            if thread.scores is not None and thread.scores[1] == len(stack):
                thread.scores = None
                self.pop(self.handle)
            stack.pop()
            if frame.bytes:
                self.tracer.settle(frame)
            self.pop(self.handle)

    def prepare(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, int]]:
        """What to push for new shapes."""
        values = shapes([*tensors_in(args), *tensors_in(kwargs)])
        call = self.tracer.calls.of(values) if values else 0
        found = self.tracer.backend.prepared(self.label.name, self.label.role, call), values
        self.remember(key, found)
        return found


class MethodRange(Wrapper):
    """A range around a method that is no module's `forward`: `vae.decode`, `scheduler.step`."""

    def __init__(self, inner: Callable[..., Any], tracer: Tracer, label: ModuleLabel) -> None:
        super().__init__(inner)
        self.tracer = tracer
        self.label = label

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off:
            return self.inner(*args, **kwargs)
        self.tracer.open(self.label)
        try:
            return self.inner(*args, **kwargs)
        finally:
            self.tracer.close()
