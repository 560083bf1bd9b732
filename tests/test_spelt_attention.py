"""Attention that is spelt out as products and a softmax, found in the order of operations."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from ttinsys.attribution.aten import convolution_outputs, linear_attention, spelt_attention

Call = tuple[str, list[Any]] | tuple[str, list[Any], int]
"""Name, sizes, and row of the enclosing operation."""

SCORES: Call = ("aten::bmm", [[8, 16, 4], [8, 4, 10]])
SOFTMAX: Call = ("aten::softmax", [[2, 4, 16, 10], [], []])
VALUES: Call = ("aten::bmm", [[8, 16, 10], [8, 10, 4]])
SCALE: Call = ("aten::mul", [[2, 4, 16, 10], []])
LINEAR: Call = ("aten::linear", [[2, 16, 16], [16, 16]])


def operations(*calls: Call, sized: bool = True) -> pl.DataFrame:
    """Operations in this order."""
    rows = [
        (row, call[2] if len(call) > 2 else None, call[0], json.dumps(call[1]) if sized else None)
        for row, call in enumerate(calls)
    ]
    columns = {"row": pl.Int64, "parent": pl.Int64, "operation": pl.String, "sizes": pl.String}
    return pl.DataFrame(rows, schema=columns, orient="row")


def cores(*calls: Call, sized: bool = True) -> list[tuple[int, int]]:
    """First and last row of each core."""
    return spelt_attention(operations(*calls, sized=sized)).select("row", "last_row").rows()


def test_a_core_has_the_lengths_of_its_softmax_and_the_flops_of_both_products() -> None:
    core = spelt_attention(operations(LINEAR, SCORES, SCALE, SOFTMAX, VALUES, LINEAR)).row(0, named=True)
    assert (core["row"], core["softmax_row"], core["last_row"]) == (1, 3, 4)
    assert (core["q_len"], core["kv_len"], core["heads"], core["batch"]) == (16, 10, 4, 2)
    assert core["flops"] == 2 * (2 * 8 * 16 * 4 * 10)


def test_each_softmax_has_products_of_its_own() -> None:
    layer = (SCORES, SOFTMAX, VALUES)
    assert cores(*layer, *layer) == [(0, 2), (3, 5)]
    assert cores(SCORES, SOFTMAX, *layer) == [(2, 4)]  # the first one's weights are multiplied with nothing


def test_a_product_of_other_dimensions_in_between_does_not_matter() -> None:
    bias: Call = ("aten::einsum", [[], [[2, 16, 4], [5, 4]], []])
    assert cores(SCORES, bias, SOFTMAX, LINEAR, VALUES) == [(0, 4)]


def test_operations_that_call_each_other_are_one() -> None:
    calls: list[Call] = [
        ("aten::matmul", [[2, 4, 16, 4], [2, 4, 4, 10]]),
        ("aten::bmm", [[8, 16, 4], [8, 4, 10]], 0),
        SOFTMAX,
        ("aten::_softmax", [[2, 4, 16, 10], [], []], 2),
        ("aten::matmul", [[2, 4, 16, 10], [2, 4, 10, 4]]),
        ("aten::bmm", [[8, 16, 10], [8, 10, 4]], 4),
    ]
    assert cores(*calls) == [(0, 4)]


def test_an_einsum_has_the_dimensions_of_the_product_that_it_calls() -> None:
    calls: list[Call] = [
        ("aten::einsum", [[], [[2, 16, 4, 4], [2, 10, 4, 4]], []]),
        ("aten::bmm", [[8, 16, 4], [8, 4, 10]], 0),
        SOFTMAX,
        ("aten::einsum", [[], [[2, 4, 16, 10], [2, 10, 4, 4]], []]),
        ("aten::bmm", [[8, 16, 10], [8, 10, 4]], 3),
    ]
    assert cores(*calls) == [(0, 3)]


def test_groups_of_queries_may_be_folded_into_their_axis() -> None:
    # Two heads of queries share each head of keys.
    scores: Call = ("aten::bmm", [[4, 32, 4], [4, 4, 10]])
    values: Call = ("aten::bmm", [[4, 32, 10], [4, 10, 4]])
    assert cores(scores, SOFTMAX, values) == [(0, 2)]


def test_softmax_of_a_router_or_a_classifier_is_no_attention() -> None:
    router: Call = ("aten::mm", [[16, 8], [8, 10]])
    weighted: Call = ("aten::linear", [[2, 4, 16, 10], [3, 10]])
    assert cores(LINEAR, ("aten::softmax", [[2, 16, 16], [], []]), LINEAR) == []
    assert cores(router, ("aten::softmax", [[16, 10], [], []])) == []
    assert cores(SCORES, SOFTMAX, weighted) == []


def test_calls_from_elsewhere_are_of_no_core() -> None:
    outer: Call = ("encoder", [])
    assert cores(outer, SCORES, (*SOFTMAX, 0), VALUES) == []
    assert cores(outer, (*SCORES, 0), (*SOFTMAX, 0), (*VALUES, 0)) == [(1, 3)]
    elsewhere = operations(outer, SCORES, (*SOFTMAX, 0), VALUES)
    assert spelt_attention(elsewhere.with_columns(pl.lit("attn").alias("module"))).height == 1


def test_a_fused_attention_that_falls_back_to_products_is_counted_once() -> None:
    outer: Call = ("aten::_scaled_dot_product_attention_math", [[2, 4, 16, 4], [2, 4, 10, 4], [2, 4, 10, 4]])
    assert cores(outer, (*SCORES, 0), (*SOFTMAX, 0), (*VALUES, 0)) == []


def test_without_sizes_the_order_tells_and_lengths_are_unknown() -> None:
    calls = operations(LINEAR, SCORES, SOFTMAX, VALUES, LINEAR, ("aten::mm", [], 4), sized=False)
    core = spelt_attention(calls).row(0, named=True)
    assert (core["row"], core["last_row"], core["q_len"], core["flops"]) == (1, 3, None, None)


def test_the_product_of_a_linear_layer_is_of_no_core() -> None:
    calls: list[Call] = [LINEAR, ("aten::matmul", [], 0), SOFTMAX, VALUES]
    assert cores(*calls, sized=False) == []


def test_rows_in_any_order_give_the_same_cores() -> None:
    calls = operations(SCORES, SOFTMAX, VALUES, SCORES, SOFTMAX, VALUES)
    shuffled = calls.sample(fraction=1, shuffle=True, seed=3)
    assert spelt_attention(shuffled).equals(spelt_attention(calls))


def test_linear_attention_multiplies_keys_and_values_first() -> None:
    # 64 tokens, heads of 8; a ninth row sums the weights.
    first: Call = ("aten::bmm", [[4, 8, 64], [4, 64, 9]])
    second: Call = ("aten::bmm", [[4, 64, 8], [4, 8, 9]])
    core = linear_attention(operations(LINEAR, first, second)).row(0, named=True)
    assert (core["row"], core["last_row"], core["q_len"], core["kv_len"]) == (1, 2, 64, 64)
    assert core["flops"] == 2 * (2 * 4 * 8 * 64 * 9)


def test_the_gradients_of_an_attention_are_no_linear_attention() -> None:
    # Gradients of V, of the weights, of Q and of K, for 64 queries of 10 keys and heads of 8.
    gradients: list[Call] = [
        ("aten::bmm", [[4, 10, 64], [4, 64, 8]]),
        ("aten::bmm", [[4, 64, 8], [4, 8, 10]]),
        ("aten::_softmax_backward_data", [[4, 64, 10], [4, 64, 10], [], []]),
        ("aten::bmm", [[4, 64, 10], [4, 10, 8]]),
        ("aten::bmm", [[4, 8, 64], [4, 64, 10]]),
    ]
    assert linear_attention(operations(*gradients)).is_empty()
    assert linear_attention(operations(SCORES, SOFTMAX, VALUES)).is_empty()


@pytest.mark.parametrize("name", ["aten::add_", "aten::silu"])
def test_the_next_operation_tells_what_a_convolution_makes(name: str) -> None:
    convolution = [[1, 8, 32, 32], [8, 8, 3, 3], []]
    calls: list[Call] = [
        ("aten::conv2d", convolution),
        ("aten::cudnn_convolution", convolution, 0),
        (name, [[1, 8, 16, 16], [1, 8, 1, 1]]),
    ]
    assert convolution_outputs(operations(*calls)).rows() == [(0, "[1, 8, 16, 16]"), (1, "[1, 8, 16, 16]")]


def test_a_size_that_no_stride_can_make_tells_nothing() -> None:
    convolution: Call = ("aten::conv2d", [[1, 8, 32, 32], [8, 8, 3, 3], []])
    assert convolution_outputs(operations(convolution, ("aten::silu", [[1, 8, 64, 64]]))).is_empty()
    assert convolution_outputs(operations(convolution)).is_empty()
