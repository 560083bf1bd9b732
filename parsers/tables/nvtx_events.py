"""NVTX: ranges, marks, and the names of domains, categories and threads."""

import polars as pl

from parsers.schema import ROWID, Column, Table
from parsers.tables.columns import GLOBAL_TID, START

NVTX_EVENTS = Table(
    "nvtx_events",
    Column("row_id", pl.Int64, "row number in the export, from 1: nsys's RangeId", aliases=(ROWID,)),
    START,
    Column("end_ns", pl.Int64, "end; null for marks and for ranges never closed", unit="ns", aliases=("end",)),
    Column("event_type", pl.Int64, "see `RANGE_TYPES` and `*_EVENT`", aliases=("eventType",), required=True),
    GLOBAL_TID,
    Column("end_global_tid", pl.Int64, "thread that closed the range, if another", aliases=("endGlobalTid",)),
    Column("domain_id", pl.Int64, "NVTX domain, per process; 0 is the default one", aliases=("domainId",)),
    Column("category_id", pl.Int64, "NVTX category, per domain", aliases=("category",)),
    Column("text", pl.String, "message, where it was not registered", aliases=("text",)),
    Column("text_id", pl.Int64, "message, in `strings`, where it was registered", aliases=("textId",)),
    Column("payload_int64", pl.Int64, "payload, where it is a signed integer", aliases=("int64Value",)),
    Column("payload_uint64", pl.UInt64, "payload, where it is an unsigned integer", aliases=("uint64Value",)),
    Column("payload_double", pl.Float64, "payload, where it is a double", aliases=("doubleValue",)),
    doc="one row per NVTX event",
    sources=("NVTX_EVENTS",),
    remedy="annotate the program and profile with --trace=cuda,nvtx",
)

PUSH_POP_TYPES = (59, 70)
"""Event types of ranges opened by push and closed by pop (NVTX, NVTXT)."""
START_END_TYPES = (60, 71)
"""Event types of ranges opened by start and closed by end (NVTX, NVTXT)."""
RANGE_TYPES = PUSH_POP_TYPES + START_END_TYPES
"""Event types that are ranges."""
MARK_EVENT = 34
"""Event type of a mark."""
CATEGORY_EVENT = 33
"""Event type that names a category."""
DOMAIN_CREATE_EVENT = 75
"""Event type that names a domain. An id may be destroyed and given to another domain later."""
