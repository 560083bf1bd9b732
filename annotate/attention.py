"""Ranges around the cores of attention: from scores to weighted values, whatever computes them.

While a model is annotated, these are stood in for: `F.scaled_dot_product_attention`, the backends that diffusers and
transformers dispatch to beside it, and the unfused forms that each of them writes out. A core is named after the
module that it runs in, and carries the lengths of its queries and keys. Outside annotated modules nothing changes.

Projections, normalisation of queries and copies that change the layout lie outside the core, in the module around it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from annotate.calls import shapes
from annotate.costs import attention_cost
from annotate.labels import ATTENTION_ROLES, ModuleLabel
from annotate.tracer import Tracer
from annotate.wrappers import Wrapper, is_compiling

CORE = "core"

Target = tuple[Any, str, Callable[[Any], Any]]
"""An object, an attribute (or a key, of a mapping), and what makes its stand-in."""


class Core(Wrapper):
    """Stands in for a function of queries, keys and values.

    Args:
        inner: the function.
        tracer: what opens ranges.
        ranged: whether cores have ranges, or only costs.
        kind: what it is, as the class of its range.
        first: position of the queries among its arguments.
        heads_last: whether tensors are (batch, length, heads, width) rather than (batch, heads, length, width).
    """

    def __init__(
        self,
        inner: Callable[..., Any],
        tracer: Tracer,
        *,
        ranged: bool,
        kind: str,
        first: int = 0,
        heads_last: bool = False,
    ) -> None:
        super().__init__(inner)
        self.tracer, self.ranged, self.kind, self.first, self.heads_last = tracer, ranged, kind, first, heads_last
        self.known: dict[Any, Any] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off:
            return self.inner(*args, **kwargs)
        thread = self.tracer.thread
        if thread.in_core or not thread.stack:
            return self.inner(*args, **kwargs)
        given = args[self.first : self.first + 3]
        query, key, value = given if len(given) == 3 else (*given, *(kwargs[n] for n in _NAMES[len(given) :]))
        thread.in_core = True
        try:
            if not self.ranged:
                self.tracer.add_cost(_cost(query, key, value, heads_last=self.heads_last))
                return self.inner(*args, **kwargs)
            self.open(query, key, value)
            try:
                return self.inner(*args, **kwargs)
            finally:
                self.tracer.backend.pop(self.tracer.backend.handle)
        finally:
            thread.in_core = False

    def open(self, query: Any, key: Any, value: Any) -> None:
        """Open the range of a core in the innermost module."""
        around = self.tracer.thread.stack[-1].label
        known = (around.name, query.shape, key.shape, query.dtype)
        prepared = self.known.get(known)
        if prepared is None:
            if len(self.known) > _MOST:
                self.known.clear()
            prepared = self.known[known] = self.prepare(around, query, key, value)
        self.tracer.backend.push(prepared, self.tracer.backend.handle)

    def prepare(self, around: ModuleLabel, query: Any, key: Any, value: Any) -> Any:
        """What to push for a core with these tensors in this module."""
        role = around.attention or (around.role if around.role in ATTENTION_ROLES else "self_attention")
        label = ModuleLabel(f"{around.name}.{CORE}", role, self.kind, around.component, attention=role, level="block")
        self.tracer.add(label)
        length = 1 if self.heads_last else -2
        values = {
            "q_len": query.shape[length],
            "kv_len": key.shape[length],
            "heads": query.shape[2 if self.heads_last else 1] if query.ndim > 3 else 1,
            **_cost(query, key, value, heads_last=self.heads_last)._asdict(),
            **shapes([query, key, value]),
        }
        return self.tracer.backend.prepared(label.name, role, self.tracer.calls.of(values))


_NAMES = ("query", "key", "value")
_MOST = 4096


def _cost(query: Any, key: Any, value: Any, *, heads_last: bool) -> Any:
    def by_head(tensor: Any) -> Sequence[int]:
        shape = tuple(tensor.shape)
        return (*shape[:-3], shape[-2], shape[-3], shape[-1]) if heads_last else shape

    return attention_cost(by_head(query), by_head(key), by_head(value), itemsize=query.element_size())


def scores(inner: Callable[..., Any], core: Core) -> Callable[..., Any]:
    """Stand-in for diffusers' `get_attention_scores`: its core goes on until the probabilities meet the values."""

    @functools.wraps(inner)
    def get_attention_scores(attention: nn.Module, query: Any, key: Any, attention_mask: Any = None) -> Any:
        if is_compiling():
            return inner(attention, query, key, attention_mask)
        thread = core.tracer.thread
        if thread.in_core or not thread.stack:
            return inner(attention, query, key, attention_mask)
        if not core.ranged:
            core.tracer.add_cost(_cost(query, key, key, heads_last=False))
            return inner(attention, query, key, attention_mask)
        core.open(query, key, key)
        thread.scores = (None, len(thread.stack))  # should this raise, the module around it closes the range
        probabilities = inner(attention, query, key, attention_mask)
        thread.scores = (probabilities, len(thread.stack))
        return probabilities

    return get_attention_scores


class Product(Wrapper):
    """Stands in for `torch.bmm`: the product of probabilities and values ends the core that made them."""

    def __init__(self, inner: Callable[..., Any], tracer: Tracer) -> None:
        super().__init__(inner)
        self.tracer = tracer

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling():
            return self.inner(*args, **kwargs)
        scores = self.tracer.thread.scores
        if scores is None or not args or scores[0] is not args[0]:
            return self.inner(*args, **kwargs)
        try:
            return self.inner(*args, **kwargs)
        finally:
            self.tracer.thread.scores = None
            self.tracer.backend.pop(self.tracer.backend.handle)


def targets(tracer: Tracer, modules: Iterable[nn.Module], *, ranged: bool) -> Iterator[Target]:
    """All that is to be stood in for, for these modules.

    Args:
        tracer: what opens ranges.
        modules: the modules that are annotated: only what they can reach is stood in for.
        ranged: whether cores have ranges, or only costs.
    """

    def core(kind: str, **where: Any) -> Callable[[Any], Core]:
        return lambda inner: Core(inner, tracer, ranged=ranged, kind=kind, **where)

    yield functional, "scaled_dot_product_attention", core("scaled_dot_product_attention")
    packages = {type(module).__module__.partition(".")[0] for module in modules}
    if "diffusers" in packages:
        from diffusers.models import attention, attention_processor
        from diffusers.models.attention_dispatch import _AttentionBackendRegistry

        for owner in (attention_processor.Attention, attention.AttentionModuleMixin):
            yield owner, "get_attention_scores", lambda inner: scores(inner, core("eager")(inner))
        yield torch, "bmm", lambda inner: Product(inner, tracer)
        for backend in _AttentionBackendRegistry._backends:
            if "native" not in backend.value:  # those call F.scaled_dot_product_attention
                yield _AttentionBackendRegistry._backends, backend, core(backend.value, heads_last=True)
    if "transformers" in packages:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        registered = ALL_ATTENTION_FUNCTIONS._global_mapping
        for name in registered:
            if "sdpa" not in name:
                yield registered, name, core(name, first=1)
    for file in {type(module).__module__ for module in modules}:
        if hasattr(sys.modules.get(file), "eager_attention_forward"):
            yield sys.modules[file], "eager_attention_forward", core("eager", first=1)
