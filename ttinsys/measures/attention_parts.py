"""Parts of attention: QK, softmax, AV, fused core, projections and copies.

In an unfused core, the matrix products come in the order QK, AV, with the softmax between them; kernels that scale,
mask or cast the scores count as softmax. A fused core is one part and is never split by guess. Around the core are the
projections, the copies that change the layout, and the rest: norms, rotary embeddings, gates.
"""

from __future__ import annotations

import polars as pl

PARTS = {
    "qk": "Product of queries and keys.",
    "softmax": "Softmax of the scores, with their scale, mask and cast.",
    "av": "Product of probabilities and values.",
    "fused_sdpa": "The whole core in one kernel, or in the kernels of one library call.",
    "projection": "Linear layers of queries, keys, values and output.",
    "layout": "Copies that change the layout or the type, in the core or around it.",
    "other": "Norms, rotary embeddings, gates and the like around the core.",
}
"""Meaning of each `part`."""

CORE = r"\.core$|(?i:scaled[ _]?dot[ _]?product|sdpa)"
"""What the name of a core's range has: ours ends so, others name what it computes."""

PART_SOURCES = ("module", "module_id", "attention", "role", "q_len", "operator", "start_ns")
"""Columns that the part of an operation is derived from."""


def with_parts(ops: pl.LazyFrame) -> pl.LazyFrame:
    """Add `part` (String, a key of `PARTS`): null for operations outside attention.

    Args:
        ops: `OPS` of one trace or of several, with at least the columns `PART_SOURCES`.
    """
    operator = pl.col("operator")
    call = [name for name in ("trace", "module_id") if name in ops.collect_schema()]
    # A call with lengths is a core, and so is what a fused kernel computes where no lengths are known.
    is_core = pl.col("module").str.contains(CORE) | pl.col("q_len").is_not_null() | (operator == "flash_attention")
    in_core = pl.col("attention").is_not_null() & is_core
    softmax, product = pl.col("_softmax"), pl.col("_product")
    # The kernels of a core run in the order of their launches. Between two softmaxes lie the AV of the first and the
    # QK of the second. Without any softmax, the first product is QK.
    before, softmaxes = pl.col("_softmaxes_before"), softmax.sum().over(call)
    first = product.cast(pl.UInt32).cum_sum().over([*call, "_softmaxes_before"], order_by="start_ns") == 1
    is_av = pl.when(softmaxes > 0).then((before > 0) & (first | (before == softmaxes))).otherwise(~first)
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
        .with_columns(softmax.cast(pl.UInt32).cum_sum().over(call, order_by="start_ns").alias("_softmaxes_before"))
        .with_columns(
            pl.when(pl.col("attention").is_not_null())
            .then(pl.when("_in_core").then(core).otherwise(around))
            .alias("part")
        )
        .drop("_in_core", "_softmax", "_product", "_softmaxes_before")
    )
