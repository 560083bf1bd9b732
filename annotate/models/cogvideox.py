"""CogVideoX: a diffusion transformer with one joint attention over text, space and time, and a causal 3D VAE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .parts.published import T5_XXL
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "transformer": Part(
        "diffusers.CogVideoXTransformer3DModel",
        {
            "num_layers": 30,
            "num_attention_heads": 30,
            "attention_head_dim": 64,
            "sample_width": 90,
            "sample_height": 60,
            "sample_frames": 49,
            "text_embed_dim": 4096,
            "max_text_seq_length": 226,
        },
    ),
    "vae": Part(
        "diffusers.AutoencoderKLCogVideoX",
        {
            "block_out_channels": (128, 256, 256, 512),
            "layers_per_block": 3,
            "latent_channels": 16,
            "scaling_factor": 1.15258426,
        },
    ),
    "text_encoder": T5_XXL,
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 226}),
    "scheduler": Part(
        "diffusers.CogVideoXDDIMScheduler",
        {
            "clip_sample": False,
            "prediction_type": "v_prediction",
            "rescale_betas_zero_snr": True,
            "snr_shift_scale": 3.0,
            "timestep_spacing": "trailing",
        },
    ),
}

TINY = {
    "transformer": FULL["transformer"].but(
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=16,
        time_embed_dim=16,
        sample_width=12,
        sample_height=8,
        sample_frames=17,
        text_embed_dim=24,
        max_text_seq_length=13,
    ),
    "vae": FULL["vae"].but(
        block_out_channels=(8, 8, 8, 16), layers_per_block=1, norm_num_groups=4, sample_height=64, sample_width=96
    ),
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=2),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips."""
    return run_pipeline(pipeline, request, max_sequence_length=pipeline.transformer.config.max_text_seq_length)


_2B = Model(
    name="cogvideox-2b",
    title="CogVideoX 2B",
    full=FULL,
    tiny=TINY,
    assemble=assembled("diffusers.CogVideoXPipeline"),
    generate=generate,
    requests={
        "full": Request(steps=50, height=480, width=720, frames=49),
        "tiny": Request(steps=2, height=64, width=96, frames=17),
    },
    parameters={"transformer": 1_693_783_872, "vae": 215_583_907, "text_encoder": 4_762_310_656},
    golden=Golden(
        steps=2,
        ranges={
            "joint_attention": 8,
            "self_attention": 8,
            "spatial_conv": 8,
            "spatiotemporal_conv": 44,
            "pointwise_conv": 86,
            "linear": 70,
            "group_norm": 84,
            "layer_norm": 38,
            "rms_norm": 10,
            "activation": 62,
            "elementwise": 4,
            "embedding": 10,
            "resample": 6,
            "scheduler": 2,
            "other": 194,
        },
        lengths={
            # 17 frames are 5 of latents, of 4 by 6 patches; and the text.
            ("joint_attention", 5 * 24 + 13, 5 * 24 + 13),
            ("self_attention", 13, 13),  # text
        },
    ),
    source="https://huggingface.co/THUDM/CogVideoX-2b",
    note="Frames should be one more than a multiple of eight: the VAE makes four of each latent frame but the first.",
    multiple_of={"full": 16, "tiny": 16},
    pretrained="diffusers.CogVideoXPipeline",
)

# The larger one: rotary positions in place of added ones, and its own scale of latents and schedule.
LARGE = {
    **FULL,
    "transformer": FULL["transformer"].but(
        num_layers=42, num_attention_heads=48, use_rotary_positional_embeddings=True
    ),
    "vae": FULL["vae"].but(scaling_factor=0.7),
    "scheduler": Part("diffusers.CogVideoXDPMScheduler", {**FULL["scheduler"].config, "snr_shift_scale": 1.0}),
}

MODELS = (
    _2B,
    replace(
        _2B,
        name="cogvideox-5b",
        title="CogVideoX 5B",
        full=LARGE,
        tiny={
            **TINY,
            "transformer": TINY["transformer"].but(use_rotary_positional_embeddings=True),
            "scheduler": LARGE["scheduler"],
        },
        parameters={"transformer": 5_570_283_072, "vae": 215_583_907, "text_encoder": 4_762_310_656},
        source="https://huggingface.co/THUDM/CogVideoX-5b",
    ),
)
