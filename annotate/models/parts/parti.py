"""The pipeline of Parti, which diffusers does not have: text in, image tokens one by one, a picture out."""

from __future__ import annotations

import math
from typing import Any

import torch
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from transformers import DynamicCache, EncoderDecoderCache, PreTrainedTokenizerBase, T5ForConditionalGeneration


class PartiPipeline(DiffusionPipeline):
    """Reads the text once, writes image tokens with a cache of keys and values, decodes the picture.

    Args:
        tokenizer: of the text, padded to its `model_max_length`.
        transformer: encoder of the text and decoder of the image tokens.
        vqvae: decodes image tokens to pixels; its codes are the first of the transformer's vocabulary.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, transformer: T5ForConditionalGeneration, vqvae: VQModel
    ) -> None:
        super().__init__()
        self.register_modules(tokenizer=tokenizer, transformer=transformer, vqvae=vqvae)  # type: ignore[no-untyped-call]

    def encode_prompt(self, prompts: list[str]) -> tuple[Any, torch.Tensor]:
        """The encoder's output and its mask: of empty prompts first, for guidance, and then of these."""
        text = self.tokenizer([""] * len(prompts) + prompts, padding="max_length", truncation=True, return_tensors="pt")
        mask = text.attention_mask.to(self._execution_device)
        return self.transformer.encoder(text.input_ids.to(self._execution_device), attention_mask=mask), mask

    @torch.no_grad()
    def __call__(
        self, prompts: list[str], tokens: int, guidance_scale: float = 1.2, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Pictures in [0, 1], the largest square that the tokens fill.

        Args:
            prompts: what to show, one per picture.
            tokens: to write for each; 1024 are 32 rows of 32.
            guidance_scale: how far to go from what no text suggests to what the text does.
            generator: of the numbers that choose the tokens, drawn on its device and all at once: a token never waits
                for the host.
        """
        encoded, mask = self.encode_prompt(prompts)
        codes = self.vqvae.config.num_vq_embeddings
        drawn = torch.rand(tokens, len(prompts), 1, generator=generator).to(self._execution_device)
        # Not of a configuration: a cache made of one has the encoder's depth, not the decoder's.
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        last = torch.full((2 * len(prompts), 1), self.transformer.config.pad_token_id, device=self._execution_device)
        written = []
        for number in self.progress_bar(drawn):
            logits = self.transformer(
                encoder_outputs=encoded,
                attention_mask=mask,
                decoder_input_ids=last,
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1, :codes]
            without, given = logits.float().chunk(2)
            chances = (without + guidance_scale * (given - without)).softmax(dim=-1).cumsum(dim=-1)
            token = torch.searchsorted(chances, number).clamp(max=codes - 1)
            written.append(token)
            last = token.repeat(2, 1)
        side = math.isqrt(tokens)
        shape = (len(prompts), side, side, self.vqvae.config.vq_embed_dim or self.vqvae.config.latent_channels)
        picture = torch.cat(written, dim=1)[:, : side * side].reshape(-1)
        decoded: torch.Tensor = self.vqvae.decode(picture, force_not_quantize=True, shape=shape).sample
        return (decoded / 2 + 0.5).clamp(0, 1)
