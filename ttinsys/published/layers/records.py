"""Records of layers: attention, linear layers and convolutions of one forward, with the sizes that cost follows from.

    layers = Layers()
    layers.linear(4096, 320, 1280, 320)                  # a feed-forward network: two layers
    layers.attend("spatial_attention", 4096, 4096, channels=320, heads=8, level=0)

Sizes are those of one image or clip, whatever the batch: costs multiply.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import prod


@dataclass(frozen=True, slots=True)
class Attention:
    """Cores of attention that are alike.

    Args:
        role: what they attend to, as annotation names it.
        queries: length of a sequence of queries.
        keys: length of a sequence of keys.
        channels: features of a query, of all heads together.
        heads: number of heads.
        level: level of the U-Net, 0 the finest; None elsewhere.
        sequences: sequences of one image or clip that a call takes as a batch, such as one per frame.
        calls: number of them in a forward.
        apart: a batch is taken one sample per call.
    """

    role: str
    queries: int
    keys: int
    channels: int
    heads: int
    level: int | None = None
    sequences: int = 1
    calls: int = 1
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Linear:
    """Linear layers that are alike: positions, input and output features, and how many there are in a forward."""

    positions: int
    inputs: int
    outputs: int
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Convolution:
    """Convolutions that are alike.

    Args:
        role: axes along which the kernel extends, as annotation names it.
        positions: positions of the output, over all frames. A transposed convolution counts those of its input.
        inputs: input channels of a group.
        outputs: output channels.
        taps: weights of the kernel for each pair of channels: k^2 of a square one.
        calls: number of them in a forward.
    """

    role: str
    positions: int
    inputs: int
    outputs: int
    taps: int
    calls: int = 1


@dataclass
class Layers:
    """The layers of one forward of a component, collected in the order of its configuration.

    Args:
        attention: cores of attention.
        linear_layers: linear layers.
        convolutions: convolutions.
        omitted: what multiplies matrices, too, and is not among them.
    """

    attention: list[Attention] = field(default_factory=list)
    linear_layers: list[Linear] = field(default_factory=list)
    convolutions: list[Convolution] = field(default_factory=list)
    omitted: list[str] = field(default_factory=list)

    def attend(
        self, role: str, queries: int, keys: int, *, channels: int, heads: int, level: int | None = None,
        sequences: int = 1, calls: int = 1, apart: bool = False,
    ) -> None:  # fmt: skip
        """Add cores of attention; arguments as for `Attention`."""
        self.attention.append(Attention(role, queries, keys, channels, heads, level, sequences, calls, apart))

    def linear(self, positions: int, *widths: int, calls: int = 1) -> None:
        """Add linear layers that follow each other: from the first width to the second, from that to the third.

        Args:
            positions: vectors that each of them multiplies.
            widths: two or more numbers of features.
            calls: how often that occurs in a forward.
        """
        self.linear_layers.extend(Linear(positions, *pair, calls) for pair in pairwise(widths))

    def gated(self, positions: int, width: int, inner: int, *, calls: int = 1) -> None:
        """Add a feed-forward network whose first layer has two outputs per inner feature (GEGLU, SwiGLU)."""
        self.linear(positions, width, 2 * inner, calls=calls)
        self.linear(positions, inner, width, calls=calls)

    def convolve(self, positions: int, inputs: int, outputs: int, *kernel: int, calls: int = 1) -> None:
        """Add convolutions.

        Args:
            positions: positions of the output.
            inputs: input channels of a group.
            outputs: output channels.
            kernel: extents of the kernel: height and width, or time, height and width.
            calls: how often that occurs in a forward.
        """
        self.convolutions.append(Convolution(_axes(kernel), positions, inputs, outputs, prod(kernel), calls))


def _axes(kernel: tuple[int, ...]) -> str:
    """Role of a convolution by the extents of its kernel."""
    *time, height, width = kernel
    over_time, over_space = any(extent > 1 for extent in time), height > 1 or width > 1
    if over_time:
        return "spatiotemporal_conv" if over_space else "temporal_conv"
    return "spatial_conv" if over_space else "pointwise_conv"
