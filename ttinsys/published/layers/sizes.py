"""Sizes of what a denoiser is given: latents of the autoencoder, frames, and tokens of the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from ttinsys.published.defaults import class_of, completed
from ttinsys.published.sheets import Part, Request

_AUTOENCODERS = ("vae", "movq", "vqvae")
_HALVING = ("AutoencoderKL", "AutoencoderKLTemporalDecoder", "AutoencoderKLCogVideoX", "VQModel")
"""Autoencoders that halve the sides between each two of their levels."""

IMAGE_TOKENS = 32
"""Tokens into which the image projection of a U-Net turns the embedding of an image, as its class does by default."""


class NotDerivable(ValueError):
    """The layers of a model do not follow from its configuration."""


@dataclass(frozen=True, slots=True)
class Latents:
    """What one forward of a component is given.

    Args:
        height: height of its input, in latents; in pixels where the model has no autoencoder. 0 for text alone.
        width: width of its input.
        frames: frames of its input; 1 for an image.
        text: tokens that it attends to beside the image or clip.
        padded: tokens of that text with their padding, which some layers see.
    """

    height: int
    width: int
    frames: int
    text: int
    padded: int


def latents_of(parts: Mapping[str, Part], component: str, request: Request, text_tokens: int | None) -> Latents:
    """The sizes of the input of a component.

    Args:
        parts: all components of the model.
        component: the one whose input it is.
        request: what is generated.
        text_tokens: tokens of the text; None for what the model's tokenizers give.

    Raises:
        NotDerivable: the number of text tokens depends on the prompt or is unknown, and is not given.
    """
    height, width, frames = request.height or 0, request.width or 0, request.frames or 1
    name = next((name for name in _AUTOENCODERS if name in parts), None)
    if name is None:
        side = _share_of_sides(parts, component)
        height, width = height // side, width // side
    else:
        space, time = _compression(parts[name])
        height, width = height // space, width // space
        # Phenaki fills its last token in time, and Wan's pipeline rounds frames to one more than a multiple.
        rounding = {"CViViTDecoder": time - 1, "AutoencoderKLWan": 1}.get(class_of(parts[name]), 0)
        frames = (frames - 1 + rounding) // time + 1
    padded = _padded_text(parts, component, request)
    text = padded if text_tokens is None or not reads_text(parts[component]) else text_tokens
    if text is None:
        raise NotDerivable("no tokenizer tells how many tokens the text has: give --text-tokens")
    if text_tokens is None and class_of(parts[component]) == "MochiTransformer3DModel":
        raise NotDerivable("attention spans only those text tokens that are not padding: give --text-tokens")
    return Latents(height, width, frames, text, text if padded is None else padded)


def reads_text(part: Part) -> bool:
    """Whether a component attends to tokens of a text, and not to those of an image."""
    return class_of(part) != "UNetSpatioTemporalConditionModel" and not _takes_image_tokens(part)


def _takes_image_tokens(part: Part) -> bool:
    return part.config.get("encoder_hid_dim_type") == "image_proj"


def _share_of_sides(parts: Mapping[str, Part], component: str) -> int:
    """How many times shorter the sides of a component's image are, in a cascade of models of pixels."""
    sides = [part.config["sample_size"] for part in parts.values() if "sample_size" in part.config]
    own: int | None = parts[component].config.get("sample_size")
    return max(sides) // own if own else 1


def _compression(autoencoder: Part) -> tuple[int, int]:
    """Pixels of a side per latent, and frames per latent frame."""
    cls, config = class_of(autoencoder), completed(autoencoder)
    if cls in _HALVING:
        return int(2 ** (len(config["block_out_channels"]) - 1)), config.get("temporal_compression_ratio", 1)
    if cls == "AutoencoderKLWan":
        return config["scale_factor_spatial"], config["scale_factor_temporal"]
    if cls == "AutoencoderKLHunyuanVideo":
        return config["spatial_compression_ratio"], config["temporal_compression_ratio"]
    if cls == "AutoencoderKLLTXVideo":
        halvings = 2 ** sum(config["spatio_temporal_scaling"])
        return config["patch_size"] * halvings, config["patch_size_t"] * halvings
    if cls == "AutoencoderKLMochi":
        return prod(config["spatial_expansions"]), prod(config["temporal_expansions"])
    if cls == "CViViTDecoder":
        return config["patch_size"], _FRAMES_PER_TOKEN
    raise NotDerivable(f"the sizes of {cls} are not known here")


_FRAMES_PER_TOKEN = 2
"""Frames in a token of Phenaki's decoder, as `annotate.models.parts.phenaki` has it."""


_TOKENIZERS = {
    "SD3Transformer2DModel": ("tokenizer", "tokenizer_3"),
    "FluxTransformer2DModel": ("tokenizer_2",),
}
"""Tokenizers whose tokens a class attends to; `tokenizer` for all others."""

_LIMITS = {"tokenizer_3": 256}
"""Greatest number of tokens that a pipeline asks a tokenizer for, where that is less than its length."""


def _padded_text(parts: Mapping[str, Part], component: str, request: Request) -> int | None:
    """Tokens that a component attends to, as the pipeline pads them; None where no tokenizer tells."""
    part = parts[component]
    cls, config = class_of(part), completed(part)
    if not reads_text(part):
        return IMAGE_TOKENS if _takes_image_tokens(part) else 1
    if cls == "LlamaForCausalLM":
        return request.prompt_tokens or 1
    if cls == "LatteTransformer3DModel" and request.batch == 1:
        # The prompt and its end token: the padding is kept only where prompts of a batch differ.
        return (request.prompt_tokens or 1) + 1
    if "max_text_seq_length" in config:
        return int(config["max_text_seq_length"])
    names = _TOKENIZERS.get(cls, ("tokenizer",))
    lengths = {name: completed(parts[name]).get("length") for name in names if name in parts}
    known = [min(length, _LIMITS.get(name, length)) for name, length in lengths.items() if length is not None]
    return sum(known) if len(known) == len(names) else None
