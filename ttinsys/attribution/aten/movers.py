"""Traffic of operations that multiply no matrices: norms, activations, elementwise operations, copies, look-ups.

Those that only call others (`aten::to`, `aten::contiguous`, `aten::clone`) have no cost of their own: they move
nothing where nothing is to be done, and `aten::copy_` inside them moves what there is.
"""

from __future__ import annotations

from .cost import Cost, OperationCall, broadcast, formula
from .names import ACTIVATIONS, ELEMENTWISE, role_of_operation

_NORMS = {
    "aten::layer_norm": (0, 2, 3),
    "aten::native_layer_norm": (0, 2, 3),
    "aten::group_norm": (0, 2, 3),
    "aten::native_group_norm": (0, 1, 2),
    "aten::rms_norm": (0, 2),
    "aten::_fused_rms_norm": (0, 2),
    "aten::batch_norm": (0, 1, 2),
    "aten::native_batch_norm": (0, 1, 2),
    "aten::cudnn_batch_norm": (0, 1, 2),
    "aten::miopen_batch_norm": (0, 1, 2),
}
"""Positions of the input and the weights of each norm."""


@formula(*_NORMS)
def _norm(call: OperationCall) -> Cost | None:
    return _same_size(call, _NORMS[call.name])


@formula(*(f"aten::{name}{suffix}" for name in ACTIVATIONS for suffix in ("", "_")))
def _activation(call: OperationCall) -> Cost | None:
    return _same_size(call, (0,))


def _same_size(call: OperationCall, reads: tuple[int, ...]) -> Cost | None:
    """Cost of an operation whose result is as large as its first argument."""
    size = call.size(0)
    if not size:
        return None
    moved = call.moved(reads, [(size, 0)])
    return Cost(role_of_operation(call.name), 0, moved, dtype=call.dtype(0), output=size)


@formula(*(f"aten::{name}{suffix}" for name in ELEMENTWISE for suffix in ("", "_")))
def _elementwise(call: OperationCall) -> Cost | None:
    positions = [at for at, size in enumerate(call.sizes) if size]
    output = call.size(0) if call.name.endswith("_") else broadcast([call.sizes[at] for at in positions])
    if not positions or not output:
        return None
    moved = call.moved(positions, [(output, positions[0])])
    return Cost("elementwise", 0, moved, dtype=call.dtype(positions[0]), output=output)


@formula("aten::copy_")
def _copy(call: OperationCall) -> Cost | None:
    if not call.size(0):
        return None
    moved = call.moved([1], [(call.size(0), 0)])
    return Cost("rearrange", 0, moved, dtype=call.dtype(1), output=call.size(0))


@formula("aten::fill_", "aten::zero_")
def _fill(call: OperationCall) -> Cost | None:
    if not call.size(0):
        return None
    return Cost("rearrange", 0, call.moved([], [(call.size(0), 0)]), dtype=call.dtype(0), output=call.size(0))


@formula("aten::cat")
def _cat(call: OperationCall) -> Cost | None:
    """The axis is an argument; the result holds every element of the tensors once."""
    joined = (call.lists[0] if call.lists else ()) or tuple(size for size in call.sizes if size)
    axis = call.value(1)
    if not joined or not isinstance(axis, int) or not -len(joined[0]) <= axis < len(joined[0]):
        return Cost("rearrange", 0)
    if any(len(size) != len(joined[0]) for size in joined):
        return Cost("rearrange", 0)
    output = list(joined[0])
    output[axis] = sum(size[axis] for size in joined)
    return Cost("rearrange", 0, output=tuple(output))


@formula("aten::embedding")
def _embedding(call: OperationCall) -> Cost | None:
    """Rows are looked up: the indices and those rows are read, not the whole table."""
    table, indices = call.size(0), call.size(1)
    if len(table) != 2 or not indices:
        return None
    output = (*indices, table[1])
    return Cost("embedding", 0, call.moved([1], [(output, 0), (output, 0)]), dtype=call.dtype(0), output=output)
