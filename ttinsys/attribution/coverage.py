"""Coverage: how much of the GPU time is attributed to a range, as a table and in one sentence."""

from __future__ import annotations

import polars as pl


def coverage(ops: pl.LazyFrame) -> pl.LazyFrame:
    """GPU operations and their time, by how they were attributed or why they were not.

    Args:
        ops: `OPS`.

    Returns:
        `attributed_by`, `attributed` (Boolean: whether there is a range), `ops` and `sum_ns`, the longest sum first.
    """
    return (
        ops.group_by("attributed_by", pl.col("range_id").is_not_null().alias("attributed"))
        .agg(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("sum_ns"))
        # By name too: groups come in any order, and output must be the same at every run.
        .sort("sum_ns", "attributed_by", descending=[True, False])
    )


def coverage_sentence(covered: pl.DataFrame) -> str:
    """One line: the operations, their time, the share that is attributed, and the reasons for the remaining share.

    Args:
        covered: what `coverage` returns, collected.
    """
    if covered.is_empty():
        return "no GPU activity: profile on a machine with a GPU with --trace=cuda,nvtx"
    whole_ns = _total(covered["sum_ns"])
    reasons = ", ".join(
        f"{reason} {percent(part_ns, whole_ns)} ({ops:,} operations)"
        for reason, part_ns, ops in covered.filter(~pl.col("attributed"))
        .select("attributed_by", "sum_ns", "ops")
        .iter_rows()
    )
    attributed = percent(_total(covered.filter("attributed")["sum_ns"]), whole_ns)
    line = f"{covered['ops'].sum():,} GPU operations, {whole_ns / 1e6:z,.3f} ms: {attributed} attributed to a range"
    return f"{line}; {reasons}" if reasons else line


def percent(part: float, whole: float) -> str:
    """A part of a whole in percent, with two digits; 0.00% where the whole is 0."""
    return f"{100 * part / whole:z.2f}%" if whole else "0.00%"


def _total(values: pl.Series) -> int:
    return int(values.sum())
