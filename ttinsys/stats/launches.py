"""Launches as nsys's reports see them: unlike in `attribute`, which counts one once, each API call of it has a row."""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.launches import api_calls, with_calls


def launches(trace: Trace, operations: pl.LazyFrame, *, unlaunched: bool) -> pl.DataFrame:
    """Join operations to their API calls.

    Args:
        trace: where the calls are.
        operations: `global_pid`, `correlation_id` and anything else.
        unlaunched: whether to keep operations without a call.

    Returns:
        The operations' columns and `global_tid`, `api_start_ns`, `api_end_ns`, `api_name_id`, sorted by thread and
        start of the call.
    """
    joined = with_calls(*pl.collect_all([operations, api_calls(trace)]))
    if not unlaunched:
        joined = joined.filter(pl.col("global_tid").is_not_null())
    for key in ("api_start_ns", "global_tid"):
        # Most exports are in order already; and two single-key sorts cost less than one of two keys.
        if not joined[key].is_sorted():
            joined = joined.sort(key, maintain_order=True)
    return joined


def outside(calls: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The launches that lie in no range, given what `calls_inside` found."""
    inside = pl.repeat(value=False, n=calls.height, dtype=pl.Boolean, eager=True).scatter(pairs["call"], values=True)
    return calls.filter(~inside)
