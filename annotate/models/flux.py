"""FLUX.1 dev: 19 blocks with weights of their own for picture and text, then 38 with the same weights for both.

Guidance is an input of the model, so that a step is one forward of one picture and not of two.
"""

from __future__ import annotations

from typing import Any

from .parts.published import CLIP_L, OLD_ENDS, SD_VAE, T5_XXL
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

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
    "vae": SD_VAE.but(
        sample_size=1024,
        latent_channels=16,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ),
    "text_encoder": CLIP_L.but(**OLD_ENDS),
    "text_encoder_2": T5_XXL.but(tie_word_embeddings=False),
    "tokenizer": Part("annotate.models.parts.tokenizers.clip"),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.t5"),
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
    "tokenizer": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.t5", {"length": 19, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures, of 512 tokens of T5 at most."""
    return run_pipeline(pipeline, request, max_sequence_length=min(512, pipeline.tokenizer_2.model_max_length))


MODELS = (
    Model(
        name="flux",
        title="FLUX.1 dev",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.FluxPipeline"),
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
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 2,
                "joint_attention": 16,
                "self_attention": 8,
                "spatial_conv": 25,
                "linear": 130,
                "group_norm": 22,
                "layer_norm": 41,
                "rms_norm": 29,
                "activation": 57,
                "elementwise": 2,
                "embedding": 17,
                "resample": 3,
                "scheduler": 2,
                "other": 56,
            },
            lengths={
                ("spatial_attention", 256, 256),  # the VAE's middle block, at 128 / 8 squared
                # 8 by 8 patches and 19 tokens of T5; of CLIP it takes the pooled output alone.
                ("joint_attention", 64 + 19, 64 + 19),
                ("self_attention", 13, 13),
                ("self_attention", 19, 19),
            },
        ),
        source="https://huggingface.co/black-forest-labs/FLUX.1-dev",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.FluxPipeline",
    ),
)
