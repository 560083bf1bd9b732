"""Other ways to put the names and shapes of modules into a profile, for `annotate_overhead.py` to compare with.

Each takes a model and gives a context manager: in it the model says what it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import torch
from torch import nn

from annotate.backends import Nvtx

_DO_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_CONVOLUTION = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "transposed",
    "output_padding",
    "groups",
    "padding_mode",
)
_STATIC: tuple[tuple[tuple[type[nn.Module], ...], tuple[str, ...]], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _CONVOLUTION),
    ((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _CONVOLUTION),
    ((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), ("kernel_size", "stride", "padding", "dilation")),
    (
        (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"),
    ),
    ((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), ("output_size",)),
    ((nn.Linear,), ("in_features", "out_features")),
    ((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), ("num_features", "eps", "momentum")),
    ((nn.ReLU,), ("inplace",)),
    ((nn.Dropout,), ("p", "inplace")),
    ((nn.Embedding,), ("num_embeddings", "embedding_dim")),
    ((nn.Upsample,), ("scale_factor",)),
)
"""What the layerwise hooks say of modules beside their tensors."""


class LayerwiseHooks:
    """Hooks that push what vLLM's `PytHooks` push (vllm/utils/nvtx_pytorch_hooks.py), as often as they do.

    A range around each module is named after all that is known before it: name, parameters, inputs, settings. After
    it comes a range of no length, named after its outputs. The messages are put together anew in every call.

    Args:
        push, pop: of a range with a message.
    """

    def __init__(self, push: Callable[[str], Any], pop: Callable[[], Any]) -> None:
        self.push, self.pop = push, pop
        self.names: dict[nn.Module, str] = {}

    def before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Open the range of a module."""
        self.push(self.message(module, "Inputs", args, kwargs))

    def after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Close it, and tell the outputs."""
        del args
        self.pop()
        self.push(self.message(module, "Outputs", output, {}))
        self.pop()

    def message(self, module: nn.Module, kind: str, tensors: Any, kwargs: dict[str, Any]) -> str:
        """All that is said of a call."""
        said: dict[str, Any] = {"Module": self.names.get(module, "unknown")}
        parameters = {name: list(value.size()) for name, value in module.named_parameters(recurse=False)}
        if parameters:
            said["TrainableParams"] = parameters
        shapes = _shapes(tensors, [])
        if shapes:
            said[kind] = shapes
        for key, value in kwargs.items():
            if isinstance(value, (torch.Tensor, list, tuple)):
                given = _shapes(value, [])
                if given:
                    said[key] = given
        settings = _settings(module)
        if settings:
            said["StaticParams"] = settings
        return str(said)


def _shapes(value: Any, found: list[list[int]]) -> list[list[int]]:
    if isinstance(value, (list, tuple)):
        for inner in value:
            _shapes(inner, found)
    elif isinstance(value, torch.Tensor):
        found.append(list(value.size()))
    return found


def _settings(module: nn.Module) -> dict[str, Any]:
    for classes, attributes in _STATIC:
        if isinstance(module, classes):
            return {attribute: getattr(module, attribute) for attribute in attributes}
    return {}


@contextmanager
def layerwise_hooks(module: nn.Module, backend: Nvtx) -> Iterator[None]:
    """Layerwise hooks on every module. torch pushes their messages where it was built with CUDA.

    Elsewhere they go to the domain of annotation, for the `nvtx` package's own records nothing under some versions of
    nsys. A message that came before then costs a look-up: no more than what torch does with it, which is to copy it.
    """
    hooks = LayerwiseHooks(*_by_message(backend))
    handles: list[Any] = []
    for name, inner in module.named_modules(prefix="top"):
        if not isinstance(inner, _DO_NOTHING):
            hooks.names[inner] = name
            handles += [
                inner.register_forward_pre_hook(hooks.before, with_kwargs=True),
                inner.register_forward_hook(hooks.after),
            ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _by_message(backend: Nvtx) -> tuple[Callable[[str], Any], Callable[[], Any]]:
    if hasattr(torch._C, "_nvtx"):
        return torch.cuda.nvtx.range_push, torch.cuda.nvtx.range_pop
    prepared: dict[str, Any] = {}

    def push(message: str) -> None:
        found = prepared.get(message)
        if found is None:
            found = prepared[message] = backend.prepared(message, "other", 0)
        backend.push(found, backend.handle)

    return push, lambda: backend.pop(backend.handle)


@contextmanager
def record_functions(module: nn.Module) -> Iterator[None]:
    """`torch.profiler.record_function` with name and shapes around each module's `forward`.

    It reaches torch.profiler, and NVTX within `emit_nvtx` alone: nsys by itself sees nothing of it.
    """
    recorded = [
        (name, inner) for name, inner in module.named_modules(prefix="top") if not isinstance(inner, _DO_NOTHING)
    ]
    for name, inner in recorded:
        inner.forward = _recording(name, inner.forward)
    try:
        yield
    finally:
        for _, inner in recorded:
            del inner.forward


def _recording(name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
    def recording(*args: Any, **kwargs: Any) -> Any:
        shapes = [list(given.shape) for given in (*args, *kwargs.values()) if isinstance(given, torch.Tensor)]
        with torch.profiler.record_function(f"{name} {shapes}"):
            return forward(*args, **kwargs)

    return recording


def profiled(
    attach: Callable[[nn.Module], AbstractContextManager[Any]],
) -> Callable[[nn.Module], AbstractContextManager[Any]]:
    """The same while torch.profiler records operations and shapes: there `record_function` does what it is for."""

    @contextmanager
    def both(module: nn.Module) -> Iterator[None]:
        profiler = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True)
        with attach(module), profiler:
            yield

    return both


@contextmanager
def emit_nvtx(module: nn.Module) -> Iterator[None]:
    """Ranges of torch's own around operations, not modules, with the shapes of their inputs."""
    del module
    with torch.autograd.profiler.emit_nvtx(record_shapes=True):  # type: ignore[no-untyped-call]
        yield


@cache
def why_no_emit_nvtx() -> str | None:
    """Why `emit_nvtx` does not run here; None where it does."""
    try:
        with torch.autograd.profiler.emit_nvtx(record_shapes=True):  # type: ignore[no-untyped-call]
            torch.ones(1).add(1)
    except (AssertionError, RuntimeError) as error:
        return str(error).partition("\n")[0]
    return None
