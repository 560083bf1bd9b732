"""What the paths and classes of modules tell: expressions that several dialects share.

Names decide only where nothing better is known: sizes of operations, where there are any, come first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from annotate import naming
else:
    from ttinsys._annotate import naming

MODULE_PATH = r"^[A-Za-z_]\w*(\.\w+)+$"
"""A path of modules: names joined by dots, at least two."""

_LAST = r"(?:^|\.)"
ROLE_OF_LAST = (
    ("linear", r"(to|add)_[qkv](_proj|kv|qkv)?(_proj)?$|to_(qkv|out|add_out|kv)(\.\d+)?$|(^|\.)(w?qkv|kv|q|k|v|o)_?(proj)?$"
     r"|(query|key|value|query_key_value|dense|fc|fc\d|fc_\w+|lin|lin_?\d|linear|linear_?\d|lm_head|proj|proj_\w+|\w+_proj"
     r"|gate_up_proj|c_attn|c_fc|c_proj|dense_\w+|w[123])$|(ff|net|mlp|feed_forward|ffn|to_out)(\.\w+)*\.\d+(\.proj)?$"),
    ("group_norm", r"(^|\.)(group_?norm|gn)\w*$|resnets?\.\d+\.norm\d?$|(conv_norm_out)$"),
    ("rms_norm", r"(?i)(^|\.)\w*(rms_?norm)\w*$|(^|\.)(norm_q|norm_k|q_norm|k_norm|norm_added_[qkv])$"),
    ("layer_norm", r"(?i)(^|\.)(ln|ln_\w+|\w*norm\w*)$"),
    ("rope", r"(?i)(^|\.)\w*(rotary|rope)\w*$"),
    ("activation", r"(?i)(^|\.)(act|act_fn|activation|nonlinearity|\w*(silu|gelu|relu)\w*|sigmoid|softmax|tanh)$"),
    ("resample", r"(?i)(^|\.)\w*(upsampl|downsampl|interpolat)\w*(\.\d+)?$"),
    ("embedding", r"(?i)(^|\.)\w*(embed|embedding|embedder|embeddings|wte|wpe|time_proj)\w*$"),
)  # fmt: skip
"""Roles by the end of a module's path, tried in this order, after attention and convolution."""


def role_of_class(name: pl.Expr) -> pl.Expr:
    """Role of a class of modules by its name; null where the name does not tell.

    The role of an attention is `self_attention` until its lengths say more.
    """
    rules = (
        (r"^(Linear|NonDynamicallyQuantizableLinear|\w*(Column|Row|Replicated|QKV|Merged)\w*(Linear|ParallelLinear))$", "linear"),
        (r"^\w*Conv[123]d\w*$", "spatial_conv"),
        (r"^\w*Embedding$", "embedding"),
    )  # fmt: skip
    claims = [pl.when(name.str.contains(pattern)).then(pl.lit(role)) for pattern, role in rules]
    block = pl.when(name.str.contains(r"Block$|Layer$|Model$|Encoder$|Decoder$|MLP$")).then(pl.lit("other"))
    by_name = [pl.when(name.str.contains(pattern)).then(pl.lit(role)) for role, pattern in naming.ROLE_OF_CLASS]
    return pl.coalesce(*claims, block, pl.when(is_attention_class(name)).then(pl.lit("self_attention")), *by_name,
                       pl.lit(None, pl.String))  # fmt: skip


def is_attention_class(name: pl.Expr) -> pl.Expr:
    """Whether a class is an attention, by its name; blocks and outputs of attention are none."""
    whole = name.str.contains(rf"({naming.ATTENTION_CLASS})\w*$")
    return whole & ~name.str.contains(r"Block$|Layer$|Model$|Output$|MLP$|Processor$")


def component_of_class(name: pl.Expr) -> pl.Expr:
    """Part of a pipeline by the class of the component; null where it does not tell."""
    rules = (
        *naming.COMPONENT_OF_CLASS,
        ("denoiser", r"(Transformer|UNet)\w*(2D|3D|Motion|SpatioTemporal|Condition)\w*Model$|^UNet\w*$|^DiT\w*$"),
        ("decoder", r"ForCausalLM$|^(Qwen|Llama|Mistral|Gemma|GPT|Phi|Opt|OPT|Falcon)\w*Model$"),
    )
    claims = [pl.when(name.str.contains(pattern)).then(pl.lit(component)) for component, pattern in rules]
    return pl.coalesce(*claims, pl.lit(None, pl.String))


def component_of_path(path: pl.Expr) -> pl.Expr:
    """Part of a pipeline by the first name of a module's path; null where it does not tell."""
    first = path.str.extract(r"^([^./]+)", 1)
    rules = (
        *naming.COMPONENT_OF_ATTRIBUTE,
        ("vae", r"^(first_stage_model|autoencoder|tae)$"),
        ("text_encoder", r"^(cond_stage_model|conditioner|clip|t5)$"),
        ("denoiser", r"^(unet|transformer|transformer_\d|dit|diffusion_model|denoiser|controlnet|prior)$"),
        ("scheduler", r"^scheduler$"),
    )
    claims = [pl.when(first.str.contains(pattern)).then(pl.lit(component)) for component, pattern in rules]
    return pl.coalesce(*claims, pl.lit(None, pl.String))


def role_of_path(path: pl.Expr) -> pl.Expr:
    """Role of a module by its path; `other` where the path does not tell."""
    temporal = "|".join(naming.TEMPORAL_NAMES)
    attention = path.str.contains(r"(?i)(^|\.)(\w*attn\d?|\w*attention)(\.\d+)?$") & ~path.str.contains(r"norm|ln_")
    claims = [
        pl.when(attention & path.str.contains(naming.CROSS_NAME)).then(pl.lit("cross_attention")),
        pl.when(attention & path.str.contains(rf"{temporal}|temporal_attn|attn_temp")).then(pl.lit("temporal_attention")),
        pl.when(attention).then(pl.lit("self_attention")),
        pl.when(path.str.contains(r"(^|\.)temp_convs?(\.\d+)*$|temporal_conv\w*$")).then(pl.lit("temporal_conv")),
        pl.when(path.str.contains(r"(?i)(^|\.)\w*conv(\d*|_\w+|\d_\w+)$") & ~path.str.contains(r"conv_norm|conv_act")).then(pl.lit("spatial_conv")),
        *(pl.when(path.str.contains(pattern)).then(pl.lit(role)) for role, pattern in ROLE_OF_LAST),
    ]  # fmt: skip
    return pl.coalesce(*claims, pl.lit("other"))


def folded(name: pl.Expr) -> pl.Expr:
    """A name without its numbers: each number or address that stands apart becomes `#`.

    Digits within a word stay: `conv2d`, `layer4`.
    """
    apart = r"(^|[^A-Za-z0-9.])(?:0x[0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)*)($|[^A-Za-z0-9])"
    # Twice, because two numbers may share the character between them.
    without = name.str.replace_all(apart, "${1}#${2}").str.replace_all(apart, "${1}#${2}")
    # A name of numbers alone would lose all that it says.
    return pl.when(without.str.contains(r"[A-Za-z]")).then(without).otherwise(name)
