"""Tiny models for tests of annotation, built once per worker. Import it where torch and diffusers are known to be."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import pytest

from annotate.models import model

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import diffusers  # noqa: F401
    import torch

    from annotate.build import build

quiet = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")
"""For tests that run models: torch warns so of numpy."""


@cache
def built(name: str) -> Any:
    """A model, the same one every time."""
    torch.set_num_threads(1)  # tests run side by side, and tensors are small
    return build(model(name), "tiny")


def with_attention(name: str, chosen: str) -> Any:
    """A model whose attention may be exchanged: the shared one where it stays fused, else one of its own."""
    return built(name) if chosen == "sdpa" else built.__wrapped__(name)


def generate(name: str, pipeline: Any = None, **changes: int) -> torch.Tensor:
    """Run a model, and give what it made."""
    chosen = model(name)
    with torch.no_grad():
        output = chosen.generate(pipeline or built(name), chosen.request("tiny", **changes))
    first = output if isinstance(output, torch.Tensor) else output[0]
    assert isinstance(first, torch.Tensor)
    return first
