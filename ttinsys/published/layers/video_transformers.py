"""Layers of transformers for clips: Latte, CogVideoX, HunyuanVideo, LTX-Video, Mochi, Wan and Phenaki.

Each function takes the complete configuration of its class and the sizes of its input, as `derive_layers` calls them.
N is the number of patches of the clip, or of a frame in Latte, T that of text tokens, C the width of the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttinsys.published.layers.image_transformers import (
    cross_attending_blocks,
    embed_numbers,
    patches,
    transformer_width,
    two_streams,
)
from ttinsys.published.layers.records import Layers
from ttinsys.published.layers.sizes import Latents


def latte(config: Mapping[str, Any], latents: Latents) -> Layers:
    """LatteTransformer3DModel: blocks over the space of each frame and the text, in turns with blocks over time."""
    layers, width, side, frames = Layers(), transformer_width(config), config["patch_size"], latents.frames
    heads, depth, positions, text = (
        config["num_attention_heads"],
        config["num_layers"],
        patches(latents, side),
        latents.text,
    )
    layers.convolve(frames * positions, config["in_channels"], width, side, side)
    embed_numbers(layers, width)
    layers.linear(1, width, 6 * width)
    layers.linear(text, config["caption_channels"], width, width)
    cross_attending_blocks(layers, frames * positions, frames * text, width, config["cross_attention_dim"], depth)
    layers.linear(frames * positions, width, width, calls=4 * depth)
    layers.linear(frames * positions, width, 4 * width, width, calls=depth)
    for role, queries, keys, sequences in (
        ("spatial_attention", positions, positions, frames),
        ("cross_attention", positions, text, frames),
        ("temporal_attention", frames, frames, positions),
    ):
        layers.attend(role, queries, keys, channels=width, heads=heads, sequences=sequences, calls=depth)
    layers.linear(frames * positions, width, side**2 * config["out_channels"])
    return layers


def cogvideox(config: Mapping[str, Any], latents: Latents) -> Layers:
    """CogVideoXTransformer3DModel: text and clip are one sequence, with the same weights."""
    layers, width, side, depth = Layers(), transformer_width(config), config["patch_size"], config["num_layers"]
    time, positions, text = config["time_embed_dim"], latents.frames * patches(latents, side), latents.text
    layers.linear(1, width, time, time)
    layers.linear(text, config["text_embed_dim"], width)
    layers.convolve(positions, config["in_channels"], width, side, side)
    layers.linear(1, time, 6 * width, calls=2 * depth)
    layers.linear(positions + text, width, width, calls=4 * depth)
    layers.linear(positions + text, width, 4 * width, width, calls=depth)
    layers.attend(
        "joint_attention", positions + text, positions + text,
        channels=width, heads=config["num_attention_heads"], calls=depth,
    )  # fmt: skip
    layers.linear(1, time, 2 * width)
    layers.linear(positions, width, side**2 * config["out_channels"])
    return layers


def hunyuan_video(config: Mapping[str, Any], latents: Latents) -> Layers:
    """HunyuanVideoTransformer3DModel: blocks as those of FLUX, behind blocks that refine the text."""
    layers, width, side, time = Layers(), transformer_width(config), config["patch_size"], config["patch_size_t"]
    ratio, text, refiners = int(config["mlp_ratio"]), latents.text, config["num_refiner_layers"]
    positions = latents.frames // time * patches(latents, side)
    embed_numbers(layers, width)
    layers.linear(1, config["pooled_projection_dim"], width, width)
    if config["guidance_embeds"]:
        embed_numbers(layers, width)
    layers.convolve(positions, config["in_channels"], width, time, side, side)
    embed_numbers(layers, width)
    layers.linear(1, config["text_embed_dim"], width, width)
    layers.linear(text, config["text_embed_dim"], width)
    layers.linear(text, width, width, calls=4 * refiners)
    layers.linear(text, width, ratio * width, width, calls=refiners)
    layers.linear(1, width, 2 * width, calls=refiners)
    layers.attend("self_attention", text, text, channels=width, heads=config["num_attention_heads"], calls=refiners)
    two_streams(layers, config, positions, text, ratio)
    layers.linear(positions, width, time * side**2 * config["out_channels"])
    return layers


def ltx(config: Mapping[str, Any], latents: Latents) -> Layers:
    """LTXVideoTransformer3DModel: a token is one latent."""
    layers, width, heads, depth = (
        Layers(),
        transformer_width(config),
        config["num_attention_heads"],
        config["num_layers"],
    )
    positions, text = latents.frames * patches(latents, 1), latents.text
    layers.linear(positions, config["in_channels"], width)
    embed_numbers(layers, width)
    layers.linear(1, width, 6 * width)
    layers.linear(text, config["caption_channels"], width, width)
    cross_attending_blocks(layers, positions, text, width, config["cross_attention_dim"], depth)
    layers.attend("spatiotemporal_attention", positions, positions, channels=width, heads=heads, calls=depth)
    layers.attend("cross_attention", positions, text, channels=width, heads=heads, calls=depth)
    layers.linear(positions, width, config["out_channels"])
    return layers


_POOLING_HEADS = 8
"""Heads of the attention by which Mochi pools its text."""


def mochi(config: Mapping[str, Any], latents: Latents) -> Layers:
    """MochiTransformer3DModel: a narrow stream of text beside a wide one of the clip, joined by each attention.

    Linear layers see the text with its padding; attention sees it without, and takes one sample at a time.
    """
    layers, width, side, depth = Layers(), transformer_width(config), config["patch_size"], config["num_layers"]
    narrow, features = config["pooled_projection_dim"], config["text_embed_dim"]
    positions, padded = latents.frames * patches(latents, side), latents.padded
    layers.linear(1, config["time_embed_dim"], width, width)
    layers.linear(padded + 1, features, 2 * features)
    layers.linear(1, features, features, width)
    layers.linear(padded, features, narrow)
    layers.attend("self_attention", 1, padded + 1, channels=features, heads=_POOLING_HEADS)
    layers.convolve(positions, config["in_channels"], width, side, side)
    layers.linear(1, width, 4 * width, calls=depth)
    layers.linear(1, width, 4 * narrow, calls=depth - 1)
    layers.linear(1, width, narrow)
    layers.linear(positions, width, width, calls=4 * depth)
    layers.linear(padded, narrow, width, calls=3 * depth)
    layers.linear(padded, width, narrow, calls=depth - 1)
    layers.gated(positions, width, 8 * width // 3, calls=depth)
    layers.gated(padded, narrow, 8 * narrow // 3, calls=depth - 1)
    keys = positions + latents.text
    layers.attend(
        "joint_attention", keys, keys,
        channels=width, heads=config["num_attention_heads"], calls=depth, apart=True,
    )  # fmt: skip
    layers.linear(1, width, 2 * width)
    layers.linear(positions, width, side**2 * config["in_channels"])
    layers.omitted.append("the matrix products of rotary embeddings")
    return layers


def wan(config: Mapping[str, Any], latents: Latents) -> Layers:
    """WanTransformer3DModel: self-attention over the whole clip, and cross-attention to the text."""
    layers, width, heads, depth = (
        Layers(),
        transformer_width(config),
        config["num_attention_heads"],
        config["num_layers"],
    )
    time, side, _ = config["patch_size"]
    positions, text = latents.frames // time * patches(latents, side), latents.text
    layers.convolve(positions, config["in_channels"], width, time, side, side)
    layers.linear(1, config["freq_dim"], width, width, 6 * width)
    layers.linear(text, config["text_dim"], width, width)
    layers.linear(positions, width, width, calls=6 * depth)
    layers.linear(text, width, width, calls=2 * depth)
    layers.linear(positions, width, config["ffn_dim"], width, calls=depth)
    layers.attend("spatiotemporal_attention", positions, positions, channels=width, heads=heads, calls=depth)
    layers.attend("cross_attention", positions, text, channels=width, heads=heads, calls=depth)
    layers.linear(positions, width, time * side**2 * config["out_channels"])
    return layers


def phenaki(config: Mapping[str, Any], latents: Latents) -> Layers:
    """MaskGitTransformer of `annotate.models.parts.phenaki`: all tokens of a clip at once, and the text."""
    layers, width, heads, depth = Layers(), config["hidden_size"], config["num_attention_heads"], config["num_layers"]
    positions, text = latents.frames * patches(latents, 1), latents.text
    layers.linear(text, config["text_dim"], width)
    layers.linear(positions, width, width, calls=6 * depth)
    layers.linear(text, width, width, calls=2 * depth)
    layers.gated(positions, width, 4 * width, calls=depth)
    layers.attend("spatiotemporal_attention", positions, positions, channels=width, heads=heads, calls=depth)
    layers.attend("cross_attention", positions, text, channels=width, heads=heads, calls=depth)
    layers.linear(positions, width, config["codebook_size"])
    return layers
