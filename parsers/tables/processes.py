"""Names of processes."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import GLOBAL_PID

PROCESSES = Table(
    "processes",
    GLOBAL_PID,
    Column("pid", pl.Int64, "Process ID.", aliases=("pid",)),
    Column("name", pl.String, "Name of the program.", aliases=("name",)),
    doc="one row per process of the machine",
    sources=("PROCESSES",),
)
