"""FLOPs and least traffic of a call, from its shapes.

    leaf_cost(nn.Linear(320, 1280), [x_BSC], y_BSC)      # Cost(flops=2 * B * S * 320 * 1280, bytes=...)
    attention_cost(q_BHSD.shape, k_BHSD.shape, v_BHSD.shape, itemsize=2)

A multiply-add is two operations, and only matrix products and convolutions are counted, as torch's FlopCounterMode
does; a mask saves nothing. Traffic is what must move at least: inputs, weights and outputs, once each; attention moves
no matrix of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Cost(NamedTuple):
    """What a call costs: operations, and bytes moved."""

    flops: int
    bytes: int


Formula = Callable[[nn.Module, Sequence[torch.Tensor], torch.Tensor], int]

_FORMULAS: dict[type[nn.Module], Formula] = {}


def formula(*classes: type[nn.Module]) -> Callable[[Formula], Formula]:
    """Declare the FLOPs of a module of these classes, or of classes derived from them."""

    def declared(function: Formula) -> Formula:
        for cls in classes:
            if cls in _FORMULAS:
                raise ValueError(f"{cls.__name__} has a formula already")
            _FORMULAS[cls] = function
        return function

    return declared


@formula(nn.Linear)
def _linear(module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor) -> int:
    """2 N Cin Cout."""
    del inputs
    return 2 * output.numel() * int(module.in_features)  # type: ignore[arg-type]


@formula(_ConvTransposeNd)
def _transposed_convolution(module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor) -> int:
    """Each input element goes to a kernel's worth of each output channel of its group."""
    del output
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return 2 * inputs[0].numel() * prod(weight.shape[1:])


@formula(_ConvNd)
def _convolution(module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor) -> int:
    """Each output element takes a kernel's worth of each input channel of its group."""
    del inputs
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return 2 * output.numel() * prod(weight.shape[1:])


@formula(nn.MultiheadAttention)
def _multihead_attention(module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor) -> int:
    """Four projections and the core. On its fast path torch runs all of it as one operator, and counts none."""
    query, key, value = inputs[:3]
    width, time = int(module.embed_dim), int(module.batch_first and query.ndim == 3)  # type: ignore[arg-type]
    projections = width * (2 * output.numel() + key.numel() + value.numel())
    return 2 * projections + 4 * query.numel() * key.shape[time]


def has_formula(module: nn.Module) -> bool:
    """Whether the operations of a module follow from shapes; if not, `Counted` tells them.

    Of torch's own modules, those without a formula multiply no matrices.
    """
    return type(module).__module__.startswith("torch.nn.") or any(cls in _FORMULAS for cls in type(module).__mro__)


class Counted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of what runs inside it, by torch's own formulas.

    For a module that holds its arithmetic itself, the first time that it meets a shape.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        known = flop_registry.get(func._overloadpacket)
        if known is not None:
            self.flops += known(*args, **(kwargs or {}), out_val=output)
        return output


def leaf_cost(
    module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor | None, *, counted: int = 0
) -> Cost:
    """Cost of one call of a module without modules in it.

    Args:
        module: the module.
        inputs: tensors that it was given.
        output: what it returned, or the first tensor of that; None where it returned none.
        counted: its operations, where no formula tells them.
    """
    if output is None:
        return Cost(counted, size_of(inputs))
    if isinstance(module, nn.Embedding):
        return Cost(0, size_of(inputs) + 2 * size_of([output]))  # the rows that are looked up, not the whole table
    found = next((_FORMULAS[cls] for cls in type(module).__mro__ if cls in _FORMULAS), None)
    flops = found(module, inputs, output) if found else counted
    return Cost(flops, size_of([*inputs, output, *module.parameters()]))


def attention_cost(q_BHSD: Sequence[int], k_BHSD: Sequence[int], v_BHSD: Sequence[int], *, itemsize: int) -> Cost:
    """Cost of the core of attention, from scores to weighted values: 2 B H Nq Nk (D + Dv) operations.

    Args:
        q_BHSD: shape of the queries.
        k_BHSD: shape of the keys, which may have fewer heads.
        v_BHSD: shape of the values.
        itemsize: bytes of an element.
    """
    *batch, queries, width = q_BHSD
    keys, value_width = k_BHSD[-2], v_BHSD[-1]
    moved = prod(q_BHSD) + prod(k_BHSD) + prod(v_BHSD) + prod(batch) * queries * value_width
    return Cost(2 * prod(batch) * queries * keys * (width + value_width), moved * itemsize)


def size_of(tensors: Sequence[torch.Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
