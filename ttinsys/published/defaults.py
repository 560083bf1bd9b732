"""Defaults of the classes that configurations name, for what a configuration leaves out.

Nothing here imports diffusers: a test compares these values with the signatures of the classes.
"""

from __future__ import annotations

from typing import Any

from ttinsys.published.sheets import Part

_UNET = {"in_channels": 4, "out_channels": 4, "layers_per_block": 2, "block_out_channels": (320, 640, 1280, 1280)}

CLASS_DEFAULTS: dict[str, dict[str, Any]] = {
    "UNet2DConditionModel": {
        **_UNET,
        "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        "cross_attention_dim": 1280,
        "attention_head_dim": 8,
        "transformer_layers_per_block": 1,
        "use_linear_projection": False,
        "resnet_time_scale_shift": "default",
        "time_embedding_dim": None,
        "class_embed_type": None,
        "addition_embed_type": None,
        "encoder_hid_dim": None,
        "encoder_hid_dim_type": None,
        "projection_class_embeddings_input_dim": None,
    },
    "UNet3DConditionModel": {
        **_UNET,
        "down_block_types": ("CrossAttnDownBlock3D",) * 3 + ("DownBlock3D",),
        "up_block_types": ("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 3,
        "cross_attention_dim": 1024,
        "attention_head_dim": 64,
    },
    "UNetSpatioTemporalConditionModel": {
        **_UNET,
        "in_channels": 8,
        "down_block_types": ("CrossAttnDownBlockSpatioTemporal",) * 3 + ("DownBlockSpatioTemporal",),
        "up_block_types": ("UpBlockSpatioTemporal",) + ("CrossAttnUpBlockSpatioTemporal",) * 3,
        "cross_attention_dim": 1024,
        "transformer_layers_per_block": 1,
        "num_attention_heads": (5, 10, 20, 20),
        "projection_class_embeddings_input_dim": 768,
    },
    "UNetMotionModel": {
        **_UNET,
        "down_block_types": ("CrossAttnDownBlockMotion",) * 3 + ("DownBlockMotion",),
        "up_block_types": ("UpBlockMotion",) + ("CrossAttnUpBlockMotion",) * 3,
        "cross_attention_dim": 1280,
        "transformer_layers_per_block": 1,
        "temporal_transformer_layers_per_block": 1,
        "temporal_transformer_layers_per_mid_block": 1,
        "num_attention_heads": 8,
        "motion_num_attention_heads": 8,
        "use_linear_projection": False,
    },
    "UVit2DModel": {
        "hidden_size": 1024,
        "cond_embed_dim": 768,
        "micro_cond_embed_dim": 1280,
        "encoder_hidden_size": 768,
        "codebook_size": 8192,
        "in_channels": 768,
        "block_out_channels": 768,
        "num_res_blocks": 3,
        "block_num_heads": 12,
        "num_hidden_layers": 22,
        "num_attention_heads": 16,
        "intermediate_size": 2816,
    },
    "MaskGitTransformer": {
        "codebook_size": 8192,
        "hidden_size": 2048,
        "num_layers": 24,
        "num_attention_heads": 32,
        "text_dim": 4096,
    },
    "CViViTDecoder": {"patch_size": 8},
    "CogVideoXTransformer3DModel": {
        "in_channels": 16,
        "out_channels": 16,
        "time_embed_dim": 512,
        "patch_size": 2,
    },
    "HunyuanVideoTransformer3DModel": {
        "mlp_ratio": 4.0,
        "patch_size": 2,
        "patch_size_t": 1,
        "guidance_embeds": True,
    },
    "MochiTransformer3DModel": {"patch_size": 2},
    "WanTransformer3DModel": {"patch_size": (1, 2, 2)},
    "AutoencoderKLWan": {"scale_factor_temporal": 4, "scale_factor_spatial": 8},
    "AutoencoderKLHunyuanVideo": {"spatial_compression_ratio": 8, "temporal_compression_ratio": 4},
    "AutoencoderKLCogVideoX": {"temporal_compression_ratio": 4},
    "AutoencoderKLLTXVideo": {
        "patch_size": 4,
        "patch_size_t": 1,
        "spatio_temporal_scaling": (True, True, True, False),
    },
    "AutoencoderKLMochi": {"temporal_expansions": (1, 2, 3), "spatial_expansions": (2, 2, 2)},
    "clip": {"length": 77},
    "t5": {"length": 512},
    "words": {"length": 4096},
}
"""Default of each argument that the layers or the taxonomy need, by the last part of a class's import path."""


def class_of(part: Part) -> str:
    """Name of the class of a component, without its module."""
    return part.cls.rpartition(".")[2]


def completed(part: Part) -> dict[str, Any]:
    """The configuration of a component, completed with the defaults of its class."""
    return {**CLASS_DEFAULTS.get(class_of(part), {}), **part.config}
