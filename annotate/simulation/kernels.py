"""Which kernels PyTorch launches for an operator, with their names, operations and traffic.

    kernels_of(torch.ops.aten.addmm.default, (bias, x_NC, weight_CK), {}, y_NK, gpu("h200"))

The names are those that captures show, as nsys writes them. What a library chooses by heuristics of its own (tiles of
cuBLAS and cuDNN) is one plausible choice here. An operator that no rule names counts as one elementwise kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from annotate.calls import tensors_in
from annotate.costs import attention_cost
from annotate.gpus import Gpu
from annotate.simulation import libraries, names
from annotate.simulation.timeline import Kernel, Unit

Rule = Callable[[str, tuple[Any, ...], Any, Gpu], list[Kernel]]

_NOTHING = frozenset(
    {
        "empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided", "detach", "alias",
        "lift", "lift_fresh", "_unsafe_view", "_reshape_alias", "set_", "resize_", "sym_size", "sym_stride",
        "sym_numel", "is_same_size", "_local_scalar_dense", "unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes",
        "is_pinned", "_has_compatible_shallow_copy_type",
    }
)  # fmt: skip
"""Operators, beside views, that launch nothing."""

_RULES: dict[str, Rule] = {}


def _rule(operators: str) -> Callable[[Rule], Rule]:
    def declared(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(operators.split(), rule))
        return rule

    return declared


def operator_name(func: Any) -> str:
    """Name of an operator, that of its form in place included: `add` for `aten::add_.Tensor`."""
    name: str = func._schema.name.partition("::")[2]
    return name if name.startswith("_") or not name.endswith("_") else name[:-1]


def kernels_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, gpu: Gpu) -> list[Kernel]:
    """The kernels that an operator launches, in their order.

    Args:
        func: the operator, as a dispatch mode sees it.
        args: what it was given.
        kwargs: by name.
        output: what it returned.
        gpu: what it would have run on.
    """
    name = operator_name(func)
    returned = tensors_in(output)
    if func.is_view or name in _NOTHING or name.startswith("sym_") or not any(t.numel() for t in returned):
        return []
    given = (*args, *kwargs.values())
    if name in {"_to_copy", "clone", "contiguous"} and not tensors_in(given):
        return []
    counted = flop_registry.get(func._overloadpacket)
    if counted is not None and name not in _RULES:
        flops = counted(*args, **kwargs, out_val=output)
        if name == "convolution":
            return _convolution(given, returned[0], flops, gpu)
        return _product(given, output, gpu, flops)
    return _RULES.get(name, _elementwise)(name, given, output, gpu)


def traffic(tensors: Sequence[torch.Tensor]) -> int:
    """Bytes of tensors: what is expanded is read once."""
    return sum(
        prod(size for size, stride in zip(t.shape, t.stride(), strict=True) if stride or size == 0) * t.element_size()
        for t in tensors
    )


def _unit(tensor: torch.Tensor, *, convolution: bool = False) -> Unit:
    if tensor.element_size() < 4:
        return "half"
    return "tf32" if convolution else "single"


def _kernel(name: str, operator: str, tensors: Sequence[torch.Tensor], **more: Any) -> Kernel:
    largest = max((t.numel() for t in tensors), default=1)
    return Kernel(name, operator, traffic(tensors), **{"blocks": -(-largest // 512), **more})


def _product(given: tuple[Any, ...], output: Any, gpu: Gpu, flops: int) -> list[Kernel]:
    """A product of matrices: cuBLAS."""
    tensors, result = tensors_in(given), tensors_in(output)[0]
    left, right = [t for t in tensors if t.ndim > 1][:2] if len(tensors) > 1 else (tensors * 2)[:2]
    rows, columns = (result.shape[-2], result.shape[-1]) if result.ndim > 1 else (1, result.shape[-1])
    transposed = right.ndim > 1 and right.stride(-2) == 1
    tile = libraries.tile(rows, columns)
    batch = prod(result.shape[:-2])
    return [
        Kernel(
            libraries.gemm(left.dtype, gpu.compute, tile, vector=rows == 1, transposed=transposed),
            "gemm",
            traffic([*tensors, result]),
            flops,
            _unit(left),
            blocks=batch * -(-rows // tile[0]) * -(-columns // tile[1]),
            threads=384 if gpu.compute >= (9, 0) else 256,
        )
    ]


def _convolution(given: tuple[Any, ...], result: torch.Tensor, flops: int, gpu: Gpu) -> list[Kernel]:
    """cuDNN: to channels last and back around it in half precision; the bias is added by a kernel of its own."""
    picture, weight, bias = given[:3]
    unit = _unit(picture, convolution=True)
    dtype = names.c_type(picture.dtype)
    found = Kernel(
        libraries.convolution(
            picture.dtype, gpu.compute, dims=weight.ndim - 2, depthwise=weight.shape[1] == 1 < given[8]
        ),
        "conv",
        traffic([picture, weight, result]),
        flops,
        unit,
        blocks=-(-result.numel() // (128 * 128)),
        threads=256,
    )
    kernels = [found]
    if unit == "half" and not picture.is_contiguous(memory_format=_channels_last(picture)) and given[8] == 1:
        before = _kernel(libraries.layout("nchwToNhwc", dtype), "copy", [picture, picture])
        after = _kernel(libraries.layout("nhwcToNchw", dtype), "copy", [result, result])
        kernels = [before, found, after]
    if bias is not None:
        plain = names.elementwise("add", dtype, 3, plain=False)
        kernels.append(_kernel(plain, "elementwise", [result, bias, result]))
    return kernels


def _channels_last(tensor: torch.Tensor) -> torch.memory_format:
    known = {4: torch.channels_last, 5: torch.channels_last_3d}
    return known.get(tensor.ndim, torch.contiguous_format)


@_rule(
    "_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_flash_attention_forward _efficient_attention_forward"
)
def _fused_attention(name: str, given: tuple[Any, ...], _output: Any, gpu: Gpu) -> list[Kernel]:
    query, key, value = given[:3]
    mask = [given[3]] if len(given) > 3 and isinstance(given[3], torch.Tensor) else []
    cost = attention_cost(query.shape, key.shape, value.shape, itemsize=query.element_size())
    write = libraries.flash_attention if "flash" in name else libraries.efficient_attention
    blocks = prod(query.shape[:-2]) * -(-query.shape[-2] // 128)
    kernel = write(query.dtype, query.shape[-1], gpu.compute, causal=any(flag is True for flag in given[4:6]))
    return [Kernel(kernel, "flash_attention", cost.bytes + traffic(mask), cost.flops, _unit(query), blocks)]


@_rule("_softmax _safe_softmax _log_softmax softmax")
def _softmax(_name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    width = output.shape[given[1]] if output.ndim else 1
    name = names.softmax(names.c_type(output.dtype), width, logarithm="log" in _name)
    return [_kernel(name, "softmax", [*tensors_in(given), output], blocks=max(1, output.numel() // max(1, width)))]


@_rule("native_group_norm")
def _group_norm(_name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    """Statistics; scale and shift per channel; their application."""
    picture: torch.Tensor = given[0]
    result, mean, deviation = output[:3]
    dtype = names.c_type(picture.dtype)
    per_channel = result[..., 0] if result.ndim < 3 else result.flatten(2)[..., 0]
    return [
        _kernel(names.moments(dtype), "group_norm", [picture, mean, deviation], blocks=mean.numel(), threads=512),
        _kernel(names.group_norm_parameters(dtype), "group_norm", [*tensors_in(given[1:3]), per_channel, per_channel]),
        _kernel(names.group_norm(dtype), "group_norm", [picture, per_channel, per_channel, result]),
    ]


@_rule("native_layer_norm _fused_rms_norm")
def _layer_norm(name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    rms = "rms" in name
    written = names.layer_norm(names.c_type(given[0].dtype), rms=rms)
    rows = output[0].numel() // max(1, output[0].shape[-1])
    return [_kernel(written, "rms_norm" if rms else "layer_norm", [*tensors_in(given), output[0]], blocks=rows)]


@_rule("native_batch_norm cudnn_batch_norm _native_batch_norm_legit_no_training batch_norm")
def _batch_norm(_name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    written = names.batch_norm(names.c_type(given[0].dtype))
    return [_kernel(written, "batch_norm", [*tensors_in(given), tensors_in(output)[0]])]


@_rule("embedding index_select")
def _lookup(_name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    """The rows that are looked up, not the whole table."""
    places = tensors_in(given[1:])
    return [_kernel(names.lookup(names.c_type(output.dtype)), "index", [*places, output, output])]


@_rule("index _unsafe_index index_put _index_put_impl _unsafe_index_put gather scatter scatter_add index_add "
       "index_copy masked_select nonzero take index_fill masked_scatter")  # fmt: skip
def _index(name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    writes = any(word in name for word in ("put", "scatter", "add", "copy", "fill"))
    result = tensors_in(output)[0]
    moved = max(tensors_in(given[1:]), key=torch.numel, default=result) if writes else result
    return [_kernel(names.index(name), "index", [moved, moved, *tensors_in(given[1:])])]


@_rule("cat stack")
def _concatenation(_name: str, _given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    return [_kernel(names.concatenation(output.element_size()), "copy", [output, output])]


@_rule("constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
       "replication_pad3d")  # fmt: skip
def _pad(name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    """By a constant: fill all, then copy what was there."""
    dtype = names.c_type(output.dtype)
    if name != "constant_pad_nd":
        return [_kernel(names.pad(name, dtype), "copy", [given[0], output])]
    return [
        _kernel(names.fill(dtype), "elementwise", [output]),
        _kernel(names.copy(output.dtype, output.dtype, plain=False), "copy", [given[0], given[0]]),
    ]


@_rule(
    "clone _to_copy copy contiguous repeat repeat_interleave roll flip pixel_shuffle pixel_unshuffle channel_shuffle"
)
def _copy(name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    source = tensors_in(given)[-1 if name == "copy" else 0]
    if name in {"roll", "flip"}:
        return [_kernel(names.moved(name, names.c_type(output.dtype)), "copy", [source, output])]
    plain = source.is_contiguous() and source.shape == output.shape and output.is_contiguous()
    return [_kernel(names.copy(source.dtype, output.dtype, plain=plain), "copy", [source, output])]


@_rule("sum mean amax amin max min argmax argmin any all prod var std var_mean norm linalg_vector_norm logsumexp "
       "count_nonzero aminmax median")  # fmt: skip
def _reduction(name: str, given: tuple[Any, ...], output: Any, gpu: Gpu) -> list[Kernel]:
    tensors = tensors_in(given)
    if name in {"max", "min"} and len(tensors) > 1:
        return _elementwise("maximum" if name == "max" else "minimum", given, output, gpu)
    written = names.reduction(name, names.c_type(tensors[0].dtype))
    return [_kernel(written, "reduce", [*tensors, *tensors_in(output)])]


@_rule("cumsum cumprod logcumsumexp cummax")
def _scan(_name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    result = tensors_in(output)[0]
    return [_kernel(names.scan(names.c_type(result.dtype)), "reduce", [*tensors_in(given), result])]


@_rule("sort argsort topk kthvalue unique_consecutive _unique2")
def _sort(_name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    result = tensors_in(output)[0]
    return [_kernel(names.sort(names.c_type(result.dtype)), "sort", [*tensors_in(given), *tensors_in(output)])]


@_rule("rand randn randint rand_like randn_like randint_like normal uniform bernoulli multinomial exponential "
       "native_dropout random randperm")  # fmt: skip
def _random(name: str, _given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    return [_kernel(names.random(name, names.c_type(output.dtype)), "random", [output])]


@_rule("zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full fill zero scalar_tensor")
def _fill(_name: str, _given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    return [_kernel(names.fill(names.c_type(output.dtype)), "elementwise", [output])]


@_rule("triu tril searchsorted bucketize")
def _own(name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    return [_kernel(names.own(name, names.c_type(output.dtype)), "other", [*tensors_in(given), output])]


def _elementwise(name: str, given: tuple[Any, ...], output: Any, _gpu: Gpu) -> list[Kernel]:
    tensors, results = tensors_in(given), tensors_in(output)
    dtype = names.c_type((tensors or results)[0].dtype)
    if name.startswith(("upsample", "_upsample", "grid_sampler")) or "interpolat" in name:
        return [_kernel(names.resampling(name, dtype), "resample", [*tensors, *results])]
    if "pool" in name:
        return [_kernel(names.pooling(name, dtype), "pool", [*tensors, *results])]
    plain = all(t.shape == results[0].shape and t.is_contiguous() for t in tensors if t.ndim)
    written = names.elementwise(name, dtype, len(tensors) + 1, plain=plain)
    return [_kernel(written, "elementwise", [*tensors, *results[:1]])]
