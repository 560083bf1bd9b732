"""Time that nsys and CUPTI took from the traced program."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import END, GLOBAL_TID, START

PROFILER_OVERHEADS = Table(
    "profiler_overheads",
    START,
    END,
    GLOBAL_TID,
    Column("name_id", pl.Int64, "What nsys did, as an ID in `strings`.", aliases=("nameId",)),
    doc="one row per interval in which nsys or CUPTI held a thread of the program",
    sources=("PROFILER_OVERHEAD",),
)
