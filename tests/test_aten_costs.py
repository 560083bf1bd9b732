"""FLOPs and bytes of PyTorch operations from their sizes: torch's own formulas are the oracle where there are any."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from ttinsys.attribution.aten import cost_of, operation_costs
from ttinsys.attribution.aten.convolutions import convolution_role
from ttinsys.attribution.aten.cost import formula

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional

from tests.aten_calls import dispatched  # noqa: E402


def meta(*size: int, **options: Any) -> Any:
    return torch.empty(size, device="meta", **options)


def forward_and_backward(module: Any, *size: int) -> Any:
    return lambda: module.to("meta")(meta(*size, requires_grad=True)).sum().backward()


PROGRAMS = {
    "linear": forward_and_backward(nn.Linear(8, 12), 2, 5, 8),
    "linear without bias": forward_and_backward(nn.Linear(8, 12, bias=False), 5, 8),
    "bmm": lambda: torch.bmm(meta(3, 4, 5), meta(3, 5, 6)),
    "baddbmm": lambda: torch.baddbmm(meta(3, 4, 6), meta(3, 4, 5), meta(3, 5, 6)),
    "matmul": lambda: torch.matmul(meta(2, 1, 4, 5), meta(3, 5, 6)),
    "conv1d": forward_and_backward(nn.Conv1d(4, 6, 3, stride=2, padding=1), 2, 4, 10),
    "conv2d": forward_and_backward(nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), dilation=1), 2, 4, 9, 11),
    "conv2d with dilation": forward_and_backward(nn.Conv2d(4, 6, 3, dilation=2), 2, 4, 9, 11),
    "conv3d": forward_and_backward(nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0)), 2, 4, 5, 6, 7),
    "conv2d by groups": lambda: nn.Conv2d(4, 6, 3, groups=2).to("meta")(meta(2, 4, 9, 9)),
    "transposed": forward_and_backward(nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1), 2, 6, 4, 5),
    "transposed by groups": lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2).to("meta")(meta(2, 6, 4, 5)),
    "first convolution": lambda: nn.Conv2d(3, 6, 3).to("meta")(meta(2, 3, 9, 9)).sum().backward(),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_flops_and_output_equal_those_of_torch(program: str) -> None:
    calls = dispatched(PROGRAMS[program])
    assert calls
    for call in calls:
        cost = cost_of(call.name, call.sizes, values=call.values)
        assert cost is not None, call
        assert cost.flops == call.flops, call
        if "backward" not in call.name:
            assert cost.output is not None
            assert list(cost.output) == call.output, call


@pytest.mark.parametrize(("heads", "kv_heads", "width", "value_width"), [(4, 4, 8, 8), (8, 2, 16, 16), (4, 4, 8, 12)])
@pytest.mark.parametrize(("q_len", "kv_len"), [(16, 16), (16, 7), (1, 33)])
def test_attention_equals_torch_forward_and_backward(
    heads: int, kv_heads: int, width: int, value_width: int, q_len: int, kv_len: int
) -> None:
    from torch.utils.flop_counter import sdpa_backward_flop_count, sdpa_flop_count

    q, k, v = [2, heads, q_len, width], [2, kv_heads, kv_len, width], [2, kv_heads, kv_len, value_width]
    out = [2, heads, q_len, value_width]
    ahead = cost_of("aten::_scaled_dot_product_flash_attention", [q, k, v, [], [], []])
    back = cost_of("aten::_scaled_dot_product_efficient_attention_backward", [out, q, k, v, [], out])
    assert ahead is not None
    assert back is not None
    assert ahead.flops == sdpa_flop_count(q, k, v)  # type: ignore[no-untyped-call]
    assert back.flops == sdpa_backward_flop_count(out, q, k, v)  # type: ignore[no-untyped-call]
    assert (ahead.q_len, ahead.kv_len, ahead.heads, ahead.batch) == (q_len, kv_len, heads, 2)
    assert (ahead.direction, back.direction) == ("forward", "backward")


def test_layouts_of_one_attention_have_one_cost() -> None:
    heads_first, heads_later = [2, 4, 16, 8], [2, 16, 4, 8]
    costs = [
        cost_of("aten::scaled_dot_product_attention", [heads_first] * 3),
        cost_of("aten::_flash_attention_forward", [*[heads_later] * 3, [], []]),
        cost_of("aten::_efficient_attention_forward", [*[heads_later] * 3, [], [], []]),
        cost_of("flash_attn::_flash_attn_forward", [heads_later] * 3),
        cost_of("FlashAttnFunc", [heads_later] * 3),
        cost_of("xformers_flash::flash_fwd", [*[heads_later] * 3, [], []]),
    ]
    told = {(cost.role, cost.flops, cost.q_len, cost.kv_len, cost.heads, cost.batch) for cost in costs if cost}
    assert len([cost for cost in costs if cost]) == 6
    assert told == {("attention", 2 * 2 * 4 * 16 * 16 * 16, 16, 16, 4, 2)}


def test_packed_sequences_count_where_all_are_as_long_as_the_longest() -> None:
    packed = [[32, 4, 8]] * 3
    even = cost_of(
        "flash_attn::_flash_attn_varlen_forward", [*packed, [3], [3]], values=["", "", "", "", "", "16", "16"]
    )
    uneven = cost_of(
        "flash_attn::_flash_attn_varlen_forward", [*packed, [3], [3]], values=["", "", "", "", "", "20", "20"]
    )
    assert even is not None
    assert uneven is not None
    assert (even.flops, even.q_len, even.batch) == (2 * 2 * 4 * 16 * 16 * 16, 16, 2)
    assert (uneven.role, uneven.flops, uneven.q_len) == ("attention", None, None)


def test_gradient_of_a_grouped_weight_counts_pairs_within_a_group() -> None:
    # 8 channels alone, 3 x 3, 6 x 6 positions, batch 2: 2 * 2 * 36 * 9 * 8 each way. torch counts the weight's 8 times.
    cost = cost_of(
        "aten::convolution_backward",
        [[2, 8, 6, 6], [2, 8, 6, 6], [8, 1, 3, 3]],
        values=["", "", "", "[0]", "[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "8", "[True, True, False]"],
    )
    assert cost is not None
    assert cost.flops == 2 * (2 * 2 * 36 * 9 * 8)


@pytest.mark.parametrize(
    ("name", "sizes", "flops", "output"),
    [
        pytest.param("aten::mm.out", [[4, 5], [5, 6], [4, 6]], 240, (4, 6), id="overload"),
        pytest.param("aten::linear", [[2, 3, 4], [5, 4], [5]], 240, (2, 3, 5), id="linear"),
        pytest.param("aten::mv", [[4, 5], [5]], 40, (4,), id="matrix and vector"),
        pytest.param("aten::matmul", [[2, 3, 4, 5], [5, 6]], 1440, (2, 3, 4, 6), id="broadcast weight"),
        pytest.param("aten::_int_mm", [[4, 5], [5, 6]], 240, (4, 6), id="int8"),
        pytest.param("aten::_scaled_mm", [[4, 5], [5, 6], [], []], 240, (4, 6), id="fp8"),
        pytest.param("aten::_grouped_mm", [[10, 5], [3, 5, 6], [3]], 600, (10, 6), id="rows of experts"),
        pytest.param("aten::_grouped_mm", [[4, 10], [10, 6], [3]], 480, (3, 4, 6), id="gradients of experts"),
        pytest.param("aten::_weight_int4pack_mm", [[4, 64], [2, 4, 32, 4], [], [2, 16, 2]], 8192, (4, 16), id="int4"),
    ],
)
def test_products(name: str, sizes: list[list[int]], flops: int, output: tuple[int, ...]) -> None:
    cost = cost_of(name, sizes)
    assert cost is not None
    assert (cost.role, cost.flops, cost.output) == ("linear", flops, output)


@pytest.mark.parametrize(
    "sizes", [[[], [[2, 3, 4], [2, 5, 4]], []], [[], [2, 3, 4], [2, 5, 4], []]], ids=["nested", "flat"]
)
def test_einsum_counts_every_combination_of_indices_and_abstains_without_its_equation(sizes: list[Any]) -> None:
    cost = cost_of("aten::einsum", sizes, values=["bqd,bkd->bqk"])
    assert cost is not None
    assert (cost.flops, cost.output) == (2 * 2 * 3 * 5 * 4, (2, 3, 5))
    assert cost_of("aten::einsum", sizes, values=["", "", ""]) is None


def test_convolution_without_strides_has_a_role_and_its_flops_need_the_size_of_the_result() -> None:
    sizes = [[1, 4, 8, 8], [6, 4, 3, 3], [6], [], [], [], []]
    unknown = cost_of("aten::conv2d", sizes)
    known = cost_of("aten::conv2d", sizes, output=[1, 6, 4, 4])
    assert unknown is not None
    assert known is not None
    assert (unknown.role, unknown.flops, unknown.bytes) == ("spatial_conv", None, None)
    assert known.flops == 2 * 6 * 16 * 4 * 9


def test_roles_of_convolutions_are_those_of_annotation() -> None:
    from annotate import roles

    for cls, kernels in (
        (nn.Conv1d, [1, 3]),
        (nn.Conv2d, [1, 3]),
        (nn.Conv3d, [1, 3, (3, 1, 1), (1, 3, 3), (2, 1, 1)]),
    ):
        for kernel in kernels:
            module = cls(2, 2, kernel)
            assert convolution_role(tuple(module.weight.shape[2:])) == roles.convolution_role(module)


def test_bytes_are_inputs_weights_and_outputs_once_each() -> None:
    half = ["c10::Half"] * 3
    linear = cost_of("aten::linear", [[2, 3, 4], [5, 4], [5]], half)
    norm = cost_of("aten::layer_norm", [[2, 3, 4], [], [4], [4]], ["float", "ScalarList", "float", "float"])
    cast = cost_of("aten::copy_", [[6], [6], []], ["c10::BFloat16", "float", "Scalar"])
    lookup = cost_of("aten::embedding", [[100, 8], [2, 3]], ["float", "long int"])
    assert linear is not None
    assert norm is not None
    assert cast is not None
    assert lookup is not None
    assert (linear.bytes, linear.dtype) == (2 * (24 + 20 + 5 + 30), "float16")
    assert (norm.bytes, norm.flops) == (4 * (24 + 4 + 4 + 24), 0)
    assert cast.bytes == 6 * 4 + 6 * 2
    assert lookup.bytes == 6 * 8 + 2 * 48 * 4


def test_bytes_without_types_need_the_bytes_of_an_element() -> None:
    sizes = [[4, 5], [5, 6]]
    unknown, known = cost_of("aten::mm", sizes), cost_of("aten::mm", sizes, item_bytes=2)
    assert unknown is not None
    assert known is not None
    assert (unknown.bytes, known.bytes) == (None, 2 * (20 + 30 + 24))


def test_frame_of_calls_keeps_its_order_and_names_what_has_no_formula() -> None:
    calls = pl.DataFrame(
        {
            "operation": ["AddmmBackward0", "aten::mm", "aten::mm", "aten::mm", "nccl:all_reduce"],
            "sizes": [None, json.dumps([[4, 5], [5, 6]]), "[[4, 5", json.dumps([[4, 5], [7, 6]]), "[[4]]"],
        }
    )
    costs = operation_costs(calls)
    assert costs["role"].to_list() == ["linear", "linear", "linear", "linear", "communication"]
    assert costs["flops"].to_list() == [None, 240, None, None, None]
    assert costs["direction"].to_list() == ["backward", "forward", "forward", "forward", "forward"]
    assert costs["output"].to_list()[1] == [4, 6]


def test_sizes_of_a_stranger_do_not_overflow() -> None:
    enormous = json.dumps([[1 << 40, 1 << 40], [1 << 40, 1 << 40]])
    costs = operation_costs(pl.DataFrame({"operation": ["aten::mm"], "sizes": [enormous]}))
    assert costs["flops"].to_list() == [None]


@pytest.mark.parametrize("sizes", [[], [[]], [[4], 5, None], [[-1, 4], [4, 2]], ["x", {}], [[[]]], [[4, 5]]])
@pytest.mark.parametrize(
    "name", ["aten::mm", "aten::conv2d", "aten::einsum", "aten::cat", "aten::add", "aten::layer_norm"]
)
def test_damaged_sizes_cost_nothing_that_can_be_told(name: str, sizes: list[Any]) -> None:
    cost = cost_of(name, sizes)
    assert cost is None or not cost.flops


def test_operation_has_one_formula() -> None:
    with pytest.raises(ValueError, match="aten::mm has a formula already"):
        formula("aten::mm")(lambda call: None)
