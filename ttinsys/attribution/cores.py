"""Attention cores among the operations of a stranger's trace: those spelt out, and the axis that each runs along."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.aten import Surroundings, attention_roles, operation_name, spelt_attention, spelt_norms
from ttinsys.attribution.dialects import read_names
from ttinsys.attribution.labels import ATTENTION_ROLES, ITEM_BYTES
from ttinsys.attribution.nesting import inherited, nest, sink

SPELT_OUT = "spelt_out"
"""`kind` of a range that is added around what is spelt out in operations."""

CORE_GROUP = "attention.core"
"""Group of the ranges that are added around spelt-out cores."""

_SHAPE = ("component", "batch", "heads", "q_len", "kv_len")


def with_spelt(nested: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Add a range around what is spelt out in operations: an attention, and a root-mean-square norm.

    So an attention of two products and a softmax reads as one that is a single operation: with lengths, FLOPs, and all
    that runs from its first product to its second. Its operations become details of it.

    Args:
        nested: ranges, with `OF_NAMES`, `SIZED` and `name_key`.
        names: distinct names, by `name_key`.

    Returns:
        The ranges, nested again where one was added. An added range has the negative RangeId of its first operation.
    """
    present = {operation_name(name) for name in nested["operation"].unique().drop_nulls()}
    finders = [
        (spelt_attention, _core) if any("oftmax" in name for name in present) else None,
        (spelt_norms, _norm) if not present.isdisjoint(_NORM_MARKS) else None,
    ]
    wanted = [finder for finder in finders if finder is not None]
    if not wanted:
        return nested
    threads = _operations(nested, names).partition_by("global_tid", maintain_order=True)
    kept = nested.drop("index", "parent", "depth")
    added = []
    for find, describe in wanted:
        found = pl.concat([find(thread.drop("global_tid")) for thread in threads]) if threads else pl.DataFrame()
        if found.height:
            added.append(describe(found, _placed(kept, found)))
    return nest(pl.concat([kept, *added], how="diagonal")) if added else nested


_NORM_MARKS = ("aten::rsqrt", "aten::linalg_vector_norm", "aten::norm")


def _operations(nested: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Operations of the forward pass: `row`, `parent`, `operation`, `sizes`, `module` and `global_tid`."""
    backward = sink(nested, (nested["direction"] == "backward").fill_null(value=False))
    rows = (nested["operation"].is_not_null() & ~backward).arg_true()
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
    sizes = read_names(names, ("sizes",))["sizes"].gather(calls["name_key"])
    return calls.drop("name_key").with_columns(
        sizes, pl.coalesce(module.cast(pl.Int64), pl.col("parent")).alias("module")
    )


def _placed(ranges: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """Thread, times and IDs of the ranges to add, from their first operation to their last."""
    first = ranges[found["row"]]
    ids = [name for name in ("row_id", "range_id") if name in ranges.columns]
    kept = [name for name in ("global_tid", "start_ns", "domain_id", "dtype") if name in ranges.columns]
    return first.select(*kept, *(-pl.col(name) for name in ids)).with_columns(
        ranges["end_ns"].gather(found["last_row"]),
        pl.lit("pytorch", pl.Categorical).alias("labelled_by"),
        *([pl.lit(SPELT_OUT).alias("kind")] if "kind" in ranges.columns else []),
    )


def _norm(found: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    role = found["role"].cast(pl.Categorical)
    return placed.with_columns(role.alias("group"), role.alias("operation"), role.alias("sized_role"))


def _core(cores: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    # Both products together take 2 B H q k (d + d'). So d + d' follows; Q and O have q (d + d') elements, K and V
    # k (d + d'), and each moves once.
    heads = pl.col("heads").fill_null(1)
    widths = pl.col("flops") // (2 * pl.col("batch") * heads * pl.col("q_len") * pl.col("kv_len"))
    elements = pl.col("batch") * heads * (pl.col("q_len") + pl.col("kv_len")) * widths
    item = pl.col("dtype").cast(pl.String).replace_strict(ITEM_BYTES, default=None, return_dtype=pl.Int64)
    item = item if "dtype" in placed.columns else pl.lit(None, pl.Int64)
    return placed.hstack(cores.select("q_len", "kv_len", "heads", "batch", "flops")).with_columns(
        pl.lit(CORE_GROUP, pl.Categorical).alias("group"),
        pl.lit("attention core", pl.Categorical).alias("operation"),
        pl.lit("attention", pl.Categorical).alias("sized_role"),
        (elements * item).alias("bytes"),
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
