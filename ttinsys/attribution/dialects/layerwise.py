"""Layerwise hooks of vLLM, SGLang and TensorRT-LLM: one dictionary per module call, as Python prints it."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import component_of_path, role_of_path

_HEAD, _NAME = pl.col("head"), pl.col("name")
_PATH = _HEAD.str.extract(r"""^\{['"]Module['"]: ["']+([^'"]+)["']+""", 1)
_MODULE = _PATH.str.replace(r"^top\.", "")
# A second, empty range follows each module, which tells the sizes of its outputs.
_IS_OUTPUT = _NAME.str.contains("'Outputs': ", literal=True)
_WEIGHT = _NAME.str.extract(r"'weight': (\[[\d, ]+\])", 1)
_INPUTS = _NAME.str.extract(r"'Inputs': (\[\[[\d, \[\]]*\]\])", 1)
_FIRST_INPUT = _INPUTS.str.extract(r"^\[(\[[\d, ]*\])", 1)
_KERNEL = _NAME.str.extract(r"'filter_dim': \(([\d, ]+)\)", 1)
_IS_CONVOLUTION = _NAME.str.contains(r"'StaticParams': \{'in_chan'")

_WIDTH = _FIRST_INPUT.str.extract(r"(\d+)\]$", 1)
_IS_MATRIX = _WEIGHT.str.contains(r"^\[\d+, \d+\]$") & _FIRST_INPUT.str.contains(",", literal=True)
_IS_LINEAR = _IS_MATRIX & (_WEIGHT.str.extract(r"(\d+)\]$", 1) == _WIDTH)
# Quantized weights are kept transposed.
_IS_TRANSPOSED = _IS_MATRIX & ~_IS_LINEAR & (_WEIGHT.str.extract(r"^\[(\d+)", 1) == _WIDTH)
_IS_EMBEDDING = _NAME.str.contains("'num_embeddings'", literal=True)

_OPERATION = (
    pl.when(_IS_CONVOLUTION & _WEIGHT.is_not_null() & _INPUTS.is_not_null()).then(pl.lit("aten::convolution"))
    .when(_IS_LINEAR & ~_IS_EMBEDDING).then(pl.lit("aten::linear"))
    .when(_IS_TRANSPOSED).then(pl.lit("aten::matmul"))
)  # fmt: skip


def _static(name: str) -> pl.Expr:
    """A list among the static parameters of a convolution, as JSON."""
    inside = _NAME.str.extract(rf"'{name}': \(([\d, ]+)\)", 1).str.strip_chars(", ")
    return pl.format("[{}]", inside)


_TRANSPOSED = _NAME.str.extract("'transposed': (True|False)", 1)
_GROUPS = _NAME.str.extract(r"'groups': (\d+)", 1)
# Arguments of aten::convolution after input, weight and bias.
_VALUES = pl.format(
    '["", "", "", "{}", "{}", "{}", "{}", "{}", "{}"]',
    _static("stride"), _static("padding"), _static("dilation"), _TRANSPOSED, _static("output_padding"), _GROUPS,
)  # fmt: skip
_CONVOLUTION = (
    pl.when(_KERNEL.str.contains(r"^1(, 1)*,?$")).then(pl.lit("pointwise_conv"))
    .when(~_KERNEL.str.contains(r"^\d+, \d+, \d+$")).then(pl.lit("spatial_conv"))
    .when(_KERNEL.str.contains(r"^\d+, 1, 1$")).then(pl.lit("temporal_conv"))
    .when(_KERNEL.str.contains(r"^1, ")).then(pl.lit("spatial_conv"))
    .otherwise(pl.lit("spatiotemporal_conv"))
)  # fmt: skip
_ROLE_BY_PATH = role_of_path(_MODULE)
_ROLE = (
    pl.when(_IS_CONVOLUTION & _KERNEL.is_not_null()).then(_CONVOLUTION)
    .when(_IS_EMBEDDING).then(pl.lit("embedding"))
    .when(_NAME.str.contains("'scale_factor'", literal=True)).then(pl.lit("resample"))
    .when(_NAME.str.contains("'num_features'", literal=True)).then(pl.lit("other"))
    .when((_ROLE_BY_PATH == "other") & (_IS_LINEAR | _IS_TRANSPOSED)).then(pl.lit("linear"))
    .otherwise(_ROLE_BY_PATH)
)  # fmt: skip

DIALECT = Dialect(
    name="layerwise",
    doc="vLLM's and SGLang's --enable-layerwise-nvtx-marker... (PytHooks), TensorRT-LLM's LayerwiseNvtxMarker",
    source="vllm/utils/nvtx_pytorch_hooks.py and sglang/srt/utils/nvtx_pytorch_hooks.py; published analyses of SGLang",
    claims=_HEAD.str.contains(r"""^\{['"]Module['"]: """),
    reads={
        "group": pl.when(_IS_OUTPUT).then(pl.format("{} outputs", _MODULE)).otherwise(_MODULE),
        "operation": pl.when(~_IS_OUTPUT).then(_OPERATION),
        "role": pl.when(~_IS_OUTPUT).then(_ROLE),
        "component": component_of_path(_MODULE),
        "is_module": ~_IS_OUTPUT,
        "sizes": pl.when(_OPERATION.is_not_null())
        .then(pl.format("[{}, {}]", _FIRST_INPUT, _WEIGHT))
        .otherwise(_INPUTS),
        "values": pl.when(_OPERATION == "aten::convolution").then(_VALUES),
    },
    examples={
        "{'Module': 'model.model.layers.0.self_attn.fused_qkv_a_proj_with_mqa', 'TrainableParams': {'weight': "
        "[2112, 7168], "
        "'weight_scale_inv': [17, 56]}, 'Inputs': [[2048, 7168]]}": {
            "group": "model.model.layers.0.self_attn.fused_qkv_a_proj_with_mqa", "role": "linear", "is_module": True,
            "operation": "aten::linear", "sizes": "[[2048, 7168], [2112, 7168]]", "component": None,
        },
        "{'Module': 'Qwen3ForCausalLM.model.layers.7.mlp.down_proj', 'TrainableParams': {'weight': [12288, 4096]}, "
        "'Inputs': [[512, 12288]]}": {
            "role": "linear", "component": "decoder", "operation": "aten::matmul",
            "sizes": "[[512, 12288], [12288, 4096]]",
        },
        "{'Module': 'Qwen3ForCausalLM.model.layers.7.mlp.down_proj', 'TrainableParams': {'weight': [4096, 12288]}, "
        "'Outputs': [[512, 4096]]}": {
            "group": "Qwen3ForCausalLM.model.layers.7.mlp.down_proj outputs", "role": None, "is_module": False,
        },
        "{'Module': 'top.conv1', 'TrainableParams': {'weight': [64, 3, 7, 7]}, 'Inputs': [[8, 3, 224, 224]], "
        "'StaticParams': {'in_chan': 3, 'out_chan': 64, 'filter_dim': (7, 7), 'stride': (2, 2), 'padding': (3, 3), "
        "'dilation': (1, 1), 'transposed': False, 'output_padding': (0, 0), 'groups': 1, 'padding_mode': 'zeros'}}": {
            "group": "conv1", "role": "spatial_conv", "operation": "aten::convolution",
            "sizes": "[[8, 3, 224, 224], [64, 3, 7, 7]]",
            "values": '["", "", "", "[2, 2]", "[3, 3]", "[1, 1]", "False", "[0, 0]", "1"]',
        },
        "{'Module': 'model.model.layers.0.self_attn.attn', 'Inputs': [[2048, 2048], [2048, 512], [2048, 512]]}": {
            "role": "self_attention", "operation": None, "sizes": "[[2048, 2048], [2048, 512], [2048, 512]]",
        },
        "{'Module': 'model.model.embed_tokens', 'TrainableParams': {'weight': [151936, 2048]}, 'Inputs': [[2048]]}": {
            "role": "embedding", "operation": None,
        },
    },
)  # fmt: skip
