"""What of a pipeline gets ranges: its components, their blocks and their leaves, each with its label.

for site in sites(pipeline):
    print(site.label.name, site.label.role)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from annotate.errors import AnnotateError
from annotate.labels import ModuleLabel
from annotate.models.spec import Cascade
from annotate.roles import component, is_attention, is_opaque, owner, role

_NEVER_CALLED = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_DO_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_COMPILED = "_orig_mod"
"""Under this name a module compiled by `torch.compile(module)` has the module that it was made of."""


@dataclass(frozen=True)
class Site:
    """A module that gets ranges, and what they say.

    Args:
        module: the module.
        label: what its ranges say.
        leaf: whether no module is called in it.
        entry: attribute by which it is called: `forward`, or what was compiled of it.
    """

    module: nn.Module
    label: ModuleLabel
    leaf: bool
    entry: str


@dataclass(frozen=True)
class Root:
    """What is called from outside: a pipeline with its components, or a module alone.

    Args:
        target: the pipeline or module.
        name: of its own ranges.
        prefix: what the names of its components begin with: empty, or ending in a dot.
        components: its modules by name.
    """

    target: Any
    name: str
    prefix: str
    components: Mapping[str, nn.Module]


def roots(target: Any, name: str = "") -> list[Root]:
    """What is called from outside in a model, pipeline, or cascade of pipelines.

    Args:
        target: a module, a diffusers pipeline or what is like one (an object that has modules as attributes).
        name: what the names of ranges begin with.

    Raises:
        AnnotateError: it has no modules.
    """
    prefix = f"{name}." if name else ""
    if isinstance(target, Cascade):
        return [root for stage, pipeline in target.stages.items() for root in roots(pipeline, f"{prefix}{stage}")]
    own = type(target).__name__
    if isinstance(target, nn.Module):
        return [Root(target, name or own, prefix, {name or _plain_name(target): target})]
    parts = getattr(target, "components", None)
    held = parts if isinstance(parts, Mapping) else getattr(target, "__dict__", {})
    modules = {key: value for key, value in held.items() if isinstance(value, nn.Module)}
    if not modules:
        raise AnnotateError(f"{own} has no modules to annotate: pass a torch module or a diffusers pipeline")
    return [Root(target, f"{prefix}{own}", prefix, modules)]


def _plain_name(module: nn.Module) -> str:
    return type(getattr(module, _COMPILED, module)).__name__


def sites(target: Any, name: str = "") -> Iterator[Site]:
    """Every module that gets ranges, outermost first, each once, however often it is shared."""
    seen: set[int] = set()
    for root in roots(target, name):
        for attribute, module in root.components.items():
            alone = module is root.target
            part = component("" if alone else attribute, module)
            path = attribute if alone else f"{root.prefix}{attribute}"
            yield from _walk(module, path, part, [], seen)


def _walk(module: nn.Module, path: str, part: str, above: list[nn.Module], seen: set[int]) -> Iterator[Site]:
    if id(module) in seen:
        return
    seen.add(id(module))
    inner = getattr(module, _COMPILED, module)
    if not isinstance(module, (*_NEVER_CALLED, *_DO_NOTHING)):
        leaf = _is_leaf(inner)
        yield Site(module, _label(inner, path, part, above), leaf, entry(module))
        # In compiled code there are no ranges, and stand-ins would have every block compiled apart.
        if leaf or is_compiled(module):
            return
    yield from _children(module, path, part, above, seen)


def is_compiled(module: nn.Module) -> bool:
    """Whether calling a module runs compiled code, by `module.compile()` or `torch.compile(module)`."""
    return entry(module) != "forward" or isinstance(getattr(module, _COMPILED, None), nn.Module)


def entry(module: nn.Module) -> str:
    """The attribute by which calling a module runs it."""
    return "forward" if getattr(module, "_compiled_call_impl", None) is None else "_compiled_call_impl"


def _children(module: nn.Module, path: str, part: str, above: list[nn.Module], seen: set[int]) -> Iterator[Site]:
    inside = above if isinstance(module, _NEVER_CALLED) else [*above, module]
    for name, child in module.named_children():
        if name == "parametrizations":
            continue
        yield from _walk(child, f"{path}.{name}", _part_of(module, name, part), inside, seen)


def _part_of(module: nn.Module, child: str, part: str) -> str:
    """An encoder and decoder in one model are two parts: one reads text, one writes."""
    both = getattr(getattr(module, "config", None), "is_encoder_decoder", False) is True
    return "text_encoder" if both and part == "decoder" and child == "encoder" else part


def _is_leaf(module: nn.Module) -> bool:
    return is_opaque(module) or not any(
        name != "parametrizations" and not isinstance(child, _DO_NOTHING) for name, child in module.named_children()
    )


def _label(module: nn.Module, path: str, part: str, above: list[nn.Module]) -> ModuleLabel:
    attention = module if is_attention(module) else owner(above)
    depth = above.index(attention) if attention in above else len(above)
    return ModuleLabel(
        name=path,
        role=role(module, path, part, above),
        cls=type(module).__name__,
        component=part,
        attention=None if attention is None else role(attention, path, part, above[:depth]),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        level="component" if not above else "leaf" if _is_leaf(module) else "block",
    )
