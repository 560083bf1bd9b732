"""Paths of modules as names of ranges, whoever made them: `transformer.blocks.3.attn1.to_q`."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import MODULE_PATH, component_of_path, role_of_path

_HEAD = pl.col("head")
# Functions of libraries have dotted names too, and files.
_FUNCTION = r"^(?:np|numpy|cp|cupy|torch|nn|F|jax|jnp|tf|keras|math|scipy|pd|os|triton)\.|\.(?:py|cu|cpp|cc|h)$"
# Other names become null, over which the expressions for roles cost nothing.
_PATH = pl.when(_HEAD.str.contains(MODULE_PATH) & ~_HEAD.str.contains(_FUNCTION) & pl.col("rest").is_null()).then(_HEAD)

DIALECT = Dialect(
    name="module-paths",
    doc="a hook of anybody's that names each range after the path of its module",
    source="names of diffusers and transformers modules (named_modules)",
    # A dotted name may be anything: a number of a block, a part of a pipeline or a known end tells that it is a path.
    claims=_PATH.str.contains(r"\.\d+(\.|$)")
    | component_of_path(_PATH).is_not_null()
    | (role_of_path(_PATH) != "other"),
    reads={
        "group": _HEAD,
        "role": role_of_path(_HEAD),
        "component": component_of_path(_HEAD),
        "is_module": pl.lit(value=True),
    },
    examples={
        "transformer.transformer_blocks.3.attn1.to_q": {
            "group": "transformer.transformer_blocks.3.attn1.to_q", "role": "linear", "component": "denoiser",
        },
        "unet.down_blocks.0.resnets.1.norm1": {"role": "group_norm", "component": "denoiser"},
        "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2": {"role": "cross_attention"},
        "vae.decoder.up_blocks.2.upsamplers.0.conv": {"role": "spatial_conv", "component": "vae"},
        "model.layers.7.self_attn": {"role": "self_attention"},
        "model.layers.7.mlp.down_proj": {"role": "linear"},
        "model.layers.7.input_layernorm": {"role": "rms_norm"},
        "text_encoder.text_model.encoder.layers.3.layer_norm1": {"role": "layer_norm", "component": "text_encoder"},
        "blocks.9._checkpoint_wrapped_module.self_attn": {"role": "self_attention", "component": None},
    },
    rank=80,
)  # fmt: skip
