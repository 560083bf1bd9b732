"""What a module does, told from its class, its shape and where it stands.

The rules were checked against the query and key lengths of every attention call of the models here: names alone
mislead. `attn1` and `attn2` are both self-attention in the temporal blocks of UNet3D, `attn1` is cross-attention in
aMUSEd's U-ViT, and the blocks of today's video transformers attend to picture and text at once under a name that says
self-attention.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

TEMPORAL_CLASSES = frozenset(
    {
        "TransformerTemporalModel",
        "AnimateDiffTransformer3D",
        "TemporalBasicTransformerBlock",
        "TransformerSpatioTemporalModel",
    }
)
TEMPORAL_NAMES = frozenset({"temp_attentions", "motion_modules", "temporal_transformer_blocks", "transformer_in"})
_SPATIAL_NAMES = frozenset({"transformer_blocks"})
_PROJECTIONS = ("to_q", "q_proj", "q", "query", "to_qkv", "qkv", "Wqkv", "query_key_value")
_VIDEO = re.compile(r"3D|Video|Wan|Mochi|LTX|Temporal|Motion")
_ATTENTION = re.compile(r"Attention|Attn")
_RESAMPLE = re.compile(r"(Up|Down)[sS]ampl|Upsample|Downsample|[rR]esample")
_NORMS = (
    ("group_norm", re.compile(r"GroupNorm|SpatialNorm")),
    ("rms_norm", re.compile(r"RMS_?[nN]orm|T5LayerNorm|UMT5LayerNorm")),
    ("layer_norm", re.compile(r"[nN]orm")),
)
_ACTIVATION = re.compile(
    r"SiLU|GELU|GEGLU|GLU|ReLU|Sigmoid|Tanh|Softmax|Mish|Swish|Activation|ELU|QuickGELU", re.IGNORECASE
)
_ROPE = re.compile(r"Rot[a]?ry|Rope|RoPE|PosEmbed3D")
_EMBEDDING = re.compile(r"Embed|Timesteps|Quantizer|Positional|PosEmb|Pooling")


def component(attribute: str, module: nn.Module) -> str:
    """Part of the pipeline that a component is, from the pipeline's attribute, else from the module's class.

    Args:
        attribute: name under which the pipeline has it; empty for a module that stands alone.
        module: the component.
    """
    if "text_encoder" in attribute or attribute == "text_model":
        return "text_encoder"
    if "image_encoder" in attribute or attribute == "safety_checker":
        return "image_encoder"
    if attribute in {"vae", "vqvae", "movq", "vqgan", "decoder_vae"} or attribute.endswith(("_vae", "_vqvae")):
        return "vae"
    return _component_of_class(module)


def _component_of_class(module: nn.Module) -> str:
    name = type(module).__name__
    if re.search(r"TextModel|T5Encoder|TextEncoder", name):
        return "text_encoder"
    if re.search(r"VisionModel|ImageEncoder", name):
        return "image_encoder"
    if re.search(r"Autoencoder|VQModel|VAE", name):
        return "vae"
    generates = getattr(module, "can_generate", None)
    return "decoder" if generates is not None and generates() else "denoiser"


def is_attention(module: nn.Module) -> bool:
    """Whether a module is an attention: it projects queries, and is called so."""
    name = type(module).__name__
    projects = any(isinstance(getattr(module, child, None), nn.Module) for child in _PROJECTIONS)
    return isinstance(module, nn.MultiheadAttention) or (bool(_ATTENTION.search(name)) and projects)


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
    if isinstance(module, nn.modules.conv._ConvNd):  # noqa: SLF001 - the one base that all convolutions have
        return convolution_role(module)
    name = type(module).__name__
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.GroupNorm):
        return "group_norm"
    if isinstance(module, nn.Embedding):
        return "embedding"
    for norm, pattern in _NORMS:
        if pattern.search(name) and not any(isinstance(child, nn.modules.conv._ConvNd) for child in module.children()):  # noqa: SLF001
            return norm
    if _ROPE.search(name):
        return "rope"
    if _ACTIVATION.search(name):
        return "activation"
    if _EMBEDDING.search(name):
        return "embedding"
    if isinstance(module, (nn.Upsample, nn.AvgPool2d, nn.AvgPool3d, nn.PixelShuffle, nn.PixelUnshuffle, nn.ZeroPad2d)):
        return "resample"
    if _RESAMPLE.search(name) and not re.search(r"Block", name):
        return "resample"
    if isinstance(module, (nn.Flatten, nn.Unflatten)):
        return "rearrange"
    return "other"


def convolution_role(module: nn.Module) -> str:
    """Role of a convolution, from the extents of its kernel."""
    kernel = tuple(module.kernel_size)  # type: ignore[arg-type]
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
    if part in {"text_encoder", "image_encoder", "decoder"}:
        return "cross_attention" if attends_elsewhere(module, path) else "self_attention"
    if attends_elsewhere(module, path):
        return "cross_attention"
    if joins_text(module, path):
        return "joint_attention"
    return f"{axis(path, ancestors)}_attention"


def attends_elsewhere(module: nn.Module, path: str) -> bool:
    """Whether keys come from another sequence than queries."""
    said = getattr(module, "is_cross_attention", None)
    if isinstance(said, bool) and not _appends(module):
        return said
    return bool(re.search(r"EncDecAttention|cross_attn|encoder_attn", path))


def _appends(module: nn.Module) -> bool:
    """Whether keys and values of another sequence are projected beside its own."""
    return getattr(module, "add_k_proj", None) is not None


def joins_text(module: nn.Module, path: str) -> bool:
    """Whether text is part of the sequence attended to, beside the picture."""
    return _appends(module) or bool(re.search(r"single_transformer_blocks", path))


def axis(path: str, ancestors: Sequence[nn.Module]) -> str:
    """Axis along which self-attention runs: `temporal`, `spatiotemporal` or `spatial`."""
    classes = [type(ancestor).__name__ for ancestor in ancestors]
    if TEMPORAL_NAMES & set(path.split(".")) or any(
        name in TEMPORAL_CLASSES and name != "TransformerSpatioTemporalModel" for name in classes
    ):
        return "temporal"
    root = ancestors[0] if ancestors else None
    if root is None or not _VIDEO.search(type(root).__name__):
        return "spatial"
    apart = any(
        type(inner).__name__ in TEMPORAL_CLASSES or TEMPORAL_NAMES & {name.rpartition(".")[2]}
        for name, inner in root.named_modules()
    )
    return "spatial" if apart else "spatiotemporal"


def owner(ancestors: Sequence[Any]) -> nn.Module | None:
    """The innermost attention among the modules around one."""
    return next((ancestor for ancestor in reversed(ancestors) if is_attention(ancestor)), None)
