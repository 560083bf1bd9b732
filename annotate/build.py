"""Models with random weights, in seconds and without a network.

    with torch.no_grad():
        pipeline = build(model("stable-diffusion"), "tiny")
        build(model("wan-1.3b"), "full", device="meta")     # shapes alone

A class fills its weights as it is made, which takes longer than all else and is thrown away when real weights are
loaded. Here that filling is skipped, and every parameter is drawn once from a normal distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from annotate.models.spec import Model, Size

if TYPE_CHECKING:
    from torch import nn

DEVIATION = 0.02
"""Standard deviation of random weights; zeros would make some kernels faster than they are."""

_FILLING = frozenset({"normal_", "uniform_", "trunc_normal_"})


class _WithoutFilling(TorchFunctionMode):
    """Initialisation of parameters does nothing: `torch.nn.init` and the random fills of tensors in place."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        if getattr(func, "__name__", None) in _FILLING and args and isinstance(args[0], torch.Tensor):
            return args[0]
        return func(*args, **kwargs)


@contextmanager
def _default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    """Make floating-point tensors in `dtype`, as `from_pretrained` does."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype or before)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def build(model: Model, size: Size, *, device: str = "cpu", dtype: torch.dtype | None = None, seed: int = 0) -> Any:
    """Build a model's pipeline with random weights, in inference mode.

    Args:
        model: what to build.
        size: `full` (as published) or `tiny`.
        device: where; on `meta` there are shapes and no weights.
        dtype: of the weights; torch's default if None.
        seed: of the weights.
    """
    parts: dict[str, Any] = {}
    for name, part in model.parts(size).items():
        # Schedulers and tokenizers keep their tables on the CPU, as `from_pretrained(...).to(device)` leaves them.
        with torch.device(device if name in model.parameters else "cpu"), _default_dtype(dtype), _WithoutFilling():
            parts[name] = part.build()
    generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(requires_grad=False)
            if generator is not None:
                fill(part, generator)
    made = model.assemble(parts)
    quiet(made)
    return made


def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all parameters of a module from a normal distribution; what scales a norm lies about one."""
    for owner in module.modules():
        scales = "norm" in type(owner).__name__.lower()
        for name, parameter in owner.named_parameters(recurse=False):
            mean = 1.0 if scales and name in {"weight", "gamma"} else 0.0
            parameter.data.normal_(mean, DEVIATION, generator=generator)


def quiet(target: Any) -> None:
    """Show no bar per step: it would be printed over what is said here."""
    stages = getattr(target, "stages", {"": target})
    for pipeline in stages.values():
        if hasattr(pipeline, "set_progress_bar_config"):
            pipeline.set_progress_bar_config(disable=True)
