"""CUDA API calls on the CPU."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import CUDA_REMEDY, END, GLOBAL_TID, START

API_CALLS = Table(
    "api_calls",
    START,
    END,
    GLOBAL_TID,
    Column(
        "correlation_id",
        pl.Int64,
        "Correlation ID, which links the call to what it launched within the process.",
        aliases=("correlationId",),
    ),
    Column("name_id", pl.Int64, "Function name, as an ID in `strings`.", aliases=("nameId",)),
    doc="one row per CUDA runtime or driver call",
    sources=("CUPTI_ACTIVITY_KIND_RUNTIME",),
    remedy=CUDA_REMEDY,
)
