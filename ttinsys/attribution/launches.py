"""GPU operations and the API calls that launched them."""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.identity import process_of

IDENTITY = ["global_pid", "correlation_id"]
"""What ties an operation to its call. Correlation ids repeat across the processes of one report."""


def api_calls(trace: Trace) -> pl.LazyFrame:
    """The API calls of a trace: `correlation_id`, `global_tid`, `api_start_ns`, `api_end_ns`, `api_name_id`."""
    return trace.api_calls.select(
        "correlation_id",
        "global_tid",
        pl.col("start_ns").alias("api_start_ns"),
        pl.col("end_ns").alias("api_end_ns"),
        pl.col("name_id").alias("api_name_id"),
    )


def with_calls(operations: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Left join by identity: a row per API call of each operation, and one with nulls where there is none.

    Correlation ids count up from one launch to the next. So for one process, and one row per call, a table indexed by
    them is small, and several times faster than a hash join on two keys.

    Args:
        operations: `IDENTITY` and anything else.
        calls: some columns of `api_calls`, `correlation_id` and `global_tid` among them.
    """
    processes = operations["global_pid"].unique()
    if processes.len() == 1 and processes.item() is not None:
        here = _of_process(calls, processes.item())
        place = _places(operations["correlation_id"], here["correlation_id"])
        if place is not None:
            return operations.hstack(here.drop("correlation_id")[place])
    identified = calls.with_columns(process_of("global_tid").alias("global_pid"))
    return operations.join(identified, on=IDENTITY, how="left", maintain_order="left_right")


def _of_process(calls: pl.DataFrame, process: int) -> pl.DataFrame:
    """The calls of one process. Its bits are above the thread's: if the extremes are of it, all are."""
    threads = calls["global_tid"]
    extremes = calls.select(pl.col("global_tid").min().alias("least"), pl.col("global_tid").max().alias("greatest"))
    within = extremes.select((process_of(name) == process).alias(name) for name in extremes.columns)
    if not threads.has_nulls() and within.row(0) == (True, True):
        return calls
    return calls.filter(process_of("global_tid") == process)


def _places(wanted: pl.Series, ids: pl.Series) -> pl.Series | None:
    """Position of each wanted id among `ids`, null where it is not there; None if the ids are sparse or repeat."""
    first, last = ids.min(), ids.max()
    if not isinstance(first, int) or not isinstance(last, int) or last - first >= 8 * ids.len() or ids.has_nulls():
        return None
    positions = pl.int_range(ids.len(), dtype=pl.UInt32, eager=True)
    position_of = pl.repeat(None, last - first + 1, dtype=pl.UInt32, eager=True).scatter(ids - first, positions)
    if not (position_of.gather(ids - first) == positions).all():
        return None
    return position_of.gather((wanted - first).set(~wanted.is_between(first, last), None))
