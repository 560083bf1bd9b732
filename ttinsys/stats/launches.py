"""Launches as nsys's reports see them: unlike in `attribute`, which counts one once, each API call of it has a row."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.launches import with_calls


def launches(operations: pl.DataFrame, calls: pl.DataFrame, *, unlaunched: bool) -> pl.DataFrame:
    """Join operations to their API calls.

    Args:
        operations: `global_pid`, `correlation_id` and anything else.
        calls: `ttinsys.attribution.launches.api_calls`, or what is needed of it.
        unlaunched: whether to keep operations without a call.

    Returns:
        The operations' columns and those of `calls`, sorted by thread and start of the call.
    """
    joined = with_calls(operations, calls)
    if not unlaunched:
        joined = joined.filter(pl.col("global_tid").is_not_null())
    for key in ("api_start_ns", "global_tid"):
        # Most exports are in order already; and two single-key sorts cost less than one of two keys.
        if not joined[key].is_sorted():
            joined = joined.sort(key, maintain_order=True)
    return joined


def launches_outside(calls: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The launches that lie in no range, given what `calls_inside` found."""
    inside = pl.repeat(value=False, n=calls.height, dtype=pl.Boolean, eager=True).scatter(pairs["call"], values=True)
    return calls.filter(~inside)
