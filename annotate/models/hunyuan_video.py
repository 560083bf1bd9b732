"""HunyuanVideo: a video transformer whose blocks first keep text and video apart, then merge them into one stream.

Every attention spans all frames at once and the text; its text encoder is a language model, Llama 3 8B, beside CLIP.
"""

from __future__ import annotations

from typing import Any

from .parts.published import CLIP_L, OLD_ENDS
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

TEXT_TOKENS = 256
"""Of the prompt, without the template around it, that the transformer sees."""

FULL = {
    "transformer": Part(
        "diffusers.HunyuanVideoTransformer3DModel",
        {
            "in_channels": 16,
            "out_channels": 16,
            "num_attention_heads": 24,
            "attention_head_dim": 128,
            "num_layers": 20,
            "num_single_layers": 40,
            "num_refiner_layers": 2,
            "text_embed_dim": 4096,
            "pooled_projection_dim": 768,
            "rope_axes_dim": (16, 56, 56),
        },
    ),
    "vae": Part(
        "diffusers.AutoencoderKLHunyuanVideo",
        {"latent_channels": 16, "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2},
    ),
    "text_encoder": Part(
        "transformers.LlamaModel",
        {
            "vocab_size": 128320,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
        },
    ),
    "tokenizer": Part(
        "annotate.models.parts.tokenizers.words", {"length": TEXT_TOKENS, "vocabulary": 128320, "side": "right"}
    ),
    "text_encoder_2": CLIP_L.but(**OLD_ENDS),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.clip"),
    "scheduler": Part("diffusers.FlowMatchEulerDiscreteScheduler", {"shift": 7.0}),
}

TINY = {
    "transformer": FULL["transformer"].but(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        num_single_layers=2,
        num_refiner_layers=1,
        text_embed_dim=32,
        pooled_projection_dim=24,
        rope_axes_dim=(4, 6, 6),
    ),
    "vae": FULL["vae"].but(latent_channels=4, block_out_channels=(8, 8, 16, 16), layers_per_block=1, norm_num_groups=4),
    "text_encoder": FULL["text_encoder"].but(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=88,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
    ),
    "tokenizer": Part("annotate.models.parts.tokenizers.words", {"length": 13, "vocabulary": 100, "side": "right"}),
    "text_encoder_2": FULL["text_encoder_2"].but(
        vocab_size=100,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=98,
        eos_token_id=99,
    ),
    "tokenizer_2": Part("annotate.models.parts.tokenizers.clip", {"vocabulary": 100}),
    "scheduler": FULL["scheduler"],
}


def generate(pipeline: Any, request: Request) -> Any:
    """One batch of clips, decoded in tiles as on the model card: the decoder attends to all frames of a tile at once.

    The prompt stands in the pipeline's own template, which is cut off again after the text encoder; where to cut
    depends on the tokenizer.
    """
    from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE

    template = str(DEFAULT_PROMPT_TEMPLATE["template"])
    before = pipeline.tokenizer(template.partition("{}")[0], verbose=False)["input_ids"]
    pipeline.vae.enable_tiling()
    return run_pipeline(
        pipeline,
        request,
        prompt_template={"template": template, "crop_start": len(before)},
        max_sequence_length=min(TEXT_TOKENS, pipeline.tokenizer.model_max_length),
    )


MODELS = (
    Model(
        name="hunyuan-video",
        title="HunyuanVideo",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.HunyuanVideoPipeline"),
        generate=generate,
        requests={
            "full": Request(steps=50, height=720, width=1280, frames=129),
            "tiny": Request(steps=2, height=64, width=96, frames=9),
        },
        parameters={
            "transformer": 12_821_012_544,
            "vae": 246_478_803,
            "text_encoder": 7_505_186_816,
            "text_encoder_2": 123_060_480,
        },
        golden=Golden(
            steps=2,
            ranges={
                "spatiotemporal_attention": 2,
                "joint_attention": 16,
                "self_attention": 14,
                "spatial_conv": 2,
                "spatiotemporal_conv": 25,
                "pointwise_conv": 2,
                "linear": 157,
                "group_norm": 22,
                "layer_norm": 47,
                "rms_norm": 31,
                "activation": 68,
                "embedding": 22,
                "rope": 3,
                "resample": 3,
                "scheduler": 2,
                "other": 92,
            },
            lengths={
                # 9 frames are 3 of latents, of 4 by 6 patches; and the text.
                ("joint_attention", 3 * 24 + 13, 3 * 24 + 13),
                ("spatiotemporal_attention", 3 * 96, 3 * 96),  # 8 by 12 for the VAE
                # Llama reads a template of 99 before the text, CLIP is at its 77.
                ("self_attention", 77, 77),
                ("self_attention", 99 + 13, 99 + 13),
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/hunyuanvideo-community/HunyuanVideo",
        note="The tokenizer made in code turns the prompt's template into 99 tokens, the real one into 95: "
        "with random weights Llama reads 355 tokens rather than 351. The transformer sees 256 either way.",
        multiple_of={"full": 16, "tiny": 16},
        pretrained="diffusers.HunyuanVideoPipeline",
    ),
)
