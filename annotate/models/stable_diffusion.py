"""Stable Diffusion 1.5: latent diffusion with a U-Net, self- and cross-attention at three of its four levels."""

from __future__ import annotations

from .parts.published import CLIP_L, OLD_ENDS, SD_VAE
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "unet": Part(
        "diffusers.UNet2DConditionModel",
        {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8},
    ),
    "vae": SD_VAE,
    "text_encoder": CLIP_L.but(**OLD_ENDS),
    "tokenizer": Part("annotate.models.parts.tokenizers.clip"),
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
    "tokenizer": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
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
        golden=Golden(
            steps=3,
            # PNDM takes 3 steps for 2. The U-Net has 10 transformer blocks (3 going down, 1 in the middle, 3 * 2 going
            # up), each with a self-attention and a cross-attention, which are two ranges each, module and core:
            # 3 * 10 * 2 = 60, and 2 of the VAE's. Text is encoded twice, with the prompt and without, by 2 layers:
            # 2 * 2 * 2 = 8.
            ranges={
                "spatial_attention": 62,
                "cross_attention": 60,
                "self_attention": 8,
                "spatial_conv": 133,
                "pointwise_conv": 88,
                "linear": 376,
                "group_norm": 139,
                "layer_norm": 100,
                "activation": 187,
                "embedding": 12,
                "resample": 21,
                "scheduler": 3,
                "other": 200,
            },
            lengths={
                # Latents are 16 high and wide, and halved three times; the VAE attends at 16 squared, too.
                *(("spatial_attention", n, n) for n in (4, 16, 64, 256)),
                *(("cross_attention", n, 13) for n in (4, 16, 64, 256)),
                ("self_attention", 13, 13),  # text
            },
            teraflops={"unet": 0.803, "vae": 2.515},
        ),
        source="https://huggingface.co/stable-diffusion-v1-5/stable-diffusion-v1-5",
        pretrained="diffusers.StableDiffusionPipeline",
    ),
)
