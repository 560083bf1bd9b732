"""Phenaki: a transformer unmasks the tokens of a clip; a decoder attends to them over time, then over space."""

from __future__ import annotations

from typing import Any

from .parts.published import T5_XXL
from .spec import Golden, Model, Part, Request, assembled

FULL = {
    "text_encoder": T5_XXL,
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 128}),
    "transformer": Part("annotate.models.parts.phenaki.MaskGitTransformer"),
    "vqvae": Part("annotate.models.parts.phenaki.CViViTDecoder"),
    "scheduler": Part("diffusers.AmusedScheduler", {"mask_token_id": 8192}),
}

TINY = {
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 13, "vocabulary": 100}),
    "transformer": FULL["transformer"].but(
        codebook_size=64, hidden_size=32, num_layers=2, num_attention_heads=2, text_dim=24
    ),
    "vqvae": FULL["vqvae"].but(codebook_size=64, code_dim=8, hidden_size=16, num_layers=2, num_attention_heads=2),
    "scheduler": Part("diffusers.AmusedScheduler", {"mask_token_id": 64}),
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips."""
    return pipeline(
        request.prompts,
        frames=request.frames,
        height=request.height,
        width=request.width,
        num_inference_steps=request.steps,
        generator=request.generator(),
    )


MODELS = (
    Model(
        name="phenaki",
        title="Phenaki",
        study="Phenaki",
        full=FULL,
        tiny=TINY,
        assemble=assembled("annotate.models.parts.phenaki.PhenakiPipeline"),
        generate=generate,
        requests={
            "full": Request(steps=24, height=128, width=128, frames=11),
            "tiny": Request(steps=2, height=32, width=32, frames=9),
        },
        parameters={"text_encoder": 4_762_310_656, "transformer": 2_056_847_360, "vqvae": 34_383_936},
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 4,
                "temporal_attention": 4,
                "spatiotemporal_attention": 8,
                "cross_attention": 8,
                "self_attention": 4,
                "linear": 85,
                "layer_norm": 23,
                "rms_norm": 5,
                "activation": 10,
                "elementwise": 2,
                "embedding": 14,
                "scheduler": 2,
                "other": 34,
            },
            lengths={
                # 9 frames are 1 + 8 / 2 times of 4 by 4 tokens.
                ("spatiotemporal_attention", 80, 80),
                ("cross_attention", 80, 13),
                ("temporal_attention", 5, 5),
                ("spatial_attention", 16, 16),
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://arxiv.org/abs/2210.02399",
        note="Phenaki is not public: this is built after the paper. Its text encoder is taken to be T5-XXL; heads, "
        "codes, positions and the number of steps are not verified.",
    ),
)
