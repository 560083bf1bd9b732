"""Small integers that stand for rows' keys while there are millions of rows."""

from __future__ import annotations

import polars as pl


def codes(frame: pl.DataFrame, columns: list[str]) -> pl.Series:
    """One UInt64 per row, equal where the columns are equal; few different values each, except perhaps the last."""
    code = pl.zeros(frame.height, dtype=pl.UInt64, eager=True)
    for column in columns:
        position = _positions(frame[column])
        code = code * (greatest(position) + 1) + position
    return code


def small(code: pl.Series, beyond: int) -> pl.Series:
    """The codes as UInt32 if they, and numbers greater by `beyond`, are all that small."""
    return code.cast(pl.UInt32) if greatest(code) + beyond < 2**32 else code


def greatest(values: pl.Series) -> int:
    """The greatest of integers; 0 where there is none."""
    found = values.max()
    return found if isinstance(found, int) else 0


def _positions(values: pl.Series) -> pl.Series:
    """Which of its different values each row has, as UInt64."""
    if values.dtype == pl.String:
        # Zero is left for null.
        return (values.cast(pl.Categorical).to_physical().cast(pl.UInt64) + 1).fill_null(0)
    least = values.min()
    if isinstance(least, int) and greatest(values) - least < 2**16:
        return (values - least).cast(pl.UInt64)
    different = values.unique()
    positions = pl.int_range(different.len(), dtype=pl.UInt64, eager=True)
    return values.replace_strict(different, positions, return_dtype=pl.UInt64).cast(pl.UInt64)
