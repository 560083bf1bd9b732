"""Stable Diffusion XL 1.0: latent diffusion whose U-Net has most of its attention at its lowest level."""

from __future__ import annotations

from .parts.published import CLIP_G_PROJECTED, CLIP_L, SD_VAE
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "unet": Part(
        "diffusers.UNet2DConditionModel",
        {
            "sample_size": 128,
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
    "vae": SD_VAE.but(sample_size=1024, scaling_factor=0.13025),
    "text_encoder": CLIP_L,
    "text_encoder_2": CLIP_G_PROJECTED,
    "tokenizer": Part("annotate.models.parts.tokenizers.clip"),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.clip"),
    "scheduler": Part(
        "diffusers.EulerDiscreteScheduler",
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "steps_offset": 1,
            "timestep_spacing": "leading",
        },
    ),
}

_TINY_TEXT = {
    "vocab_size": 100,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 13,
    "bos_token_id": 98,
    "eos_token_id": 99,
}

TINY = {
    "unet": FULL["unet"].but(
        sample_size=16,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        transformer_layers_per_block=(1, 1, 2),
        norm_num_groups=4,
        attention_head_dim=(1, 2, 2),
        cross_attention_dim=24 + 32,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 6 * 8,
    ),
    "vae": FULL["vae"].but(sample_size=128, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4),
    "text_encoder": FULL["text_encoder"].but(**_TINY_TEXT, hidden_size=24, intermediate_size=48),
    "text_encoder_2": FULL["text_encoder_2"].but(**_TINY_TEXT, hidden_size=32, intermediate_size=64, projection_dim=32),
    "tokenizer": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


MODELS = (
    Model(
        name="sdxl",
        title="Stable Diffusion XL",
        study="Prod Image",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.StableDiffusionXLPipeline", add_watermarker=False),
        generate=run_pipeline,
        requests={
            "full": Request(steps=50, height=1024, width=1024),
            "tiny": Request(steps=2, height=128, width=128),
        },
        parameters={
            "unet": 2_567_463_684,
            "vae": 83_653_863,
            "text_encoder": 123_060_480,
            "text_encoder_2": 694_659_840,
        },
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 46,
                "cross_attention": 44,
                "self_attention": 8,
                "spatial_conv": 81,
                "pointwise_conv": 15,
                "linear": 307,
                "group_norm": 82,
                "layer_norm": 76,
                "activation": 119,
                "embedding": 14,
                "resample": 11,
                "scheduler": 2,
                "other": 133,
            },
            lengths={
                ("spatial_attention", 256, 256),  # the VAE's middle block, at 128 / 8 squared
                # Of three levels the first has no attention.
                *(("spatial_attention", n, n) for n in (16, 64)),
                *(("cross_attention", n, 13) for n in (16, 64)),
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0",
        note="The study's Prod Image is not public: this is an open latent diffusion model in its place.",
        pretrained="diffusers.StableDiffusionXLPipeline",
    ),
)
