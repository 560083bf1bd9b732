"""What attention, linear layers and convolutions cost by formula: memory of score matrices, FLOPs, and how both grow.

    stages = unet_stages(512, 512, calls=(5, 5, 5, 1), channels=(320, 640, 1280, 1280))
    [stage.positions for stage in stages]     # 4096, 1024, 256, 64
    counted_memory(stages, text=77)           # 183.1e6 bytes for one head of one picture

Formulas are those of Golden et al., arXiv 2312.14385, in its section on the analytical model; a multiply-add is two
operations. Nothing here reads a trace: analyses put these numbers beside what a trace tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod


@dataclass(frozen=True, slots=True)
class Stage:
    """A level of a U-Net.

    Args:
        positions: of its feature map, which is the sequence length s_n of its self-attention.
        calls: of self-attention in one forward, and as many of cross-attention; 0 where it has none.
        channels: C of these.
        heads: of these.
    """

    positions: int
    calls: int
    channels: int
    heads: int


def unet_stages(
    height: int,
    width: int,
    *,
    calls: Sequence[int],
    channels: Sequence[int],
    heads: int | Sequence[int] = 1,
    factor: int = 8,
    reduction: int = 2,
) -> tuple[Stage, ...]:
    """The profile of a U-Net: s_n = H_L * W_L / d^(2n), with H_L = H / f and W_L = W / f.

    Sides are rounded up at each level, as convolutions with a stride round them.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        calls: of self-attention per level, the finest first; the last level is the middle.
        channels: per level.
        heads: per level, or of all.
        factor: f, pixels of a side to one of the latent: 8 for Stable Diffusion, 1 for models of pixels.
        reduction: d, by which a level divides a side.
    """
    count = len(calls)
    each = [heads] * count if isinstance(heads, int) else list(heads)
    sides = [(-(-height // factor), -(-width // factor))]
    for _ in range(count - 1):
        sides.append((-(-sides[-1][0] // reduction), -(-sides[-1][1] // reduction)))
    return tuple(
        Stage(prod(side), number, width_, head)
        for side, number, width_, head in zip(sides, calls, channels, each, strict=True)
    )


def trajectory(stages: Sequence[Stage]) -> tuple[int, ...]:
    """Lengths of the levels in the order of a forward: down, the middle once, up again (the U of Fig. 7)."""
    lengths = [stage.positions for stage in stages]
    return (*lengths, *reversed(lengths[:-1]))


def score_memory(positions: int, text: int, itemsize: int = 2) -> int:
    """Bytes of the score matrices of a level, s_n x s_n and s_n x T: at two bytes 2 * s_n * (s_n + T)."""
    return itemsize * positions * (positions + text)


def plain_memory(positions: int, text: int, depth: int, *, reduction: int = 2, itemsize: int = 2) -> int:
    """M = 2 * sum(n = 0..U-1) 2 s_n (s_n + T) + 2 s_U (s_U + T), in bytes.

    One self- and one cross-attention per level on the way down and on the way up, one in the middle; one head, one
    picture, no guidance. With square latents of side L it grows as L^4, and its cross-attention as L^2.

    Args:
        positions: s_0, of the finest level.
        text: T, tokens of the text.
        depth: U, levels above the middle.
        reduction: d, by which a level divides a side.
        itemsize: bytes of a score.
    """
    levels = [score_memory(positions // reduction ** (2 * n), text, itemsize) for n in range(depth + 1)]
    return 2 * sum(levels[:-1]) + levels[-1]


def counted_memory(
    stages: Iterable[Stage],
    text: int,
    *,
    batch: int = 1,
    guided: bool = False,
    all_heads: bool = False,
    itemsize: int = 2,
) -> int:
    """The same with what the plain form omits: calls per level, heads, batch, and guidance, which doubles the batch.

    Bytes of all score matrices that a forward computes, which are not in memory at one time. Of one head and one
    picture, Stable Diffusion 1.5 has 12.2, 183.1 and 2,879 MB (of 1e6 bytes) at 256, 512 and 1024 pixels.

    Args:
        stages: of the U-Net.
        text: T, tokens of the text.
        batch: pictures at once.
        guided: whether each is computed with its text and without.
        all_heads: count every head's matrix, not one per call.
        itemsize: bytes of a score.
    """
    pictures = batch * (2 if guided else 1)
    return pictures * sum(
        stage.calls * (stage.heads if all_heads else 1) * score_memory(stage.positions, text, itemsize)
        for stage in stages
    )


def core_flops(queries: int, keys: int, channels: int, batch: int = 1) -> int:
    """Attention core: QK and AV, 4 B Nq Nk C over all heads."""
    return 4 * batch * queries * keys * channels


def linear_flops(positions: int, inputs: int, outputs: int) -> int:
    """Linear layer: 2 N Cin Cout."""
    return 2 * positions * inputs * outputs


def convolution_flops(height: int, width: int, inputs: int, outputs: int, kernel: int) -> int:
    """Convolution by a square kernel: 2 H W Cin Cout k^2, with the height and the width of its output."""
    return 2 * height * width * inputs * outputs * kernel**2


def self_attention_flops(stages: Iterable[Stage], batch: int = 1) -> int:
    """Cores of self-attention in one forward of a U-Net."""
    return sum(stage.calls * core_flops(stage.positions, stage.positions, stage.channels, batch) for stage in stages)


def cross_attention_flops(stages: Iterable[Stage], text: int, batch: int = 1) -> int:
    """Cores of cross-attention in one forward of a U-Net."""
    return sum(stage.calls * core_flops(stage.positions, text, stage.channels, batch) for stage in stages)


def spatial_flops(frames: int, positions: int, channels: int) -> int:
    """Core of spatial attention in a video: each frame by itself, 4 F N^2 C."""
    return 4 * frames * positions**2 * channels


def temporal_flops(frames: int, positions: int, channels: int) -> int:
    """Core of temporal attention: each position by itself, 4 N F^2 C, which is quadratic in frames."""
    return 4 * positions * frames**2 * channels


def joint_flops(frames: int, positions: int, channels: int) -> int:
    """Core of attention over all positions of all frames, 4 (N F)^2 C."""
    return 4 * (positions * frames) ** 2 * channels


def spatial_to_temporal(frames: int, positions: int) -> float:
    """FLOPs of a spatial core in those of a temporal one of the same width: N / F. They are equal at F = N."""
    return positions / frames


_GROWTH = {
    "pixels": {"spatial_attention": 2, "spatiotemporal_attention": 2},
    "frames": {"temporal_attention": 2, "spatiotemporal_attention": 2},
    "batch": {"joint_attention": 1, "self_attention": 1},
}
_LINEAR = (
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
    """The power of a request's size with which a role's FLOPs grow, from the formulas above.

    Linear layers have 1 by their positions; those that see only the text or the step do not grow, so that all of them
    together grow a little less. Attention over picture and text together has no one power, nor has a decoded token.

    Args:
        role: as annotation names it; an attention's is that of its core.
        over: `pixels`, `frames`, `batch` or `tokens`.

    Returns:
        The power, or None where the formulas give none.
    """
    powers = _GROWTH.get(over)
    if powers is None:
        return None
    return powers.get(role, 1 if role in _LINEAR else None)


def adjacent_ratios(stages: Sequence[Stage]) -> tuple[float, ...]:
    """Length of each level in that of the next: d^2 where sides divide evenly."""
    return tuple(finer.positions / coarser.positions for finer, coarser in pairwise(stages))
