"""Attention cores among the operations of a stranger's trace: those spelt out, and the axis that each runs along."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.aten import Surroundings, attention_roles, operation_name, role_of_operation, spelt_attention
from ttinsys.attribution.dialects import read_names
from ttinsys.attribution.labels import ATTENTION_ROLES, ITEM_BYTES
from ttinsys.attribution.nesting import inherited, nest, sink

CORE_GROUP = "attention.core"
"""Group of the ranges that are added around spelt-out cores."""

_PRODUCTS = ("aten::matmul", "aten::bmm", "aten::baddbmm", "aten::einsum", "aten::mm")
_SHAPE = ("component", "batch", "heads", "q_len", "kv_len")


def with_cores(nested: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Add a range around each attention that is spelt out: two products, with a softmax between them.

    So it reads as one that is a single operation: with lengths, FLOPs, and all that runs from its first product to its
    second. The products and the softmax become details of it.

    Args:
        nested: ranges, with `OF_NAMES`, `SIZED` and `name_key`.
        names: distinct names, by `name_key`.

    Returns:
        The ranges, nested again where one was added. An added range has the negative RangeId of its first product.
    """
    operations = [name for name in nested["operation"].unique().drop_nulls() if _may_be_core(name)]
    if not any("oftmax" in name for name in operations):
        return nested
    backward = sink(nested, (nested["direction"] == "backward").fill_null(value=False))
    rows = (nested["operation"].is_in(operations) & ~backward).arg_true()
    calls = nested.select("index", "parent", "global_tid", pl.col("operation").cast(pl.String), "name_key")[rows]
    position = pl.int_range(nested.height, dtype=pl.UInt32, eager=True)
    is_module = nested["is_module"].fill_null(value=False)
    module = inherited(nested, position.zip_with(is_module, pl.Series([None], dtype=pl.UInt32))).gather(rows)
    # At the top of a thread nothing encloses: threads are told apart.
    parent = pl.coalesce(pl.col("parent").cast(pl.Int64), -pl.col("global_tid").rank("dense").cast(pl.Int64))
    calls = calls.hstack(read_names(names, ("sizes",))[calls["name_key"]]).with_columns(module.alias("module"))
    cores = spelt_attention(
        calls.select(
            pl.col("index").cast(pl.Int64).alias("row"),
            parent.alias("parent"),
            "operation",
            "sizes",
            pl.coalesce(pl.col("module").cast(pl.Int64), parent).alias("module"),
        )
    )
    if cores.is_empty():
        return nested
    kept = nested.drop("index", "parent", "depth")
    return nest(pl.concat([kept, _around(kept, cores)], how="diagonal"))


def _may_be_core(operation: str) -> bool:
    name = operation_name(operation)
    return name in _PRODUCTS or "oftmax" in name or role_of_operation(name) in {"attention", "linear"}


def _around(ranges: pl.DataFrame, cores: pl.DataFrame) -> pl.DataFrame:
    """A range for each core, with the columns of the ranges that it has a value for."""
    first = ranges[cores["row"]]
    # Both products together: 2 B H q k (d + d'), so that d + d' follows; Q and O have q (d + d') elements, K and V
    # k (d + d'), each once.
    widths = pl.col("flops") // (
        2 * pl.col("batch") * pl.col("heads").fill_null(1) * pl.col("q_len") * pl.col("kv_len")
    )
    elements = pl.col("batch") * pl.col("heads").fill_null(1) * (pl.col("q_len") + pl.col("kv_len")) * widths
    item = pl.col("dtype").cast(pl.String).replace_strict(ITEM_BYTES, default=None, return_dtype=pl.Int64)
    category = pl.Categorical
    return (
        cores.select("q_len", "kv_len", "heads", "batch", "flops")
        .hstack(
            [
                first["global_tid"],
                first["start_ns"],
                ranges["end_ns"].gather(cores["last_row"]),
                -first["row_id"],
                first["dtype"],
                *([(-first["range_id"])] if "range_id" in first.columns else []),
            ]
        )
        .with_columns(
            pl.lit(CORE_GROUP, category).alias("group"),
            pl.lit("attention core", category).alias("operation"),
            pl.lit("attention", category).alias("sized_role"),
            pl.lit("pytorch", category).alias("labelled_by"),
            (elements * item).alias("bytes"),
        )
    )


def axes_of_attention(labelled: pl.DataFrame, cores: pl.Series, around: Surroundings) -> pl.Series:
    """Role of each call of an attention core, told by lengths and by what else the trace shows, else by names.

    Args:
        labelled: ranges, with `component`, `batch`, `heads`, `q_len`, `kv_len`, and `named`: the role that the name of
            the module around a core tells.
        cores: whether each range is a core.
        around: what else the trace shows.

    Returns:
        A role for each range; only those of cores mean something.
    """
    shapes = labelled.select(pl.col(_SHAPE[0]).cast(pl.String), *_SHAPE[1:])
    calls = shapes.filter(cores).group_by(_SHAPE, maintain_order=True).agg(pl.len().alias("calls"))
    told = attention_roles(calls, around).select(*_SHAPE, pl.col("role").cast(pl.Categorical).alias("told"))
    observed = shapes.join(told, on=_SHAPE, how="left", nulls_equal=True, maintain_order="left")["told"]
    named = pl.when(pl.col("named").is_in(ATTENTION_ROLES)).then("named")
    unknown = pl.lit("self_attention", pl.Categorical)
    return labelled.select(pl.coalesce(observed, named, unknown).alias("role")).to_series()
