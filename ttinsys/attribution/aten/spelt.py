"""Attention that a model spells out: two products with a softmax between them, instead of one fused operation.

    QK^T: matmul -> scale, mask: mul, add -> softmax -> dropout -> AV: matmul

Each softmax looks back for the product that made its scores and ahead for the product that takes its weights: the
nearest ones with as many scores and as long rows, called from the same place. Linear attention has no softmax: its
keys meet its values first, and what it multiplies next is as small as a head is wide.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import prod
from typing import Literal

import polars as pl

from .costs import cost_of, json_list
from .names import ATTENTION_FAMILY, operation_name, role_of_operation
from .nests import with_outer

OPERATION_COLUMNS = ("row", "parent", "operation", "sizes")
"""Columns of operations of one thread: a number that rises as they open, that of the enclosing operation or range
(null at the top), the name, and the sizes of the arguments as JSON text (null where unknown)."""

_PRODUCTS = ("aten::matmul", "aten::bmm", "aten::baddbmm", "aten::einsum", "aten::mm")
_SOFTMAX = re.compile(r"^aten::(_safe_|_masked_|_)?softmax$|^Scaled\w*Softmax$")
"""PyTorch's own, and those of Megatron, which scale and mask as well (`ScaledUpperTriangMaskedSoftmax`)."""
_DEPTH = 2
"""How deep operations of one kind call each other: `aten::matmul` calls `aten::bmm`."""

CORE_SCHEMA: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "last_row": pl.Int64(),
    "softmax_row": pl.Int64(),
    "parent": pl.Int64(),
    "q_len": pl.Int64(),
    "kv_len": pl.Int64(),
    "heads": pl.Int64(),
    "batch": pl.Int64(),
    "flops": pl.Int64(),
}
"""Columns of a core: rows of both products and of the softmax, its parent, its lengths, and FLOPs of both products."""

_DIMENSIONS: dict[str, pl.DataType] = {
    "serves": pl.Boolean(),
    "batch": pl.Int64(),
    "m": pl.Int64(),
    "k": pl.Int64(),
    "n": pl.Int64(),
    "heads": pl.Int64(),
}


def may_be_spelt(operation: str) -> bool:
    """Whether an operation may be part of an attention that is spelt out."""
    return _kind(operation) is not None


def spelt_attention(operations: pl.DataFrame) -> pl.DataFrame:
    """Find attention cores that are spelt out, by sizes where there are any, else by order alone.

    Args:
        operations: `OPERATION_COLUMNS` of the operations of one thread, in any order, and optionally `module`, which
            names or numbers the nearest module call around each: products and softmax are then of one core if they
            share it, and not only if they share a parent.

    Returns:
        `CORE_SCHEMA`, one row per core, by `row`. Lengths are null where sizes are unknown; `heads` is null where
        heads are folded into the batch. A softmax inside an operation that is an attention itself is left out, as that
        operation has the costs already.
    """
    calls = _outermost(operations)
    softmaxes = calls.filter(pl.col("kind") == "softmax").rename({"row": "softmax_row"})
    products = calls.filter(pl.col("kind") == "product")
    made = _joined(softmaxes, products, "backward", ("m", "n"), "qk")
    both = _joined(made, products, "forward", ("m", "k"), "av").filter(
        # Of softmaxes that claim one product, the nearest to it has it.
        (pl.col("softmax_row") == pl.col("softmax_row").min().over("qk_row"))
        & (pl.col("softmax_row") == pl.col("softmax_row").max().over("av_row"))
    )
    flops = pl.sum_horizontal(
        2 * pl.col(f"{side}_batch") * pl.col(f"{side}_m") * pl.col(f"{side}_k") * pl.col(f"{side}_n")
        for side in ("qk", "av")
    )
    return both.select(
        pl.col("qk_row").alias("row"),
        pl.col("av_row").alias("last_row"),
        "softmax_row",
        "parent",
        pl.col("m").alias("q_len"),
        pl.col("n").alias("kv_len"),
        "heads",
        (pl.col("batch") // pl.col("heads").fill_null(1)).alias("batch"),
        pl.when(pl.col("m").is_not_null()).then(flops).alias("flops"),
    ).cast(pl.Schema(CORE_SCHEMA)).sort("row")  # fmt: skip


def linear_attention(operations: pl.DataFrame) -> pl.DataFrame:
    """Find attention cores without a softmax, whose keys and values are multiplied first.

    Two products of batches follow each other: one sums over the sequence, [B, d, S] with [B, S, e], the next multiplies
    [B, S, d] with its result. d is a head's width, of which e has at most one more (a row that sums the weights), and S
    is at least four times as long: so the products of another attention, forward or backward, are not taken for one.

    Args:
        operations: As `spelt_attention` takes them, of the forward pass.

    Returns:
        `CORE_SCHEMA`, with `softmax_row` null; the queries are as many as the keys.
    """
    calls = _outermost(operations).sort("row")
    first, second = (
        pl.all(),
        pl.col("kind", "m", "k", "n", "batch", "row", "parent", "place").shift(-1).name.prefix("av_"),
    )
    width, more = pl.col("m"), pl.col("n") - pl.col("m")
    pairs = calls.select(first, second).filter(
        (pl.col("kind") == "product")
        & (pl.col("av_kind") == "product")
        & pl.col("place").eq_missing(pl.col("av_place"))
        & (pl.col("batch") == pl.col("av_batch"))
        & (pl.col("av_m") == pl.col("k"))
        & (pl.col("av_k") == width)
        & (pl.col("av_n") == pl.col("n"))
        & more.is_between(0, 1)
        & (pl.col("k") >= 4 * width)
    )
    flops = 4 * pl.col("batch") * pl.col("m") * pl.col("k") * pl.col("n")
    return pairs.select(
        "row",
        pl.col("av_row").alias("last_row"),
        pl.lit(None, pl.Int64).alias("softmax_row"),
        "parent",
        pl.col("k").alias("q_len"),
        pl.col("k").alias("kv_len"),
        "heads",
        (pl.col("batch") // pl.col("heads").fill_null(1)).alias("batch"),
        flops.alias("flops"),
    ).cast(pl.Schema(CORE_SCHEMA))  # fmt: skip


def _outermost(operations: pl.DataFrame) -> pl.DataFrame:
    """Products and softmaxes that no other of their kind calls, with their dimensions and where they are called from.

    Returns:
        `row`, `parent`, `place` (the module, or without one the parent), `kind`, and the dimensions: of a product
        [batch, m, k] with [batch, k, n]; of a softmax `batch` rows of [m, n]. Null where the sizes are unknown.
    """
    names = operations["operation"].unique()
    kinds = {name: kind for name in names if (kind := _kind(name))}
    place = pl.col("module" if "module" in operations.columns else "parent").alias("place")
    calls = operations.filter(pl.col("operation").is_in(kinds)).select(*OPERATION_COLUMNS, place)
    calls = _with_dimensions(calls.with_columns(pl.col("operation").replace_strict(kinds, default=None).alias("kind")))
    calls = with_outer(calls, _DEPTH)
    # An einsum does not tell its dimensions, but the product that it calls does.
    axes = ("batch", "m", "k", "n", "heads")
    told = calls.sort("row").group_by("outer", maintain_order=True).agg(pl.col(axes).drop_nulls().first())
    # The products of a linear layer are none of an attention, and a fused attention has its costs already.
    apart = [name for name in names if role_of_operation(name) in {ATTENTION_FAMILY, "linear"} and name not in kinds]
    inside = operations.filter(pl.col("operation").is_in(apart))["row"]
    return (
        calls.filter(pl.col("row") == pl.col("outer"), ~pl.col("parent").is_in(inside.implode()).fill_null(value=False))
        .drop(axes)
        .join(told, on="outer", maintain_order="left")
        .select("row", "parent", "place", "kind", *axes)
    )


def _with_dimensions(calls: pl.DataFrame) -> pl.DataFrame:
    """Add `_DIMENSIONS`, worked out once for each distinct call; drop those whose sizes rule out an attention."""
    distinct = calls.select("operation", "kind", "sizes").unique(maintain_order=True)
    rows = [_dimensions(*row) for row in distinct.iter_rows()]
    known = distinct.hstack(pl.DataFrame(rows, schema=_DIMENSIONS, orient="row"))
    joined = calls.join(known, on=["operation", "kind", "sizes"], nulls_equal=True, maintain_order="left")
    return joined.filter(pl.col("serves")).drop("serves")


def _joined(
    left: pl.DataFrame,
    products: pl.DataFrame,
    strategy: Literal["backward", "forward"],
    axes: tuple[str, str],
    side: str,
) -> pl.DataFrame:
    """Join the nearest product before or after each softmax, from the same place, whose axes hold its scores.

    Of a product, `axes` are the names of the axes that have the queries and the keys.
    """
    queries, keys = axes
    key = ["place", "scores", "length"]
    found = products.select(
        pl.col("row").alias("at"),
        *(pl.col(name).alias(f"{side}_{name}") for name in ("row", "batch", "m", "k", "n")),
        "place",
        # Groups of queries that share keys are often folded into their axis: their product stays the same.
        (pl.col("batch") * pl.col(queries)).alias("scores"),
        pl.col(keys).alias("length"),
    )
    looking = left.with_columns(
        pl.col("softmax_row").alias("at"), (pl.col("batch") * pl.col("m")).alias("scores"), pl.col("n").alias("length")
    )
    # The join does not match nulls: a place or size that is unknown is equal to another that is.
    filled = [pl.col(name).fill_null(-1) for name in ("scores", "length")]
    place = pl.col("place").cast(pl.String).fill_null("")
    return (
        looking.with_columns(*filled, place)
        .sort("at")
        .join_asof(
            found.with_columns(*filled, place).sort("at"), on="at", by=key, strategy=strategy, check_sortedness=False
        )
        .filter(pl.col(f"{side}_row").is_not_null())
        .drop("at", "scores", "length")
    )


def _kind(operation: str) -> str | None:
    name = operation_name(operation)
    return "product" if name in _PRODUCTS else "softmax" if _SOFTMAX.search(name) else None


@lru_cache(maxsize=1 << 16)
def _dimensions(operation: str, kind: str, sizes: str | None) -> tuple[object, ...]:
    """Values of `_DIMENSIONS`: whether the call may belong to an attention, and its axes, null where unknown."""
    name, lists = operation_name(operation), json_list(sizes)
    unknown, never = (True, *[None] * 5), (False, *[None] * 5)
    if not lists or name == "aten::einsum":
        return unknown
    if kind == "softmax":
        size = lists[0] if isinstance(lists[0], list) else []
        return (
            (True, prod(size[:-2]), size[-2], None, size[-1], size[-3] if len(size) > 3 else None)
            if len(size) > 1
            else never
        )
    cost = cost_of(name, lists)
    first = lists[1 if name == "aten::baddbmm" else 0]
    # A weight is multiplied with a batch; of a single head without a batch, both have two dimensions.
    weight = cost is not None and cost.role == "linear" and name != "aten::mm"
    if cost is None or cost.output is None or len(cost.output) < 2 or weight:
        return never
    output = cost.output
    return True, prod(output[:-2]), output[-2], first[-1], output[-1], output[-3] if len(output) > 3 else None
