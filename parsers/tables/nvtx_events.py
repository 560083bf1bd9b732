"""NVTX: ranges, marks, and the names of domains, categories and threads."""

import polars as pl

from parsers.schema import ROWID, Column, Table
from parsers.tables.columns import GLOBAL_TID, START

NVTX_EVENTS = Table(
    "nvtx_events",
    Column("row_id", pl.Int64, "Row number in the export, counted from 1; nsys calls it RangeId.", aliases=(ROWID,)),
    START,
    Column(
        "end_ns",
        pl.Int64,
        "End time since the capture began; null for marks and for ranges that were never closed.",
        unit="ns",
        aliases=("end",),
    ),
    Column(
        "event_type",
        pl.Int64,
        "Kind of event: one of `RANGE_TYPES`, or one of the constants `*_EVENT`.",
        aliases=("eventType",),
        required=True,
    ),
    GLOBAL_TID,
    Column(
        "end_global_tid",
        pl.Int64,
        "Thread that closed the range, where it is not the one that opened it.",
        aliases=("endGlobalTid",),
    ),
    Column("domain_id", pl.Int64, "NVTX domain ID within the process; 0 is the default domain.", aliases=("domainId",)),
    Column("category_id", pl.Int64, "NVTX category ID within the domain.", aliases=("category",)),
    Column("text", pl.String, "Message; null where it was registered.", aliases=("text",)),
    Column(
        "text_id",
        pl.Int64,
        "Registered message, as an ID in `strings`; null where it was not registered.",
        aliases=("textId",),
    ),
    Column("json_text", pl.String, "Structured payload as JSON; null where it is registered.", aliases=("jsonText",)),
    Column(
        "json_text_id",
        pl.Int64,
        "Structured payload as JSON, as an ID in `strings`; null where it is not registered.",
        aliases=("jsonTextId",),
    ),
    Column("payload_int64", pl.Int64, "Payload that is a signed integer; else null.", aliases=("int64Value",)),
    Column("payload_uint64", pl.UInt64, "Payload that is an unsigned integer; else null.", aliases=("uint64Value",)),
    Column("payload_double", pl.Float64, "Payload that is a double; else null.", aliases=("doubleValue",)),
    doc="one row per NVTX event",
    sources=("NVTX_EVENTS",),
    remedy="annotate the program and profile with --trace=cuda,nvtx",
)

PUSH_POP_TYPES = (59, 70)
"""Event types of push/pop ranges, of NVTX and NVTXT."""
START_END_TYPES = (60, 71)
"""Event types of start/end ranges, of NVTX and NVTXT."""
RANGE_TYPES = PUSH_POP_TYPES + START_END_TYPES
"""Event types of ranges."""
MARK_EVENT = 34
"""Event type of a mark."""
CATEGORY_EVENT = 33
"""Event type that names a category."""
DOMAIN_CREATE_EVENT = 75
"""Event type that names a domain. An ID may be destroyed and later given to another domain."""
