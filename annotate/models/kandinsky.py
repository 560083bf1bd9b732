"""Kandinsky 2.2: a transformer turns the text into the embedding of a picture, a U-Net and MoVQ make the picture of it.

The U-Net never sees the text; its attention appends the embedding, as tokens, to its own keys and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts.published import CLIP_G_PROJECTED, OLD_ENDS
from .spec import Cascade, Golden, Model, Part, Request

PRIOR_STEPS = 25
"""Steps of the prior, by its own default, unless fewer are asked for."""

FULL = {
    "prior": Part(
        "diffusers.PriorTransformer",
        {
            "num_attention_heads": 32,
            "attention_head_dim": 64,
            "num_layers": 20,
            "embedding_dim": 1280,
            "num_embeddings": 77,
            "additional_embeddings": 4,
        },
    ),
    "text_encoder": CLIP_G_PROJECTED.but(**OLD_ENDS),
    "image_encoder": Part(
        "transformers.CLIPVisionModelWithProjection",
        {
            "hidden_size": 1664,
            "intermediate_size": 8192,
            "num_hidden_layers": 48,
            "num_attention_heads": 16,
            "image_size": 224,
            "patch_size": 14,
            "projection_dim": 1280,
            "hidden_act": "gelu",
        },
    ),
    "tokenizer": Part("annotate.models.parts.tokenizers.clip"),
    "prior_scheduler": Part(
        "diffusers.UnCLIPScheduler",
        {"variance_type": "fixed_small_log", "clip_sample_range": 10.0, "prediction_type": "sample"},
    ),
    "unet": Part(
        "diffusers.UNet2DConditionModel",
        {
            "sample_size": 64,
            "in_channels": 4,
            "out_channels": 8,
            "block_out_channels": (384, 768, 1152, 1536),
            "layers_per_block": 3,
            "down_block_types": ("ResnetDownsampleBlock2D", *("SimpleCrossAttnDownBlock2D",) * 3),
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            "up_block_types": (*("SimpleCrossAttnUpBlock2D",) * 3, "ResnetUpsampleBlock2D"),
            "attention_head_dim": 64,
            "cross_attention_dim": 768,
            "encoder_hid_dim": 1280,
            "encoder_hid_dim_type": "image_proj",
            "addition_embed_type": "image",
            "resnet_time_scale_shift": "scale_shift",
        },
    ),
    "movq": Part(
        "diffusers.VQModel",
        {
            "block_out_channels": (128, 256, 256, 512),
            "layers_per_block": 2,
            "down_block_types": (*("DownEncoderBlock2D",) * 3, "AttnDownEncoderBlock2D"),
            "up_block_types": ("AttnUpDecoderBlock2D", *("UpDecoderBlock2D",) * 3),
            "latent_channels": 4,
            "num_vq_embeddings": 16384,
            "vq_embed_dim": 4,
            "norm_type": "spatial",
        },
    ),
    "scheduler": Part(
        "diffusers.DDPMScheduler",
        {"beta_start": 0.00085, "beta_end": 0.012, "variance_type": "learned_range", "clip_sample_range": 2.0},
    ),
}

TINY = {
    "prior": FULL["prior"].but(
        num_attention_heads=2, attention_head_dim=12, num_layers=2, embedding_dim=24, num_embeddings=13
    ),
    "text_encoder": FULL["text_encoder"].but(
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
    "image_encoder": FULL["image_encoder"].but(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=42,
        projection_dim=24,
    ),
    "tokenizer": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "prior_scheduler": FULL["prior_scheduler"],
    "unet": FULL["unet"].but(
        sample_size=16,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=8,
        cross_attention_dim=16,
        encoder_hid_dim=24,
    ),
    "movq": FULL["movq"].but(block_out_channels=(32, 32, 32, 32), layers_per_block=1, num_vq_embeddings=32),
    "scheduler": FULL["scheduler"],
}


def assemble(parts: Mapping[str, Any]) -> Any:
    """The two pipelines, `prior` and `decoder`."""
    from diffusers import KandinskyV22Pipeline, KandinskyV22PriorPipeline

    prior = KandinskyV22PriorPipeline(
        prior=parts["prior"],
        image_encoder=parts["image_encoder"],
        text_encoder=parts["text_encoder"],
        tokenizer=parts["tokenizer"],
        scheduler=parts["prior_scheduler"],
        image_processor=None,
    )
    decoder = KandinskyV22Pipeline(unet=parts["unet"], scheduler=parts["scheduler"], movq=parts["movq"])
    return Cascade({"prior": prior, "decoder": decoder})


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of pictures: `steps` are of the decoder; the prior takes 25, or as many if they are fewer."""
    generator = request.generator()
    imagined = pipeline.stages["prior"](
        request.prompts, num_inference_steps=min(PRIOR_STEPS, request.steps or PRIOR_STEPS), generator=generator
    )
    return pipeline.stages["decoder"](
        image_embeds=imagined.image_embeds,
        negative_image_embeds=imagined.negative_image_embeds,
        height=request.height,
        width=request.width,
        num_inference_steps=request.steps,
        generator=generator,
        output_type="pt",
    )


MODELS = (
    Model(
        name="kandinsky-2.2",
        title="Kandinsky 2.2",
        full=FULL,
        tiny=TINY,
        assemble=assemble,
        generate=generate,
        requests={
            "full": Request(steps=100, height=768, width=768),
            "tiny": Request(steps=2, height=128, width=128),
        },
        parameters={
            "prior": 1_026_225_920,
            "text_encoder": 694_659_840,
            "image_encoder": 1_844_907_264,
            "unet": 1_253_057_288,
            "movq": 67_832_495,
        },
        golden=Golden(
            steps=4,
            ranges={
                "spatial_attention": 6,
                "joint_attention": 40,
                "self_attention": 20,
                "spatial_conv": 110,
                "pointwise_conv": 67,
                "linear": 255,
                "group_norm": 150,
                "layer_norm": 40,
                "activation": 157,
                "embedding": 18,
                "resample": 43,
                "scheduler": 4,
                "other": 107,
            },
            lengths={
                ("spatial_attention", 256, 256),  # the VAE's middle block, at 128 / 8 squared
                # Keys of a picture's embedding: 32.
                *(("joint_attention", n, n + 32) for n in (4, 16, 64)),
                # The prior reads 13 tokens of text and 4 of its own, the image encoder 3 by 3 patches and one token.
                ("self_attention", 13 + 4, 13 + 4),
                ("self_attention", 10, 10),
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/kandinsky-community/kandinsky-2-2-decoder",
        multiple_of={"full": 64, "tiny": 64},
    ),
)
