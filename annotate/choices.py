"""What a run may choose: how attention is computed, and what is compiled.

with attention(pipeline, "eager"):
    pipeline("a corgi")
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from annotate.errors import ImpossibleRequest
from annotate.tree import roots

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
ATTENTIONS = ("sdpa", "eager", *_KERNELS)
"""Ways of computing attention; any backend of diffusers (`sage`, `_flash_3`, ...) is one too, for models that take it.

`eager` is unfused: two matrix products and a softmax, as diffusers and transformers write them out, and where they do
not, as torch's own fallback does. The others are torch's kernels; where one cannot take a call, the next one does.
"""

COMPILES = ("none", "regional", "full")
"""What is compiled of the denoiser: nothing, its repeated blocks each, or the whole."""


def components(target: Any) -> Iterator[nn.Module]:
    """Modules of a model, pipeline or cascade that are called from outside."""
    for root in roots(target):
        yield from root.components.values()


@contextmanager
def attention(target: Any, chosen: str) -> Iterator[None]:
    """Compute attention in a chosen way inside the block. Processors that were replaced stay replaced.

    Raises:
        ImpossibleRequest: there is no such way for this model.
    """
    if chosen == "sdpa":
        yield
    elif chosen == "eager":
        _unfuse(target)
        with _reduced_precision(), sdpa_kernel(SDPBackend.MATH):
            yield
    elif chosen in _KERNELS:
        rest = [kernel for kernel in _KERNELS.values() if kernel is not _KERNELS[chosen]]
        with _reduced_precision(), sdpa_kernel([_KERNELS[chosen], *rest], set_priority=True):
            yield
    else:
        _dispatch(target, chosen)
        yield


@contextmanager
def _reduced_precision() -> Iterator[None]:
    """Let torch's fallback multiply in half precision, as an unfused attention would, and not convert to single."""
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(enabled=True)
    try:
        yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(enabled=before)


def _unfuse(target: Any) -> None:
    """Replace fused attention by the unfused one that each library has."""
    for component in components(target):
        if hasattr(component, "set_attn_implementation"):
            component.set_attn_implementation("eager")  # type: ignore[operator]
        # Transformers hand masks to their attention that the unfused processors do not take: those fall to torch.
        for module in component.modules() if _UNETS.search(type(component).__name__) else ():
            unfused = _UNFUSED.get(type(getattr(module, "processor", None)).__name__)
            if unfused is not None:
                from diffusers.models import attention_processor

                module.set_processor(getattr(attention_processor, unfused)())  # type: ignore[operator]


_UNETS = re.compile(r"UNet|Autoencoder|VQModel")
_UNFUSED = {"AttnProcessor2_0": "AttnProcessor", "AttnAddedKVProcessor2_0": "AttnAddedKVProcessor"}


def _dispatch(target: Any, backend: str) -> None:
    able = [module for module in components(target) if hasattr(module, "set_attention_backend")]
    try:
        for module in able:
            module.set_attention_backend(backend)  # type: ignore[operator]
    except (ValueError, RuntimeError, ImportError) as error:
        raise ImpossibleRequest(f"--attention {backend}: {str(error).splitlines()[0]}") from error
    if not able:
        raise ImpossibleRequest(f"--attention {backend}: this model takes {', '.join(ATTENTIONS)}")


def compile_denoiser(target: Any, chosen: str, *, cuda_graphs: bool) -> None:
    """Compile what makes the steps: the denoiser, or the decoder of an autoregressive model.

    Args:
        target: the pipeline or model.
        chosen: of `COMPILES`.
        cuda_graphs: replay the kernels of a call as one CUDA graph.

    Raises:
        ImpossibleRequest: nothing in it can be compiled that way.
    """
    if chosen == "none" and not cuda_graphs:
        return
    options: dict[str, Any] = {"mode": "reduce-overhead"} if cuda_graphs else {}
    if chosen == "none":
        options = {"backend": "cudagraphs"}  # the kernels stay what they are
    compiled = 0
    for module in _makers_of_steps(target):
        for block in _repeated(module) if chosen == "regional" else [module]:
            block.compile(**options)
            compiled += 1
    if not compiled:
        raise ImpossibleRequest(f"--compile {chosen}: this model has no block that repeats: use --compile full")


def _makers_of_steps(target: Any) -> Iterator[nn.Module]:
    from annotate.tree import sites

    for site in sites(target):
        if site.label.level == "component" and site.label.component in {"denoiser", "decoder"}:
            yield site.module


def _repeated(module: nn.Module) -> list[nn.Module]:
    """Blocks that the class names as repeated, else the transformer blocks in lists."""
    names = getattr(module, "_repeated_blocks", None) or getattr(module, "_no_split_modules", None) or ()
    return [inner for inner in module.modules() if type(inner).__name__ in names]
