"""What the sizes of operations tell: role, lengths, FLOPs and bytes of each call.

Few distinct sizes make many calls: texts are taken from the names of operations that have a formula alone, and each
distinct one is worked out once.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.aten import operation_costs, operation_name
from ttinsys.attribution.aten.cost import FORMULAS
from ttinsys.attribution.dialects import read_names

SIZED = pl.Schema(
    {
        "sized_role": pl.Categorical(),
        "q_len": pl.Int64(),
        "kv_len": pl.Int64(),
        "heads": pl.Int64(),
        "batch": pl.Int64(),
        "dtype": pl.Categorical(),
        "flops": pl.Int64(),
        "bytes": pl.Int64(),
    }
)
"""What sizes tell of a call; null where they tell nothing."""

_CALL = ("operation", "sizes", "types", "values", "output_size")


def prices(names: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """What sizes tell of distinct names.

    Args:
        names: `domain`, `name` and `payload_json` of distinct names, and `operation`, which is read from them.

    Returns:
        `price` of each name (UInt32), a row number in the table `SIZED` that follows; null where sizes tell nothing.
    """
    operations = names["operation"].unique().drop_nulls()
    formulas = [name for name in operations if operation_name(name) in FORMULAS]
    rows = names["operation"].is_in(formulas).fill_null(value=False).arg_true()
    nothing = pl.repeat(None, names.height, dtype=pl.UInt32, eager=True).alias("price")
    if rows.is_empty():
        return nothing, pl.DataFrame(schema=SIZED)
    calls = names.select(pl.col("operation").cast(pl.String))[rows]
    calls = calls.hstack(read_names(names[rows], ("sizes", "types", "values", "op_id")))
    calls = calls.with_columns(_output_sizes(names, calls))
    distinct = calls.select(_CALL).unique(maintain_order=True)
    # Columns without a value tell nothing apart.
    by = [name for name in _CALL if calls[name].null_count() < calls.height]
    price = calls.select(by).join(distinct.select(by).with_row_index("price"), on=by, how="left", nulls_equal=True,
                                  maintain_order="left")["price"]  # fmt: skip
    table = operation_costs(distinct).rename({"role": "sized_role"})
    return nothing.scatter(rows, price), table.select(pl.col(name).cast(dtype) for name, dtype in SIZED.items())


def _output_sizes(names: pl.DataFrame, calls: pl.DataFrame) -> pl.Series:
    """`output_size` of calls, as JSON, from the sizes of an operation that takes the output: null where none is known.

    emit_nvtx writes no stride and no padding, so the sizes of a convolution's inputs alone do not tell its cost.
    """
    alone = calls.filter(pl.col("operation").str.contains("conv") & pl.col("values").is_null())
    wanted = alone.select(pl.col("op_id").drop_nulls().unique())
    nothing = pl.Series("output_size", [None], dtype=pl.String).new_from_index(0, calls.height)
    if wanted.is_empty():
        return nothing
    consumers = read_names(names.filter(pl.col("operation").is_not_null()), ("sizes", "inputs"))
    edge = r"[\[(](\d+), ?(\d+)[\])]"
    edges = (
        consumers.drop_nulls()
        .select(
            pl.col("inputs").str.extract_all(edge),
            # The innermost brackets: lists of tensors are written flat.
            pl.col("sizes").str.extract_all(r"\[[^\[\]]*\]"),
        )
        .filter(pl.col("inputs").list.len() == pl.col("sizes").list.len())
        .explode("inputs", "sizes")
        .select(
            pl.col("inputs").str.extract(edge, 1).cast(pl.Int64).alias("op_id"),
            pl.col("inputs").str.extract(edge, 2).alias("output"),
            pl.col("sizes").alias("output_size"),
        )
        .filter(pl.col("output") == "0")
        .join(wanted, on="op_id", how="semi")
        .unique("op_id", keep="first", maintain_order=True)
    )
    return calls.select("op_id").join(edges, on="op_id", how="left", maintain_order="left")["output_size"]
