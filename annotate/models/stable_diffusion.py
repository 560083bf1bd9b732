"""Stable Diffusion 1.5: latent diffusion with a U-Net, self- and cross-attention at three of its four levels."""

from __future__ import annotations

from annotate.models.published import CLIP_L, OLD_ENDS, SD_VAE
from annotate.models.spec import Model, Part, Request, assembled, run_pipeline

FULL = {
    "unet": Part(
        "diffusers.UNet2DConditionModel",
        {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    ),
    "vae": SD_VAE,
    "text_encoder": CLIP_L.but(**OLD_ENDS),
    "tokenizer": Part("annotate.models.tokenizers.clip"),
    "scheduler": Part(
        "diffusers.PNDMScheduler",
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "skip_prk_steps": True,
            "steps_offset": 1,
            "set_alpha_to_one": False,
        },
    ),
}

TINY = {
    "unet": FULL["unet"].but(
        sample_size=16,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=24,
        attention_head_dim=2,
    ),
    "vae": FULL["vae"].but(sample_size=128, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4),
    "text_encoder": FULL["text_encoder"].but(
        vocab_size=100,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=13,
        bos_token_id=98,
        eos_token_id=99,
    ),
    "tokenizer": Part("annotate.models.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


MODELS = (
    Model(
        name="stable-diffusion",
        title="Stable Diffusion 1.5",
        study="Stable Diffusion",
        full=FULL,
        tiny=TINY,
        assemble=assembled(
            "diffusers.StableDiffusionPipeline",
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ),
        generate=run_pipeline,
        requests={
            "full": Request(steps=50, height=512, width=512),
            "tiny": Request(steps=2, height=128, width=128),
        },
        parameters={"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
        source="https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5",
        pretrained="diffusers.StableDiffusionPipeline",
    ),
)
