"""ModelScope text-to-video: a U-Net with temporal convolutions and temporal attention next to the spatial ones."""

from __future__ import annotations

from .parts.published import SD_VAE
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "unet": Part(
        "diffusers.UNet3DConditionModel",
        {"sample_size": 32, "cross_attention_dim": 1024, "attention_head_dim": 64},
    ),
    "vae": SD_VAE,
    "text_encoder": Part(
        "transformers.CLIPTextModel",
        {
            "vocab_size": 49408,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 23,
            "num_attention_heads": 16,
            "max_position_embeddings": 77,
            "hidden_act": "gelu",
            "projection_dim": 512,
        },
    ),
    "tokenizer": Part("annotate.models.parts.tokenizers.clip"),
    "scheduler": Part(
        "diffusers.DDIMScheduler",
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "clip_sample": False,
            "set_alpha_to_one": False,
            "steps_offset": 1,
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
        attention_head_dim=4,
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
        name="make-a-video",
        title="ModelScope text-to-video 1.7B",
        study="Make-A-Video",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.TextToVideoSDPipeline"),
        generate=run_pipeline,
        requests={
            "full": Request(steps=50, height=256, width=256, frames=16),
            "tiny": Request(steps=2, height=128, width=128, frames=6),
        },
        parameters={"unet": 1_411_233_860, "vae": 83_653_863, "text_encoder": 340_387_840},
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 42,
                "temporal_attention": 88,
                "cross_attention": 40,
                "self_attention": 8,
                "spatial_conv": 97,
                "temporal_conv": 112,
                "pointwise_conv": 19,
                "linear": 564,
                "group_norm": 234,
                "layer_norm": 136,
                "activation": 267,
                "embedding": 10,
                "resample": 15,
                "scheduler": 2,
                "other": 350,
            },
            lengths={
                *(("spatial_attention", n, n) for n in (4, 16, 64, 256)),
                *(("cross_attention", n, 13) for n in (4, 16, 64, 256)),
                ("temporal_attention", 6, 6),  # frames
                ("self_attention", 13, 13),  # text
            },
            teraflops={"unet": 4.887},
        ),
        source="https://huggingface.co/ali-vilab/text-to-video-ms-1.7b",
        note="ModelScope 1.7B stands in for Make-A-Video, whose weights are not public; like it, it factors attention "
        "and convolution into space and time.",
        pretrained="diffusers.TextToVideoSDPipeline",
    ),
)
