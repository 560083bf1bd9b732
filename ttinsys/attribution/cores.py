"""Attention cores among the operations of a stranger's trace: those spelt out, and the axis that each runs along."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from ttinsys.attribution.aten import (
    Surroundings,
    attention_roles,
    operation_name,
    role_of_operation,
    spelt_attention,
    spelt_norms,
)
from ttinsys.attribution.aten.names import ATTENTION_FAMILY
from ttinsys.attribution.aten.norms import may_be_of_norm
from ttinsys.attribution.aten.spelt import may_be_spelt
from ttinsys.attribution.dialects import read_names
from ttinsys.attribution.labels import ATTENTION_ROLES, ITEM_BYTES
from ttinsys.attribution.nesting import inherited, inside, sink

SPELT_OUT = "spelt_out"
"""`kind` of a range that is added around what is spelt out in operations."""

CORE_GROUP = "attention.core"
"""Group of the ranges that are added around spelt-out cores."""

_SHAPE = ("component", "batch", "heads", "q_len", "kv_len")


def spelt_ranges(nested: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Find what is spelt out in operations, an attention or a root-mean-square norm, and the range to add around each.

    So an attention of two products and a softmax reads as one that is a single operation: with lengths, FLOPs, and all
    that runs from its first product to its second. Its operations become details of it.

    Args:
        nested: ranges as `nest` returns them, with `name_key` and no more columns than are needed: millions are sorted.
        names: distinct names, by `name_key`, with `operation`, `is_module` and `direction`.

    Returns:
        The ranges to add: columns of `nested` but for those that come from nesting; `first_key`, the `name_key` of
        their first operation, which has their type; `READ_FROM_SPELT`. An ID is that of the first operation, negative.
    """
    operations = names["operation"].unique().drop_nulls().cast(pl.String)
    present = {operation_name(name) for name in operations}
    finders: list[tuple[_Find, _Describe, Callable[[str], bool]]] = []
    if any("oftmax" in name for name in present):
        finders.append((spelt_attention, _core, may_be_spelt))
    if not present.isdisjoint(_NORM_MARKS):
        finders.append((spelt_norms, _norm, may_be_of_norm))
    added = [pl.DataFrame()]
    if finders:
        slim = nested.select("index", "parent", "global_tid", "name_key")
        slim = slim.hstack(names.select("operation", "is_module", "direction")[nested["name_key"]])
        apart = _inside_others(slim, operations)
    for find, describe, may_be in finders:
        wanted = [name for name in operations if may_be(name)]
        threads = _operations(slim, names, wanted, apart).partition_by("global_tid", maintain_order=True)
        found = [find(thread.drop("global_tid")) for thread in threads]
        added += [_placed(nested, rows).hstack(describe(rows)) for rows in found if rows.height]
    return pl.concat(added, how="diagonal")


_Find = Callable[[pl.DataFrame], pl.DataFrame]
_Describe = Callable[[pl.DataFrame], pl.DataFrame]
_NORM_MARKS = ("aten::rsqrt", "aten::linalg_vector_norm", "aten::norm")


def _inside_others(nested: pl.DataFrame, operations: pl.Series) -> pl.Series:
    """Whether each range is in what cannot hold a core or a norm: a linear layer, a fused attention, a gradient."""
    whole = [name for name in operations if role_of_operation(name) in {ATTENTION_FAMILY, "linear", "rms_norm"}]
    closed = nested["operation"].is_in(whole) & ~nested["operation"].is_in(["aten::mm"])
    return inside(nested, closed) | sink(nested, (nested["direction"] == "backward").fill_null(value=False))


def _operations(nested: pl.DataFrame, names: pl.DataFrame, wanted: list[str], apart: pl.Series) -> pl.DataFrame:
    """The `wanted` operations: `row`, `parent`, `operation`, `sizes`, `module` and `global_tid`."""
    rows = (nested["operation"].is_in(wanted).fill_null(value=False) & ~apart).arg_true()
    is_module = nested["is_module"].fill_null(value=False)
    position = pl.int_range(nested.height, dtype=pl.UInt32, eager=True)
    module = inherited(nested, position.zip_with(is_module, pl.Series([None], dtype=pl.UInt32))).gather(rows)
    calls = nested.select(
        pl.col("index").cast(pl.Int64).alias("row"),
        pl.col("parent").cast(pl.Int64),
        pl.col("operation").cast(pl.String),
        "global_tid",
        "name_key",
    )[rows]
    read = names[calls["name_key"].unique().sort()]
    sizes = pl.DataFrame({"name_key": calls["name_key"].unique().sort()}).hstack(read_names(read, ("sizes",)))
    return (
        calls.join(sizes, on="name_key", how="left", maintain_order="left")
        .drop("name_key")
        .with_columns(pl.coalesce(module.cast(pl.Int64), pl.col("parent")).alias("module"))
    )


def _placed(nested: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Thread, times and IDs of the ranges to add, from their first operation to their last."""
    first = nested[found["row"]]
    ids = [name for name in ("row_id", "range_id") if name in first.columns]
    kept = [name for name in ("global_tid", "start_ns", "domain_id") if name in first.columns]
    return first.select(*kept, *(-pl.col(name) for name in ids), pl.col("name_key").alias("first_key")).with_columns(
        nested["end_ns"].gather(found["last_row"]),
        *([pl.lit(SPELT_OUT).alias("kind")] if "kind" in first.columns else []),
    )


READ_FROM_SPELT = ("group", "operation", "sized_role", "q_len", "kv_len", "heads", "batch", "flops")
"""What is known of a range that is added; null where sizes are unknown."""


def _norm(norms: pl.DataFrame) -> pl.DataFrame:
    return norms.select(pl.col("role").cast(pl.Categorical).alias(name) for name in READ_FROM_SPELT[:3])


def _core(cores: pl.DataFrame) -> pl.DataFrame:
    named = zip(READ_FROM_SPELT[:3], (CORE_GROUP, "attention core", "attention"), strict=True)
    return cores.select(
        *(pl.lit(text, pl.Categorical).alias(name) for name, text in named),
        *(pl.col(name) for name in READ_FROM_SPELT[3:]),
    )


def traffic_of_core() -> pl.Expr:
    """Least memory traffic of a core, from `flops`, `batch`, `heads`, `q_len`, `kv_len` and `dtype`.

    Both products together take 2 B H q k (d + d'). So d + d' follows; Q and O have q (d + d') elements, K and V
    k (d + d'), and each moves once.
    """
    heads = pl.col("heads").fill_null(1)
    widths = pl.col("flops") // (2 * pl.col("batch") * heads * pl.col("q_len") * pl.col("kv_len"))
    elements = pl.col("batch") * heads * (pl.col("q_len") + pl.col("kv_len")) * widths
    return elements * pl.col("dtype").cast(pl.String).replace_strict(ITEM_BYTES, default=None, return_dtype=pl.Int64)


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
