"""GPU operations and the API calls that launched them."""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.identity import process_of

IDENTITY = ["global_pid", "correlation_id"]
"""Columns that link an operation to its API call. A correlation ID is unique only within a process."""


def api_calls(trace: Trace) -> pl.LazyFrame:
    """The API calls of a trace, one row per call.

    Args:
        trace: an opened trace.

    Returns:
        `correlation_id`, `global_tid`, `api_start_ns`, `api_end_ns` and `api_name_id`.
    """
    return trace.api_calls.select(
        "correlation_id",
        "global_tid",
        pl.col("start_ns").alias("api_start_ns"),
        pl.col("end_ns").alias("api_end_ns"),
        pl.col("name_id").alias("api_name_id"),
    )


def with_processes(calls: pl.LazyFrame, operations: pl.DataFrame) -> pl.DataFrame:
    """Give operations without a process that of all API calls, where they are of one process.

    Args:
        calls: what `api_calls` returns; read only where an operation has no process.
        operations: any columns; without `global_pid`, nothing changes.
    """
    if "global_pid" not in operations.columns or not operations["global_pid"].has_nulls():
        return operations
    known = operations["global_pid"].unique().drop_nulls()
    processes = calls.select(process_of("global_tid").unique().alias("process")).drop_nulls().collect()["process"]
    if processes.len() != 1 or not known.is_in([processes.item()]).all():
        return operations
    return operations.with_columns(pl.col("global_pid").fill_null(processes.item()))


def with_calls(operations: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
    """Left join of operations with their API calls by `IDENTITY`.

    Args:
        operations: `IDENTITY` and any other columns.
        calls: some columns of `api_calls`, `correlation_id` and `global_tid` among them.

    Returns:
        One row per API call of each operation, and one row with nulls for an operation without one, in the order of
        `operations`.
    """
    # Correlation IDs count up from launch to launch. Of one process, and with one row per ID, an array indexed by them
    # is small, and the look-up several times as fast as a hash join on two keys.
    processes = operations["global_pid"].unique()
    if processes.len() == 1 and processes.item() is not None:
        own = _of_process(calls, processes.item())
        positions = _positions(operations["correlation_id"], own["correlation_id"])
        if positions is not None:
            return operations.hstack(own.drop("correlation_id")[positions])
    identified = calls.with_columns(process_of("global_tid").alias("global_pid"))
    return operations.join(identified, on=IDENTITY, how="left", maintain_order="left_right")


def _of_process(calls: pl.DataFrame, process: int) -> pl.DataFrame:
    """The calls of one process, without a copy where all of them are.

    The bits of the process are above those of the thread, so if the least and the greatest global thread ID are of the
    process, all are.
    """
    threads = calls["global_tid"]
    extremes = calls.select(pl.col("global_tid").min().alias("least"), pl.col("global_tid").max().alias("greatest"))
    within = extremes.select((process_of(name) == process).alias(name) for name in extremes.columns)
    if not threads.has_nulls() and within.row(0) == (True, True):
        return calls
    return calls.filter(process_of("global_tid") == process)


def _positions(wanted: pl.Series, ids: pl.Series) -> pl.Series | None:
    """Position in `ids` of each wanted ID, null where it is absent; None if the IDs are sparse, null or repeated."""
    first, last = ids.min(), ids.max()
    # Beyond 8 entries per ID, filling the array costs more than the hash join that it replaces.
    if not isinstance(first, int) or not isinstance(last, int) or last - first >= 8 * ids.len() or ids.has_nulls():
        return None
    positions = pl.int_range(ids.len(), dtype=pl.UInt32, eager=True)
    position_of = pl.repeat(None, last - first + 1, dtype=pl.UInt32, eager=True).scatter(ids - first, positions)
    # Of repeated IDs one overwrites the others, so some do not find their own position again.
    if not (position_of.gather(ids - first) == positions).all():
        return None
    return position_of.gather((wanted - first).set(~wanted.is_between(first, last), None))
