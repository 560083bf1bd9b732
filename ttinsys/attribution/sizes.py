"""What the sizes of operations tell: role, lengths, FLOPs and bytes of each call.

Few distinct sizes make many calls: texts are taken from the names of operations that have a formula alone, and each
distinct one is worked out once.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.aten import convolution_outputs, operation_costs, operation_name
from ttinsys.attribution.aten.cost import OPERATION_FORMULAS
from ttinsys.attribution.aten.costs import CALL_COLUMNS
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


def prices(nested: pl.DataFrame, names: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
    """What sizes tell of distinct names.

    Args:
        nested: ranges as `nest` returns them, with `name_key`.
        names: distinct names, by `name_key`: `domain`, `name` and `payload_json`, and `operation`, read from them.

    Returns:
        `price` of each name (UInt32), a row number in the table that follows: distinct calls with what
        `operation_costs` returns. Null where sizes tell nothing.
    """
    operations = names["operation"].unique().drop_nulls()
    formulas = [name for name in operations if operation_name(name) in OPERATION_FORMULAS]
    rows = names["operation"].is_in(formulas).fill_null(value=False).arg_true()
    nothing = pl.repeat(None, names.height, dtype=pl.UInt32, eager=True).alias("price")
    if rows.is_empty():
        return nothing, operation_costs(pl.DataFrame(schema=dict.fromkeys(CALL_COLUMNS, pl.String())))
    calls = names.select(pl.col("operation").cast(pl.String))[rows]
    calls = calls.hstack(read_names(names[rows], ("sizes", "types", "values")))
    calls = calls.with_columns(_output_sizes(nested, names, calls).gather(rows))
    distinct = calls.select(CALL_COLUMNS).unique(maintain_order=True)
    # Columns without a value tell nothing apart.
    by = [name for name in CALL_COLUMNS if calls[name].null_count() < calls.height] or ["operation"]
    price = calls.select(by).join(distinct.select(by).with_row_index("price"), on=by, how="left", nulls_equal=True,
                                  maintain_order="left")["price"]  # fmt: skip
    return nothing.scatter(rows, price), operation_costs(distinct)


def _output_sizes(nested: pl.DataFrame, names: pl.DataFrame, calls: pl.DataFrame) -> pl.Series:
    """`output_size` of each name, as JSON: of convolutions whose stride and padding emit_nvtx does not record."""
    nothing = pl.repeat(None, names.height, dtype=pl.String, eager=True).alias("output_size")
    bare = pl.col("operation").str.contains("conv") & pl.col("values").is_null() & pl.col("sizes").is_not_null()
    if calls.filter(bare).is_empty():
        return nothing
    operation = names["operation"].gather(nested["name_key"])
    operations = nested.select(
        pl.col("index").cast(pl.Int64).alias("row"),
        pl.col("parent").cast(pl.Int64),
        operation.cast(pl.String),
        "global_tid",
        "name_key",
    ).filter(operation.is_not_null())
    operations = operations.hstack(read_names(names, ("sizes",))[operations["name_key"]])
    made = pl.concat(
        [convolution_outputs(thread) for thread in operations.partition_by("global_tid", maintain_order=True)]
    )
    made = made.with_columns(nested["name_key"].gather(made["row"])).unique(
        "name_key", keep="first", maintain_order=True
    )
    return nothing.scatter(made["name_key"], made["output_size"])
