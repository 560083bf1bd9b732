"""Mochi 1: a video transformer with a narrow text stream beside a wide one for video, joined at each attention.

Attention spans all frames and only the text that is not padding: its length depends on the prompt.
"""

from __future__ import annotations

import warnings
from typing import Any

from .parts.published import T5_XXL
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

TEXT_TOKENS = 256
"""Of the prompt, padded."""

FULL = {
    "transformer": Part(
        "diffusers.MochiTransformer3DModel",
        {
            "num_attention_heads": 24,
            "attention_head_dim": 128,
            "num_layers": 48,
            "pooled_projection_dim": 1536,
            "in_channels": 12,
            "text_embed_dim": 4096,
            "time_embed_dim": 256,
        },
    ),
    "vae": Part(
        "diffusers.AutoencoderKLMochi",
        {
            "encoder_block_out_channels": (64, 128, 256, 384),
            "decoder_block_out_channels": (128, 256, 512, 768),
            "layers_per_block": (3, 3, 4, 6, 3),
        },
    ),
    "text_encoder": T5_XXL,
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": TEXT_TOKENS}),
    "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}),
}

TINY = {
    "transformer": FULL["transformer"].but(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        pooled_projection_dim=12,
        text_embed_dim=32,
        time_embed_dim=16,
    ),
    "vae": FULL["vae"].but(
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    ),
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips, with guidance, decoded in tiles as on the model card."""
    pipeline.vae.enable_tiling()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="In CPU autocast")  # of the rotary embedding, which needs none there
        return run_pipeline(
            pipeline, request, max_sequence_length=min(TEXT_TOKENS, pipeline.tokenizer.model_max_length)
        )


MODELS = (
    Model(
        name="mochi",
        title="Mochi 1",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.MochiPipeline"),
        generate=generate,
        requests={
            "full": Request(steps=64, height=480, width=848, frames=85),
            "tiny": Request(steps=2, height=64, width=96, frames=13),
        },
        parameters={"transformer": 10_027_677_744, "vae": 459_748_611, "text_encoder": 4_762_310_656},
        golden=Golden(
            steps=2,
            ranges={
                "joint_attention": 12,
                "self_attention": 12,
                "spatial_conv": 2,
                "spatiotemporal_conv": 10,
                "pointwise_conv": 1,
                "linear": 98,
                "group_norm": 30,
                "layer_norm": 6,
                "rms_norm": 78,
                "activation": 39,
                "elementwise": 4,
                "embedding": 12,
                "rope": 2,
                "scheduler": 2,
                "other": 58,
            },
            lengths={
                # Text without its padding: 7 words and the end, or the end alone.
                *(("joint_attention", 72 + n, 72 + n) for n in (1, 8)),
                ("self_attention", 1, 1 + 13),  # the pooling's query is the mean of 13 tokens
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/genmo/mochi-1-preview",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.MochiPipeline",
    ),
)
