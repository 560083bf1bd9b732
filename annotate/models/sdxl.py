"""Stable Diffusion XL 1.0: latent diffusion whose U-Net has most of its attention at its lowest level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate.models.spec import Model, Part, Request

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
    "vae": Part(
        "diffusers.AutoencoderKL",
        {
            "sample_size": 1024,
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "latent_channels": 4,
            "scaling_factor": 0.13025,
        },
    ),
    "text_encoder": Part(
        "transformers.CLIPTextModel",
        {
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
            "projection_dim": 768,
        },
    ),
    "text_encoder_2": Part(
        "transformers.CLIPTextModelWithProjection",
        {
            "vocab_size": 49408,
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 20,
            "max_position_embeddings": 77,
            "projection_dim": 1280,
            "hidden_act": "gelu",
        },
    ),
    "tokenizer": Part("annotate.models.tokenizers.clip"),
    "tokenizer_2": Part("annotate.models.tokenizers.clip"),
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
    "tokenizer": Part("annotate.models.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_2": Part("annotate.models.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def assemble(parts: Mapping[str, Any]) -> Any:
    """A `StableDiffusionXLPipeline` without its watermark."""
    from diffusers import StableDiffusionXLPipeline

    return StableDiffusionXLPipeline(**parts, add_watermarker=False)


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures."""
    return pipeline(
        request.prompts,
        height=request.height,
        width=request.width,
        num_inference_steps=request.steps,
        generator=request.generator(),
        output_type="pt",
    )


MODELS = (
    Model(
        name="sdxl",
        title="Stable Diffusion XL",
        study="Prod Image",
        full=FULL,
        tiny=TINY,
        assemble=assemble,
        generate=generate,
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
        source="https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0",
        note="The study's Prod Image is not public: this is an open latent diffusion model in its place.",
        pretrained="diffusers.StableDiffusionXLPipeline",
    ),
)
