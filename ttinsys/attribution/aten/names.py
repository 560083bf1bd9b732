"""Role of a PyTorch operation from its name alone, forward or backward, and of collectives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

ATTENTION_FAMILY, CONVOLUTION_FAMILY = "attention", "convolution"
"""What an operation is called whose role needs more than its name: what it attends to, or along which axes it runs.
Families of `ttinsys.attribution.labels.FAMILIES`, and no roles."""

ACTIVATIONS = (
    "silu", "gelu", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "mish", "sigmoid", "tanh", "hardtanh",
    "hardswish", "hardsigmoid", "softplus", "log_sigmoid", "softmax", "_softmax", "log_softmax", "_log_softmax",
    "_safe_softmax", "glu", "prelu", "_prelu_kernel", "threshold", "rrelu",
)  # fmt: skip
ELEMENTWISE = (
    "add", "sub", "rsub", "mul", "div", "true_divide", "floor_divide", "remainder", "fmod", "pow", "sqrt", "rsqrt",
    "exp", "exp2", "expm1", "log", "log2", "log1p", "neg", "abs", "sign", "sin", "cos", "tan", "erf", "reciprocal",
    "square", "clamp", "clamp_min", "clamp_max", "maximum", "minimum", "where", "masked_fill", "addcmul", "addcdiv",
    "lerp", "eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_not", "bitwise_and",
    "bitwise_or", "bitwise_not", "isnan", "isinf", "isfinite", "nan_to_num", "round", "floor", "ceil", "trunc",
    "dropout", "native_dropout", "feature_dropout", "alpha_dropout", "bernoulli", "xlogy", "atan2", "hypot", "copysign",
    "complex", "polar", "tril", "triu",
)  # fmt: skip
_LINEAR = (
    "linear", "addmm", "mm", "mv", "addmv", "_scaled_mm", "_scaled_mm_v2", "_int_mm", "_grouped_mm",
    "_scaled_grouped_mm", "_addmm_activation", "_weight_int8pack_mm", "_weight_int4pack_mm", "mkldnn_linear",
    "_mkldnn_linear", "_mkl_linear", "_nnpack_linear", "bilinear", "sspaddmm", "linear_forward", "fused_dense",
)  # fmt: skip
_LAYER_NORM = ("layer_norm", "native_layer_norm", "fused_layer_norm", "fast_layer_norm")
_GROUP_NORM = ("group_norm", "native_group_norm")
_BATCH_NORM = ("batch_norm", "native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm", "_batch_norm_impl_index",
               "instance_norm", "sync_batch_norm")  # fmt: skip
_RMS_NORM = ("rms_norm", "_fused_rms_norm", "fused_rms_norm", "fused_add_rms_norm", "rmsnorm")
_EMBEDDING = ("embedding", "embedding_bag", "_embedding_bag", "embedding_dense", "one_hot")
_RESAMPLE = (
    "interpolate", "pixel_shuffle", "pixel_unshuffle", "grid_sampler", "grid_sampler_2d", "grid_sampler_3d",
    "affine_grid_generator", "grid_sample",
)  # fmt: skip
_REARRANGE = (
    "copy_", "copy", "clone", "contiguous", "cat", "_cat", "concat", "stack", "permute", "transpose", "t", "to",
    "_to_copy", "reshape", "view", "_unsafe_view", "_reshape_alias", "flatten", "unflatten", "expand", "expand_as",
    "repeat", "repeat_interleave", "roll", "flip", "pad", "constant_pad_nd", "split", "chunk", "unbind", "slice",
    "select", "narrow", "squeeze", "unsqueeze", "index", "index_select", "gather", "scatter", "index_put",
    "_index_put_impl", "type_as", "fill", "zero", "zeros", "ones", "full", "unfold", "im2col", "col2im",
    "index_copy", "scatter_add", "index_add", "take", "masked_select", "masked_scatter", "movedim", "swapaxes",
    "channel_shuffle", "as_strided", "view_as", "split_with_sizes", "split_with_sizes_copy", "zeros_like", "ones_like",
    "full_like", "select_scatter", "slice_scatter", "tile", "meshgrid",
)  # fmt: skip
_CONVOLUTION = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution",
    "_convolution", "_convolution_mode", "convolution_overrideable", "cudnn_convolution", "cudnn_convolution_transpose",
    "cudnn_convolution_relu", "cudnn_convolution_add_relu", "miopen_convolution", "miopen_convolution_transpose",
    "miopen_depthwise_convolution", "miopen_convolution_relu", "miopen_convolution_add_relu", "mkldnn_convolution",
    "_slow_conv2d_forward", "_slow_conv2d", "thnn_conv2d", "slow_conv3d", "slow_conv3d_forward", "_conv_depthwise2d",
    "conv_depthwise3d", "slow_conv_dilated2d", "slow_conv_dilated3d", "slow_conv_transpose2d", "slow_conv_transpose3d",
)  # fmt: skip
_ATTENTION_OPERATIONS = (
    "scaled_dot_product_attention", "_native_multi_head_attention", "multi_head_attention_forward",
)  # fmt: skip


def _roles() -> Iterator[tuple[str, Iterable[str]]]:
    yield "activation", ACTIVATIONS
    yield "elementwise", ELEMENTWISE
    yield "linear", _LINEAR
    yield "layer_norm", _LAYER_NORM
    yield "group_norm", _GROUP_NORM
    yield "rms_norm", _RMS_NORM
    yield "batch_norm", _BATCH_NORM
    yield "embedding", _EMBEDDING
    yield "resample", _RESAMPLE
    yield "rearrange", _REARRANGE
    yield CONVOLUTION_FAMILY, _CONVOLUTION
    yield ATTENTION_FAMILY, _ATTENTION_OPERATIONS


ROLE_OF_NAME = {name: role for role, names in _roles() for name in names}
"""Role of an operation by its name without namespace, overload and trailing underscore."""

_ROLE_OF_PATTERN = (
    (
        "communication",
        re.compile(
            r"^(c10d|nccl|_c10d_functional|_dtensor|symm_mem|gloo|ucc|mpi|rccl)\b|^record_param_comms$|^nccl[A-Z]"
            r"|(^|::|_)(all_?reduce|all_?gather|reduce_?scatter|all_?to_?all)|^(All_?To_?All|AllGather|AllReduce|"
            r"ReduceScatter|_All|_Reduce|_Broadcast)"
        ),
    ),
    ("optimizer", re.compile(r"^Optimizer\.(step|zero_grad)#|^aten::_fused_(adam|adamw|sgd|adagrad)_?$")),
    (
        ATTENTION_FAMILY,
        re.compile(
            r"(scaled_dot_product|flash|efficient|cudnn|flex|paged|sage|fmha|mha)\w*(attention|attn)", re.IGNORECASE
        ),
    ),
    (ATTENTION_FAMILY, re.compile(r"^(flash_attn|xformers_flash|vllm_flash_attn)\w*::|^aiter::(mha|fmha)_")),
    (
        "resample",
        re.compile(r"^aten::_?(upsample|avg_pool|max_pool|adaptive_avg_pool|adaptive_max_pool|mkldnn_max_pool)"),
    ),
    ("resample", re.compile(r"^aten::(reflection|replication)_pad")),
    ("elementwise", re.compile(r"^aten::_foreach_(add|sub|mul|div|neg|sqrt|pow|addcmul|addcdiv|lerp|exp|clamp)")),
    ("rearrange", re.compile(r"^aten::_foreach_(copy|zero)")),
)
"""Roles told by patterns of names with their namespace, tried in this order."""

_OWN = ("aten", "prim", "prims", "torch", "autograd", "quantized")
"""Namespaces of PyTorch itself, whose operations are listed by name."""
_ROLE_OF_CUSTOM = (
    ("rearrange", re.compile(r"cache|permute|transpose|concat|copy|reorder|recat|scatter|gather")),
    ("embedding", re.compile(r"embedding")),
    ("rms_norm", re.compile(r"rms_?norm")),
    ("layer_norm", re.compile(r"layer_?norm|(^|_)ln_")),
    ("group_norm", re.compile(r"group_?norm")),
    ("rope", re.compile(r"rotary|(^|_)m?rope")),
    ("activation", re.compile(r"silu|gelu|swiglu|relu|act_and_mul")),
    (ATTENTION_FAMILY, re.compile(r"attention|attn|(^|_)f?mha(_|$)|(^|_)mla(_|$)")),
    ("linear", re.compile(r"gemm|matmul|linear|(^|_)(scaled_)?mm(_|$)")),
)
"""Roles by words of the operations that libraries add to PyTorch, such as `vllm::unified_attention_with_output`."""

_OVERLOAD = re.compile(r"^([\w:]+::\w+)\.[A-Za-z_]\w*$")
_AUTOGRAD = re.compile(
    r"^(?:autograd::engine::evaluate_function: )?(?:torch::autograd::)?(?:generated::)?(\w+?)Backward\d*$"
)
_ENGINE = "autograd::engine::evaluate_function: "
_BACKWARD = re.compile(r"_backward(_|\b)|(^|: )(torch::autograd::)?(AccumulateGrad|CopyBackwards)$|Backward\d*$|_bwd$")


def operation_name(text: str) -> str:
    """Name of an operation without its overload: `aten::mm.out` is `aten::mm`."""
    match = _OVERLOAD.match(text)
    return match[1] if match else text


def is_backward(name: str) -> bool:
    """Whether an operation is of the backward pass by its own name: `AddmmBackward0`, `aten::mse_loss_backward`."""
    return name.startswith(_ENGINE) or _BACKWARD.search(name) is not None


@lru_cache(maxsize=4096)
def role_of_operation(name: str) -> str | None:
    """Role of an operation from its name; None where sizes or surroundings have to tell.

    A backward operation has the role of its forward one. A product of two batches (`aten::bmm`) has none, as it may be
    part of an attention.

    Args:
        name: Name as a tool gives it, such as `aten::addmm`, `AddmmBackward0` or `nccl:all_reduce`.

    Returns:
        One of `annotate.labels.ROLES`; the family `attention` or `convolution`, whose axes a name does not tell; None.
    """
    name = operation_name(name)
    if name.startswith("triton_"):  # one kernel of several operations, whose names it lists
        return None
    found = next((role for role, pattern in _ROLE_OF_PATTERN if pattern.search(name)), None)
    if found:
        return found
    autograd = _AUTOGRAD.match(name)
    plain = _snake(autograd[1]) if autograd else name.removeprefix(_ENGINE).rpartition("::")[2]
    plain = re.sub(r"_backward(_data|_input)?$", "", plain)
    for candidate in (plain, plain.rstrip("_"), plain.removeprefix("_"), re.sub(r"\dd$", "", plain)):
        if candidate in ROLE_OF_NAME:
            return ROLE_OF_NAME[candidate]
    if autograd:
        return role_of_operation(f"aten::{plain}")
    namespace, _, _ = name.partition("::")
    if "::" not in name or namespace in _OWN:
        return None
    return next((role for role, pattern in _ROLE_OF_CUSTOM if pattern.search(plain)), None)


def _snake(name: str) -> str:
    """`NativeLayerNorm` as `native_layer_norm`, `MaxPool2DWithIndices` as `max_pool2d_with_indices`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9A-Z])(?=[A-Z][a-z])", "_", name).lower()
