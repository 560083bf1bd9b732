"""Costs of matrix products, and of recurrent layers made of them."""

from __future__ import annotations

from math import prod

from .cost import Cost, OperationCall, Size, broadcast, formula
from .dtypes import DTYPE_OF_CODE


def product_output(a: Size, b: Size) -> Size | None:
    """Size of `torch.matmul` of two tensors; None where the sizes do not fit together."""
    if not a or not b or a[-1] != b[-2 if len(b) > 1 else 0]:
        return None
    batch = broadcast([a[:-2], b[:-2]])
    return None if batch is None else (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def product_cost(call: OperationCall, first: int, *, result_like: int | None = None) -> Cost | None:
    """Cost of the product of two arguments, the first of which is argument `first`."""
    a, b = call.size(first), call.size(first + 1)
    output = product_output(a, b)
    if output is None:
        return None
    # A tensor of two dimensions at most is a weight; of two batches, only the surroundings tell what is computed.
    role = "linear" if len(b) < 3 or len(a) < 3 else None
    moved = call.moved(range(first + 2), [(output, first if result_like is None else result_like)])
    return Cost(role, 2 * prod(output) * a[-1], moved, dtype=call.dtype(first), output=output)


@formula("aten::mm", "aten::mv", "aten::dot", "aten::bmm", "aten::matmul", "aten::_mm", "aten::sspaddmm")
def _product(call: OperationCall) -> Cost | None:
    return product_cost(call, 0)


@formula("aten::addmm", "aten::_addmm_activation", "aten::addmv", "aten::baddbmm", "aten::addmm_", "aten::baddbmm_")
def _product_added_to_a_tensor(call: OperationCall) -> Cost | None:
    return product_cost(call, 1)


@formula("aten::addbmm", "aten::addbmm_")
def _product_summed_over_the_batch(call: OperationCall) -> Cost | None:
    cost = product_cost(call, 1)
    if cost is None or cost.output is None:
        return None
    output = cost.output[-2:]
    return Cost(None, cost.flops, call.moved(range(3), [(output, 1)]), dtype=call.dtype(1), output=output)


@formula("aten::linear", "aten::mkldnn_linear", "aten::_mkldnn_linear", "mkl::_mkl_linear", "aten::_nnpack_linear")
def _linear(call: OperationCall) -> Cost | None:
    x, weight = call.size(0), call.size(1)
    if not x or not 0 < len(weight) < 3 or x[-1] != weight[-1]:
        return None
    output = (*x[:-1], *weight[:-1])
    moved = call.moved(range(3), [(output, 0)])
    return Cost("linear", 2 * prod(output) * x[-1], moved, dtype=call.dtype(0), output=output)


@formula("aten::_scaled_mm", "aten::_scaled_mm_v2", "aten::_int_mm")
def _product_of_quantized(call: OperationCall) -> Cost | None:
    """The type of the result is an argument of its own, or int32."""
    cost = product_cost(call, 0)
    if cost is None or cost.output is None:
        return None
    integers = call.name == "aten::_int_mm"
    code = call.values[6] if call.name == "aten::_scaled_mm" and len(call.values) > 6 else ""
    result = "int32" if integers else DTYPE_OF_CODE.get(code)
    at = len(call.dtypes)
    typed = OperationCall(
        call.name, call.sizes, call.lists, (*call.dtypes, result), call.values, call.result, call.item_bytes
    )
    moved = typed.moved(range(2 if integers else 5), [(cost.output, at)]) if call.dtypes else call.moved(range(2), [])
    return Cost("linear", cost.flops, moved if result else None, dtype=call.dtype(0), output=cost.output)


@formula("aten::_grouped_mm", "aten::_scaled_grouped_mm")
def _grouped_product(call: OperationCall) -> Cost | None:
    """Products of several groups of rows, columns or both; `offs` holds where each begins.

    Every row belongs to a group, so that the number of operations does not depend on where they begin.
    """
    a, b = call.size(0), call.size(1)
    if min(len(a), len(b)) < 2 or len(a) > 3 or len(b) > 3 or a[-1] != b[-2]:
        return None
    groups = call.size(2 if call.name == "aten::_grouped_mm" else 4)
    output = {
        (3, 3): (*a[:-1], b[-1]),
        (2, 3): (a[0], b[-1]),
        (3, 2): (a[1], b[-1]),
        (2, 2): (groups[0] if groups else 1, a[0], b[-1]),
    }[len(a), len(b)]
    flops = 2 * prod(a) * b[-1]
    if len(a) == 3 and len(b) == 2:  # the columns of `b` are divided among the groups
        flops //= a[0]
    moved = call.moved(range(2), [(output, 0)]) if call.name == "aten::_grouped_mm" else None
    return Cost("linear", flops, moved, dtype=call.dtype(0), output=output)


@formula("aten::_weight_int8pack_mm", "aten::_weight_int4pack_mm")
def _product_with_packed_weights(call: OperationCall) -> Cost | None:
    x, packed = call.size(0), call.size(1)
    if len(x) != 2 or not packed:
        return None
    outputs = packed[0] * (8 if call.name.endswith("int4pack_mm") else 1)  # rows of weights are packed by eights
    output = (x[0], outputs)
    return Cost(
        "linear", 2 * prod(output) * x[1], call.moved(range(4), [(output, 0)]), dtype=call.dtype(0), output=output
    )


@formula("aten::einsum")
def _einsum(call: OperationCall) -> Cost | None:
    """The product of two tensors, from its equation: two operations for each combination of all indices."""
    equation = call.values[0].strip("'\" ") if call.values else ""
    operands = [size for size in (call.lists[1] if len(call.lists) > 1 else ()) if size] or [
        size for size in call.sizes[1:] if size
    ]
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or len(terms) != 2 or len(operands) != 2 or "." in equation:
        return None
    if any(len(term) != len(size) for term, size in zip(terms, operands, strict=True)):
        return None
    extents: dict[str, int] = {}
    for letter, extent in zip("".join(terms), (*operands[0], *operands[1]), strict=True):
        extents[letter] = max(extent, extents.get(letter, 1))
    if not set(result) <= set(extents):
        return None
    output = tuple(extents[letter] for letter in result)
    role = "linear" if min(map(len, terms)) < 3 else None
    return Cost(role, 2 * prod(extents.values()), None, output=output)


@formula("aten::_cudnn_rnn", "aten::miopen_rnn")
def _recurrent(call: OperationCall) -> Cost | None:
    """Each matrix of weights is multiplied once per step and batch entry."""
    x = call.size(0)
    weights = [size for size in (call.lists[1] if len(call.lists) > 1 else ()) if len(size) == 2]
    if len(x) != 3 or not weights:
        return None
    return Cost(None, 2 * x[0] * x[1] * sum(map(prod, weights)), None, dtype=call.dtype(0))
