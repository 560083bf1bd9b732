"""GPU operations joined to the API calls that launched them, as nsys's reports join them.

Unlike `attribute`, which counts a launch once, these reports give a row to each API call of a launch.
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.identity import process_of


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
    calls = trace.api_calls.select(
        process_of("global_tid").alias("global_pid"),
        "correlation_id",
        "global_tid",
        pl.col("start_ns").alias("api_start_ns"),
        pl.col("end_ns").alias("api_end_ns"),
        pl.col("name_id").alias("api_name_id"),
    )
    found, called = pl.collect_all([operations, calls])
    joined = _joined(found, called)
    if not unlaunched:
        joined = joined.filter(pl.col("global_tid").is_not_null())
    for key in ("api_start_ns", "global_tid"):
        # Most exports are in order already; and two single-key sorts cost less than one of two keys.
        if not joined[key].is_sorted():
            joined = joined.sort(key, maintain_order=True)
    return joined


def _joined(operations: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Left join by process and correlation id.

    Correlation ids count up from one launch to the next. So for one process, and one row per call, a table indexed by
    them is small, and several times faster than a hash join on two keys.
    """
    identity = ["global_pid", "correlation_id"]
    processes = operations["global_pid"].unique()
    if processes.len() == 1 and processes.item() is not None:
        ours = calls["global_pid"] == processes.item()
        here = (calls if ours.all() else calls.filter(ours)).drop("global_pid")
        ids = here["correlation_id"]
        first, last = ids.min(), ids.max()
        if isinstance(first, int) and isinstance(last, int) and last - first < 8 * here.height and not ids.has_nulls():
            rows = pl.int_range(here.height, dtype=pl.UInt32, eager=True)
            row_of = pl.repeat(None, last - first + 1, dtype=pl.UInt32, eager=True).scatter(ids - first, rows)
            if (row_of.gather(ids - first) == rows).all():
                wanted = operations["correlation_id"]
                place = (wanted - first).set(~wanted.is_between(first, last), None)
                return operations.hstack(here.drop("correlation_id")[row_of.gather(place)])
    return operations.join(calls, on=identity, how="left")


def outside(calls: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The launches that lie in no range, given what `calls_inside` found."""
    inside = pl.repeat(value=False, n=calls.height, dtype=pl.Boolean, eager=True).scatter(pairs["call"], values=True)
    return calls.filter(~inside)
