"""Layers of U-Nets for clips, which add the axis of time: ModelScope, Stable Video Diffusion and AnimateDiff.

Spatial layers take the frames of a clip as a batch; temporal ones take the positions of a frame as a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttinsys.published.layers.sizes import Latents
from ttinsys.published.layers.unets import UNet2D


class VideoUNet(UNet2D):
    """What the U-Nets for clips share; arguments as for `UNet2D`."""

    def __init__(self, config: Mapping[str, Any], latents: Latents) -> None:
        super().__init__(config, latents)
        self.frames = latents.frames

    def embed(self) -> None:
        """Add the embedding of the time step."""
        self.layers.linear(1, self.channels[0], self.time, self.time)

    def convolve_over_time(self, level: int, width: int, *, calls: int) -> None:
        """Add convolutions over three frames."""
        self.layers.convolve(self.frames * self.positions(level), width, width, 3, 1, 1, calls=calls)

    def attend_over_time(self, level: int, width: int, heads: int, *, calls: int = 1) -> None:
        """Add cores of attention over the frames, one sequence per position."""
        self.layers.attend(
            "temporal_attention", self.frames, self.frames,
            channels=width, heads=heads, level=level, sequences=self.positions(level), calls=calls,
        )  # fmt: skip

    def temporal_transformer(self, level: int, width: int, inner: int, heads: int, *, calls: int = 1) -> None:
        """Add transformer blocks over the frames: two self-attentions each, a feed-forward network, projections."""
        positions = self.frames * self.positions(level)
        self.layers.linear(positions, width, inner)
        self.layers.linear(positions, inner, inner, calls=8 * calls)
        self.layers.gated(positions, inner, 4 * inner, calls=calls)
        self.layers.linear(positions, inner, width)
        self.attend_over_time(level, inner, heads, calls=2 * calls)


class UNet3D(VideoUNet):
    """The layers of a UNet3DConditionModel: after each spatial block its temporal twin.

    Its attention is divided into heads of `attention_head_dim` channels, which the class takes for their number.
    """

    ENTRANCE_HEADS = 8
    """Heads of the temporal attention in front of the first block."""

    def enter(self) -> None:
        """Add the temporal transformer in front of the first block."""
        inner = self.ENTRANCE_HEADS * self.config["attention_head_dim"]
        self.temporal_transformer(0, self.channels[0], inner, self.ENTRANCE_HEADS)

    def residual(self, level: int, inputs: int, outputs: int) -> None:
        """Add a residual block and four convolutions over time."""
        super().residual(level, inputs, outputs)
        self.convolve_over_time(level, outputs, calls=4)

    def attend(self, level: int, kind: str) -> None:
        """Add a spatial and a temporal transformer."""
        del kind
        width = self.channels[level]
        heads = width // self.per_level("attention_head_dim", level)
        self.project(level, linear=True)
        self.transformer(level, width, heads)
        self.temporal_transformer(level, width, width, heads)


class SpatioTemporalUNet(VideoUNet):
    """The layers of a UNetSpatioTemporalConditionModel, whose text is the embedding of one image."""

    def embed(self) -> None:
        """Add the embeddings of the time step and of the frame rate, motion and noise."""
        super().embed()
        self.layers.linear(1, self.config["projection_class_embeddings_input_dim"], self.time, self.time)

    def residual(self, level: int, inputs: int, outputs: int) -> None:
        """Add a residual block and one over time."""
        super().residual(level, inputs, outputs)
        self.convolve_over_time(level, outputs, calls=2)
        self.layers.linear(self.frames, self.time, outputs)

    def attend(self, level: int, kind: str) -> None:
        """Add a transformer whose blocks alternate between space and time."""
        del kind
        width, heads = self.channels[level], self.per_level("num_attention_heads", level)
        calls = self.per_level("transformer_layers_per_block", level)
        self.project(level, linear=True)
        self.layers.linear(self.frames, width, 4 * width, width)
        self.transformer(level, width, heads, calls=calls)
        positions = self.positions(level)
        self.layers.gated(self.frames * positions, width, 4 * width, calls=2 * calls)
        self.layers.linear(self.frames * positions, width, width, calls=6 * calls)
        self.layers.linear(positions * self.text, self.config["cross_attention_dim"], width, calls=2 * calls)
        self.attend_over_time(level, width, heads, calls=calls)
        self.layers.attend(
            "cross_attention", self.frames, self.text,
            channels=width, heads=heads, level=level, sequences=positions, calls=calls,
        )  # fmt: skip


class MotionUNet(VideoUNet):
    """The layers of a UNetMotionModel: a motion module, over time, after every block of every level."""

    def block(self, level: int, inputs: int, outputs: int, kind: str) -> None:
        """Add the blocks of Stable Diffusion, and the motion module."""
        super().block(level, inputs, outputs, kind)
        self.motion(level, "temporal_transformer_layers_per_block")

    def middle(self) -> None:
        """Add the block in the middle: its motion module follows the attention."""
        width = self.channels[self.last]
        self.residual(self.last, width, width)
        self.attend(self.last, "CrossAttn")
        self.motion(self.last, "temporal_transformer_layers_per_mid_block")
        self.residual(self.last, width, width)

    def attend(self, level: int, kind: str) -> None:
        """Add a spatial transformer."""
        del kind
        width = self.channels[level]
        self.project(level, linear=self.config["use_linear_projection"])
        self.transformer(
            level, width, self.per_level("num_attention_heads", level),
            calls=self.per_level("transformer_layers_per_block", level),
        )  # fmt: skip

    def motion(self, level: int, depth: str) -> None:
        """Add a motion module of as many blocks as the configuration has under a name."""
        width, heads = self.channels[level], self.per_level("motion_num_attention_heads", level)
        self.temporal_transformer(level, width, width, heads, calls=self.per_level(depth, level))
