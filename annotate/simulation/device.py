"""A GPU that is not there: operators run on the meta device, and each launches the kernels that PyTorch would.

The pipeline's own code, its scheduler and its guidance run on the CPU with tensors of zeros, for they read values.
Components run on the meta device: what goes into one becomes a shape, and what comes out becomes zeros. Zeros that came
out of a component, and all that is made of them, count as lying on the GPU, so that guidance and the scheduler launch
kernels too; what is made of the prompt, of tables or of noise alone does not, until it meets them.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from annotate.calls import tensors_in
from annotate.patches import Patches
from annotate.simulation.kernels import kernels_of
from annotate.simulation.timeline import Timeline

CPU, META = torch.device("cpu"), torch.device("meta")
METHODS = ("encode", "decode", "get_codebook_entry", "post_process_latents", "get_text_features", "get_image_features")
"""Methods by which pipelines call their components, beside calling them."""
MOST_ZEROS = 1 << 27
"""Elements up to which zeros are memory that can be written to; beyond, they are one zero, seen many times."""
WIDEST_HEAD = 256
"""Of FlashAttention-2."""

_ON_GPU = "_ttinsys_on_gpu"
_ATEN = torch.ops.aten


class Device(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operator, and launches its kernels on a timeline.

    Args:
        timeline: when what happens.
    """

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.timeline = timeline
        self.inside = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [*tensors_in(args), *tensors_in(kwargs)]
        on_meta = any(tensor.is_meta for tensor in given)
        on_gpu = on_meta or any(hasattr(tensor, _ON_GPU) for tensor in given)
        if func is _ATEN._local_scalar_dense.default:
            if on_gpu:
                self.timeline.read(given[0].element_size())
            # Of a mask one asks whether all is true, and it is; other values would be read from zeros.
            return given[0].dtype == torch.bool if on_meta else func(*args, **kwargs)
        if on_meta and (kwargs.get("device") == CPU or _writes_to_cpu(func, args)):
            args, kwargs = tree_map_only(torch.Tensor, zeros, (args, kwargs))
        elif on_meta and not all(tensor.is_meta for tensor in given):
            args, kwargs = tree_map_only(torch.Tensor, shape_of, (args, kwargs))
        output = _run(func, args, kwargs)
        returned = tensors_in(output)
        if on_gpu or any(tensor.is_meta for tensor in returned):
            for tensor in returned:
                if not tensor.is_meta:
                    setattr(tensor, _ON_GPU, True)
            kernels = kernels_of(func, args, kwargs, output, self.timeline.gpu)
            if kernels:
                self.timeline.launch(kernels)
        return output

    @contextmanager
    def holds(self, components: Mapping[str, nn.Module], *, fused: bool) -> Iterator[None]:
        """Run these components on the device inside the block, whoever calls them.

        Args:
            components: modules on the meta device.
            fused: whether attention is one kernel.
        """
        patches = Patches()
        mine = {id(module) for component in components.values() for module in component.modules()}
        where = property(lambda _: META if self.inside else CPU)
        try:
            for cls in {type(component) for component in components.values()}:
                if hasattr(cls, "device"):
                    patches.put(cls, "device", lambda _: where)
            for component in components.values():
                for method in METHODS:
                    if callable(getattr(component, method, None)):
                        patches.put(component, method, self._crossing)
            patches.put(nn.Module, "__call__", lambda inner: self._calling(inner, mine))
            patches.put(functional, "scaled_dot_product_attention", lambda inner: _attention(inner, fused=fused))
            patches.put(functional, "rms_norm", _rms_norm)
            patches.put(torch, "autocast", _autocast)
            with self:
                yield
        finally:
            patches.restore()

    def _crossing(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """What is called from outside takes shapes and returns zeros."""

        @functools.wraps(inner)
        def crossing(*args: Any, **kwargs: Any) -> Any:
            if self.inside:
                return inner(*args, **kwargs)
            self.inside = True
            try:
                output = inner(*mapped(args, shape_of), **mapped(kwargs, shape_of))
            finally:
                self.inside = False
            return mapped(output, zeros)

        return crossing

    def _calling(self, inner: Callable[..., Any], mine: set[int]) -> Callable[..., Any]:
        crossing = self._crossing(inner)

        @functools.wraps(inner)
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if self.inside or id(module) not in mine:
                return inner(module, *args, **kwargs)
            return crossing(module, *args, **kwargs)

        return call


def shape_of(tensor: torch.Tensor) -> torch.Tensor:
    """The same on the meta device."""
    if tensor.is_meta:
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def zeros(tensor: torch.Tensor) -> torch.Tensor:
    """Zeros on the CPU for what is on the meta device, marked as lying on the GPU."""
    if not tensor.is_meta:
        return tensor
    large = tensor.numel() > MOST_ZEROS
    made = torch.zeros(() if large else tensor.shape, dtype=tensor.dtype, device=CPU)
    made = made.expand(tensor.shape) if large else made
    setattr(made, _ON_GPU, True)
    return made


def mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Change the tensors in arguments or outputs: in lists, dicts, dataclasses and distributions. Caches stay."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        changed = {key: mapped(inner, change) for key, inner in value.items()}
        return changed if type(value) is dict else type(value)(**changed)
    if isinstance(value, (list, tuple)):
        parts = [mapped(inner, change) for inner in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if "Distribution" in type(value).__name__:
        twin = copy.copy(value)
        vars(twin).update({key: mapped(inner, change) for key, inner in vars(value).items()})
        return twin
    return value


def _writes_to_cpu(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether an operator writes in place to a tensor of the pipeline's own code."""
    target = args[0] if args else None
    return func._schema.is_mutable and isinstance(target, torch.Tensor) and not target.is_meta


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator; where its output's shape depends on values, those are zeros."""
    try:
        return func(*args, **kwargs)
    except NotImplementedError:
        args, kwargs = tree_map_only(torch.Tensor, zeros, (args, kwargs))
        return tree_map_only(torch.Tensor, shape_of, func(*args, **kwargs))


def _attention(inner: Callable[..., Any], *, fused: bool) -> Callable[..., Any]:
    """Stand-in for `F.scaled_dot_product_attention`, which on the meta device would always be unfused.

    As PyTorch chooses: FlashAttention-2 in half precision without a mask, memory-efficient attention otherwise.
    """

    @functools.wraps(inner)
    def attention(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,  # noqa: FBT001, FBT002 (as it is called)
        scale: float | None = None,
        enable_gqa: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        if not query.is_meta:
            return inner(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
        if not fused:
            return _ATEN._scaled_dot_product_attention_math(
                query, key, value, attn_mask, 0.0, is_causal, scale=scale, enable_gqa=enable_gqa
            )[0]
        missing = 4 - query.ndim
        query, key, value = (
            t[(None,) * missing] if missing > 0 else t.flatten(0, t.ndim - 4) for t in (query, key, value)
        )
        if attn_mask is None and query.element_size() < 4 and query.shape[-1] <= WIDEST_HEAD:
            made = _ATEN._scaled_dot_product_flash_attention(query, key, value, 0.0, is_causal, scale=scale)[0]
        else:
            if attn_mask is not None and attn_mask.dtype == torch.bool:
                # PyTorch turns it into numbers to add.
                attn_mask = torch.zeros_like(attn_mask, dtype=query.dtype).masked_fill(attn_mask.logical_not(), -1e4)
            if key.shape[1] != query.shape[1]:
                key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
            made = _ATEN._scaled_dot_product_efficient_attention(
                query, key, value, attn_mask, compute_log_sumexp=False, is_causal=is_causal, scale=scale
            )[0]
        return made[(0,) * missing] if missing > 0 else made

    return attention


def _rms_norm(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Stand-in for `F.rms_norm`, which is one kernel on a GPU and many operators on the meta device."""

    @functools.wraps(inner)
    def rms_norm(
        input: torch.Tensor, normalized_shape: list[int], weight: torch.Tensor | None = None, eps: float | None = None
    ) -> Any:
        if not input.is_meta:
            return inner(input, normalized_shape, weight, eps)
        return _ATEN._fused_rms_norm(input, normalized_shape, weight, eps)[0]

    return rms_norm


def _autocast(inner: Callable[..., Any]) -> Callable[..., Any]:
    """Stand-in for `torch.autocast`, which does not know the meta device: what runs there keeps its types."""

    @functools.wraps(inner, updated=())
    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == META.type else inner(device_type, *args, **kwargs)

    return autocast
