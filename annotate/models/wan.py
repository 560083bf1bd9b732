"""Wan 2.1: a video transformer with self-attention over all frames at once and cross-attention to the text.

It runs twice a step, once for guidance; its decoder takes one latent frame after the other, keeping what it needs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .spec import Golden, Model, Part, Request, assembled, run_pipeline

TEXT_TOKENS = 512
"""Of the prompt, padded."""

FULL = {
    "transformer": Part(
        "diffusers.WanTransformer3DModel",
        {
            "num_attention_heads": 12,
            "attention_head_dim": 128,
            "in_channels": 16,
            "out_channels": 16,
            "text_dim": 4096,
            "freq_dim": 256,
            "ffn_dim": 8960,
            "num_layers": 30,
        },
    ),
    "vae": Part("diffusers.AutoencoderKLWan", {"base_dim": 96, "z_dim": 16, "num_res_blocks": 2}),
    "text_encoder": Part(
        "transformers.UMT5EncoderModel",
        {
            "vocab_size": 256384,
            "d_model": 4096,
            "d_kv": 64,
            "d_ff": 10240,
            "num_layers": 24,
            "num_heads": 64,
            "feed_forward_proj": "gated-gelu",
        },
    ),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": TEXT_TOKENS, "vocabulary": 256300}),
    "scheduler": Part(
        "annotate.models.wan.scheduler",
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0},
    ),
}

TINY = {
    "transformer": FULL["transformer"].but(
        num_attention_heads=2, attention_head_dim=12, text_dim=32, freq_dim=16, ffn_dim=48, num_layers=2
    ),
    "vae": FULL["vae"].but(base_dim=8, num_res_blocks=1),
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}

LARGE = {
    **FULL,
    "transformer": FULL["transformer"].but(num_attention_heads=40, ffn_dim=13824, num_layers=40),
    "scheduler": FULL["scheduler"].but(flow_shift=5.0),
}


def scheduler(**config: Any) -> Any:
    """A `UniPCMultistepScheduler`, made on the CPU: it reads its own numbers, which have no values on `meta`."""
    import torch
    from diffusers import UniPCMultistepScheduler

    with torch.device("cpu"):
        return UniPCMultistepScheduler(**config)


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips, with guidance."""
    return run_pipeline(pipeline, request, max_sequence_length=min(TEXT_TOKENS, pipeline.tokenizer.model_max_length))


_SMALL = Model(
    name="wan-1.3b",
    title="Wan 2.1 1.3B",
    full=FULL,
    tiny=TINY,
    assemble=assembled("diffusers.WanPipeline"),
    generate=generate,
    requests={
        "full": Request(steps=50, height=480, width=832, frames=81),
        "tiny": Request(steps=2, height=64, width=96, frames=9),
    },
    parameters={"transformer": 1_418_996_800, "vae": 126_892_531, "text_encoder": 5_680_910_336},
    golden=Golden(
        steps=2,
        ranges={
            "spatial_attention": 6,
            "spatiotemporal_attention": 16,
            "cross_attention": 16,
            "self_attention": 8,
            "spatial_conv": 13,
            "temporal_conv": 4,
            "spatiotemporal_conv": 66,
            "pointwise_conv": 10,
            "linear": 132,
            "layer_norm": 28,
            "rms_norm": 108,
            "activation": 87,
            "elementwise": 4,
            "embedding": 18,
            "rope": 4,
            "resample": 18,
            "scheduler": 2,
            "other": 108,
        },
        lengths={
            # 3 frames of latents, of 4 by 6 patches.
            ("spatiotemporal_attention", 3 * 24, 3 * 24),
            ("cross_attention", 3 * 24, 13),
            ("spatial_attention", 96, 96),  # the VAE attends within each frame
            ("self_attention", 13, 13),  # text
        },
    ),
    source="https://huggingface.co/Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    multiple_of={"full": 16, "tiny": 16},
    pretrained="diffusers.WanPipeline",
)

MODELS = (
    _SMALL,
    replace(
        _SMALL,
        name="wan-14b",
        title="Wan 2.1 14B",
        full=LARGE,
        requests={**_SMALL.requests, "full": Request(steps=50, height=720, width=1280, frames=81)},
        parameters={**_SMALL.parameters, "transformer": 14_288_491_584},
        source="https://huggingface.co/Wan-AI/Wan2.1-T2V-14B-Diffusers",
    ),
)
