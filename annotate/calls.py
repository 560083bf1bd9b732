"""Calls by number: each combination of shapes gets one, and its values are told to the trace once.

The number is the payload of a range, so that thousands of calls of one shape cost an integer each.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch

from annotate.backends import Backend
from annotate.labels import CALL_TEXT, DTYPES, FIRST_CALL, field_text

_DTYPE = {getattr(torch, name): i for i, name in enumerate(DTYPES) if hasattr(torch, name)}
_MOST_TENSORS = 4
"""Inputs whose shapes are kept; what takes more takes lists of its own states."""


class Calls:
    """The calls of a process, numbered in the order in which they were first made.

    Args:
        backend: where their values are told.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._ids: dict[Hashable, int] = {}
        self._values: dict[int, Mapping[str, int]] = {}

    def number(self, key: Hashable) -> tuple[int, bool]:
        """Number of the call with this key, and whether it is new: then `define` it."""
        found = self._ids.get(key)
        if found is not None:
            return found, found not in self._values
        with self._lock:
            return self._ids.setdefault(key, FIRST_CALL + len(self._ids)), True

    def define(self, call: int, values: Mapping[str, int]) -> None:
        """Say what a call's values are, and tell the trace."""
        self._values[call] = values
        self._tell(call, values)

    def of(self, values: Mapping[str, int]) -> int:
        """Number of the call with exactly these values, defined if it is new."""
        call, new = self.number(tuple(values.items()))
        if new:
            self.define(call, values)
        return call

    def tell_all(self) -> None:
        """Tell the trace all calls again: for a capture that began after they were defined."""
        for call, values in list(self._values.items()):
            self._tell(call, values)

    def correct(self, call: int) -> None:
        """Tell the trace that the range open now has this call."""
        self._backend.mark(CALL_TEXT, 0, call)

    def _tell(self, call: int, values: Mapping[str, int]) -> None:
        for name, value in values.items():
            self._backend.mark(field_text(name), call, value)

    def values(self, call: int) -> Mapping[str, int]:
        """Values of a call; none for one that was never defined."""
        return self._values.get(call, {})


def shapes(tensors: Sequence[torch.Tensor]) -> dict[str, int]:
    """Fields that hold the shapes of tensors, and the type of the first."""
    named: dict[str, int] = {}
    if tensors and tensors[0].dtype in _DTYPE:
        named["dtype"] = _DTYPE[tensors[0].dtype]
    for i, tensor in enumerate(tensors[:_MOST_TENSORS]):
        named.update({f"shape.{i}.{j}": extent for j, extent in enumerate(tensor.shape)})
    return named


def tensors_in(values: Any) -> list[torch.Tensor]:
    """Tensors among arguments, or in what a module returned: one level deep."""
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    if not isinstance(values, (tuple, list)) and not hasattr(values, "__iter__"):
        return []
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found.extend(inner for inner in value if isinstance(inner, torch.Tensor))
    return found
