"""Layers of language models: the prefill of Llama."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttinsys.published.layers.records import Layers
from ttinsys.published.layers.sizes import Latents


def llama(config: Mapping[str, Any], latents: Latents) -> Layers:
    """LlamaForCausalLM as it reads a prompt: all tokens at once, and the logits of the last.

    A mask saves no operation here, as for annotation: half of the scores are computed and not used.
    """
    layers, width, heads, depth = (
        Layers(),
        config["hidden_size"],
        config["num_attention_heads"],
        config["num_hidden_layers"],
    )
    shared = width // heads * config["num_key_value_heads"]
    layers.linear(latents.text, width, width, calls=2 * depth)
    layers.linear(latents.text, width, shared, calls=2 * depth)
    layers.linear(latents.text, width, config["intermediate_size"], calls=2 * depth)
    layers.linear(latents.text, config["intermediate_size"], width, calls=depth)
    layers.attend("self_attention", latents.text, latents.text, channels=width, heads=heads, calls=depth)
    layers.linear(1, width, config["vocab_size"])
    return layers
