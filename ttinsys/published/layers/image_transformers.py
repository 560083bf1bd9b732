"""Layers of transformers for images: PixArt, Stable Diffusion 3, FLUX, aMUSEd, and the prior of Kandinsky.

Each function takes the complete configuration of its class and the sizes of its input, as `derive_layers` calls them.
N is the number of patches of the image, T that of text tokens, C the width of the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttinsys.published.layers.records import Layers
from ttinsys.published.layers.sizes import Latents

TIME_FEATURES = 256
"""Features of the sinusoidal embedding of a time step or another number, in all of these classes."""


def patches(latents: Latents, side: int) -> int:
    """Patches of a frame, of a side in latents."""
    return (latents.height // side) * (latents.width // side)


def transformer_width(config: Mapping[str, Any]) -> int:
    """C: features of a token, all heads together."""
    return int(config["num_attention_heads"] * config["attention_head_dim"])


def embed_numbers(layers: Layers, width: int, *, numbers: int = 1) -> None:
    """Add the embeddings of numbers, such as the time step: two linear layers each."""
    layers.linear(numbers, TIME_FEATURES, width, width)


def cross_attending_blocks(layers: Layers, positions: int, text: int, width: int, text_width: int, depth: int) -> None:
    """Add the linear layers of blocks with self-attention, cross-attention and a feed-forward network of 4 C."""
    layers.linear(positions, width, width, calls=6 * depth)
    layers.linear(text, text_width, width, calls=2 * depth)
    layers.linear(positions, width, 4 * width, width, calls=depth)


def pixart(config: Mapping[str, Any], latents: Latents) -> Layers:
    """PixArtTransformer2DModel; a model of 1024 pixels also sees the resolution and the aspect ratio."""
    layers, width, side = Layers(), transformer_width(config), config["patch_size"]
    heads, depth, positions, text = (
        config["num_attention_heads"],
        config["num_layers"],
        patches(latents, side),
        latents.text,
    )
    layers.convolve(positions, config["in_channels"], width, side, side)
    embed_numbers(layers, width)
    if config["sample_size"] == 128:
        embed_numbers(layers, width // 3, numbers=2)
        embed_numbers(layers, width // 3)
    layers.linear(1, width, 6 * width)
    layers.linear(text, config["caption_channels"], width, width)
    cross_attending_blocks(layers, positions, text, width, config["cross_attention_dim"], depth)
    layers.attend("spatial_attention", positions, positions, channels=width, heads=heads, calls=depth)
    layers.attend("cross_attention", positions, text, channels=width, heads=heads, calls=depth)
    layers.linear(positions, width, side**2 * config["out_channels"])
    return layers


def sd3(config: Mapping[str, Any], latents: Latents) -> Layers:
    """SD3Transformer2DModel: image and text are one sequence with weights of their own; the last block drops text."""
    layers, width, side, depth = Layers(), transformer_width(config), config["patch_size"], config["num_layers"]
    positions, text = patches(latents, side), latents.text
    layers.convolve(positions, config["in_channels"], width, side, side)
    embed_numbers(layers, width)
    layers.linear(1, config["pooled_projection_dim"], width, width)
    layers.linear(text, config["joint_attention_dim"], config["caption_projection_dim"])
    layers.linear(1, width, 6 * width, calls=2 * depth - 1)
    layers.linear(1, width, 2 * width, calls=2)
    layers.linear(positions, width, width, calls=4 * depth)
    layers.linear(text, width, width, calls=4 * depth - 1)
    layers.linear(positions, width, 4 * width, width, calls=depth)
    layers.linear(text, width, 4 * width, width, calls=depth - 1)
    layers.attend(
        "joint_attention", positions + text, positions + text,
        channels=width, heads=config["num_attention_heads"], calls=depth,
    )  # fmt: skip
    layers.linear(positions, width, side**2 * config["out_channels"])
    return layers


def two_streams(layers: Layers, config: Mapping[str, Any], positions: int, text: int, ratio: int) -> None:
    """Add blocks of two streams and then of one, as FLUX and HunyuanVideo have them.

    Args:
        layers: where they are added.
        config: of the transformer.
        positions: patches of the image or clip.
        text: tokens of the text.
        ratio: width of the feed-forward networks in that of the blocks.
    """
    width, double, single = transformer_width(config), config["num_layers"], config["num_single_layers"]
    layers.linear(1, width, 6 * width, calls=2 * double)
    for length in (positions, text):
        layers.linear(length, width, width, calls=4 * double)
        layers.linear(length, width, ratio * width, width, calls=double)
    layers.linear(1, width, 3 * width, calls=single)
    both = positions + text
    layers.linear(both, width, width, calls=3 * single)
    layers.linear(both, width, ratio * width, calls=single)
    layers.linear(both, (1 + ratio) * width, width, calls=single)
    layers.linear(1, width, 2 * width)
    layers.attend(
        "joint_attention", both, both, channels=width, heads=config["num_attention_heads"], calls=double + single
    )


def flux(config: Mapping[str, Any], latents: Latents) -> Layers:
    """FluxTransformer2DModel, whose pipeline packs two by two latents into a token."""
    layers, width, positions, text = Layers(), transformer_width(config), patches(latents, 2), latents.text
    layers.linear(positions, config["in_channels"], width)
    embed_numbers(layers, width)
    if config["guidance_embeds"]:
        embed_numbers(layers, width)
    layers.linear(1, config["pooled_projection_dim"], width, width)
    layers.linear(text, config["joint_attention_dim"], width)
    two_streams(layers, config, positions, text, 4)
    layers.linear(positions, width, config["patch_size"] ** 2 * config["in_channels"])
    return layers


def uvit(config: Mapping[str, Any], latents: Latents) -> Layers:
    """UVit2DModel of aMUSEd: convolutions with cross-attention around a transformer, at half the sides if so set."""
    layers, hidden, width, text = Layers(), config["hidden_size"], config["block_out_channels"], latents.text
    whole = latents.height * latents.width
    positions = patches(latents, 2) if config["downsample"] else whole
    layers.linear(text, config["encoder_hidden_size"], hidden)
    layers.linear(1, config["micro_cond_embed_dim"] + config["cond_embed_dim"], hidden, hidden)
    layers.convolve(whole, config["in_channels"], width, 1, 1)
    if config["downsample"]:
        layers.convolve(positions, width, width, 2, 2)
    blocks = 2 * config["num_res_blocks"]
    layers.convolve(positions, 1, width, 3, 3, calls=blocks)
    layers.linear(positions, width, 4 * width, width, calls=blocks)
    layers.linear(1, hidden, 2 * width, calls=blocks)
    layers.linear(text, hidden, width, calls=blocks)
    layers.linear(positions, width, width, calls=4 * blocks)
    layers.linear(text, width, width, calls=4 * blocks)
    layers.attend("cross_attention", positions, text, channels=width, heads=config["block_num_heads"], calls=2 * blocks)
    if config["upsample"]:
        layers.convolve(positions, width, width, 2, 2)
    depth, heads = config["num_hidden_layers"], config["num_attention_heads"]
    layers.linear(positions, width, hidden, width)
    layers.linear(1, hidden, 2 * hidden, calls=3 * depth)
    layers.linear(positions, hidden, hidden, calls=6 * depth)
    layers.linear(text, hidden, hidden, calls=2 * depth)
    layers.gated(positions, hidden, config["intermediate_size"], calls=depth)
    layers.attend("spatial_attention", positions, positions, channels=hidden, heads=heads, calls=depth)
    layers.attend("cross_attention", positions, text, channels=hidden, heads=heads, calls=depth)
    layers.convolve(whole, width, config["in_channels"], 1, 1)
    layers.convolve(whole, config["in_channels"], config["codebook_size"], 1, 1)
    return layers


def prior(config: Mapping[str, Any], latents: Latents) -> Layers:
    """PriorTransformer of Kandinsky: the text and four more tokens, one of them the embedding that it denoises."""
    layers, width, embedding = Layers(), transformer_width(config), config["embedding_dim"]
    length, depth = latents.text + config["additional_embeddings"], config["num_layers"]
    layers.linear(1, width, width, width)
    layers.linear(1, embedding, width, calls=2)
    layers.linear(latents.text, embedding, width)
    layers.linear(length, width, width, calls=4 * depth)
    layers.linear(length, width, 4 * width, width, calls=depth)
    layers.attend("self_attention", length, length, channels=width, heads=config["num_attention_heads"], calls=depth)
    layers.linear(1, width, embedding)
    return layers
