"""Markers of SGLang's diffusion runtime: stages, denoising steps, and module calls with the sizes of their inputs."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import component_of_path, role_of_path

_HEAD, _NAME = pl.col("head"), pl.col("name")
_PATH = _HEAD.str.extract(r"^(\S+) in=\[", 1)
_STEP = r"^denoising_step_(\d{1,9})_t.*$"
_STAGE = _HEAD.str.extract(r"^stage_(\w+)$", 1)
_SIZES = _NAME.str.extract(r" in=(\[\[[\d, \[\]]*\]\])$", 1)


def _size(tensor: int, axis: int) -> pl.Expr:
    """Size of one input along one axis; null where the input has fewer than three or more than four axes."""
    axes = r"\[(\d+), (\d+), (\d+)(?:, (\d+))?\]"
    return _SIZES.str.extract(r"^\[" + r"\[[\d, ]*\], " * tensor + axes, axis + 1).cast(pl.Int64, strict=False)


_BATCH, _QUERIES, _KEYS = _size(0, 0), _size(0, 1), _size(1, 1)
_WIDTH, _KEY_WIDTH = (_size(tensor, 2) * _size(tensor, 3).fill_null(1) for tensor in (0, 1))
_ROLE = role_of_path(_PATH)
_IS_ATTENTION = _ROLE.str.ends_with("_attention") & _QUERIES.is_not_null()
_HEADS_APART = _size(0, 3).is_not_null() & (_size(2, 1) == _KEYS)
_LIKE = (_size(1, 0) == _BATCH) & _KEYS.is_not_null()
# Queries, keys and values are given, or the inputs of one self-, cross- or joint attention: picture, then text.
_VALUES_LIKE_KEYS = (_size(2, 1) == _KEYS) & (_size(2, 2) == _size(1, 2))
_KEYS_GIVEN = (_LIKE & (_HEADS_APART | (_ROLE == "cross_attention") | _VALUES_LIKE_KEYS)).fill_null(value=False)
_IS_JOINT = _LIKE & ~_KEYS_GIVEN & (_WIDTH == _KEY_WIDTH) & (_KEYS != _QUERIES)
# Sizes of PyTorch's attention: batch, heads, length and width, or batch, length and width of all heads together.
_HEADS_GIVEN = (_HEADS_APART & (_size(1, 2) == _size(0, 2))).fill_null(value=False)
_QUERY = pl.format("[{}, {}, {}]", _BATCH, _QUERIES, _WIDTH)
_QUERY_OF_HEADS = pl.format("[{}, {}, {}, {}]", _BATCH, _size(0, 2), _QUERIES, _size(0, 3))
_KEY_OF_HEADS = pl.format("[{}, {}, {}, {}]", _BATCH, _size(1, 2), _KEYS, _size(1, 3))
_KEY = pl.format("[{}, {}, {}]", _BATCH, _KEYS, _WIDTH)
_JOINT = pl.format("[{}, {}, {}]", _BATCH, _QUERIES + _KEYS, _WIDTH)
_LENGTHS = (
    pl.when(_HEADS_GIVEN).then(pl.format("[{}, {}, {}]", _QUERY_OF_HEADS, _KEY_OF_HEADS, _KEY_OF_HEADS))
    .when(_KEYS_GIVEN).then(pl.format("[{}, {}, {}]", _QUERY, _KEY, _KEY))
    .when(_IS_JOINT).then(pl.format("[{}, {}, {}]", _JOINT, _JOINT, _JOINT))
    .otherwise(pl.format("[{}, {}, {}]", _QUERY, _QUERY, _QUERY))
)  # fmt: skip
_ROLE_BY_SIZE = (
    pl.when(_IS_ATTENTION & _IS_JOINT).then(pl.lit("joint_attention"))
    .when(_IS_ATTENTION & _KEYS_GIVEN & (_KEYS != _QUERIES)).then(pl.lit("cross_attention"))
    .when(_HEAD == "scheduler_step").then(pl.lit("scheduler"))
    .otherwise(_ROLE)
)  # fmt: skip
_COMPONENT_OF_STAGE = (
    ("text_encoder", r"^TextEncod"),
    ("image_encoder", r"^ImageEncod"),
    ("denoiser", r"Denoising"),
    ("vae", r"VAE|^Decoding|^Encoding"),
)

DIALECT = Dialect(
    name="sglang-diffusion",
    doc="SGLang's diffusion runtime under --enable-layerwise-nvtx-marker",
    source="github.com/sgl-project/sglang/pull/25683 (DiffusionNvtxHooks: `{name} in={shapes}`)",
    claims=_HEAD.str.contains(
        r"^[A-Za-z_][\w.]* in=\[\[|^stage_[A-Z]\w*$|^denoising_step_\d+_t|^(?:denoising_loop|predict_noise"
        r"|scheduler_step)$"
    ),
    reads={
        "group": pl.coalesce(_PATH, _HEAD.str.replace(_STEP, "denoising_step_#")),
        "operation": pl.when(_IS_ATTENTION).then(pl.lit("aten::scaled_dot_product_attention")),
        "role": _ROLE_BY_SIZE,
        "component": pl.coalesce(
            component_of_path(_PATH),
            *(pl.when(_STAGE.str.contains(pattern)).then(pl.lit(part)) for part, pattern in _COMPONENT_OF_STAGE),
            pl.when(_HEAD.is_in(["denoising_loop", "predict_noise"])).then(pl.lit("denoiser")),
            pl.when(_HEAD == "scheduler_step").then(pl.lit("scheduler")),
        ),
        "is_module": _PATH.is_not_null(),
        "step": _HEAD.str.extract(_STEP, 1).cast(pl.Int64, strict=False),
        "sizes": pl.when(_IS_ATTENTION).then(_LENGTHS).otherwise(_SIZES),
    },
    examples={
        "stage_DenoisingStage": {"group": "stage_DenoisingStage", "component": "denoiser", "role": None},
        "stage_TextEncodingStage": {"component": "text_encoder"},
        "stage_InputValidationStage": {"component": None},
        "denoising_loop": {"group": "denoising_loop", "component": "denoiser"},
        "denoising_step_12_t749": {"group": "denoising_step_#", "step": 12, "role": None},
        "predict_noise": {"component": "denoiser"},
        "scheduler_step": {"role": "scheduler", "component": "scheduler"},
        "transformer.blocks.0.attn1 in=[[1, 4096, 320]]": {
            "group": "transformer.blocks.0.attn1", "role": "self_attention", "component": "denoiser",
            "operation": "aten::scaled_dot_product_attention", "is_module": True,
            "sizes": "[[1, 4096, 320], [1, 4096, 320], [1, 4096, 320]]",
        },
        "transformer.blocks.0.attn2 in=[[1, 4096, 320], [1, 77, 768]]": {
            "role": "cross_attention", "sizes": "[[1, 4096, 320], [1, 77, 320], [1, 77, 320]]",
        },
        "transformer.transformer_blocks.3.attn in=[[1, 4096, 3072], [1, 512, 3072], [4608, 64], [4608, 64]]": {
            "role": "joint_attention", "sizes": "[[1, 4608, 3072], [1, 4608, 3072], [1, 4608, 3072]]",
        },
        "transformer.blocks.7.attn1.attn in=[[1, 32760, 12, 128], [1, 32760, 12, 128], [1, 32760, 12, 128]]": {
            "role": "self_attention",
            "sizes": "[[1, 12, 32760, 128], [1, 12, 32760, 128], [1, 12, 32760, 128]]",
        },
        "transformer.blocks.0.ffn.fc_in in=[[1, 4096, 320]]": {
            "role": "linear", "operation": None, "sizes": "[[1, 4096, 320]]",
        },
    },
)  # fmt: skip
