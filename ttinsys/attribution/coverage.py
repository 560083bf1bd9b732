"""How much of the GPU's work is attributed to a range, in words."""

from __future__ import annotations

import polars as pl


def coverage(ops: pl.LazyFrame) -> pl.LazyFrame:
    """GPU operations and their time by how they were attributed, or why they were not.

    Args:
        ops: `OPS`.

    Returns:
        `attributed_by`, `attributed` (Boolean: to a range), `ops`, `sum_ns`, the longest sum first.
    """
    return (
        ops.group_by("attributed_by", pl.col("range_id").is_not_null().alias("attributed"))
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("sum_ns"))
        .sort("sum_ns", "attributed_by", descending=[True, False])
    )


def coverage_sentence(covered: pl.DataFrame, *, filtered: bool = False) -> str:
    """Operations, their time, the share attributed, and why the rest is not, in one line.

    Args:
        covered: what `coverage` returns.
        filtered: whether the operations are a part of the trace's.
    """
    if covered.is_empty():
        if filtered:
            return "no GPU operation is left by the filters"
        return "no GPU activity: profile on a machine with a GPU with --trace=cuda,nvtx"
    whole = _total(covered["sum_ns"])
    rest = ", ".join(
        f"{reason} {percent(part, whole)} ({ops:,} operations)"
        for reason, part, ops in covered.filter(~pl.col("attributed"))
        .select("attributed_by", "sum_ns", "ops")
        .iter_rows()
    )
    found = _total(covered.filter("attributed")["sum_ns"])
    line = (
        f"{covered['ops'].sum():,} GPU operations, {whole / 1e6:,.3f} ms: {percent(found, whole)} attributed to a range"
    )
    return f"{line}; {rest}" if rest else line


def percent(part: float, whole: float) -> str:
    """A part of a whole in percent; of nothing, 0."""
    return f"{100 * part / whole:.2f}%" if whole else "0.00%"


def _total(values: pl.Series) -> int:
    return int(values.sum())
