"""Layers that the configuration of a model implies: what one forward of each component attends to and multiplies.

    spec = model("stable-diffusion")
    derive_layers(spec, "full", spec.request("full", height=256, width=256))["unet"].attention

Everything follows from the specifications in `annotate.models`; nothing is built or measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

from ttinsys.published.defaults import class_of, completed
from ttinsys.published.layers import image_transformers, language, video_transformers
from ttinsys.published.layers.records import Layers
from ttinsys.published.layers.sizes import Latents, NotDerivable, latents_of, reads_text
from ttinsys.published.layers.unets import UNet2D
from ttinsys.published.layers.video_unets import MotionUNet, SpatioTemporalUNet, UNet3D
from ttinsys.published.sheets import MODELS, Model, Request, Size, model

__all__ = [
    "Layers",
    "NotDerivable",
    "derivable_components",
    "derivable_models",
    "derive_layers",
    "guidance_of",
    "takes_text",
]

Derivation: TypeAlias = Callable[[Mapping[str, Any], Latents], Layers]
"""From the complete configuration of a component and the sizes of its input, its layers."""

_DERIVATIONS: dict[str, Derivation] = {
    "UNet2DConditionModel": lambda config, latents: UNet2D(config, latents).derive(),
    "UNet3DConditionModel": lambda config, latents: UNet3D(config, latents).derive(),
    "UNetSpatioTemporalConditionModel": lambda config, latents: SpatioTemporalUNet(config, latents).derive(),
    "UNetMotionModel": lambda config, latents: MotionUNet(config, latents).derive(),
    "PixArtTransformer2DModel": image_transformers.pixart,
    "SD3Transformer2DModel": image_transformers.sd3,
    "FluxTransformer2DModel": image_transformers.flux,
    "UVit2DModel": image_transformers.uvit,
    "PriorTransformer": image_transformers.prior,
    "LatteTransformer3DModel": video_transformers.latte,
    "CogVideoXTransformer3DModel": video_transformers.cogvideox,
    "HunyuanVideoTransformer3DModel": video_transformers.hunyuan_video,
    "LTXVideoTransformer3DModel": video_transformers.ltx,
    "MochiTransformer3DModel": video_transformers.mochi,
    "WanTransformer3DModel": video_transformers.wan,
    "MaskGitTransformer": video_transformers.phenaki,
    "LlamaForCausalLM": language.llama,
}
"""Derivation of each class, by its name."""

Guidance: TypeAlias = Literal["batch", "forward", "input", "none"]
"""How a pipeline guides by the text: by a batch of twice the size, by a second forward, by an input, or not at all."""

_GUIDANCE: dict[str, Guidance] = {
    "WanTransformer3DModel": "forward",
    "FluxTransformer2DModel": "input",
    "HunyuanVideoTransformer3DModel": "input",
    "LlamaForCausalLM": "none",
}
"""Guidance of the pipelines of a class, by default; all others double the batch."""


def derivable_components(spec: Model, size: Size) -> dict[str, str]:
    """Name and class of the components of a model whose layers can be derived, in the order of their declaration."""
    classes = {name: class_of(part) for name, part in spec.parts(size).items()}
    return {name: cls for name, cls in classes.items() if cls in _DERIVATIONS}


def derivable_models() -> list[str]:
    """Names of the models that have such components."""
    return [name for name in MODELS if derivable_components(model(name), "full")]


def guidance_of(spec: Model, size: Size) -> Guidance:
    """How the model guides by default."""
    return next((_GUIDANCE[cls] for cls in derivable_components(spec, size).values() if cls in _GUIDANCE), "batch")


def takes_text(spec: Model, size: Size) -> bool:
    """Whether a component whose layers can be derived attends to text."""
    return any(reads_text(spec.parts(size)[name]) for name in derivable_components(spec, size))


def derive_layers(spec: Model, size: Size, request: Request, text_tokens: int | None = None) -> dict[str, Layers]:
    """The layers of one forward of each denoiser of a model, or of the prefill of a language model.

    Args:
        spec: the model.
        size: which of its configurations.
        request: what is generated: the sizes of the image or clip.
        text_tokens: T, number of text tokens; None for the number that the model's tokenizers pad to.

    Returns:
        The layers by component. Encoders of text and autoencoders are not among them.

    Raises:
        NotDerivable: no component follows from its configuration, or it depends on the prompt as well.
    """
    components = derivable_components(spec, size)
    if not components:
        classes = ", ".join(class_of(spec.full[name]) for name in spec.parameters)
        known = ", ".join(derivable_models())
        raise NotDerivable(f"attention does not follow from the configuration of {classes}; it does of {known}")
    parts = spec.parts(size)
    return {
        name: _DERIVATIONS[cls](completed(parts[name]), latents_of(parts, name, request, text_tokens))
        for name, cls in components.items()
    }
