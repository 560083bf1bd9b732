"""PixArt-alpha XL/2 at 1024 pixels: a plain diffusion transformer, self- and then cross-attention in every block.

Its T5-XXL has nearly eight times the parameters of its denoiser.
"""

from __future__ import annotations

from typing import Any

from .parts.published import SD_VAE, T5_XXL
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "transformer": Part(
        "diffusers.PixArtTransformer2DModel",
        {
            "sample_size": 128,
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 8,
            "num_layers": 28,
            "num_attention_heads": 16,
            "attention_head_dim": 72,
            "cross_attention_dim": 1152,
            "caption_channels": 4096,
        },
    ),
    "vae": SD_VAE.but(sample_size=256),
    "text_encoder": T5_XXL.but(tie_word_embeddings=False),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 120}),
    "scheduler": Part("annotate.models.pixart.scheduler"),
}

TINY = {
    # sample_size stays: it is what turns on the embeddings of resolution and aspect ratio, in model and pipeline.
    "transformer": FULL["transformer"].but(
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=32,
    ),
    "vae": FULL["vae"].but(sample_size=128, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4),
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def scheduler() -> Any:
    """Its solver, at the defaults of its class; on the CPU, for it cannot be made on the meta device."""
    import torch
    from diffusers import DPMSolverMultistepScheduler

    with torch.device("cpu"):
        return DPMSolverMultistepScheduler()


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures, made at the size asked for, and not at the nearest of training and then resized."""
    return run_pipeline(
        pipeline,
        request,
        max_sequence_length=min(120, pipeline.tokenizer.model_max_length),
        use_resolution_binning=False,
        clean_caption=False,
    )


MODELS = (
    Model(
        name="pixart",
        title="PixArt-alpha XL/2 1024",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.PixArtAlphaPipeline"),
        generate=generate,
        requests={
            "full": Request(steps=20, height=1024, width=1024),
            "tiny": Request(steps=2, height=128, width=128),
        },
        parameters={
            "transformer": 611_349_152,
            "vae": 83_653_863,
            "text_encoder": 4_762_310_656,
        },
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 10,
                "cross_attention": 8,
                "self_attention": 8,
                "spatial_conv": 27,
                "pointwise_conv": 1,
                "linear": 92,
                "group_norm": 22,
                "layer_norm": 12,
                "rms_norm": 10,
                "activation": 39,
                "elementwise": 4,
                "embedding": 20,
                "resample": 3,
                "scheduler": 2,
                "other": 50,
            },
            lengths={
                ("spatial_attention", 256, 256),  # the VAE's middle block, at 128 / 8 squared
                ("spatial_attention", 64, 64),  # 8 by 8 patches
                ("cross_attention", 64, 13),
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/PixArt-alpha/PixArt-XL-2-1024-MS",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.PixArtAlphaPipeline",
    ),
)
