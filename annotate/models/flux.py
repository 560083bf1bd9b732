"""FLUX.1 dev: 19 blocks with weights of their own for picture and text, then 38 with the same weights for both.

Guidance is an input of the model, so that a step is one forward of one picture and not of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate.models.spec import Model, Part, Request

FULL = {
    "transformer": Part(
        "diffusers.FluxTransformer2DModel",
        {
            "patch_size": 1,
            "in_channels": 64,
            "num_layers": 19,
            "num_single_layers": 38,
            "attention_head_dim": 128,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 768,
            "guidance_embeds": True,
            "axes_dims_rope": (16, 56, 56),
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
            "scaling_factor": 0.3611,
            "shift_factor": 0.1159,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
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
            "bos_token_id": 0,
            "eos_token_id": 2,
        },
    ),
    "text_encoder_2": Part(
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
    "tokenizer_2": Part("annotate.models.tokenizers.t5"),
    "scheduler": Part(
        "diffusers.FlowMatchEulerDiscreteScheduler",
        {
            "shift": 3.0,
            "use_dynamic_shifting": True,
            "base_shift": 0.5,
            "max_shift": 1.15,
            "base_image_seq_len": 256,
            "max_image_seq_len": 4096,
        },
    ),
}

TINY = {
    "transformer": FULL["transformer"].but(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 6, 6),
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
        vocab_size=100, d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=3
    ),
    "tokenizer": Part("annotate.models.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_2": Part("annotate.models.tokenizers.t5", {"length": 19, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def assemble(parts: Mapping[str, Any]) -> Any:
    """A `FluxPipeline`."""
    from diffusers import FluxPipeline

    return FluxPipeline(**parts)


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures, of 512 tokens of T5 at most."""
    return pipeline(
        request.prompts,
        height=request.height,
        width=request.width,
        num_inference_steps=request.steps,
        max_sequence_length=min(512, pipeline.tokenizer_2.model_max_length),
        generator=request.generator(),
        output_type="pt",
    )


MODELS = (
    Model(
        name="flux",
        title="FLUX.1 dev",
        full=FULL,
        tiny=TINY,
        assemble=assemble,
        generate=generate,
        requests={
            "full": Request(steps=50, height=1024, width=1024),
            "tiny": Request(steps=2, height=128, width=128),
        },
        parameters={
            "transformer": 11_901_408_320,
            "vae": 83_819_683,
            "text_encoder": 123_060_480,
            "text_encoder_2": 4_762_310_656,
        },
        source="https://huggingface.co/black-forest-labs/FLUX.1-dev",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.FluxPipeline",
    ),
)
