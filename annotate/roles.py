"""What a module does, told from its class, its shape and where it stands.

The rules were checked against the query and key lengths of every attention call of the models here: names alone
mislead. `attn1` and `attn2` are both self-attention in the temporal blocks of UNet3D, `attn1` is cross-attention in
aMUSEd's U-ViT, and the blocks of today's video transformers attend to picture and text at once under a name that says
self-attention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from torch import nn
from torch.nn.modules.conv import _ConvNd

from annotate.naming import (
    ATTENTION_CLASS,
    COMPONENT_OF_ATTRIBUTE,
    COMPONENT_OF_CLASS,
    CROSS_NAME,
    ROLE_OF_CLASS,
    TEMPORAL_NAMES,
    first_match,
)

TEMPORAL_CLASSES = frozenset({"TransformerTemporalModel", "AnimateDiffTransformer3D", "TemporalBasicTransformerBlock"})
_PROJECTIONS = ("to_q", "q_proj", "q", "query", "to_qkv", "qkv", "Wqkv", "query_key_value")
_VIDEO = re.compile(r"3D|Video|Wan|Mochi|LTX|Temporal|Motion|MaskGit")
_TEXT_NAME = re.compile(r"refiner|context_embedder|pooler|add_embedding")

_BY_CLASS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("linear", (nn.Linear,)),
    ("group_norm", (nn.GroupNorm,)),
    ("embedding", (nn.Embedding,)),
    ("resample", (nn.Upsample, nn.AvgPool2d, nn.AvgPool3d, nn.PixelShuffle, nn.PixelUnshuffle, nn.ZeroPad2d)),
    ("rearrange", (nn.Flatten, nn.Unflatten)),
)


def component(attribute: str, module: nn.Module) -> str:
    """Part of the pipeline that a component is, from the pipeline's attribute, else from the module's class.

    Args:
        attribute: name under which the pipeline has it; empty for a module that stands alone.
        module: the component.
    """
    return first_match(COMPONENT_OF_ATTRIBUTE, attribute) or _component_of_class(module)


def _component_of_class(module: nn.Module) -> str:
    name = type(module).__name__
    told = first_match(COMPONENT_OF_CLASS, name)
    if told is not None:
        return told
    generates = getattr(module, "can_generate", None)
    return "decoder" if generates is not None and generates() else "denoiser"


def is_attention(module: nn.Module) -> bool:
    """Whether a module is an attention: it projects queries, and is called so."""
    name = type(module).__name__
    projects = any(isinstance(getattr(module, child, None), nn.Module) for child in _PROJECTIONS)
    return isinstance(module, nn.MultiheadAttention) or (bool(re.search(ATTENTION_CLASS, name)) and projects)


def is_opaque(module: nn.Module) -> bool:
    """Whether a module multiplies by the weights of modules in it itself, rather than call them."""
    return isinstance(module, nn.MultiheadAttention) or type(module).__name__ == "AttentionPooling"


def role(module: nn.Module, path: str, part: str, ancestors: Sequence[nn.Module]) -> str:
    """Role of a module: one of `annotate.labels.ROLES`.

    Args:
        module: the module.
        path: its path, component first.
        part: its component, of `annotate.labels.COMPONENTS`.
        ancestors: the modules around it, the component first.
    """
    if is_attention(module):
        return attention_role(module, path, part, ancestors)
    if isinstance(module, _ConvNd):
        return convolution_role(module)
    for found, classes in _BY_CLASS:
        if isinstance(module, classes):
            return found
    name = type(module).__name__
    if name.endswith("Block"):
        return "other"
    return first_match(ROLE_OF_CLASS, name) or "other"


def convolution_role(module: _ConvNd) -> str:
    """Role of a convolution, from the extents of its kernel."""
    kernel = tuple(module.kernel_size)
    if all(extent == 1 for extent in kernel):
        return "pointwise_conv"
    if len(kernel) < 3:
        return "spatial_conv"
    time, *space = kernel
    if all(extent == 1 for extent in space):
        return "temporal_conv"
    return "spatial_conv" if time == 1 else "spatiotemporal_conv"


def attention_role(module: nn.Module, path: str, part: str, ancestors: Sequence[nn.Module]) -> str:
    """Role of an attention: what it attends to, and along which axis."""
    if attends_elsewhere(module, path):
        return "cross_attention"
    if part in {"text_encoder", "image_encoder", "decoder"} or reads_text(path, ancestors):
        return "self_attention"
    if joins_text(module, path):
        return "joint_attention"
    return f"{axis(path, part, ancestors)}_attention"


def attends_elsewhere(module: nn.Module, path: str) -> bool:
    """Whether keys come from another sequence than queries."""
    said = getattr(module, "is_cross_attention", None)
    if isinstance(said, bool):
        return said and not joins_text(module, path)
    return bool(re.search(CROSS_NAME, path))


def reads_text(path: str, ancestors: Sequence[nn.Module]) -> bool:
    """Whether it is a denoiser's attention over text alone, on its way in: refiners, pooling, and whole priors."""
    return bool(_TEXT_NAME.search(path)) or any(type(above).__name__ == "PriorTransformer" for above in ancestors)


def joins_text(module: nn.Module, path: str) -> bool:
    """Whether text is part of what is attended to, beside the picture: projected apart, or in one sequence."""
    processor = type(getattr(module, "processor", None)).__name__
    apart = getattr(module, "add_k_proj", None) is not None
    return apart or "single_transformer_blocks" in path or processor.startswith(("CogVideoX", "Joint"))


def axis(path: str, part: str, ancestors: Sequence[nn.Module]) -> str:
    """Axis along which self-attention over a picture or clip runs: `temporal`, `spatiotemporal` or `spatial`."""
    if _temporal(path.split("."), ancestors):
        return "temporal"
    if part == "vae":  # takes the frames of a clip one by one, unless its block is 3D
        return "spatiotemporal" if any("3D" in type(above).__name__ for above in ancestors[1:]) else "spatial"
    root = ancestors[0] if ancestors else None
    if root is None or not _VIDEO.search(type(root).__name__):
        return "spatial"
    apart = any(_temporal(name.rpartition(".")[2:], [inner]) for name, inner in root.named_modules())
    return "spatial" if apart else "spatiotemporal"


def _temporal(names: Iterable[str], modules: Sequence[nn.Module]) -> bool:
    named = any(name in TEMPORAL_NAMES for name in names)
    return named or any(type(module).__name__ in TEMPORAL_CLASSES for module in modules)


def owner(ancestors: Sequence[nn.Module]) -> nn.Module | None:
    """The innermost attention among the modules around one."""
    return next((ancestor for ancestor in reversed(ancestors) if is_attention(ancestor)), None)
