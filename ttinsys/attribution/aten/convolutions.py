"""Costs of convolutions, forward and backward, and their roles from the extents of their kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from .cost import Cost, OperationCall, Size, formula, numbers


@dataclass(frozen=True, slots=True)
class _Arguments:
    """Positions of a convolution's arguments; -1 where it has no such argument.

    `transposed` is None where an argument says whether the convolution is transposed.
    """

    stride: int
    padding: int
    dilation: int = -1
    output_padding: int = -1
    transposed: bool | None = False


_GENERAL = _Arguments(3, 4, 5, 7, transposed=None)
_PLAIN = _Arguments(3, 4, 5)
_VENDOR = _Arguments(4, 3, 5)
_KERNEL_SIZE = _Arguments(4, 5)
_DILATED = _Arguments(4, 5, 6)

_ARGUMENTS: Mapping[str, _Arguments] = {
    "aten::conv1d": _PLAIN,
    "aten::conv2d": _PLAIN,
    "aten::conv3d": _PLAIN,
    "aten::_convolution_mode": _PLAIN,
    "aten::conv_transpose1d": _Arguments(3, 4, 7, 5, transposed=True),
    "aten::conv_transpose2d": _Arguments(3, 4, 7, 5, transposed=True),
    "aten::conv_transpose3d": _Arguments(3, 4, 7, 5, transposed=True),
    "aten::convolution": _GENERAL,
    "aten::_convolution": _GENERAL,
    "aten::convolution_overrideable": _GENERAL,
    "aten::cudnn_convolution": _Arguments(3, 2, 4),
    "aten::cudnn_convolution_transpose": _Arguments(4, 2, 5, 3, transposed=True),
    "aten::cudnn_convolution_relu": _PLAIN,
    "aten::cudnn_convolution_add_relu": _Arguments(5, 6, 7),
    "aten::miopen_convolution": _VENDOR,
    "aten::miopen_depthwise_convolution": _VENDOR,
    "aten::miopen_convolution_relu": _PLAIN,
    "aten::miopen_convolution_add_relu": _Arguments(5, 6, 7),
    "aten::miopen_convolution_transpose": _Arguments(5, 3, 6, 4, transposed=True),
    "aten::mkldnn_convolution": _VENDOR,
    "aten::_slow_conv2d_forward": _KERNEL_SIZE,
    "aten::thnn_conv2d": _KERNEL_SIZE,
    "aten::slow_conv3d": _KERNEL_SIZE,
    "aten::slow_conv3d_forward": _KERNEL_SIZE,
    "aten::_conv_depthwise2d": _DILATED,
    "aten::conv_depthwise3d": _DILATED,
    "aten::slow_conv_dilated2d": _DILATED,
    "aten::slow_conv_dilated3d": _DILATED,
    "aten::slow_conv_transpose2d": _Arguments(4, 5, 7, 6, transposed=True),
    "aten::slow_conv_transpose3d": _Arguments(4, 5, 7, 6, transposed=True),
}
PLAIN_CONVOLUTIONS = frozenset(name for name, at in _ARGUMENTS.items() if not at.transposed)
"""Convolutions whose number of operations depends on the size of their result."""
_TRANSPOSED_AT = 6
"""Argument of `aten::convolution` that says whether it is transposed."""
_BACKWARD_TRANSPOSED_AT, _BACKWARD_MASK_AT = 7, 10


def convolution_role(kernel: Size) -> str:
    """Role of a convolution whose kernel has these extents, time first where there are three.

    The same rule as annotation's: `annotate.roles.convolution_role`.
    """
    if all(extent == 1 for extent in kernel):
        return "pointwise_conv"
    if len(kernel) < 3:
        return "spatial_conv"
    time, *space = kernel
    if all(extent == 1 for extent in space):
        return "temporal_conv"
    return "spatial_conv" if time == 1 else "spatiotemporal_conv"


@formula(*_ARGUMENTS)
def _convolution(call: OperationCall) -> Cost | None:
    x, weight = call.size(0), call.size(1)
    if len(weight) < 3 or len(x) not in {len(weight), len(weight) - 1}:
        return None
    if len(x) < len(weight):  # a picture without a batch
        x = (1, *x)
    transposed = _is_transposed(call, x, weight)
    output = call.result if call.result else _output(call, x, weight, transposed)
    role, dtype = convolution_role(weight[2:]), call.dtype(0)
    positions = {True: x, False: output, None: None}[transposed]
    if positions is None:
        return Cost(role, None, None, dtype=dtype, output=output)
    # Each position meets the whole kernel of each pair of channels in a group.
    flops = 2 * x[0] * prod(positions[2:]) * prod(weight)
    reads = [at for at in (0, 1, 2) if at < 2 or call.size(2) == (weight[1 if transposed else 0],)]
    return Cost(role, flops, call.moved(reads, [(output, 0)]), dtype=dtype, output=output)


def _is_transposed(call: OperationCall, x: Size, weight: Size) -> bool | None:
    """Whether a convolution is transposed, by its name, its argument or its channels; None where none of them tells."""
    known = _ARGUMENTS[call.name].transposed
    if known is None:
        value = call.value(_TRANSPOSED_AT)
        known = value if isinstance(value, bool) else _transposed_by_channels(x, weight, call.result)
    return known


def _transposed_by_channels(x: Size, weight: Size, output: Size | None) -> bool | None:
    """A transposed convolution has the channels of its input first in its weight, a plain one those of its output."""
    plain = weight[1] > 0 and x[1] % weight[1] == 0
    transposed = x[1] == weight[0]
    if plain and transposed and output is not None and len(output) > 1 and weight[0] != weight[1]:
        return output[1] != weight[0]
    return None if plain == transposed else transposed


def _output(call: OperationCall, x: Size, weight: Size, transposed: bool | None) -> Size | None:  # noqa: FBT001
    """Size of the result from stride, padding and dilation; None where one of them is unknown."""
    at = _ARGUMENTS[call.name]
    count = len(weight) - 2
    stride, padding = numbers(call.value(at.stride), count), numbers(call.value(at.padding), count)
    dilation = numbers(call.value(at.dilation), count) if at.dilation >= 0 else [1] * count
    if transposed is None or stride is None or padding is None or dilation is None or 0 in stride:
        return None
    axes = zip(x[2:], weight[2:], stride, padding, dilation, strict=True)
    if not transposed:
        extents = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
        return (x[0], weight[0], *extents) if min(extents, default=0) > 0 else None
    added, groups = numbers(call.value(at.output_padding), count), _groups(call)
    if added is None or groups is None:
        return None
    extents = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in axes]
    return (x[0], weight[1] * groups, *(n + more for n, more in zip(extents, added, strict=True)))


_GROUPS_AT: Mapping[str, int] = {
    "aten::conv_transpose1d": 6,
    "aten::conv_transpose2d": 6,
    "aten::conv_transpose3d": 6,
    "aten::cudnn_convolution_transpose": 6,
    "aten::miopen_convolution_transpose": 7,
}
"""Argument of a transposed convolution that is its number of groups, which its sizes do not tell."""


def _groups(call: OperationCall) -> int | None:
    if call.name.startswith("aten::slow_"):
        return 1
    value = call.value(_GROUPS_AT.get(call.name, 8))
    return value if isinstance(value, int) and value > 0 else None


@formula("aten::convolution_backward", "aten::convolution_backward_overrideable")
def _convolution_backward(call: OperationCall) -> Cost | None:
    """Gradients of the input and of the weight, each of as many products as the convolution itself.

    torch's formula for the gradient of a grouped weight counts all pairs of channels, `groups` times as many as there
    are. This one counts those within a group.
    """
    gradient, x, weight = call.size(0), call.size(1), call.size(2)
    if len(weight) < 3 or not len(gradient) == len(x) == len(weight):
        return None
    role, dtype = convolution_role(weight[2:]), call.dtype(0)
    mask, transposed = call.value(_BACKWARD_MASK_AT), call.value(_BACKWARD_TRANSPOSED_AT)
    if not isinstance(transposed, bool):
        transposed = _transposed_by_channels(x, weight, gradient)
    if not isinstance(mask, list) or len(mask) < 2 or transposed is None:
        return Cost(role, None, None, dtype=dtype, output=x, direction="backward")
    products = 2 * x[0] * prod((x if transposed else gradient)[2:]) * prod(weight)
    written = [(size, at) for size, at, wanted in ((x, 1, mask[0]), (weight, 2, mask[1])) if wanted]
    if len(mask) > 2 and mask[2]:
        written.append(((gradient[1],), 0))
    reads = [0, *([1] if mask[1] else []), *([2] if mask[0] else [])]
    flops = products * (bool(mask[0]) + bool(mask[1]))
    return Cost(role, flops, call.moved(reads, [*written]), dtype=dtype, output=x, direction="backward")
