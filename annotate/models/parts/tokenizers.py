"""Tokenizers built in code: the shapes of the real ones, without their vocabularies and without a network.

A prompt of n words becomes n tokens (and the model's own special ones), which is all that a profile depends on.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Any


def _words(count: int) -> Iterator[str]:
    """The words that a vocabulary holds: the letters, of which prompts are made, and others to fill it up."""
    yield from string.ascii_lowercase[:count]
    yield from (f"token{i}" for i in range(count - len(string.ascii_lowercase)))


def clip(*, length: int = 77, vocabulary: int = 49408) -> Any:
    """CLIP's tokenizer: pads to `length`; its start and end tokens are the last two of the vocabulary."""
    from transformers import CLIPTokenizer

    tokens = [*(f"{word}</w>" for word in _words(vocabulary - 2)), "<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=length)


def t5(*, length: int = 512, vocabulary: int = 32100) -> Any:
    """T5's tokenizer: pad 0, end 1, unknown 2."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0)]
    pieces += [(f"▁{word}", -float(i + 1)) for i, word in enumerate(_words(vocabulary - len(pieces)))]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=length)


def words(*, length: int = 4096, vocabulary: int = 32000, side: str = "left") -> Any:
    """A word-level tokenizer, for language models: padding 0, start 1, end 2, unknown 3; one token per word."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocab = {token: i for i, token in enumerate([*special, *_words(vocabulary - len(special))])}
    model = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    model.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=model,
        model_max_length=length,
        padding_side=side,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    )
