"""Phenaki, which diffusers does not have: its transformer over video tokens, its video decoder and its pipeline."""

from __future__ import annotations

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_amused import AmusedScheduler
from torch import nn
from transformers import PreTrainedTokenizerBase, T5EncoderModel

FRAMES_PER_PATCH = 2
"""Frames that one token in time holds; the first frame has tokens of its own, so that a picture is a clip of one."""


class GridPositions(nn.Module):
    """Learned positions in time, height and width, added to each other.

    Args:
        dim: width of the tokens.
        longest: the most positions that there are in each of them.
    """

    def __init__(self, dim: int, longest: int = 128) -> None:
        super().__init__()
        self.time, self.rows, self.columns = (nn.Embedding(longest, dim) for _ in range(3))

    def forward(self, grid: tuple[int, int, int]) -> torch.Tensor:
        """Positions of a grid of times, rows and columns, in one sequence."""
        times, rows, columns = (torch.arange(length, device=self.time.weight.device) for length in grid)
        positions: torch.Tensor = (
            self.time(times)[:, None, None] + self.rows(rows)[None, :, None] + self.columns(columns)
        )
        return positions.flatten(0, 2)


class MaskGitTransformer(ModelMixin):
    """Predicts all tokens of a clip at once: self-attention over time and space together, cross-attention to the text.

    Args:
        codebook_size: video tokens that there are, besides the mask.
        hidden_size: width of the blocks.
        num_layers: blocks.
        num_attention_heads: of each attention.
        text_dim: width of the text encoder's output.
    """

    def __init__(
        self,
        codebook_size: int = 8192,
        hidden_size: int = 2048,
        num_layers: int = 24,
        num_attention_heads: int = 32,
        text_dim: int = 4096,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.text_proj = nn.Linear(text_dim, hidden_size)
        self.embed_tokens = nn.Embedding(codebook_size + 1, hidden_size)
        self.embed_positions = GridPositions(hidden_size)
        self.transformer_blocks = nn.ModuleList(
            BasicTransformerBlock(
                hidden_size,
                num_attention_heads,
                hidden_size // num_attention_heads,
                cross_attention_dim=hidden_size,
            )
            for _ in range(num_layers)
        )
        self.norm_out = nn.LayerNorm(hidden_size)
        self.proj_out = nn.Linear(hidden_size, codebook_size)

    def forward(
        self, tokens: torch.Tensor, text: torch.Tensor, text_mask: torch.Tensor, grid: tuple[int, int, int]
    ) -> torch.Tensor:
        """Logits of every token.

        Args:
            tokens: of a batch of clips, each in one sequence.
            text: the text encoder's output.
            text_mask: True where that is text, False where it is padding.
            grid: times, rows and columns of the tokens.
        """
        hidden = self.embed_tokens(tokens) + self.embed_positions(grid)
        text = self.text_proj(text)
        masked = torch.zeros_like(text_mask, dtype=text.dtype).masked_fill(~text_mask, -10_000.0)[:, None]
        for block in self.transformer_blocks:
            hidden = block(hidden, encoder_hidden_states=text, encoder_attention_mask=masked)
        logits: torch.Tensor = self.proj_out(self.norm_out(hidden))
        return logits


class CViViTDecoder(ModelMixin):
    """Turns tokens into a clip: attention over time for each place, then over space for each time, then pixels.

    Args:
        codebook_size: video tokens that there are.
        code_dim: width of a code.
        hidden_size: width of the blocks.
        num_layers: blocks over time, and as many over space.
        num_attention_heads: of each attention.
        patch_size: pixels that a token is high and wide.
    """

    def __init__(
        self,
        codebook_size: int = 8192,
        code_dim: int = 32,
        hidden_size: int = 512,
        num_layers: int = 4,
        num_attention_heads: int = 8,
        patch_size: int = 8,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.patch_size = patch_size
        self.codebook = nn.Embedding(codebook_size, code_dim)
        self.proj_in = nn.Linear(code_dim, hidden_size)
        self.embed_positions = GridPositions(hidden_size)
        self.temporal_transformer_blocks, self.spatial_transformer_blocks = (
            nn.ModuleList(
                BasicTransformerBlock(hidden_size, num_attention_heads, hidden_size // num_attention_heads)
                for _ in range(num_layers)
            )
            for _ in range(2)
        )
        self.norm_out = nn.LayerNorm(hidden_size)
        self.first_frame_out = nn.Linear(hidden_size, 3 * patch_size**2)
        self.frames_out = nn.Linear(hidden_size, 3 * FRAMES_PER_PATCH * patch_size**2)

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        """Clips: batch, frames, channels, height, width.

        Args:
            tokens: of a batch of clips, each in one sequence.
            grid: times, rows and columns of the tokens.
        """
        batch, (times, rows, columns) = len(tokens), grid
        hidden = self.proj_in(self.codebook(tokens)) + self.embed_positions(grid)
        hidden = hidden.unflatten(1, (times, rows * columns)).transpose(1, 2).flatten(0, 1)
        later = torch.full((times, times), -10_000.0, dtype=hidden.dtype, device=hidden.device).triu(1)
        for block in self.temporal_transformer_blocks:
            hidden = block(hidden, attention_mask=later.expand(len(hidden), -1, -1))
        hidden = hidden.unflatten(0, (batch, rows * columns)).transpose(1, 2).flatten(0, 1)
        for block in self.spatial_transformer_blocks:
            hidden = block(hidden)
        hidden = self.norm_out(hidden).unflatten(0, (batch, times))
        first = self._frames(self.first_frame_out(hidden[:, :1]), grid)
        others = self._frames(self.frames_out(hidden[:, 1:]), grid)
        return torch.cat([first, others], dim=1)

    def _frames(self, patches: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
        """Put together the pixels of patches (batch, times, places, pixels)."""
        size, (_, rows, columns) = self.patch_size, grid
        batch, times, _, values = patches.shape
        pixels = patches.reshape(batch, times, rows, columns, values // (3 * size**2), 3, size, size)
        # batch, times, frames of a patch, channels, rows, height of a patch, columns, width of a patch
        frames = pixels.permute(0, 1, 4, 5, 2, 6, 3, 7)
        return frames.flatten(6, 7).flatten(4, 5).flatten(1, 2)


class PhenakiPipeline(DiffusionPipeline):
    """Reads the text, unmasks the tokens of a clip step by step, decodes the clip.

    Args:
        tokenizer: of the text, padded to its `model_max_length`.
        text_encoder: its output is what the transformer attends to.
        transformer: predicts the tokens.
        vqvae: decodes them.
        scheduler: chooses which tokens to keep.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        text_encoder: T5EncoderModel,
        transformer: MaskGitTransformer,
        vqvae: CViViTDecoder,
        scheduler: AmusedScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(  # type: ignore[no-untyped-call]
            tokenizer=tokenizer, text_encoder=text_encoder, transformer=transformer, vqvae=vqvae, scheduler=scheduler
        )

    def encode_prompt(self, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """The text encoder's output and its mask: of empty prompts first, for guidance, and then of these."""
        text = self.tokenizer([""] * len(prompts) + prompts, padding="max_length", truncation=True, return_tensors="pt")
        mask = text.attention_mask.to(self._execution_device)
        encoded = self.text_encoder(text.input_ids.to(self._execution_device), attention_mask=mask)
        return encoded.last_hidden_state, mask.bool()

    @torch.no_grad()
    def __call__(
        self,
        prompts: list[str],
        *,
        frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float = 8.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Clips in [0, 1]: batch, frames, channels, height, width.

        Args:
            prompts: what to show, one per clip.
            frames: of a clip; where they do not fill the last token in time, what is over is cut off.
            height: of a clip, a multiple of a token's.
            width: of a clip, a multiple of a token's.
            num_inference_steps: in which all tokens are unmasked.
            guidance_scale: how far to go from what no text suggests to what the text does.
            generator: of the noise.
        """
        text, text_mask = self.encode_prompt(prompts)
        size = self.vqvae.patch_size
        grid = (1 + -(-(frames - 1) // FRAMES_PER_PATCH), height // size, width // size)
        mask_token = self.scheduler.config.mask_token_id
        length = grid[0] * grid[1] * grid[2]
        tokens = torch.full((len(prompts), length), mask_token, device=self._execution_device)
        self.scheduler.set_timesteps(num_inference_steps, device=self._execution_device)
        for timestep in self.progress_bar(self.scheduler.timesteps):
            without, given = self.transformer(tokens.repeat(2, 1), text, text_mask, grid).chunk(2)
            logits = without + guidance_scale * (given - without)
            tokens = self.scheduler.step(logits, timestep, tokens, generator=generator).prev_sample
        clips: torch.Tensor = self.vqvae(tokens, grid)[:, :frames]
        return (clips / 2 + 0.5).clamp(0, 1)
