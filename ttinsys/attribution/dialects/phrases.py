"""Words that people write by hand: `scaled dot product attention`, `self_attn`, `vae_decode`.

Only a name that says one thing as a whole is read: words around it may mean anything.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import first_rule

# One spelling: words in small letters, a space between.
_SAID = (
    pl.col("head")
    .str.replace_all(r"([a-z])([A-Z])", "${1} ${2}")
    .str.to_lowercase()
    .str.replace_all(r"[^a-z0-9]+", " ")
    .str.strip_chars(" ")
)
_KIND = r"(?:scaled dot product|multi ?head|causal|masked|flash|fused|full|sdpa|window(?:ed)?|{})"
_END = r"(?: (?:forward|fwd|kernel|core|layer|op))?$"


def _attention(kind: str) -> str:
    words = _KIND.format(kind) if kind else _KIND.format("self")
    need = rf"(?:{words} )*{kind} (?:{words} )*" if kind else rf"(?:{words} )*"
    return rf"^(?:compute |computing |run )?{need}(?:attention|attn){_END}"


_ROLES = (
    ("self_attention", _attention("")),
    ("cross_attention", _attention("cross")),
    ("temporal_attention", _attention("(?:temporal|time)")),
    ("spatial_attention", _attention("spatial")),
    ("joint_attention", _attention("joint")),
    ("linear", (
        rf"^(?:linear|(?:qkv|query|key|value|q|k|v|o|out|output|input|up|down|gate) proj(?:ection)?|lm head){_END}"
    )),
    ("group_norm", rf"^group ?norm{_END}"),
    ("rms_norm", rf"^rms ?norm{_END}"),
    ("layer_norm", rf"^(?:input |post attention |final )?(?:layer ?norm|ln){_END}"),
    ("rope", rf"^(?:apply )?(?:rope|rotary(?: pos(?:itional|ition)?)?(?: emb(?:edding)?)?){_END}"),
    ("activation", rf"^(?:gelu|silu|relu|swiglu|geglu|activation){_END}"),
    ("embedding", rf"^(?:token |position |patch |time |timestep )?embed(?:ding|dings)?{_END}"),
    ("spatial_conv", rf"^(?:spatial )?conv(?:olution)?(?:1d|2d)?{_END}"),
    ("temporal_conv", rf"^temporal conv(?:olution)?{_END}"),
    ("resample", rf"^(?:up|down) ?sampl(?:e|ing){_END}"),
    ("communication", (
        r"^(?:all ?reduce|all ?gather|reduce ?scatter|all ?to ?all|broadcast|p2p|(?:gradient|grad|ulysses"
        r"|ring) (?:all ?reduce|sync|all ?to ?all|communication)|comm|communication)$"
    )),
    ("scheduler", r"^(?:noise )?scheduler (?:step|update)$"),
)  # fmt: skip
_COMPONENTS = (
    ("vae", (
        r"^(?:vae|autoencoder)(?: (?:encod\w+|decod\w+|forward|fwd))?$|^encod\w+ (?:latents?|vae|with vae)$"
        r"|^decod\w+ (?:latents?|images?|videos?|vae|with vae|frames?)$"
    )),
    ("text_encoder", (
        r"^(?:text|prompt|clip|t5)(?: (?:text|prompt))? encod\w+(?: forward)?$|^encod\w+ (?:text|prompts?)$"
    )),
    ("image_encoder", r"^image encod\w+$|^encod\w+ image prompt$"),
    ("denoiser", (
        r"^(?:denois\w+|diffusion)(?: loop)?$|^(?:unet|dit|denoiser)(?: (?:forward|fwd|call|pass|inference))?$"
        r"|^predict noise$"
    )),
    ("scheduler", r"^(?:noise )?scheduler (?:step|update)$"),
)  # fmt: skip
_PHASES = (
    ("prefill", r"^prefill(?: (?:phase|step|stage))?$"),
    ("decode", r"^decod(?:e|ing) (?:phase|step|token|one token)$"),
)

_BACKWARD = r"^(?:loss )?backward(?: pass)?$"
_ANY = "|".join(f"(?:{rule})" for _, rule in (*_ROLES, *_COMPONENTS, *_PHASES, ("backward", _BACKWARD)))

DIALECT = Dialect(
    name="phrases",
    doc="ranges that people name in words",
    source=(
        "captures of zx3xyy/assignment2-systems and openhackathons-org/AI-Profiler; nvtx.annotate in public "
        "repositories"
    ),
    claims=pl.col("rest").is_null() & _SAID.str.contains(_ANY),
    reads={
        "group": pl.col("head"),
        "role": first_rule(_ROLES, _SAID),
        "component": first_rule(_COMPONENTS, _SAID),
        "phase": first_rule(_PHASES, _SAID),
        "direction": pl.when(_SAID.str.contains(_BACKWARD)).then(pl.lit("backward")),
    },
    examples={
        "scaled dot product attention": {"group": "scaled dot product attention", "role": "self_attention"},
        "self_attn": {"role": "self_attention", "component": None},
        "CrossAttention.forward": {"role": "cross_attention"},
        "temporal attention": {"role": "temporal_attention"},
        "qkv_proj": {"role": "linear"},
        "rmsnorm": {"role": "rms_norm"},
        "conv2d": {"role": "spatial_conv"},
        "all_reduce": {"role": "communication"},
        "vae_decode": {"role": None, "component": "vae"},
        "encode_prompt": {"component": "text_encoder"},
        "denoising loop": {"component": "denoiser"},
        "prefill": {"phase": "prefill", "direction": None},
        "Backward pass": {"group": "Backward pass", "direction": "backward", "role": None},
    },
    rank=85,
)  # fmt: skip
