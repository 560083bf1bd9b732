"""Llama 2: the study's language model, a decoder that reads the prompt at once and then writes token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .spec import Golden, Model, Part, Request

FULL = {
    "model": Part(
        "transformers.LlamaForCausalLM",
        {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-5,
        },
    ),
}

TINY = {
    "model": FULL["model"].but(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=88,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
    ),
}


def assemble(parts: Mapping[str, Any]) -> Any:
    """The model itself."""
    return parts["model"]


def generate(model: Any, request: Request) -> Any:
    """Read `prompt_tokens` tokens, write `tokens` more: neither fewer, whatever the random weights say."""
    import torch

    drawn = torch.randint(
        3, model.config.vocab_size, (request.batch, request.prompt_tokens or 1), generator=request.generator()
    )
    prompt = drawn.to(model.device)
    return model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        min_new_tokens=request.tokens,
        max_new_tokens=request.tokens,
        do_sample=False,
        pad_token_id=0,
    )


LARGE = {
    "model": FULL["model"].but(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
    ),
}

_7B = Model(
    name="llama2-7b",
    title="Llama 2 7B",
    study="LLaMA2",
    full=FULL,
    tiny=TINY,
    assemble=assemble,
    generate=generate,
    requests={
        "full": Request(prompt_tokens=2048, tokens=128),
        "tiny": Request(prompt_tokens=11, tokens=5),
    },
    parameters={"model": 6_738_415_616},
    golden=Golden(
        steps=5,
        ranges={
            "self_attention": 20,
            "linear": 75,
            "rms_norm": 25,
            "activation": 10,
            "embedding": 5,
            "rope": 5,
            "other": 36,
        },
        lengths={
            # A prompt of 11 gives the first of 5 tokens; each of the others comes with one more key.
            ("self_attention", 11, 11),
            *(("self_attention", 1, n) for n in range(12, 16)),
        },
    ),
    source="https://huggingface.co/meta-llama/Llama-2-7b-hf",
    pretrained="transformers.LlamaForCausalLM",
)

MODELS = (
    _7B,
    replace(
        _7B,
        name="llama2-70b",
        title="Llama 2 70B",
        full=LARGE,
        tiny={"model": TINY["model"].but(num_key_value_heads=2)},
        parameters={"model": 68_976_648_192},
        source="https://huggingface.co/meta-llama/Llama-2-70b-hf",
    ),
)
