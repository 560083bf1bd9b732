"""Integer codes of keys of several columns: grouping millions of rows by one integer is fast."""

from __future__ import annotations

import polars as pl


def codes(frame: pl.DataFrame, columns: list[str]) -> pl.Series:
    """One integer per row, which is equal for two rows where their keys are equal.

    The code is a number in a mixed radix: each column is a digit, whose radix is the number of its values. It does not
    overflow as long as the columns have few distinct values, except perhaps the last one.

    Args:
        frame: rows with the key columns.
        columns: names of the key columns.

    Returns:
        UInt64, in the order of the rows.
    """
    code = pl.zeros(frame.height, dtype=pl.UInt64, eager=True)
    for column in columns:
        position = _positions(frame[column])
        code = code * (greatest(position) + 1) + position
    return code


def small(code: pl.Series, beyond: int) -> pl.Series:
    """The codes as UInt32, which group faster, if codes greater by `beyond` fit into it too."""
    return code.cast(pl.UInt32) if greatest(code) + beyond < 2**32 else code


def greatest(values: pl.Series) -> int:
    """The greatest of integers; 0 where there is none."""
    maximum = values.max()
    return maximum if isinstance(maximum, int) else 0


def _positions(values: pl.Series) -> pl.Series:
    """Number of each row's value among the distinct values of the column, as UInt64."""
    if values.dtype == pl.String:
        # The physical values of a Categorical count from 0: 0 is kept for null.
        return (values.cast(pl.Categorical).to_physical().cast(pl.UInt64) + 1).fill_null(0)
    least = values.min()
    # In a narrow range, the distance from the least value is a number as good as any, and needs no table.
    if isinstance(least, int) and greatest(values) - least < 2**16:
        return (values - least).cast(pl.UInt64)
    distinct = values.unique()
    positions = pl.int_range(distinct.len(), dtype=pl.UInt64, eager=True)
    return values.replace_strict(distinct, positions, return_dtype=pl.UInt64).cast(pl.UInt64)
