"""The analytical model: memory of score matrices, floating-point operations, and how both grow, by formula.

    core_flops(4096, 4096, 320)          # 21.5e9: QK and AV of one self-attention of Stable Diffusion at 512 pixels
    score_memory(4096, 77)               # 34.2e6 bytes: its scores and those of cross-attention, for one head

The formulas are those of Golden et al., arXiv 2312.14385, section on the analytical model. A multiply-add is two
operations. Nothing here reads a trace: `ttinsys.measures.analytical` applies the formulas to the layers of a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def score_memory(positions: int, text: int, itemsize: int = 2) -> int:
    """Bytes of the score matrices of a level, s_n x s_n and s_n x T: at two bytes 2 s_n (s_n + T)."""
    return itemsize * positions * (positions + text)


def plain_memory(positions: int, text: int, depth: int, *, reduction: int = 2, itemsize: int = 2) -> int:
    """M = 2 * sum(n = 0..U-1) 2 s_n (s_n + T) + 2 s_U (s_U + T), in bytes.

    The form counts one self- and one cross-attention per level on the way down and on the way up, and one in the
    middle, for one head of one image without guidance. With square latents of side L it grows as L^4, and its
    cross-attention as L^2.

    Args:
        positions: s_0, positions of the finest level; s_n = s_0 / d^(2n).
        text: T, number of text tokens.
        depth: U, number of levels above the middle.
        reduction: d, the factor by which each level shortens a side.
        itemsize: bytes of a score.
    """
    levels = [score_memory(positions // reduction ** (2 * n), text, itemsize) for n in range(depth + 1)]
    return 2 * sum(levels[:-1]) + levels[-1]


def core_flops(queries: int, keys: int, channels: int, batch: int = 1) -> int:
    """Core of attention, QK and AV over all heads: 4 B Nq Nk C.

    The batch holds the sequences that do not see each other. In a clip of F frames with N positions each, spatial
    attention has F sequences of N, 4 F N^2 C; temporal attention N sequences of F, 4 N F^2 C, which is quadratic in
    frames; and attention over space and time one sequence of N F, 4 (N F)^2 C.
    """
    return 4 * batch * queries * keys * channels


def linear_flops(positions: int, inputs: int, outputs: int) -> int:
    """Linear layer: 2 N Cin Cout."""
    return 2 * positions * inputs * outputs


def convolution_flops(positions: int, inputs: int, outputs: int, taps: int) -> int:
    """Convolution: 2 H W Cin Cout k^2, where H W are the positions of its output and k^2 the taps of its kernel."""
    return 2 * positions * inputs * outputs * taps


def spatial_to_temporal(frames: int, positions: int) -> float:
    """Ratio of the FLOPs of a spatial core to those of a temporal one of the same width: N / F, which is 1 at F = N."""
    return positions / frames


def trajectory(lengths: Sequence[int]) -> tuple[int, ...]:
    """Lengths of the levels of a U-Net in the order of a forward: down, the middle once, and up again (Fig. 7)."""
    return (*lengths, *reversed(lengths[:-1]))


def adjacent_ratios(lengths: Sequence[int]) -> tuple[float, ...]:
    """Ratio of the length of each level to that of the next: d^2 where sides divide evenly."""
    return tuple(finer / coarser for finer, coarser in pairwise(lengths))


_GROWTH = {
    "pixels": {"spatial_attention": 2, "spatiotemporal_attention": 2},
    "frames": {"temporal_attention": 2, "spatiotemporal_attention": 2},
    "batch": {"joint_attention": 1, "self_attention": 1},
}
_LINEAR_GROWTH = (
    "spatial_attention",
    "temporal_attention",
    "spatiotemporal_attention",
    "cross_attention",
    "spatial_conv",
    "temporal_conv",
    "spatiotemporal_conv",
    "pointwise_conv",
    "linear",
)


def growth(role: str, over: str) -> int | None:
    """The power of a request's size with which the FLOPs of a role grow, from the formulas above.

    Linear layers grow with their positions, so their power is 1. Those that see only the text or the time step do not
    grow, so all linear layers together grow a little less. Attention over image and text together has no single
    power, and neither has a decoded token.

    Args:
        role: role of the layer, as annotation names it; of an attention, the power is that of its core.
        over: the size that varies: `pixels`, `frames`, `batch` or `tokens`.

    Returns:
        The power, or None where the formulas give none.
    """
    powers = _GROWTH.get(over)
    if powers is None:
        return None
    return powers.get(role, 1 if role in _LINEAR_GROWTH else None)
