"""What nsys said about its own collection: warnings, errors, and events that it lost."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import GLOBAL_PID

DIAGNOSTIC_EVENTS = Table(
    "diagnostic_events",
    Column("timestamp_ns", pl.Int64, "Time of the message.", unit="ns", aliases=("timestamp",)),
    Column("source", pl.Int64, "Part of nsys that wrote it: 1 injection, 2 daemon, 3 analysis.", aliases=("source",)),
    Column("severity", pl.Int64, "1 for information, 2 for a warning, 3 for an error.", aliases=("severity",)),
    Column("text", pl.String, "The message.", aliases=("text",)),
    GLOBAL_PID,
    doc="one row per message of nsys",
    sources=("DIAGNOSTIC_EVENT",),
)
