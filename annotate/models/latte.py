"""Latte: a diffusion transformer for video whose blocks take turns, one over space and text, one over frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from . import stable_diffusion
from .parts.published import T5_XXL
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "transformer": Part(
        "diffusers.LatteTransformer3DModel",
        {
            "sample_size": 64,
            "num_layers": 28,
            "num_attention_heads": 16,
            "attention_head_dim": 72,
            "in_channels": 4,
            "out_channels": 8,
            "patch_size": 2,
            "cross_attention_dim": 1152,
            "caption_channels": 4096,
            "attention_bias": True,
            "activation_fn": "gelu-approximate",
            "num_embeds_ada_norm": 1000,
            "norm_type": "ada_norm_single",
            "norm_elementwise_affine": False,
            "norm_eps": 1e-6,
            "video_length": 16,
        },
    ),
    "vae": stable_diffusion.FULL["vae"],
    "text_encoder": T5_XXL,
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 120}),
    "scheduler": Part(
        "diffusers.DDIMScheduler",
        {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False},
    ),
}

TINY = {
    "transformer": FULL["transformer"].but(
        sample_size=16,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=24,
        video_length=6,
    ),
    "vae": stable_diffusion.TINY["vae"],
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=2),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 120, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def _place_frames(transformer: Any, frames: int) -> None:
    """Give the transformer positions for as many frames as are asked for: it holds those of its training alone."""
    import torch
    from diffusers.models.embeddings import get_1d_sincos_pos_embed_from_grid

    held = transformer.temp_pos_embed
    if held.shape[1] == frames:
        return
    places = torch.arange(frames, device=held.device).unsqueeze(1)
    made = get_1d_sincos_pos_embed_from_grid(held.shape[2], places, output_type="pt")
    transformer.register_buffer("temp_pos_embed", made.to(held.dtype).unsqueeze(0), persistent=False)


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips."""
    if request.frames is not None:
        _place_frames(pipeline.transformer, request.frames)
    return run_pipeline(pipeline, replace(request, frames=None), video_length=request.frames, clean_caption=False)


MODELS = (
    Model(
        name="latte",
        title="Latte 1",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.LattePipeline"),
        generate=generate,
        requests={
            "full": Request(steps=50, height=512, width=512, frames=16, prompt_tokens=19),
            "tiny": Request(steps=2, height=128, width=128, frames=6, prompt_tokens=12),
        },
        parameters={"transformer": 1_057_246_880, "vae": 83_653_863, "text_encoder": 4_762_310_656},
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 10,
                "temporal_attention": 8,
                "cross_attention": 8,
                "self_attention": 8,
                "spatial_conv": 27,
                "pointwise_conv": 1,
                "linear": 108,
                "group_norm": 22,
                "layer_norm": 20,
                "rms_norm": 10,
                "activation": 39,
                "elementwise": 4,
                "embedding": 12,
                "resample": 3,
                "scheduler": 2,
                "other": 62,
            },
            lengths={
                ("spatial_attention", 256, 256),  # the VAE's middle block, at 128 / 8 squared
                ("spatial_attention", 64, 64),  # 8 by 8 patches
                ("temporal_attention", 6, 6),  # frames
                # T5 reads 120 tokens, of which the prompt's 12 and the end are kept.
                ("cross_attention", 64, 13),
                ("self_attention", 120, 120),
            },
        ),
        source="https://huggingface.co/maxin-cn/Latte-1",
        note="Reads 120 text tokens and then keeps those of the prompt, and its end token, if the batch is 1: for more "
        "prompts it keeps all 120. Trained for 16 frames; positions of other numbers of frames are made as theirs are.",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.LattePipeline",
    ),
)
