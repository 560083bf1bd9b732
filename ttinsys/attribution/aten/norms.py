"""Root-mean-square norms that a model spells out: x * rsqrt(mean(x ** 2) + eps), and a weight.

    pow -> mean -> add -> rsqrt -> mul (-> mul by the weight)
    linalg_vector_norm -> clamp_min -> div (-> mul by the weight)

T5, Llama, Qwen and the transformers of today's video models have no operation for it, and casts lie in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import polars as pl

from .costs import json_list
from .names import operation_name, role_of_operation
from .spelt import OPERATION_COLUMNS

_ROOT_MEAN_SQUARE = (("pow", "square"), ("mean",), ("add",), ("rsqrt",), ("mul",))
_NORMALIZE = (("linalg_vector_norm", "norm"), ("clamp_min",), ("div",))
"""Names of each step, without namespace and trailing underscore; the second is `torch.nn.functional.normalize`."""
_PATTERNS = (_ROOT_MEAN_SQUARE, _NORMALIZE)
_MATTERS = frozenset(name for steps in _PATTERNS for names in steps for name in names) | {
    "sub", "sum", "var", "matmul", "linear", "mm",
}  # fmt: skip
"""Names that are steps or would not lie between them; casts, copies and views do."""

NORM_SCHEMA: dict[str, pl.DataType] = {"row": pl.Int64(), "last_row": pl.Int64(), "role": pl.String()}
"""Columns of a norm: rows of its first and last operation, and its role."""


def may_be_of_norm(operation: str) -> bool:
    """Whether an operation is a step of a norm that is spelt out, or would not lie between its steps."""
    return _short(operation) in _MATTERS


def spelt_norms(operations: pl.DataFrame) -> pl.DataFrame:
    """Find root-mean-square norms that are spelt out.

    Args:
        operations: `OPERATION_COLUMNS` of the operations of one thread, in any order, and optionally `module`, as
            `spelt_attention` takes them.

    Returns:
        `NORM_SCHEMA`, one row per norm, by `row`. The product with a weight belongs to it where sizes tell that one
        follows.
    """
    names = operations["operation"].unique()
    plain = {name: short for name in names if (short := _short(name)) in _MATTERS}
    place = pl.col("module" if "module" in operations.columns else "parent").alias("place")
    calls = operations.filter(pl.col("operation").is_in(list(plain))).select(*OPERATION_COLUMNS, place)
    called = pl.col("parent").is_in(calls["row"].implode()).fill_null(value=False)  # `aten::mean` calls `aten::sum`
    calls = calls.filter(~called).with_columns(pl.col("operation").replace_strict(plain, default=None).alias("step"))
    fused = [name for name in names if role_of_operation(name) == "rms_norm"]
    inside = pl.col("parent").is_in(operations.filter(pl.col("operation").is_in(fused))["row"].implode())
    products = calls.filter(pl.col("step") == "mul")["sizes"].drop_nulls().unique()
    by_weight = pl.col("step").eq("mul") & pl.col("sizes").is_in([text for text in products if _by_weight(text)])
    # Nothing that matters lies between the steps; calls of one place follow each other.
    calls = calls.with_columns(by_weight.fill_null(value=False).alias("weighted")).sort("place", "row")
    return (
        calls.select("row", inside.alias("inside"), pl.coalesce(map(_last_row, _PATTERNS)).alias("last_row"))
        # An operation that falls back to these steps has the role already.
        .filter(pl.col("last_row").is_not_null(), ~pl.col("inside").fill_null(value=False))
        .select("row", "last_row", pl.lit("rms_norm").alias("role"))
        .cast(pl.Schema(NORM_SCHEMA))
        .sort("row")
    )


def _last_row(steps: Sequence[Sequence[str]]) -> pl.Expr:
    """Row of the last operation of a norm that begins here, its product with a weight included; null for none."""
    count = len(steps)
    found = pl.all_horizontal(pl.col("step").shift(-after).is_in(list(names)) for after, names in enumerate(steps))
    together = pl.col("place").eq_missing(pl.col("place").shift(1 - count))
    weighted = pl.col("weighted").shift(-count) & pl.col("place").eq_missing(pl.col("place").shift(-count))
    return pl.when(found & together).then(
        pl.when(weighted).then(pl.col("row").shift(-count)).otherwise(pl.col("row").shift(1 - count))
    )


def _short(operation: str) -> str:
    name = operation_name(operation)
    return name.removeprefix("aten::").removesuffix("_") if name.startswith("aten::") else ""


@lru_cache(maxsize=1 << 14)
def _by_weight(sizes: str) -> bool:
    """Whether the product of two tensors is with a vector as long as the other's last axis."""
    arguments = [size for size in json_list(sizes) or [] if isinstance(size, list) and size]
    vectors = [size for size in arguments if len(size) == 1]
    others = [size for size in arguments if len(size) > 1]
    return len(vectors) == len(others) == 1 and vectors[0][0] == others[0][-1]
