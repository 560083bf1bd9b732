"""JAX and everything else on XLA: programs, and the instructions of a program with the scope that they come from."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import component_of_path, first_rule, role_of_path

_HEAD, _NAME = pl.col("head"), pl.col("name").str.strip_prefix("TSL:")
_PROGRAM = _NAME.str.extract(r"^XlaModule:#(?:prefix=[^#]*,)?hlo_module=([^,#]+)", 1)
_INSTRUCTION = _NAME.str.extract(r"^Thunk:#(?:.*,)?hlo_op=([^,#]+)", 1)
# Parameters in brackets count for one call: `reduce_sum[axes=(0, 1)]`.
_SCOPE = _NAME.str.extract(r"^Thunk:#name=([^,#\[]+)", 1)
# `jit(step)/transpose(jvp(Model))/layers_0/attn/dot_general`: modules, then the primitive.
_MODULE = (
    _SCOPE.str.replace_all(r"[\w.]+\([^/]*\)+/?", "")
    .str.replace(r"/?[^/]*$", "")
    .str.replace_all(r"_(\d+)(/|$)", ".${1}${2}")
    .str.replace_all("/", ".", literal=True)
)
_PRIMITIVE = _SCOPE.str.extract(r"([^/]+)$", 1)
_BY_INSTRUCTION = (
    ("communication", (
        r"^(?:ragged-)?(?:all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
        r"|send|recv)"
    )),
    ("spatial_conv", r"^(?:cudnn-)?conv(?:-|_|\d|\.|$)"),
    ("rearrange", r"^(?:\w+_)*(?:copy|transpose|concatenate|slice|reshape|pad)(?:_fusion)?(?:[.\d_]|$)"),
)  # fmt: skip
_BY_PRIMITIVE = (
    ("communication", r"^(?:psum|all_gather|all_to_all|ppermute|reduce_scatter)"),
    ("spatial_conv", r"^conv_general_dilated"),
)
_ROLE_OF_MODULE = role_of_path(pl.when(_MODULE != "").then(_MODULE))

DIALECT = Dialect(
    name="jax",
    doc="XLA of JAX and TensorFlow: the domain TSL",
    source=(
        "xla/service/gpu/runtime/annotation.cc (MakeTitle); NVIDIA/JAX-Toolbox nsys_jax; openxla tests of "
        "roctx_utils"
    ),
    claims=(pl.col("domain") == "TSL").fill_null(value=False)
    | _HEAD.str.contains(r"^(?:TSL:)?(?:Thunk|Xla[A-Z]\w*):#"),
    reads={
        "group": pl.coalesce(
            _PROGRAM, _SCOPE, _INSTRUCTION, _NAME.str.replace_all(r",?(?:program_id|unique_hlo_op_id)=\d+", "")
        ),
        "role": pl.coalesce(
            first_rule(_BY_INSTRUCTION[:1], _INSTRUCTION),
            pl.when(_ROLE_OF_MODULE != "other").then(_ROLE_OF_MODULE),
            first_rule(_BY_PRIMITIVE, _PRIMITIVE),
            first_rule(_BY_INSTRUCTION[1:], _INSTRUCTION),
        ),
        "component": component_of_path(_MODULE),
        "direction": pl.when(_SCOPE.str.contains("transpose(jvp(", literal=True)).then(pl.lit("backward")),
    },
    examples={
        "XlaModule:#hlo_module=jit_train_step,program_id=74#": {
            "domain": "TSL", "group": "jit_train_step", "role": None,
        },
        "TSL:XlaModule:#hlo_module=pjit__train_step,program_id=11#": {"group": "pjit__train_step"},
        "XlaModule:#prefix=jit(f)/jit(main),hlo_module=jit_f,program_id=3#": {"group": "jit_f"},
        "Thunk:#hlo_op=fusion.12#": {"domain": "TSL", "group": "fusion.12", "role": None},
        "Thunk:#hlo_op=all-reduce-start.2#": {"domain": "TSL", "role": "communication"},
        "Thunk:#name=fusion.3,hlo_op=fusion.3#": {"group": "fusion.3", "role": None},
        "Thunk:#name=jit(step)/transpose(jvp(unet))/down_blocks_0/attentions_0/transformer_blocks_0/attn1/to_q/dot_general,"
        "hlo_op=cublas-gemm.7#": {
            "group": "jit(step)/transpose(jvp(unet))/down_blocks_0/attentions_0/transformer_blocks_0/attn1/to_q/"
            "dot_general",
            "role": "linear", "direction": "backward",
        },
        "XlaPass:#name=fusion,module=jit_f,program_id=2#": {"group": "XlaPass:#name=fusion,module=jit_f#"},
    },
)  # fmt: skip
