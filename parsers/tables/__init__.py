"""Every nsys table that we read, declared once each; `TABLES` by our name."""

from parsers.schema import Table
from parsers.tables.api_calls import API_CALLS
from parsers.tables.export_info import EXPORT_INFO
from parsers.tables.gpus import GPUS
from parsers.tables.graph_launches import GRAPH_LAUNCHES
from parsers.tables.graph_nodes import GRAPH_NODES
from parsers.tables.kernels import KERNELS
from parsers.tables.memcpys import COPY_KINDS, MEMCPYS
from parsers.tables.memsets import MEMSETS
from parsers.tables.nvtx_events import (
    CATEGORY_EVENT,
    DOMAIN_CREATE_EVENT,
    MARK_EVENT,
    NVTX_EVENTS,
    PUSH_POP_TYPES,
    RANGE_TYPES,
    START_END_TYPES,
)
from parsers.tables.processes import PROCESSES
from parsers.tables.strings import STRINGS
from parsers.tables.threads import THREADS

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        KERNELS,
        MEMCPYS,
        MEMSETS,
        GRAPH_LAUNCHES,
        API_CALLS,
        NVTX_EVENTS,
        GRAPH_NODES,
        STRINGS,
        GPUS,
        THREADS,
        PROCESSES,
        EXPORT_INFO,
    )
}

__all__ = [
    "API_CALLS",
    "CATEGORY_EVENT",
    "COPY_KINDS",
    "DOMAIN_CREATE_EVENT",
    "EXPORT_INFO",
    "GPUS",
    "GRAPH_LAUNCHES",
    "GRAPH_NODES",
    "KERNELS",
    "MARK_EVENT",
    "MEMCPYS",
    "MEMSETS",
    "NVTX_EVENTS",
    "PROCESSES",
    "PUSH_POP_TYPES",
    "RANGE_TYPES",
    "START_END_TYPES",
    "STRINGS",
    "TABLES",
    "THREADS",
]
