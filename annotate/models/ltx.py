"""LTX-Video: a small video transformer on latents 32 times smaller a side and 8 times shorter than the clip.

Few tokens reach attention, which spans all frames at once; the decoder, which has none, makes up for the compression.
"""

from __future__ import annotations

from typing import Any

from .parts.published import T5_XXL
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

TEXT_TOKENS = 128
"""Of the prompt, padded."""

FULL = {
    "transformer": Part(
        "diffusers.LTXVideoTransformer3DModel",
        {
            "in_channels": 128,
            "out_channels": 128,
            "num_attention_heads": 32,
            "attention_head_dim": 64,
            "cross_attention_dim": 2048,
            "num_layers": 28,
            "caption_channels": 4096,
        },
    ),
    "vae": Part(
        "diffusers.AutoencoderKLLTXVideo",
        {
            "latent_channels": 128,
            "block_out_channels": (128, 256, 512, 512),
            "decoder_block_out_channels": (128, 256, 512, 512),
            "layers_per_block": (4, 3, 3, 3, 4),
            "decoder_layers_per_block": (4, 3, 3, 3, 4),
        },
    ),
    "text_encoder": T5_XXL,
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": TEXT_TOKENS}),
    "scheduler": Part(
        "diffusers.FlowMatchEulerDiscreteScheduler",
        {
            "use_dynamic_shifting": True,
            "base_shift": 0.95,
            "max_shift": 2.05,
            "base_image_seq_len": 1024,
            "max_image_seq_len": 4096,
            "shift_terminal": 0.1,
        },
    ),
}

TINY = {
    "transformer": FULL["transformer"].but(
        in_channels=8,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=12,
        cross_attention_dim=24,
        num_layers=2,
        caption_channels=32,
    ),
    "vae": FULL["vae"].but(
        latent_channels=8,
        block_out_channels=(8, 16, 32, 32),
        decoder_block_out_channels=(8, 16, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    ),
    "text_encoder": FULL["text_encoder"].but(vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    "tokenizer": Part("annotate.models.parts.tokenizers.t5", {"length": 13, "vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips, with guidance: the transformer sees each of them twice a step."""
    return run_pipeline(pipeline, request, max_sequence_length=min(TEXT_TOKENS, pipeline.tokenizer.model_max_length))


MODELS = (
    Model(
        name="ltx",
        title="LTX-Video",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.LTXPipeline"),
        generate=generate,
        requests={
            "full": Request(steps=50, height=480, width=704, frames=161),
            "tiny": Request(steps=2, height=128, width=192, frames=17),
        },
        parameters={"transformer": 1_923_385_472, "vae": 419_193_649, "text_encoder": 4_762_310_656},
        golden=Golden(
            steps=2,
            ranges={
                "spatiotemporal_attention": 8,
                "cross_attention": 8,
                "self_attention": 8,
                "spatiotemporal_conv": 19,
                "pointwise_conv": 2,
                "linear": 82,
                "layer_norm": 6,
                "rms_norm": 49,
                "activation": 29,
                "elementwise": 4,
                "embedding": 10,
                "rope": 2,
                "resample": 3,
                "scheduler": 2,
                "other": 71,
            },
            lengths={
                # 3 frames of latents, of 4 by 6 patches.
                ("spatiotemporal_attention", 3 * 24, 3 * 24),
                ("cross_attention", 3 * 24, 13),
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/Lightricks/LTX-Video",
        note="The first release, 0.9.0: 2B parameters, a decoder without noise or timestep.",
        multiple_of={"full": 32, "tiny": 32},
        pretrained="diffusers.LTXPipeline",
    ),
)
