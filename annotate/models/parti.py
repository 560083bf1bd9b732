"""Parti: an encoder-decoder of language modelling that writes a picture token by token, most of it in the decoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .spec import Golden, Model, Part, Request, assembled

FULL = {
    "transformer": Part(
        "transformers.T5ForConditionalGeneration",
        {
            "vocab_size": 32128,
            "d_model": 4096,
            "d_kv": 64,
            "d_ff": 16384,
            "num_layers": 16,
            "num_decoder_layers": 64,
            "num_heads": 64,
        },
    ),
    "vqvae": Part(
        "diffusers.VQModel",
        {
            "sample_size": 256,
            "block_out_channels": (128, 256, 256, 512),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "latent_channels": 32,
            "num_vq_embeddings": 8192,
            "lookup_from_codebook": True,
        },
    ),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 128}),
}

TINY = {
    "transformer": FULL["transformer"].but(
        vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=1, num_decoder_layers=3, num_heads=4
    ),
    "vqvae": FULL["vqvae"].but(
        sample_size=32,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        num_vq_embeddings=64,
    ),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 29, "vocabulary": 100}),
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures, square, of `tokens` tokens."""
    return pipeline(request.prompts, tokens=request.tokens, generator=request.generator())


_3B = {
    **FULL,
    "transformer": FULL["transformer"].but(d_model=2048, d_ff=8192, num_layers=12, num_decoder_layers=36, num_heads=32),
}

_20B = Model(
    name="parti",
    title="Parti 20B",
    study="Parti",
    full=FULL,
    tiny=TINY,
    assemble=assembled("annotate.models.parts.parti.PartiPipeline"),
    generate=generate,
    requests={
        "full": Request(tokens=1024),
        "tiny": Request(tokens=20),
    },
    parameters={"transformer": 20_533_620_736, "vqvae": 62_915_811},
    golden=Golden(
        steps=20,
        ranges={
            "spatial_attention": 2,
            "cross_attention": 120,
            "self_attention": 122,
            "spatial_conv": 25,
            "pointwise_conv": 1,
            "linear": 516,
            "group_norm": 22,
            "rms_norm": 203,
            "activation": 82,
            "embedding": 43,
            "resample": 3,
            "other": 384,
        },
        lengths={
            # 20 tokens are written, of which 4 by 4 make a picture; 29 are text.
            *(("self_attention", 1, n) for n in range(1, 21)),
            ("cross_attention", 1, 29),
            ("self_attention", 29, 29),
            ("spatial_attention", 16, 16),
        },
    ),
    source="https://arxiv.org/abs/2206.10789",
    note="Parti is not public: this is a T5 of the paper's depths and widths (not verified), with T5's vocabulary, "
    "positions and full attention; a convolutional decoder stands for ViT-VQGAN; the picture stays at 256 pixels.",
)

MODELS = (
    _20B,
    replace(
        _20B,
        name="parti-3b",
        title="Parti 3B",
        study=None,
        full=_3B,
        parameters={"transformer": 3_085_973_504, "vqvae": 62_915_811},
    ),
)
