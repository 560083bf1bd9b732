"""NVIDIA's Transformer Engine: ranges of its PyTorch functions, and of the C functions under them."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import first_rule

_HEAD = pl.col("head")
_ROLES = (
    ("self_attention", (
        r"(?:Fused|Flash|Unfused)?Att(?:entio)?n(?:Func\w*|WithCP\w*)?\.(?:forward|backward)$|nvte_(?:fused"
        r"|flash)_attn"
    )),
    ("rope", r"nvte_fused_rope|nvte_rope"),
    ("rms_norm", r"nvte_rmsnorm"),
    ("layer_norm", r"nvte_layernorm|\.(?:norm|norm_\w+|layernorm\w*)$"),
    ("activation", (
        r"nvte_d?(?:gelu|qgelu|geglu|qgeglu|relu|reglu|srelu|silu|swiglu|clamped_swiglu)|\.(?:activation|gelu)\w*$"
    )),
    ("communication", (
        r"\.(?:\w*all_gather\w*|\w*reduce_scatter\w*|column_parallel_comm\w*|row_parallel_comm\w*|\w*_etp_ag)$"
    )),
    ("linear", (
        r"nvte_(?:cublas|multi_stream_cublas|multi_tensor|grouped|cutlass)\w*gemm|\.(?:\w+_)?(?:gemm|wgrad"
        r"|dgrad)\w*$"
    )),
    ("rearrange", r"nvte_(?:multi_)?transpose|nvte_(?:un)?permute|nvte_\w*padding"),
    ("elementwise", (
        r"nvte_(?:cast|quantize|dequantize|compute_amax|multi_cast|dbias|swizzle)|\.(?:input_cast\w*|weight_cast\w*"
        r"|bgrad\w*)$"
    )),
)  # fmt: skip

DIALECT = Dialect(
    name="transformer-engine",
    doc="Transformer Engine's ranges: transformer_engine._Linear.forward.gemm, nvte_cublas_gemm_v2",
    source="transformer_engine/pytorch/module/linear.py (nvtx_label), transformer_engine/common (NVTE_API_CALL)",
    claims=_HEAD.str.contains(r"^transformer_engine\.|^nvte_[a-z]\w*$"),
    reads={
        "group": _HEAD,
        "role": first_rule(_ROLES, _HEAD),
        "direction": pl.when(_HEAD.str.contains(
            r"\.backward(?:\.|$)|^nvte_d[a-z]|_bwd|_backward|dbias"
        )).then(pl.lit("backward")),
    },
    examples={
        "transformer_engine._Linear.forward.gemm": {
            "group": "transformer_engine._Linear.forward.gemm", "role": "linear", "direction": None,
        },
        "transformer_engine._Linear.forward.input_cast_comm": {"role": "elementwise"},
        "transformer_engine._LayerNormLinear.forward.norm_input_cast": {"role": "layer_norm"},
        "transformer_engine.FusedAttnFunc.forward": {"role": "self_attention"},
        "transformer_engine.FusedAttnFunc.backward": {"role": "self_attention", "direction": "backward"},
        "nvte_cublas_gemm_v2": {"role": "linear"},
        "nvte_dgeglu_cast_transpose": {"role": "activation", "direction": "backward"},
        "nvte_transpose": {"role": "rearrange"},
        "nvte_fused_moe_aux_loss_forward": {"role": None, "direction": None},
    },
)  # fmt: skip
