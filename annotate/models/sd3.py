"""Stable Diffusion 3 medium: pictures and text are one sequence in a transformer, each with weights of its own (MMDiT).

Three text encoders, two of CLIP and T5-XXL, more than twice the size of the denoiser, run before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate.models.spec import Model, Part, Request

FULL = {
    "transformer": Part(
        "diffusers.SD3Transformer2DModel",
        {
            "sample_size": 128,
            "patch_size": 2,
            "in_channels": 16,
            "num_layers": 24,
            "attention_head_dim": 64,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pooled_projection_dim": 2048,
            "out_channels": 16,
            "pos_embed_max_size": 192,
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
            "latent_channels": 16,
            "scaling_factor": 1.5305,
            "shift_factor": 0.0609,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
        },
    ),
    "text_encoder": Part(
        "transformers.CLIPTextModelWithProjection",
        {
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
            "projection_dim": 768,
            "bos_token_id": 0,
            "eos_token_id": 2,
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
            "bos_token_id": 0,
            "eos_token_id": 2,
        },
    ),
    "text_encoder_3": Part(
        "transformers.T5EncoderModel",
        {
            "vocab_size": 32128,
            "d_model": 4096,
            "d_kv": 64,
            "d_ff": 10240,
            "num_layers": 24,
            "num_heads": 64,
            "feed_forward_proj": "gated-gelu",
            "tie_word_embeddings": False,
        },
    ),
    "tokenizer": Part("annotate.models.tokenizers.clip"),
    "tokenizer_2": Part("annotate.models.tokenizers.clip"),
    "tokenizer_3": Part("annotate.models.tokenizers.t5"),
    "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
}

TINY = {
    "transformer": FULL["transformer"].but(
        sample_size=16,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=3,
        joint_attention_dim=48,
        caption_projection_dim=24,
        pooled_projection_dim=40,
        out_channels=4,
        pos_embed_max_size=12,
    ),
    "vae": FULL["vae"].but(
        sample_size=128, block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=4
    ),
    "text_encoder": FULL["text_encoder"].but(
        vocab_size=100,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=13,
        projection_dim=16,
        bos_token_id=98,
        eos_token_id=99,
    ),
    "text_encoder_2": FULL["text_encoder_2"].but(
        vocab_size=100,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=13,
        projection_dim=24,
        bos_token_id=98,
        eos_token_id=99,
    ),
    "text_encoder_3": FULL["text_encoder_3"].but(
        vocab_size=100, d_model=48, d_kv=8, d_ff=96, num_layers=2, num_heads=4
    ),
    "tokenizer": Part("annotate.models.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_2": Part("annotate.models.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_3": Part("annotate.models.tokenizers.t5", {"length": 19, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def assemble(parts: Mapping[str, Any]) -> Any:
    """A `StableDiffusion3Pipeline`."""
    from diffusers import StableDiffusion3Pipeline

    return StableDiffusion3Pipeline(**parts)


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures, of 256 tokens of T5 at most."""
    return pipeline(
        request.prompts,
        height=request.height,
        width=request.width,
        num_inference_steps=request.steps,
        max_sequence_length=min(256, pipeline.tokenizer_3.model_max_length),
        generator=request.generator(),
        output_type="pt",
    )


MODELS = (
    Model(
        name="sd3",
        title="Stable Diffusion 3 medium",
        full=FULL,
        tiny=TINY,
        assemble=assemble,
        generate=generate,
        requests={
            "full": Request(steps=28, height=1024, width=1024),
            "tiny": Request(steps=2, height=128, width=128),
        },
        parameters={
            "transformer": 2_028_328_000,
            "vae": 83_819_683,
            "text_encoder": 123_650_304,
            "text_encoder_2": 694_659_840,
            "text_encoder_3": 4_762_310_656,
        },
        source="https://huggingface.co/stabilityai/stable-diffusion-3-medium-diffusers",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.StableDiffusion3Pipeline",
    ),
)
