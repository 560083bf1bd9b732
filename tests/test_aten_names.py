"""Roles of PyTorch operations from their names."""

from __future__ import annotations

import pytest

from annotate.labels import ROLES
from ttinsys.attribution.aten import is_backward, operation_name, role_of_operation
from ttinsys.attribution.aten.names import ROLE_OF_NAME
from ttinsys.attribution.labels import FAMILIES

EXAMPLES = {
    "aten::addmm": "linear",
    "aten::linear": "linear",
    "aten::mm.out": "linear",
    "aten::_scaled_mm": "linear",
    "AddmmBackward0": "linear",
    "LinearBackward0": "linear",
    "autograd::engine::evaluate_function: MmBackward0": "linear",
    "aten::native_layer_norm": "layer_norm",
    "NativeLayerNormBackward0": "layer_norm",
    "aten::native_group_norm_backward": "group_norm",
    "aten::_fused_rms_norm": "rms_norm",
    "aten::silu_": "activation",
    "aten::gelu_backward": "activation",
    "aten::_softmax_backward_data": "activation",
    "GeluBackward0": "activation",
    "aten::add": "elementwise",
    "aten::mul_": "elementwise",
    "aten::native_dropout_backward": "elementwise",
    "aten::_foreach_add_": "elementwise",
    "aten::embedding": "embedding",
    "aten::embedding_dense_backward": "embedding",
    "aten::upsample_nearest2d": "resample",
    "UpsampleNearest2DBackward0": "resample",
    "MaxPool2DWithIndicesBackward0": "resample",
    "aten::avg_pool3d": "resample",
    "aten::copy_": "rearrange",
    "aten::cat": "rearrange",
    "aten::_to_copy": "rearrange",
    "TBackward0": "rearrange",
    "aten::_scaled_dot_product_flash_attention": "attention",
    "aten::_flash_attention_backward": "attention",
    "flash_attn::_flash_attn_forward": "attention",
    "FlashAttnFunc": "attention",
    "ScaledDotProductFlashAttentionBackward0": "attention",
    "xformers::efficient_attention_forward_cutlass": "attention",
    "aiter::mha_fwd": "attention",
    "aten::conv2d": "convolution",
    "ConvolutionBackward0": "convolution",
    "aten::cudnn_convolution": "convolution",
    "aten::convolution_backward": "convolution",
    "c10d::allreduce_": "communication",
    "c10d::alltoall_base_": "communication",
    "_c10d_functional::all_gather_into_tensor": "communication",
    "nccl:all_to_all": "communication",
    "nccl:_reduce_scatter_base": "communication",
    "record_param_comms": "communication",
    "ncclSend": "communication",
    "ncclGroupEnd": "communication",
    "AllToAll4D": "communication",
    "Optimizer.step#AdamW.step": "optimizer",
    "aten::_fused_adamw_": "optimizer",
    # What these are, their sizes or surroundings tell, or nothing does.
    "aten::bmm": None,
    "aten::matmul": None,
    "aten::empty": None,
    "aten::sum": None,
    "torch::autograd::AccumulateGrad": None,
    "triton_poi_fused__scaled_dot_product_flash_attention_cat_transpose_view_10": None,
    "Forward pass": None,
    "Batch 12": None,
    "": None,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_name_has_its_role(name: str) -> None:
    assert role_of_operation(name) == EXAMPLES[name]


def test_every_role_is_a_role_of_labels_or_a_family() -> None:
    assert {*ROLE_OF_NAME.values()} <= {*ROLES, *FAMILIES}


@pytest.mark.parametrize(
    ("name", "backward"),
    [
        ("AddmmBackward0", True),
        ("autograd::engine::evaluate_function: SumBackward0", True),
        ("torch::autograd::AccumulateGrad", True),
        ("aten::convolution_backward", True),
        ("aten::_log_softmax_backward_data", True),
        ("flash_attn::_flash_attn_backward", True),
        ("aten::addmm", False),
        ("RegisterPostBackwardFunction", False),
        ("Backward pass", False),
    ],
)
def test_backward_by_name(name: str, backward: bool) -> None:
    assert is_backward(name) is backward


def test_overload_is_no_part_of_the_name_and_a_module_path_keeps_its_dots() -> None:
    assert operation_name("aten::mm.out") == "aten::mm"
    assert operation_name("aten::add_.Tensor") == "aten::add_"
    assert operation_name("blocks.3.attn") == "blocks.3.attn"
