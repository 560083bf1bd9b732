"""Names of threads."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import GLOBAL_TID

THREADS = Table(
    "threads",
    GLOBAL_TID,
    Column("name_id", pl.Int64, "Name, as an ID in `strings`.", aliases=("nameId",)),
    doc="one row per named thread",
    sources=("ThreadNames",),
)
