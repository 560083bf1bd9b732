"""Layers of TensorRT engines: ONNX paths, and what TensorRT and its compiler Myelin make of them.

A layer may be several nodes fused: the heaviest decides its role. What the compiler has named itself (`fc__mye6092`,
`{ForeignNode[...]}`) has no role: its kernels tell the operator.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import component_of_path, first_rule, role_of_path

_HEAD, _NAME = pl.col("head"), pl.col("name")
_NODE = r"(?:^|[/ (+_])"
"""What stands before the type of a node; after it comes anything but a letter."""
_CONVOLUTION = "Conv ConvTranspose"
_MULTIPLY = "MatMul Gemm Einsum"
_ACTIVATION = (
    "Sigmoid HardSigmoid Relu LeakyRelu PRelu Elu Gelu Erf Tanh Silu Swish HardSwish Softplus Softmax LogSoftmax"
)
_RESAMPLE = "Resize Upsample MaxPool AveragePool GlobalAveragePool GlobalMaxPool"
_REARRANGE = (
    "Reshape Transpose Concat Slice Split Unsqueeze Squeeze Expand Pad Tile Flatten Gather GatherND "
    "ScatterND DepthToSpace SpaceToDepth ConstantOfShape"
)
_ELEMENTWISE = (
    "Add Sub Mul Div Pow Sqrt Exp Log Neg Abs Cos Sin Cast Where Equal Less Greater Not Clip Min Max "
    "Floor Reciprocal QuantizeLinear DequantizeLinear"
)
_REDUCE = (
    "ReduceMean ReduceMax ReduceSum ArgMax InstanceNormalization GroupNormalization LayerNormalization "
    "BatchNormalization"
)
_TYPES = (_CONVOLUTION, _MULTIPLY, _ACTIVATION, _RESAMPLE, _REARRANGE, _ELEMENTWISE, _REDUCE)


def _has(types: str, layer: str) -> str:
    """A pattern for nodes of these types, or for an unnamed layer of TensorRT's own type."""
    return rf"{_NODE}(?:{types.replace(' ', '|')})(?:$|[^A-Za-z])|\[(?:{layer})\]$"


_LAYER = (
    r"^Reformatting CopyNode |^\{ForeignNode\[|^PWN\(|^\(Unnamed Layer\* |^fc_(?:_mye\d|/)|^__my[el]\w*\d|^myelin[A-Z]"
    rf"|^/(?:[\w.]+/)*(?:{' '.join(_TYPES).replace(' ', '|')})(?:_\d+)?(?:_matrix_multiply)?(?: \+|\+|$|_myl)"
)
"""Layers, where the domain is lost."""


def _dotted(path: pl.Expr) -> pl.Expr:
    """A path of an ONNX node, as the path of the module: `/blocks_3/attn1` becomes `blocks.3.attn1`."""
    return path.str.replace_all(r"_(\d+)", ".${1}").str.replace_all("/", ".", literal=True).str.strip_chars(".")


_COPY = (
    r"^Reformatting CopyNode |^reshape_(?:before|after)_| copy$|_copy_(?:input|output)$"
    r"|^\(Unnamed Layer\* \d+\) \[(?:Shuffle|Slice|Concatenation|Gather)\]|^copied_squeeze"
)
_PATH = r"((?:/[\w.]+)*/[\w.]*"
_ATTENTION = _dotted(_NAME.str.extract(rf"{_PATH}(?:[aA]ttn\d?|[aA]ttention))/[A-Z]", 1))
_NORM = _dotted(_NAME.str.extract(rf"{_PATH}norm\d?)/(?:Reduce|[A-Z])", 1))
_SCOPE = _dotted(_NAME.str.extract(r"(/[\w.]+(?:/[\w.]+)*)/[A-Za-z]\w*", 1))
_ROLE_OF_SCOPE = role_of_path(_SCOPE)
_BY_LAYER = (
    ("spatial_conv", _has(_CONVOLUTION, "Convolution|Deconvolution")),
    ("linear", _has(_MULTIPLY, "Fully Connected|Matrix Multiply") + r"|^fc_\w*[+/]"),
    ("group_norm", _has("InstanceNormalization|GroupNormalization", "Normalization")),
    ("layer_norm", _has("LayerNormalization", "LayerNorm")),
)
_BY_NODE = (
    ("activation", _has(_ACTIVATION, "Activation|SoftMax")),
    ("resample", _has(_RESAMPLE, "Pooling|Resize")),
    ("elementwise", _has(_ELEMENTWISE, "ElementWise|Unary|Scale")),
    ("rearrange", _has(_REARRANGE, "Shuffle|Slice|Concatenation|Gather|Padding")),
)
_MODULE_ROLES = ["group_norm", "layer_norm", "rms_norm", "rope", "embedding", "activation", "resample"]

_ROLE = (
    pl.when(_NAME.str.contains(_COPY)).then(pl.lit("rearrange"))
    .when(_HEAD.str.contains("ForeignNode", literal=True)).then(pl.lit("other"))
    .when(_ATTENTION.is_not_null()).then(role_of_path(_ATTENTION))
    .when(_HEAD.str.contains(r"^_?(?:gemm_)?f?mha_")).then(pl.lit("self_attention"))
    .otherwise(pl.coalesce(
        first_rule(_BY_LAYER, _NAME),
        role_of_path(_NORM),
        pl.when(_ROLE_OF_SCOPE.is_in(_MODULE_ROLES)).then(_ROLE_OF_SCOPE),
        first_rule(_BY_NODE, _NAME),
    ))
)  # fmt: skip

DIALECT = Dialect(
    name="tensorrt",
    doc="TensorRT engines: layers of the domains TensorRT and myelin-exec",
    source=(
        "captures of smile2game/nvidia-game and YoonKyonghwan/EfficientCenterFormer; layer profiles with __myl_ "
        "names"
    ),
    claims=pl.col("domain").is_in(["TensorRT", "myelin-exec"]).fill_null(value=False)
    | _HEAD.str.contains(_LAYER),
    reads={"group": _NAME, "role": _ROLE, "component": component_of_path(_SCOPE)},
    examples={
        "/blocks.1/blocks.1.10/Conv + /blocks.1/blocks.1.12/Relu": {
            "domain": "TensorRT", "group": "/blocks.1/blocks.1.10/Conv + /blocks.1/blocks.1.12/Relu",
            "role": "spatial_conv",
        },
        "PWN(PWN(/blocks.2/blocks.2.7/sigmoid/Sigmoid), /blocks.2/blocks.2.7/Mul)": {
            "domain": "TensorRT", "role": "activation",
        },
        "Reformatting CopyNode for Input Tensor 1 to /output_blocks.3/output_blocks.3.0/Add": {"role": "rearrange"},
        "{ForeignNode[/ConstantOfShape_3_output_0.../ScatterND_23]}": {"role": "other"},
        "/output_blocks_3/output_blocks_3_1/transformer_blocks_0/attn2/to_q/MatMul_matrix_multiply": {
            "domain": "myelin-exec", "role": "linear", "component": "denoiser",
        },
        "fc_/output_blocks_3/output_blocks_3_1/transformer_blocks_0/attn1/Einsum_1": {
            "domain": "myelin-exec", "role": "spatial_attention",
        },
        "/input_blocks_5/input_blocks_5_1/transformer_blocks_0/attn1/Mul_6+maxred+sub+exp__mye6124+sum+sr_div+sr_div": {
            "domain": "myelin-exec", "role": "spatial_attention",
        },
        "fc__mye6058+/output_blocks_4/output_blocks_4_1/transformer_blocks_0/ff/net/net_0/Mul_4": {
            "domain": "myelin-exec", "role": "linear",
        },
        "fc__mye6092": {"domain": "myelin-exec", "group": "fc__mye6092", "role": None},
        "/output_blocks.5/output_blocks.5.0/out_layers/out_layers.0/InstanceNormalization": {
            "domain": "TensorRT", "role": "group_norm",
        },
        "/down_blocks.0/attentions.0/transformer_blocks.0/attn1/MatMul": {"role": "spatial_attention"},
        (
            "/down_blocks.0/attentions.0/transformer_blocks.0/ff/net.2/MatMul + "
            "/down_blocks.0/attentions.0/transformer_blocks.0/ff/net.2/Add"
        ): {
            "role": "linear",
        },
        "(Unnamed Layer* 12) [Convolution]": {"group": "(Unnamed Layer* 12) [Convolution]", "role": "spatial_conv"},
        "myelinGraphLoadPersistent": {"domain": "myelin-exec", "role": None},
        "ExecutionContext::execute": {"domain": "TensorRT", "group": "ExecutionContext::execute", "role": None},
    },
)  # fmt: skip
