"""nsys's serialised global IDs: a process and a thread in 64 bits.

From the most significant bit: 8 bits of hardware ID, 8 of VM ID, 24 of process ID, 24 of thread ID. A global process ID
is a global thread ID with the bits of the thread clear. With the correlation ID it identifies a GPU operation.
"""

from __future__ import annotations

import polars as pl

BITS = 24
"""Bits of the process ID, and of the thread ID."""
_MASK = (1 << BITS) - 1


def process_of(global_tid: str) -> pl.Expr:
    """Global ID of the process of a global thread ID, comparable with the column `global_pid`."""
    return pl.col(global_tid) - tid_of(global_tid)


def pid_of(global_id: str) -> pl.Expr:
    """Process ID of the operating system, from a global ID of a process or thread."""
    # IDs whose top bit is set are negative as Int64: floor division shifts them right, and the mask drops the sign.
    return (pl.col(global_id) // (1 << BITS)) & _MASK


def tid_of(global_tid: str) -> pl.Expr:
    """Thread ID of the operating system, from a global thread ID."""
    return pl.col(global_tid) & _MASK
