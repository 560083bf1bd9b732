"""FLOPs and least traffic of a call, from its shapes.

    leaf_cost(nn.Linear(320, 1280), [x_BSC], y_BSC)      # Cost(flops=2 * B * S * 320 * 1280, bytes=...)
    attention_cost(q_BHSD.shape, k_BHSD.shape, v_BHSD.shape, itemsize=2)

A multiply-add is two operations, and only matrix products and convolutions are counted, as torch's FlopCounterMode
does. Traffic is what must move at least: inputs, weights and outputs, once each; attention moves no matrix of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


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


def leaf_cost(module: nn.Module, inputs: Sequence[torch.Tensor], output: torch.Tensor | None) -> Cost:
    """Cost of one call of a module without modules in it.

    Args:
        module: the module.
        inputs: tensors that it was given.
        output: what it returned, or the first tensor of that; None where it returned none.
    """
    if output is None:
        return Cost(0, size_of(inputs))
    if isinstance(module, nn.Embedding):
        return Cost(0, size_of(inputs) + 2 * size_of([output]))  # the rows that are looked up, not the whole table
    found = next((_FORMULAS[cls] for cls in type(module).__mro__ if cls in _FORMULAS), None)
    flops = found(module, inputs, output) if found else 0
    return Cost(flops, size_of([*inputs, output, *module.parameters(recurse=False)]))


def attention_cost(q_BHSD: Sequence[int], k_BHSD: Sequence[int], v_BHSD: Sequence[int], *, itemsize: int) -> Cost:
    """Cost of the core of attention, from scores to weighted values: 2 B H Nq Nk (D + Dv) operations.

    Args:
        q_BHSD, k_BHSD, v_BHSD: shapes of queries, keys and values; keys and values may have fewer heads.
        itemsize: bytes of an element.
    """
    *batch, queries, width = q_BHSD
    keys, value_width = k_BHSD[-2], v_BHSD[-1]
    moved = prod(q_BHSD) + prod(k_BHSD) + prod(v_BHSD) + prod(batch) * queries * value_width
    return Cost(2 * prod(batch) * queries * keys * (width + value_width), moved * itemsize)


def size_of(tensors: Sequence[torch.Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
