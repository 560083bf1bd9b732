"""What names tell: the role of a class, and the part of a pipeline that a name belongs to.

Annotation and the analysis both read names where nothing better is known, and read them alike. The patterns are in the
syntax that Python and Polars share (no look-around).
"""

from __future__ import annotations

import re

ATTENTION_CLASS = r"Attention|Attn"
"""Classes of attention."""

ROLE_OF_CLASS = (
    ("batch_norm", r"BatchNorm|InstanceNorm"),
    ("group_norm", r"GroupNorm|SpatialNorm"),
    ("rms_norm", r"RMS_?[nN]orm|T5LayerNorm"),
    ("layer_norm", r"[nN]orm"),
    ("rope", r"Rotary|R[oO]PE|Rope"),
    ("activation", r"LU$|Activation|Sigmoid|Tanh|Softmax|Mish|Swish"),
    ("embedding", r"Embed|Timesteps|Quantizer|Positional|Pooling"),
    ("resample", r"Up[sS]ampl|Down[sS]ampl|Resample"),
    ("elementwise", r"Blend|Scale|Gate"),
)
"""Roles by the name of a class, tried in this order."""

COMPONENT_OF_ATTRIBUTE = (
    ("text_encoder", r"text_encoder|^text_model$"),
    ("image_encoder", r"image_encoder|^safety_checker$"),
    ("vae", r"^(vae|vqvae|movq|vqgan|decoder_vae)$|_vae$|_vqvae$"),
)
"""Parts of a pipeline by the attribute under which the pipeline has them, tried in this order."""

COMPONENT_OF_CLASS = (
    ("text_encoder", r"TextModel|T5Encoder|TextEncoder"),
    ("image_encoder", r"VisionModel|ImageEncoder"),
    ("vae", r"Autoencoder|VQModel|VAE"),
)
"""Parts of a pipeline by the class of the component, tried in this order."""

TEMPORAL_NAMES = ("temp_attentions", "motion_modules", "temporal_transformer_blocks", "transformer_in")
"""Modules whose attention and convolutions run along time."""

CROSS_NAME = r"EncDecAttention|cross_attn|encoder_attn|attn2$"
"""Paths of attention whose keys come from elsewhere."""


def first_match(rules: tuple[tuple[str, str], ...], name: str) -> str | None:
    """The value of the first rule whose pattern is found in a name; None where none is."""
    return next((value for value, pattern in rules if re.search(pattern, name)), None)
