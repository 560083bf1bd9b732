"""Parts that several models have: text encoders and the autoencoder, as they were published once."""

from __future__ import annotations

from ..spec import Part

CLIP_L = Part(
    "transformers.CLIPTextModel",
    {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "projection_dim": 768,
    },
)
"""Text encoder of CLIP ViT-L/14."""

CLIP_L_PROJECTED = Part("transformers.CLIPTextModelWithProjection", CLIP_L.config)
"""The same with its projection, for a text as a whole."""

CLIP_G_PROJECTED = CLIP_L_PROJECTED.but(
    hidden_size=1280,
    intermediate_size=5120,
    num_hidden_layers=32,
    num_attention_heads=20,
    projection_dim=1280,
    hidden_act="gelu",
)
"""Text encoder of OpenCLIP ViT-bigG/14."""

OLD_ENDS = {"bos_token_id": 0, "eos_token_id": 2}
"""What older configurations of CLIP say of its start and end tokens: it then takes the largest token for the end."""

T5_XXL = Part(
    "transformers.T5EncoderModel",
    {
        "vocab_size": 32128,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    },
)
"""Encoder of T5 v1.1 XXL."""

SD_VAE = Part(
    "diffusers.AutoencoderKL",
    {
        "sample_size": 512,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 4,
    },
)
"""Autoencoder of Stable Diffusion; later ones differ in their latents."""
