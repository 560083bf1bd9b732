"""Parts of attention: which operations of an attention are QK, softmax, AV, fused, projection or a copy.

Inside the core of an attention that is not fused, matrix products come in the order QK, AV, with the softmax between
them; what scales, masks and casts the scores counts as softmax. A fused core is one part, and is never split by guess.
Around the core are the projections, the copies that change the layout, and the rest: norms, rotary embeddings, gates.
"""

from __future__ import annotations

import polars as pl

PARTS = {
    "qk": "product of queries and keys",
    "softmax": "softmax of the scores, with their scale, mask and cast",
    "av": "product of probabilities and values",
    "fused_sdpa": "all of the core in one kernel, or in those of one library call",
    "projection": "linear layers of queries, keys, values and output",
    "layout": "copies that change the layout or the type, inside the attention or around it",
    "other": "norms, rotary embeddings, gates and the like within an attention",
}
"""Meaning of each `part`."""

CORE = ".core"
"""What the name of a core's range ends with."""

PART_SOURCES = ("module", "module_id", "attention", "role", "operator", "start_ns")
"""Columns that the part of an operation is told from."""


def with_parts(ops: pl.LazyFrame) -> pl.LazyFrame:
    """Add `part` (String, a key of `PARTS`): null for operations outside attention.

    Args:
        ops: `OPS`, of one trace or stacked, with at least the columns `NEEDED`.
    """
    operator = pl.col("operator")
    call = [name for name in ("trace", "module_id") if name in ops.collect_schema()]
    in_core = pl.col("attention").is_not_null() & pl.col("module").str.ends_with(CORE)
    softmax, product = pl.col("_softmax"), pl.col("_product")
    # The kernels of a core run in the order of their launches. Between two softmaxes lie AV of the one and QK of the
    # next; without any, the first product is QK.
    since, last = pl.col("_since"), softmax.sum().over(call)
    first = product.cast(pl.UInt32).cum_sum().over([*call, "_since"], order_by="start_ns") == 1
    is_av = pl.when(last > 0).then((since > 0) & (first | (since == last))).otherwise(~first)
    core = (
        pl.when(operator == "copy")
        .then(pl.lit("layout"))
        .when((operator == "flash_attention").any().over(call))
        .then(pl.lit("fused_sdpa"))
        .when(operator != "gemm")
        .then(pl.lit("softmax"))
        .when(is_av)
        .then(pl.lit("av"))
        .otherwise(pl.lit("qk"))
    )
    around = (
        pl.when(operator.is_in(["copy", "memcpy"]))
        .then(pl.lit("layout"))
        .when(pl.col("role") == "linear")
        .then(pl.lit("projection"))
        .otherwise(pl.lit("other"))
    )
    return (
        ops.with_columns(
            in_core.alias("_in_core"),
            (in_core & (operator == "softmax")).alias("_softmax"),
            (in_core & (operator == "gemm")).alias("_product"),
        )
        .with_columns(softmax.cast(pl.UInt32).cum_sum().over(call, order_by="start_ns").alias("_since"))
        .with_columns(
            pl.when(pl.col("attention").is_not_null())
            .then(pl.when("_in_core").then(core).otherwise(around))
            .alias("part")
        )
        .drop("_in_core", "_softmax", "_product", "_since")
    )
