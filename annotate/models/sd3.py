"""Stable Diffusion 3 medium: pictures and text are one sequence in a transformer, each with weights of its own (MMDiT).

Three text encoders, two of CLIP and T5-XXL, more than twice the size of the denoiser, run before the first step.
"""

from __future__ import annotations

from typing import Any

from .parts.published import CLIP_G_PROJECTED, CLIP_L_PROJECTED, OLD_ENDS, SD_VAE, T5_XXL
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

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
    "vae": SD_VAE.but(
        sample_size=1024,
        latent_channels=16,
        scaling_factor=1.5305,
        shift_factor=0.0609,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ),
    "text_encoder": CLIP_L_PROJECTED.but(**OLD_ENDS),
    "text_encoder_2": CLIP_G_PROJECTED.but(**OLD_ENDS),
    "text_encoder_3": T5_XXL.but(tie_word_embeddings=False),
    "tokenizer": Part("annotate.models.parts.tokenizers.clip"),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.clip"),
    "tokenizer_3": Part("annotate.models.parts.tokenizers.t5"),
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
    "tokenizer": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_3": Part("annotate.models.parts.tokenizers.t5", {"length": 19, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures, of 256 tokens of T5 at most."""
    return run_pipeline(pipeline, request, max_sequence_length=min(256, pipeline.tokenizer_3.model_max_length))


MODELS = (
    Model(
        name="sd3",
        title="Stable Diffusion 3 medium",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.StableDiffusion3Pipeline"),
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
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 2,
                "joint_attention": 8,
                "self_attention": 24,
                "spatial_conv": 27,
                "linear": 148,
                "group_norm": 22,
                "layer_norm": 46,
                "rms_norm": 10,
                "activation": 53,
                "elementwise": 4,
                "embedding": 24,
                "resample": 3,
                "scheduler": 2,
                "other": 82,
            },
            lengths={
                ("spatial_attention", 256, 256),  # the VAE's middle block, at 128 / 8 squared
                # 8 by 8 patches, 13 tokens of CLIP, 19 of T5.
                ("joint_attention", 64 + 13 + 19, 64 + 13 + 19),
                ("self_attention", 13, 13),
                ("self_attention", 19, 19),
            },
        ),
        source="https://huggingface.co/stabilityai/stable-diffusion-3-medium-diffusers",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.StableDiffusion3Pipeline",
    ),
)
