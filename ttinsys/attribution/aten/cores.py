"""Costs of attention cores that run as one operation, forward and backward.

Both products are counted, over all heads of the queries and without discount for a causal mask, as torch does; the
backward pass has five, because it computes the scores again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from .cost import Cost, OperationCall, Size, formula

Layout = Literal["BHSD", "BSHD"]
"""Order of batch, heads, sequence and width."""


@dataclass(frozen=True, slots=True)
class _Core:
    """How an operation takes its tensors.

    Args:
        layout: Order of the axes of queries, keys and values.
        query: Position of the queries; keys and values follow.
        backward: Whether it is the backward pass, whose first argument is the gradient of the output.
        cumulative: Position of the offsets of sequences of several lengths in one tensor, if it takes any; those of
            the keys and both greatest lengths follow.
    """

    layout: Layout
    query: int = 0
    backward: bool = False
    cumulative: int | None = None


_HEADS_FIRST, _HEADS_FIRST_BACKWARD = _Core("BHSD"), _Core("BHSD", 1, backward=True)
_HEADS_LATER, _HEADS_LATER_BACKWARD = _Core("BSHD"), _Core("BSHD", 1, backward=True)

_CORES: Mapping[str, _Core] = {
    "aten::scaled_dot_product_attention": _HEADS_FIRST,
    "aten::_scaled_dot_product_attention_math": _HEADS_FIRST,
    "aten::_scaled_dot_product_attention_math_for_mps": _HEADS_FIRST,
    "aten::_scaled_dot_product_flash_attention": _HEADS_FIRST,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _HEADS_FIRST,
    "aten::_scaled_dot_product_efficient_attention": _HEADS_FIRST,
    "aten::_scaled_dot_product_cudnn_attention": _HEADS_FIRST,
    "aten::_scaled_dot_product_fused_attention_overrideable": _HEADS_FIRST,
    "aten::_cudnn_attention_forward": _HEADS_FIRST,
    "aten::_scaled_dot_product_flash_attention_backward": _HEADS_FIRST_BACKWARD,
    "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _HEADS_FIRST_BACKWARD,
    "aten::_scaled_dot_product_efficient_attention_backward": _HEADS_FIRST_BACKWARD,
    "aten::_scaled_dot_product_cudnn_attention_backward": _HEADS_FIRST_BACKWARD,
    "aten::_scaled_dot_product_fused_attention_overrideable_backward": _HEADS_FIRST_BACKWARD,
    "aten::_flash_attention_forward": _Core("BSHD", cumulative=3),
    "aten::_flash_attention_backward": _Core("BSHD", 1, backward=True, cumulative=6),
    "aten::_efficient_attention_forward": _Core("BSHD", cumulative=4),
    "aten::_efficient_attention_backward": _Core("BSHD", 1, backward=True, cumulative=6),
    # Dao-AILab/flash-attention: flash_attn/flash_attn_interface.py
    "flash_attn::_flash_attn_forward": _HEADS_LATER,
    "flash_attn::_flash_attn_backward": _HEADS_LATER_BACKWARD,
    "flash_attn::_flash_attn_varlen_forward": _Core("BSHD", cumulative=3),
    "flash_attn::_flash_attn_varlen_backward": _Core("BSHD", 1, backward=True, cumulative=9),
    "flash_attn_3::_flash_attn_forward": _HEADS_LATER,
    "flash_attn_3::fwd": _HEADS_LATER,
    "flash_attn_3::bwd": _HEADS_LATER_BACKWARD,
    "FlashAttnFunc": _HEADS_LATER,
    # facebookresearch/xformers: xformers/ops/fmha
    "xformers_flash::flash_fwd": _Core("BSHD", cumulative=3),
    "xformers_flash3::flash_fwd": _Core("BSHD", cumulative=3),
    "xformers_flash::flash_bwd": _HEADS_LATER_BACKWARD,
    "xformers_flash3::flash_bwd": _HEADS_LATER_BACKWARD,
    "xformers::efficient_attention_forward_cutlass": _HEADS_LATER,
    "xformers::efficient_attention_backward_cutlass": _HEADS_LATER_BACKWARD,
    "xformers::efficient_attention_forward_ck": _HEADS_LATER,
    "xformers::efficient_attention_backward_ck": _HEADS_LATER_BACKWARD,
    # ROCm/aiter: aiter/ops/mha.py
    "aiter::_flash_attn_forward": _HEADS_LATER,
    "aiter::_flash_attn_backward": _HEADS_LATER_BACKWARD,
    "aiter::mha_fwd": _HEADS_LATER,
    "aiter::mha_bwd": _HEADS_LATER_BACKWARD,
}


@formula(*_CORES)
def _core(call: OperationCall) -> Cost | None:
    core = _CORES[call.name]
    q, k, v = (call.size(core.query + offset) for offset in range(3))
    if not len(q) == len(k) == len(v) or len(q) < 2:
        return None
    if core.cumulative is not None and call.size(core.cumulative):
        return _packed(call, core, q, k, v)
    if core.layout == "BSHD":
        if len(q) != 4:
            return None
        q, k, v = ((size[0], size[2], size[1], size[3]) for size in (q, k, v))
    return _core_cost(call, core, q, k, v)


def _packed(call: OperationCall, core: _Core, q: Size, k: Size, v: Size) -> Cost | None:
    """Sequences one after the other in one tensor. Their lengths are known where all are as long as the longest."""
    at = core.cumulative or 0
    packed = [size[1:] if len(size) == 4 and size[0] == 1 else size for size in (q, k, v)]
    if any(len(size) != 3 for size in packed):
        return None
    (q_total, heads, width), (kv_total, kv_heads, _), (_, _, value_width) = packed
    batch = call.size(at)[0] - 1
    longest = [q_total, kv_total] if batch == 1 else [call.value(at + 2), call.value(at + 3)]
    direction: Literal["forward", "backward"] = "backward" if core.backward else "forward"
    if batch < 1 or longest[0] * batch != q_total or longest[1] * batch != kv_total:
        return Cost("attention", None, None, None, None, heads, None, call.dtype(core.query), direction=direction)
    sizes = (batch, heads, longest[0], width), (batch, kv_heads, longest[1], width)
    return _core_cost(call, core, *sizes, (batch, kv_heads, longest[1], value_width))


def _core_cost(call: OperationCall, core: _Core, q: Size, k: Size, v: Size) -> Cost | None:
    """Cost from queries, keys and values with the axes batch, heads, sequence and width."""
    if q[-1] != k[-1] or k[-2] != v[-2] or prod(q[:-2]) % (prod(k[:-2]) or 1):
        return None
    scores = 2 * prod(q[:-1]) * k[-2]
    # Forward: scores and values. Backward: scores again, then the gradients of scores, V, Q and K.
    flops = scores * (3 * q[-1] + 2 * v[-1] if core.backward else q[-1] + v[-1])
    output = (*q[:-1], v[-1])
    queries, keys, values = range(core.query, core.query + 3)
    if core.backward:  # the output is read as well as its gradient, and as large
        moved = call.moved(range(4), [(output, queries), (q, queries), (k, keys), (v, values)])
    else:
        moved = call.moved(range(3), [(output, queries)])
    heads = q[-3] if len(q) > 3 else None
    result = q if core.backward else output
    if core.layout == "BSHD":
        result = (result[0], result[2], result[1], result[3])
    return Cost(
        role="attention",
        flops=flops,
        bytes=moved,
        q_len=q[-2],
        kv_len=k[-2],
        heads=heads,
        batch=prod(q[:-2]) // (heads or 1),
        dtype=call.dtype(core.query),
        output=result,
        direction="backward" if core.backward else "forward",
    )
