"""The cost of a call by its name and sizes, and of a frame of distinct calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import polars as pl

from . import convolutions, cores, movers, products
from .cost import OPERATION_FORMULAS, Cost, OperationCall, Size, dtype_of
from .names import is_backward, operation_name, role_of_operation

FORMULA_FILES = (convolutions, cores, movers, products)
"""Files whose formulas are in the table once they are imported."""

CALL_COLUMNS = ("operation", "sizes", "types", "values", "output_size")
"""Columns of a frame of distinct calls: the name, and the others as JSON text or null."""

_COST_SCHEMA = {
    "role": pl.String(),
    "flops": pl.Int64(),
    "bytes": pl.Int64(),
    "q_len": pl.Int64(),
    "kv_len": pl.Int64(),
    "heads": pl.Int64(),
    "batch": pl.Int64(),
    "dtype": pl.String(),
    "output": pl.List(pl.Int64()),
    "direction": pl.String(),
}
_GREATEST = 2**63 - 1


def cost_of(
    operation: str,
    sizes: Sequence[Any],
    types: Sequence[Any] | None = None,
    values: Sequence[Any] | None = None,
    output: Sequence[int] | None = None,
    *,
    item_bytes: int | None = None,
) -> Cost | None:
    """Cost of one call of a PyTorch operation.

    Args:
        operation: Name, with or without overload: `aten::addmm`, `aten::mm.out`.
        sizes: Size of each argument in the order of the schema, empty for what is no tensor, nested for lists of
            tensors: Kineto's `Input Dims`, and `sizes` of emit_nvtx, which writes lists of tensors flat.
        types: Kineto's `Input type`; None where the tool does not record it.
        values: Kineto's `Concrete Inputs`; None where the tool does not record them.
        output: Size of the result where the caller knows it, from what consumes it. A convolution without it and
            without `values` has no FLOPs.
        item_bytes: Bytes of an element where `types` are unknown. Without either, `bytes` is None.

    Returns:
        None for an operation that has no formula, or whose sizes are not those that it expects.
    """
    name = operation_name(operation)
    found = OPERATION_FORMULAS.get(name)
    if found is None:
        return None
    lists = tuple(_tensors(size) for size in sizes)
    plain = tuple(() if nested else _size(size) for size, nested in zip(sizes, lists, strict=True))
    call = OperationCall(
        name=name,
        sizes=plain,
        lists=lists,
        dtypes=tuple(dtype_of(kind) if isinstance(kind, str) else None for kind in types or ()),
        values=tuple(value if isinstance(value, str) else json.dumps(value) for value in values or ()),
        result=_size(output) if output else None,
        item_bytes=None if types else item_bytes,
    )
    return found(call)


def _size(size: Any) -> Size:
    """One tensor's size; empty for anything else."""
    if isinstance(size, Sequence) and all(isinstance(extent, int) and extent >= 0 for extent in size):
        return tuple(size)
    return ()


def _tensors(size: Any) -> tuple[Size, ...]:
    """Sizes of a list of tensors; empty for anything else."""
    if isinstance(size, Sequence) and size and all(isinstance(each, list | tuple) for each in size):
        return tuple(_size(each) for each in size)
    return ()


def operation_costs(calls: pl.DataFrame, *, item_bytes: int | None = None) -> pl.DataFrame:
    """Costs of distinct calls.

    Args:
        calls: `CALL_COLUMNS`, of which all but `operation` may be absent; one row per distinct call, since each row is
            worked out in Python.
        item_bytes: Bytes of an element where the types are unknown; without it such a row has no `bytes`.

    Returns:
        The rows, in their order, with the fields of `Cost` as columns. Where an operation has no formula its name
        gives `role` and `direction`, and the rest is null.
    """
    absent = [pl.lit(None, pl.String).alias(name) for name in CALL_COLUMNS[1:] if name not in calls.columns]
    texts = calls.with_columns(absent).select(CALL_COLUMNS)
    rows = [_row(*row, item_bytes=item_bytes) for row in texts.iter_rows()]
    return calls.hstack(pl.DataFrame(rows, schema=_COST_SCHEMA, orient="row"))


@lru_cache(maxsize=1 << 16)
def _row(
    operation: str,
    sizes: str | None,
    types: str | None,
    values: str | None,
    output: str | None,
    *,
    item_bytes: int | None,
) -> tuple[object, ...]:
    lists = [json_list(text) for text in (sizes, types, values, output)]
    cost = cost_of(operation, lists[0], *lists[1:], item_bytes=item_bytes) if lists[0] is not None else None
    if cost is None:
        cost = Cost(role_of_operation(operation), None)
    if is_backward(operation) and cost.direction == "forward":
        cost = replace(cost, direction="backward")
    flops, moved = _countable(cost.flops), _countable(cost.bytes)
    return (
        cost.role, flops, moved, cost.q_len, cost.kv_len, cost.heads, cost.batch, cost.dtype,
        list(cost.output) if cost.output is not None else None, cost.direction,
    )  # fmt: skip


def json_list(text: str | None) -> list[Any] | None:
    """The list in a JSON text; None where there is none, or the text is damaged."""
    if text is None:
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, list) else None


def _countable(number: int | None) -> int | None:
    """The number, or None where an Int64 column cannot hold it: sizes may come from any program."""
    return number if number is not None and number <= _GREATEST else None
