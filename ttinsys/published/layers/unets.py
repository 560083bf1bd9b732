"""Layers of U-Nets for images: UNet2DConditionModel of diffusers, and the walk that U-Nets for clips share.

Level n has sides that are 2^n times shorter than those of the input, rounded up; the middle has those of the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from ttinsys.published.layers.records import Layers
from ttinsys.published.layers.sizes import Latents


def level_sides(height: int, width: int, levels: int) -> tuple[tuple[int, int], ...]:
    """Height and width of each level: halved from one to the next, and rounded up as strided convolutions do."""
    return tuple((-(-height // 2**level), -(-width // 2**level)) for level in range(levels))


class UNet2D:
    """The layers of a UNet2DConditionModel.

    Args:
        config: its configuration, complete.
        latents: sizes of its input.
    """

    frames = 1
    """Frames of the clip, which 2-D layers take as a batch."""

    def __init__(self, config: Mapping[str, Any], latents: Latents) -> None:
        self.config = config
        self.text = latents.text
        self.channels: Sequence[int] = config["block_out_channels"]
        self.last = len(self.channels) - 1
        self.sides = level_sides(latents.height, latents.width, len(self.channels))
        self.time = config.get("time_embedding_dim") or 4 * self.channels[0]
        self.layers = Layers()

    def derive(self) -> Layers:
        """Walk down, through the middle and up again; each block up takes what a block on the way down left."""
        self.embed()
        self.convolve(0, self.config["in_channels"], self.channels[0])
        self.enter()
        skipped = self.descend()
        self.middle()
        self.ascend(skipped)
        self.convolve(0, self.channels[0], self.config["out_channels"])
        return self.layers

    def descend(self) -> list[int]:
        """Add the blocks of the way down, and return the channels that each output hands to the way up."""
        outputs = width = self.channels[0]
        skipped = [width]
        for level, outputs in enumerate(self.channels):
            kind = self.config["down_block_types"][level]
            for _ in range(self.per_level("layers_per_block", level)):
                self.block(level, width, outputs, kind)
                width = outputs
                skipped.append(width)
            if level < self.last:
                self.resample(level + 1, width, kind)
                skipped.append(width)
        return skipped

    def middle(self) -> None:
        """Add the block in the middle: attention between two blocks of convolutions."""
        width = self.channels[self.last]
        self.residual(self.last, width, width)
        self.attend(self.last, self.config.get("mid_block_type", "CrossAttn"))
        self.residual(self.last, width, width)

    def ascend(self, skipped: list[int]) -> None:
        """Add the blocks of the way up."""
        width = self.channels[self.last]
        for level in range(self.last, -1, -1):
            outputs = self.channels[level]
            kind = self.config["up_block_types"][self.last - level]
            for _ in range(self.per_level("layers_per_block", level) + 1):
                self.block(level, width + skipped.pop(), outputs, kind)
                width = outputs
            if level > 0:
                self.resample(level - 1, width, kind)

    def block(self, level: int, inputs: int, outputs: int, kind: str) -> None:
        """Add convolutions and, where the kind of block has it, attention."""
        self.residual(level, inputs, outputs)
        if "CrossAttn" in kind:
            self.attend(level, kind)

    def embed(self) -> None:
        """Add the embeddings of the time step and of what else the configuration names."""
        first, time, text = self.channels[0], self.time, self.config["cross_attention_dim"]
        self.layers.linear(1, first, time, time)
        if self.config["class_embed_type"] == "timestep":
            self.layers.linear(1, first, time, time)
        added, hidden = self.config["addition_embed_type"], self.config["encoder_hid_dim"]
        if added == "text_time":
            self.layers.linear(1, self.config["projection_class_embeddings_input_dim"], time, time)
        elif added == "text":
            self.layers.linear(1, hidden, time)
            self.layers.omitted.append("the pooling of the text by attention in add_embedding")
        elif added == "image":
            self.layers.linear(1, hidden, time)
        if self.config["encoder_hid_dim_type"] == "text_proj":
            self.layers.linear(self.text, hidden, text)
        elif self.config["encoder_hid_dim_type"] == "image_proj":
            self.layers.linear(1, hidden, text * self.text)

    def enter(self) -> None:
        """Add what comes between the first convolution and the first block: nothing."""

    def residual(self, level: int, inputs: int, outputs: int) -> None:
        """Add a residual block: two convolutions, the projection of the time step, a shortcut where widths differ."""
        self.convolve(level, inputs, outputs)
        self.convolve(level, outputs, outputs)
        scale_and_shift = self.config.get("resnet_time_scale_shift") == "scale_shift"
        self.layers.linear(self.frames, self.time, 2 * outputs if scale_and_shift else outputs)
        if inputs != outputs:
            self.convolve(level, inputs, outputs, extent=1)

    def resample(self, level: int, width: int, kind: str) -> None:
        """Add what changes the sides to those of `level`: one convolution, or a residual block."""
        if kind.startswith(("Resnet", "Simple")):
            self.residual(level, width, width)
        else:
            self.convolve(level, width, width)

    def attend(self, level: int, kind: str) -> None:
        """Add what attends in a block: transformer blocks, or a single attention that has the text among its keys."""
        if "Simple" in kind:
            self.attend_to_added_keys(level)
            return
        width, depth = self.channels[level], self.per_level("transformer_layers_per_block", level)
        self.project(level, linear=self.config["use_linear_projection"])
        self.transformer(level, width, self.per_level("attention_head_dim", level), calls=depth)

    def attend_to_added_keys(self, level: int) -> None:
        """Add an attention whose keys are the image and the text, without a feed-forward network."""
        width, positions = self.channels[level], self.positions(level)
        heads = width // self.per_level("attention_head_dim", level)
        self.layers.linear(positions, width, width, calls=4)
        self.layers.linear(self.text, self.config["cross_attention_dim"], width, calls=2)
        self.layers.attend(
            "joint_attention", positions, positions + self.text, channels=width, heads=heads, level=level
        )

    def transformer(self, level: int, width: int, heads: int, *, calls: int = 1) -> None:
        """Add transformer blocks over each frame: self-attention, cross-attention to the text, feed-forward (GEGLU)."""
        positions, text = self.positions(level), self.text
        self.layers.linear(self.frames * positions, width, width, calls=6 * calls)
        self.layers.linear(self.frames * text, self.config["cross_attention_dim"], width, calls=2 * calls)
        self.layers.gated(self.frames * positions, width, 4 * width, calls=calls)
        for role, keys in (("spatial_attention", positions), ("cross_attention", text)):
            self.layers.attend(
                role, positions, keys, channels=width, heads=heads, level=level, sequences=self.frames, calls=calls
            )

    def project(self, level: int, *, linear: bool) -> None:
        """Add the projections into and out of transformer blocks: linear layers, or pointwise convolutions."""
        width = self.channels[level]
        if linear:
            self.layers.linear(self.frames * self.positions(level), width, width, width)
        else:
            self.convolve(level, width, width, extent=1)
            self.convolve(level, width, width, extent=1)

    def convolve(self, level: int, inputs: int, outputs: int, extent: int = 3) -> None:
        """Add a 2-D convolution of every frame."""
        self.layers.convolve(self.frames * self.positions(level), inputs, outputs, extent, extent)

    def positions(self, level: int) -> int:
        """Positions of a level's feature map: s_n."""
        return prod(self.sides[level])

    def per_level(self, name: str, level: int) -> int:
        """A number of the configuration that is one for all levels, or one each."""
        value: int | Sequence[int] = self.config[name]
        return value if isinstance(value, int) else value[level]
