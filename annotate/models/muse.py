"""Muse, as the open aMUSEd 512: a transformer between convolutions predicts all image tokens at once."""

from __future__ import annotations

from .parts.published import CLIP_L_PROJECTED
from .spec import Golden, Model, Part, Request, assembled, run_pipeline

FULL = {
    "transformer": Part("diffusers.UVit2DModel", {"sample_size": 32, "downsample": True, "upsample": True}),
    "vqvae": Part(
        "diffusers.VQModel",
        {
            "sample_size": 32,
            "block_out_channels": (128, 256, 256, 512, 768),
            "layers_per_block": 2,
            "down_block_types": ("DownEncoderBlock2D",) * 5,
            "up_block_types": ("UpDecoderBlock2D",) * 5,
            "latent_channels": 64,
            "num_vq_embeddings": 8192,
            "mid_block_add_attention": False,
            "lookup_from_codebook": True,
            "force_upcast": True,
        },
    ),
    "text_encoder": CLIP_L_PROJECTED,
    "tokenizer": Part("annotate.models.parts.tokenizers.clip"),
    "scheduler": Part("diffusers.AmusedScheduler", {"mask_token_id": 8255}),
}

TINY = {
    "transformer": FULL["transformer"].but(
        sample_size=8,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_res_blocks=2,
        in_channels=24,
        block_out_channels=24,
        block_num_heads=2,
        cond_embed_dim=24,
        encoder_hidden_size=24,
        micro_cond_encode_dim=8,
        micro_cond_embed_dim=5 * 8,
        codebook_size=64,
        vocab_size=72,
    ),
    "vqvae": FULL["vqvae"].but(
        sample_size=8,
        block_out_channels=(8, 8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=8,
        num_vq_embeddings=64,
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
    "tokenizer": Part("annotate.models.parts.tokenizers.clip", {"length": 13, "vocabulary": 100}),
    "scheduler": Part("diffusers.AmusedScheduler", {"mask_token_id": 71}),
}


MODELS = (
    Model(
        name="muse",
        title="Muse",
        study="Muse",
        full=FULL,
        tiny=TINY,
        assemble=assembled("diffusers.AmusedPipeline"),
        generate=run_pipeline,
        requests={
            "full": Request(steps=12, height=512, width=512),
            "tiny": Request(steps=2, height=128, width=128),
        },
        parameters={"transformer": 608_257_792, "vqvae": 146_244_675, "text_encoder": 123_650_304},
        golden=Golden(
            steps=2,
            ranges={
                "spatial_attention": 8,
                "cross_attention": 40,
                "self_attention": 8,
                "spatial_conv": 42,
                "pointwise_conv": 7,
                "linear": 184,
                "group_norm": 25,
                "layer_norm": 34,
                "rms_norm": 46,
                "activation": 55,
                "embedding": 13,
                "resample": 8,
                "scheduler": 2,
                "other": 70,
            },
            lengths={
                # 8 by 8 tokens, halved before the transformer.
                ("spatial_attention", 16, 16),
                ("cross_attention", 16, 13),
                ("self_attention", 13, 13),  # text
            },
        ),
        source="https://huggingface.co/amused/amused-512",
        note="Muse is not public: this is aMUSEd, its open and smaller reproduction (0.6 billion parameters for "
        "Muse's 3 billion, CLIP for T5-XXL, no super-resolution stage).",
        multiple_of={"full": 32, "tiny": 32},
        pretrained="diffusers.AmusedPipeline",
    ),
)
