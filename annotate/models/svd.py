"""Stable Video Diffusion: a picture becomes a clip; spatial blocks have temporal twins, in the decoder as well."""

from __future__ import annotations

from typing import Any

from .spec import Golden, Model, Part, Request, assembled

FULL = {
    "unet": Part(
        "diffusers.UNetSpatioTemporalConditionModel",
        {"sample_size": 96, "num_attention_heads": (5, 10, 20, 20), "num_frames": 25},
    ),
    "vae": Part(
        "diffusers.AutoencoderKLTemporalDecoder",
        {
            "sample_size": 768,
            "block_out_channels": (128, 256, 512, 512),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "latent_channels": 4,
        },
    ),
    "image_encoder": Part(
        "transformers.CLIPVisionModelWithProjection",
        {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
            "hidden_act": "gelu",
            "projection_dim": 1024,
        },
    ),
    "feature_extractor": Part("transformers.CLIPImageProcessor"),
    "scheduler": Part(
        "diffusers.EulerDiscreteScheduler",
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "prediction_type": "v_prediction",
            "sigma_max": 700.0,
            "sigma_min": 0.002,
            "steps_offset": 1,
            "timestep_spacing": "leading",
            "timestep_type": "continuous",
            "use_karras_sigmas": True,
        },
    ),
}

TINY = {
    # Both autoencoder and U-Net divide their channels into 32 groups, whatever the configuration says.
    "unet": FULL["unet"].but(
        sample_size=16,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=1,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        cross_attention_dim=24,
        num_attention_heads=(2, 4, 4, 4),
        num_frames=6,
    ),
    "vae": FULL["vae"].but(sample_size=128, block_out_channels=(32, 32, 32, 32), layers_per_block=1),
    "image_encoder": FULL["image_encoder"].but(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        patch_size=32,
        projection_dim=24,
    ),
    "feature_extractor": FULL["feature_extractor"],
    "scheduler": FULL["scheduler"],
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips, each of a picture of noise, of the size asked for."""
    import torch
    from PIL import Image

    generator = request.generator()
    shape: Any = (request.batch, request.height, request.width, 3)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return pipeline(
        [Image.fromarray(picture.numpy()) for picture in pixels],
        height=request.height,
        width=request.width,
        num_frames=request.frames,
        num_inference_steps=request.steps,
        generator=generator,
        output_type="pt",
    )


MODELS = (
    Model(
        name="svd",
        title="Stable Video Diffusion XT",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.StableVideoDiffusionPipeline"),
        generate=generate,
        requests={
            "full": Request(steps=25, height=576, width=1024, frames=25),
            "tiny": Request(steps=2, height=128, width=128, frames=6),
        },
        parameters={"unet": 1_524_623_082, "vae": 97_742_847, "image_encoder": 632_076_800},
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 42,
                "temporal_attention": 40,
                "cross_attention": 80,
                "self_attention": 4,
                "spatial_conv": 113,
                "temporal_conv": 75,
                "pointwise_conv": 19,
                "linear": 601,
                "group_norm": 185,
                "layer_norm": 146,
                "activation": 306,
                "elementwise": 57,
                "embedding": 50,
                "resample": 18,
                "scheduler": 2,
                "other": 286,
            },
            lengths={
                *(("spatial_attention", n, n) for n in (4, 16, 64, 256)),
                # The picture is one key, over space and over the 6 frames.
                *(("cross_attention", n, 1) for n in (4, 6, 16, 64, 256)),
                ("temporal_attention", 6, 6),
                ("self_attention", 50, 50),  # its encoder reads 7 by 7 patches and a class token
            },
        ),
        source="https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt",
        note="Takes a picture and no prompt: its cross-attention, to that picture, has a single key. All "
        "frames are decoded at once, as the pipeline does by default.",
        pretrained="diffusers.StableVideoDiffusionPipeline",
    ),
)
