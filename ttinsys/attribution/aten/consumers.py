"""Sizes of what convolutions make, from the operations that take it, where no stride is recorded.

emit_nvtx records sizes of arguments and no strides. The next operation that takes a tensor with the batch and the
channels that a convolution makes takes its result: the addition of its bias, an activation, a norm.
"""

from __future__ import annotations

import json
from functools import lru_cache

import polars as pl

from .convolutions import PLAIN_CONVOLUTIONS
from .cost import Size, numbers
from .costs import json_list
from .names import operation_name
from .nests import with_outer

_DEPTH = 4
"""How deep convolutions call each other, from `aten::conv2d` to a library's."""
_FARTHEST = 64
"""Most operations between a convolution and what takes its result."""
_MOST_EXTENTS = 3

_WANTED = {"key": pl.String(), "extents": pl.List(pl.Int64()), "kernel": pl.List(pl.Int64())}
_TAKEN = {"key": pl.String(), "output_size": pl.String(), "made": pl.List(pl.Int64())}


def convolution_outputs(operations: pl.DataFrame) -> pl.DataFrame:
    """Find the size of the result of each convolution that is not transposed.

    Args:
        operations: `row` (rising as they open), `parent` (the row of the enclosing operation or range), `operation` and
            `sizes` (JSON text), of one thread, in any order.

    Returns:
        `row` and `output_size` (JSON text) of the convolutions whose result is taken soon after, those within another
        included. Absent where no size that is taken can come from the convolution.
    """
    names = operations["operation"].unique()
    plain = [name for name in names if operation_name(name) in PLAIN_CONVOLUTIONS]
    calls = operations.filter(pl.col("operation").is_in(plain), pl.col("sizes").is_not_null())
    distinct = calls.select("sizes").unique(maintain_order=True)
    wanted = distinct.hstack(pl.DataFrame([_wanted(text) for text in distinct["sizes"]], schema=_WANTED, orient="row"))
    nested = with_outer(calls.select("row", "parent", "sizes", pl.lit("convolution").alias("kind")), _DEPTH)
    # What a convolution is given may look like what it makes: only what follows the innermost one is made.
    looking = nested.with_columns(pl.col("row").max().over("outer").alias("at")).join(wanted, on="sizes").sort("at")
    found = looking.join_asof(
        _taken(operations), on="at", by="key", strategy="forward", allow_exact_matches=False, check_sortedness=False
    )
    near = pl.col("taken_at") - pl.col("at") <= _FARTHEST
    return found.filter(near, _feasible()).select("row", "output_size").sort("row")


def _taken(operations: pl.DataFrame) -> pl.DataFrame:
    """Sizes of arguments that may be pictures or clips: one row for each argument of each operation, by `at`."""
    distinct = operations.select("sizes").drop_nulls().unique(maintain_order=True)
    arguments = [(text, *argument) for text in distinct["sizes"] for argument in _arguments(text)]
    sizes = pl.DataFrame(arguments, schema={"sizes": pl.String(), **_TAKEN}, orient="row")
    rows = operations.select("sizes", pl.col("row").alias("at"), pl.col("row").alias("taken_at"))
    return rows.join(sizes, on="sizes").drop("sizes").sort("at")


def _feasible() -> pl.Expr:
    """Whether a kernel can make these extents: at full padding at most, and with a stride no longer than the kernel."""
    axes = []
    for axis in range(_MOST_EXTENTS):
        extent, kernel, made = (pl.col(name).list.get(axis, null_on_oob=True) for name in ("extents", "kernel", "made"))
        most = extent + kernel - 1
        least = (extent - kernel) // pl.max_horizontal(kernel, pl.lit(2)) + 1
        axes.append(made.is_between(least, most).fill_null(value=True))
    return pl.all_horizontal(axes)


@lru_cache(maxsize=1 << 16)
def _wanted(text: str) -> tuple[str | None, list[int] | None, list[int] | None]:
    """Key of what a convolution makes, extents of what it takes, and those of its kernel."""
    sizes = _sizes(text)
    x, weight = (sizes[0], sizes[1]) if len(sizes) > 1 else ((), ())
    if len(x) != len(weight) or not 3 <= len(x) <= 2 + _MOST_EXTENTS:
        return None, None, None
    return _key((x[0], weight[0], *x[2:])), list(x[2:]), list(weight[2:])


@lru_cache(maxsize=1 << 16)
def _arguments(text: str) -> list[tuple[str, str, list[int]]]:
    """Key, size as JSON text and extents of each argument with channels."""
    sizes = dict.fromkeys(size for size in _sizes(text) if 3 <= len(size) <= 2 + _MOST_EXTENTS)
    return [(_key(size), json.dumps(list(size)), list(size[2:])) for size in sizes]


def _key(size: Size) -> str:
    return f"{size[0]} {size[1]} {len(size)}"


def _sizes(text: str) -> list[Size]:
    lists = json_list(text) or []
    return [tuple(size) if isinstance(size, list) and numbers(size, len(size)) else () for size in lists]
