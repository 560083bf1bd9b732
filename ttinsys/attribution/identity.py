"""nsys's serialised global ids: a thread and its process in 64 bits.

From the top: 8 bits of hardware, 8 of VM, 24 of process, 24 of thread. A process is a thread's id with the thread's
bits clear, and together with the context and the correlation id it identifies a GPU operation.
"""

from __future__ import annotations

import polars as pl

BITS = 24
_MASK = (1 << BITS) - 1


def process_of(global_tid: str) -> pl.Expr:
    """The process's global id, comparable with a `global_pid`."""
    return pl.col(global_tid) - tid_of(global_tid)


def pid_of(global_id: str) -> pl.Expr:
    """The process id that the operating system gave."""
    return (pl.col(global_id) // (1 << BITS)) & _MASK


def tid_of(global_tid: str) -> pl.Expr:
    """The thread id that the operating system gave."""
    return pl.col(global_tid) & _MASK
