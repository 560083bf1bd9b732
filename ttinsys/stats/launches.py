"""Launches as nsys's reports count them: an operation has one row per API call with its correlation ID.

`attribute` counts each operation once instead.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.launches import with_calls


def launches(operations: pl.DataFrame, calls: pl.DataFrame, *, unlaunched: bool) -> pl.DataFrame:
    """Join operations to their API calls.

    Args:
        operations: `global_pid`, `correlation_id` and any other columns.
        calls: what `ttinsys.attribution.launches.api_calls` returns, or some of its columns.
        unlaunched: whether to keep operations without an API call.

    Returns:
        The columns of both, sorted by thread and start time of the call.
    """
    joined = with_calls(operations, calls)
    if not unlaunched:
        joined = joined.filter(pl.col("global_tid").is_not_null())
    for key in ("api_start_ns", "global_tid"):
        # Most exports are in order already. Two stable sorts by one key cost less than one sort by two keys.
        if not joined[key].is_sorted():
            joined = joined.sort(key, maintain_order=True)
    return joined


def launches_outside(calls: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The launches that lie in no range.

    Args:
        calls: what `launches` returns.
        pairs: what `ttinsys.attribution.nesting.calls_inside` returns for them.
    """
    inside = pl.repeat(value=False, n=calls.height, dtype=pl.Boolean, eager=True).scatter(pairs["call"], values=True)
    return calls.filter(~inside)
