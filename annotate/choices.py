"""Options of a run: how attention is computed, and what is compiled.

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

from annotate.errors import ImpossibleRequest, unknown
from annotate.tree import roots

_KERNELS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
ATTENTIONS = ("sdpa", "eager", *_KERNELS)
"""Ways of computing attention, beside the backends of diffusers (`sage`, `_flash_3`, ...).

`eager` is unfused: two matrix products and a softmax, as diffusers and transformers have them, or as torch's fallback
does where they have none. The others are torch's kernels; where one does not support a call, the next one takes it.
"""

COMPILES = ("none", "regional", "full")
"""What is compiled: nothing, each repeated block of the denoiser, or all of it."""


def components(target: Any) -> Iterator[nn.Module]:
    """Yield the modules of a model, pipeline or cascade that are called from outside."""
    for root in roots(target):
        yield from root.components.values()


def check_attention(chosen: str) -> None:
    """Refuse a word that names no way of computing attention.

    Raises:
        ImpossibleRequest: with the nearest word, and the list.
    """
    from diffusers.models.attention_dispatch import AttentionBackendName

    known = dict.fromkeys((*ATTENTIONS, *(backend.value for backend in AttentionBackendName)))
    if chosen not in known:
        raise ImpossibleRequest(unknown("--attention", chosen, known))


@contextmanager
def attention(target: Any, chosen: str) -> Iterator[None]:
    """Compute attention in a chosen way inside the block. Replaced processors stay replaced.

    Args:
        target: the pipeline or model.
        chosen: one of `ATTENTIONS`, or a backend of diffusers.

    Raises:
        ImpossibleRequest: the model or the machine does not support it.
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
    """Let torch's fallback multiply in half precision, as unfused attention does, instead of converting to single."""
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(enabled=True)
    try:
        yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(enabled=before)


def _unfuse(target: Any) -> None:
    """Replace fused attention by the unfused one of each library."""
    for component in components(target):
        if hasattr(component, "set_attn_implementation"):
            component.set_attn_implementation("eager")  # type: ignore[operator]
        # Transformer models pass masks that the unfused processors do not support: torch's fallback takes those.
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
        raise ImpossibleRequest(f"--attention {backend}: this model supports {', '.join(ATTENTIONS)}")


def compile_denoiser(target: Any, chosen: str, *, cuda_graphs: bool) -> None:
    """Compile what runs in every step: the denoiser, or the decoder of an autoregressive model.

    Args:
        target: the pipeline or model.
        chosen: one of `COMPILES`.
        cuda_graphs: replay the kernels of a call as one CUDA graph.

    Raises:
        ImpossibleRequest: the model has nothing to compile that way.
    """
    if chosen == "none" and not cuda_graphs:
        return
    options: dict[str, Any] = {"mode": "reduce-overhead"} if cuda_graphs else {}
    if chosen == "none":
        options = {"backend": "cudagraphs"}  # keeps the kernels of the run without compilation
    compiled = 0
    for module in _makers_of_steps(target):
        for block in _repeated(module) if chosen == "regional" else [module]:
            block.compile(**options)
            compiled += 1
    if not compiled:
        raise ImpossibleRequest(f"--compile {chosen}: this model has no repeated block: use --compile full")


def _makers_of_steps(target: Any) -> Iterator[nn.Module]:
    from annotate.tree import sites

    for site in sites(target):
        if site.label.level == "component" and site.label.component in {"denoiser", "decoder"}:
            yield site.module


def _repeated(module: nn.Module) -> list[nn.Module]:
    """The blocks that the class names as repeated; without such names, none."""
    names = getattr(module, "_repeated_blocks", None) or getattr(module, "_no_split_modules", None) or ()
    return [inner for inner in module.modules() if type(inner).__name__ in names]
