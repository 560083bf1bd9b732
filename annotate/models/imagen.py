"""Imagen, as the open DeepFloyd IF: two U-Nets that denoise pixels, whose self-attention includes the text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .parts.published import T5_XXL
from .spec import Cascade, Golden, Model, Part, Request

_DOWN, _UP = "ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D"
_ATTENTION_DOWN, _ATTENTION_UP = "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D"

_UNET = Part(
    "diffusers.UNet2DConditionModel",
    {
        "sample_size": 64,
        "in_channels": 3,
        "out_channels": 6,
        "act_fn": "gelu",
        "block_out_channels": (704, 1408, 2112, 2816),
        "layers_per_block": 3,
        "down_block_types": (_DOWN, _ATTENTION_DOWN, _ATTENTION_DOWN, _ATTENTION_DOWN),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": (_ATTENTION_UP, _ATTENTION_UP, _ATTENTION_UP, _UP),
        "attention_head_dim": 64,
        "cross_attention_dim": 2816,
        "cross_attention_norm": "group_norm",
        "encoder_hid_dim": 4096,
        "encoder_hid_dim_type": "text_proj",
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 64,
        "resnet_time_scale_shift": "scale_shift",
    },
)

_SCHEDULER = Part(
    "diffusers.DDPMScheduler",
    {
        "beta_schedule": "squaredcos_cap_v2",
        "variance_type": "learned_range",
        "thresholding": True,
        "dynamic_thresholding_ratio": 0.95,
        "sample_max_value": 1.5,
    },
)

FULL = {
    "unet": _UNET,
    "super_resolution_unet": _UNET.but(
        sample_size=256,
        in_channels=6,
        block_out_channels=(160, 320, 640, 960, 1280),
        layers_per_block=(2, 2, 3, 5, 5),
        down_block_types=(_DOWN, _DOWN, _DOWN, _ATTENTION_DOWN, _ATTENTION_DOWN),
        up_block_types=(_ATTENTION_UP, _ATTENTION_UP, _UP, _UP, _UP),
        cross_attention_dim=1280,
        class_embed_type="timestep",
        time_embedding_act_fn="gelu",
        time_embedding_dim=1280,
        mid_block_scale_factor=1 / 0.7071,
        resnet_out_scale_factor=1 / 0.7071,
        resnet_skip_time_act=True,
    ),
    "text_encoder": T5_XXL,
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 77}),
    "scheduler": _SCHEDULER,
    "super_resolution_scheduler": _SCHEDULER.but(sample_max_value=1.0),
    "image_noising_scheduler": Part("diffusers.DDPMScheduler", {"beta_schedule": "squaredcos_cap_v2"}),
}

_TINY_UNET = {
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "cross_attention_dim": 32,
    "encoder_hid_dim": 24,
    "addition_embed_type_num_heads": 2,
}

TINY = {
    "unet": FULL["unet"].but(**_TINY_UNET, sample_size=32, block_out_channels=(8, 16, 16, 24)),
    "super_resolution_unet": FULL["super_resolution_unet"].but(
        **{**_TINY_UNET, "layers_per_block": (1, 1, 1, 2, 1)},
        sample_size=128,
        block_out_channels=(8, 8, 8, 16, 16),
        time_embedding_dim=16,
    ),
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=24, d_kv=12, d_ff=48, num_layers=2, num_heads=2),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 77, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
    "super_resolution_scheduler": FULL["super_resolution_scheduler"],
    "image_noising_scheduler": FULL["image_noising_scheduler"],
}


def assemble(parts: Mapping[str, Any]) -> Any:
    """An `IFPipeline` with the text encoder and an `IFSuperResolutionPipeline` without; no safety checkers."""
    from diffusers import IFPipeline, IFSuperResolutionPipeline

    without: dict[str, Any] = {
        "safety_checker": None,
        "feature_extractor": None,
        "watermarker": None,
        "requires_safety_checker": False,
    }
    base = IFPipeline(
        tokenizer=parts["tokenizer"],
        text_encoder=parts["text_encoder"],
        unet=parts["unet"],
        scheduler=parts["scheduler"],
        **without,
    )
    super_resolution = IFSuperResolutionPipeline(
        tokenizer=None,
        text_encoder=None,
        unet=parts["super_resolution_unet"],
        scheduler=parts["super_resolution_scheduler"],
        image_noising_scheduler=parts["image_noising_scheduler"],
        **without,
    )
    return Cascade({"base": base, "super_resolution": super_resolution})


def generate(cascade: Cascade, request: Request) -> Any:
    """One batch of pictures: a quarter of the height and width in all the steps, then all of it in half of them."""
    base, super_resolution = cascade.stages["base"], cascade.stages["super_resolution"]
    if request.height is None or request.width is None or request.steps is None:
        raise TypeError("a request of Imagen has steps, height and width")
    generator = request.generator()
    prompt_embeds, negative_prompt_embeds = base.encode_prompt(request.prompts, clean_caption=False)
    text = {"prompt_embeds": prompt_embeds, "negative_prompt_embeds": negative_prompt_embeds, "clean_caption": False}
    small = base(
        **text,
        height=request.height // 4,
        width=request.width // 4,
        num_inference_steps=request.steps,
        generator=generator,
        output_type="pt",
    ).images
    return super_resolution(
        **text,
        image=small,
        height=request.height,
        width=request.width,
        num_inference_steps=(request.steps + 1) // 2,
        generator=generator,
        output_type="pt",
    )


MODELS = (
    Model(
        name="imagen",
        title="Imagen",
        study="Imagen",
        full=FULL,
        tiny=TINY,
        assemble=assemble,
        generate=generate,
        requests={
            "full": Request(steps=100, height=256, width=256),
            "tiny": Request(steps=4, height=128, width=128),
        },
        parameters={"unet": 4_304_695_110, "super_resolution_unet": 1_243_277_190, "text_encoder": 4_762_310_656},
        golden=Golden(
            steps=6,
            ranges={
                "joint_attention": 116,
                "self_attention": 14,
                "spatial_conv": 280,
                "pointwise_conv": 64,
                "linear": 538,
                "group_norm": 390,
                "layer_norm": 12,
                "rms_norm": 10,
                "activation": 368,
                "elementwise": 4,
                "embedding": 26,
                "resample": 140,
                "scheduler": 6,
                "other": 205,
            },
            lengths={
                # Pixels, 32 by 32 and 128 by 128, with attention at 16, 8 and 4; and 77 tokens of text.
                *(("joint_attention", n, n + 77) for n in (16, 64, 256)),
                ("self_attention", 77, 77),
            },
            teraflops={"unet": 2.879},
        ),
        source="https://huggingface.co/DeepFloyd/IF-I-XL-v1.0",
        note="Imagen is not public: these are the first two stages of DeepFloyd IF, its open equivalent, up to 256 "
        "pixels; the third, to 1024 pixels, is left out. The second takes half as many steps as the first.",
        multiple_of={"full": 32, "tiny": 32},
    ),
)
