"""The cost of one operation, one recorded call, and the table of formulas that join them.

A formula takes a call and returns its cost, or None where the sizes are not those that it expects. A multiply-add is
two operations, and only matrix products and convolutions are counted, as torch's `FlopCounterMode` does. Traffic is
what must move at least: inputs, weights and outputs, once each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Literal

from .dtypes import DTYPE_OF_TYPE, item_bytes_of

Size = tuple[int, ...]
"""Size of a tensor; empty for a scalar, a list of numbers, or an absent tensor."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call of an operation is and costs.

    Args:
        role: One of `annotate.labels.ROLES`; `attention` for an attention core, whose axis only its surroundings tell;
            None where sizes do not tell.
        flops: Floating-point operations; None where the call does not say enough.
        bytes: Least traffic: inputs, weights and outputs, once each; None where a type or a size is unknown.
        q_len: Queries of an attention core, per head and batch entry.
        kv_len: Keys of an attention core, per head and batch entry.
        heads: Heads of the queries of an attention core; None where they are folded into the batch.
        batch: Batch entries of an attention core.
        dtype: Type of the first tensor, as torch spells it.
        output: Size of the result.
        direction: Whether the operation belongs to the forward or the backward pass by its own name.
    """

    role: str | None
    flops: int | None = 0
    bytes: int | None = None
    q_len: int | None = None
    kv_len: int | None = None
    heads: int | None = None
    batch: int | None = None
    dtype: str | None = None
    output: Size | None = None
    direction: Literal["forward", "backward"] = "forward"


@dataclass(frozen=True, slots=True)
class OperationCall:
    """One recorded call: its arguments in the order of the operation's schema.

    Args:
        name: Name without overload, such as `aten::addmm`.
        sizes: Size of each argument.
        lists: Sizes of the tensors of each argument that is a list of tensors; empty for the others.
        dtypes: Type of each argument, as torch spells it; None where it is no tensor or unknown.
        values: Text of each argument that is no tensor; empty where it is unknown.
        result: Size of the result where the caller knows it.
        item_bytes: Bytes of an element where the types are unknown.
    """

    name: str
    sizes: tuple[Size, ...]
    lists: tuple[tuple[Size, ...], ...]
    dtypes: tuple[str | None, ...]
    values: tuple[str, ...]
    result: Size | None
    item_bytes: int | None

    def size(self, position: int) -> Size:
        """Size of an argument; empty where there is none."""
        return self.sizes[position] if 0 <= position < len(self.sizes) else ()

    def dtype(self, position: int) -> str | None:
        """Type of an argument; None where it is unknown."""
        return self.dtypes[position] if 0 <= position < len(self.dtypes) else None

    def value(self, position: int) -> Any:
        """Value of an argument that is a number, a truth value or a list of them; None where it is unknown."""
        return literal(self.values[position]) if 0 <= position < len(self.values) else None

    def moved(self, reads: Sequence[int], writes: Sequence[tuple[Size | None, int]]) -> int | None:
        """Bytes of arguments that are read and of results that are written.

        Args:
            reads: Positions of arguments; an absent tensor has no bytes.
            writes: Size of each result, and position of the argument whose type it has.

        Returns:
            None where a size or a type is unknown.
        """
        pieces = [(self.size(at), at) for at in reads if self.size(at)]
        total = 0
        for size, at in (*pieces, *writes):
            dtype = self.dtype(at)
            width = item_bytes_of(dtype) if dtype else self.item_bytes
            if size is None or width is None:
                return None
            total += prod(size) * width
        return total


Formula = Callable[[OperationCall], Cost | None]

OPERATION_FORMULAS: dict[str, Formula] = {}
"""Formula of each operation, by its name without overload."""


def formula(*names: str) -> Callable[[Formula], Formula]:
    """Declare the cost of operations.

    Raises:
        ValueError: One of them has a formula already.
    """

    def declared(function: Formula) -> Formula:
        for name in names:
            if name in OPERATION_FORMULAS:
                raise ValueError(f"{name} has a formula already")
            OPERATION_FORMULAS[name] = function
        return function

    return declared


def dtype_of(kind: str) -> str | None:
    """Dtype of an `Input type`; None for what is no tensor."""
    return DTYPE_OF_TYPE.get(kind)


@lru_cache(maxsize=4096)
def literal(text: str) -> Any:
    """Read a number, a truth value or a list of them, such as `[True, False]`; None for anything else."""
    try:
        return json.loads(text.replace("True", "true").replace("False", "false").rstrip("."))
    except (ValueError, RecursionError):
        return None


def numbers(value: Any, count: int) -> list[int] | None:
    """A list of `count` integers, or one that stands for all of them; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(each, int) for each in value):
        return None
    if len(value) == 1:
        return value * count
    return value if len(value) == count else None


def broadcast(sizes: Sequence[Size]) -> Size | None:
    """Size of the result of an elementwise operation; None where the sizes do not fit together."""
    result: list[int] = []
    for size in sizes:
        longer, shorter = (list(size), result) if len(size) >= len(result) else (result, list(size))
        shorter = [1] * (len(longer) - len(shorter)) + shorter
        if any(a != b and 1 not in (a, b) for a, b in zip(longer, shorter, strict=True)):
            return None
        result = [b if a == 1 else a for a, b in zip(longer, shorter, strict=True)]
    return tuple(result)
