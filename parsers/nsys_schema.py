"""The schema of Nsight Systems exports, as data, for `parsers.writer`.

Names, order, types and NOT NULL are those of nsys 2023.4 (export schema 3.7.2), as `nsys export --lazy=false` of
2023.4.4 creates every table in SQLite, Parquet and Arrow, with three exceptions. CUPTI_ACTIVITY_KIND_GRAPH_TRACE is as
nsys 2024.6 exports it: 2023.4 cannot trace whole graphs. CUDA_GRAPH_NODE_EVENTS is as the user guide of 2024 lists it;
until then its rows were in CUDA_GRAPH_EVENTS. DIAGNOSTIC_EVENT is as exports since 2024 have it: 2023.4 writes no
messages. Their widths in Arrow are taken from the columns of the same names. Of other tables, `columns_of` knows what
`parsers.tables` declares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from parsers.schema import ROWID, Column
from parsers.tables import TABLES


@dataclass(frozen=True, slots=True)
class NsysColumn:
    """One column of an nsys table.

    Args:
        name: nsys's name.
        dtype: the type that nsys keeps it in, which is its type in Arrow exports.
        nullable: whether it may be null.
        default: for a column that is not nullable: the value of rows whose writer leaves the column out, 0 or the
            usual one; None where it may not be left out.
        key: whether it is the primary key in SQLite.
    """

    name: str
    dtype: pl.DataType
    nullable: bool = True
    default: int | None = None
    key: bool = False

    @property
    def sqlite_type(self) -> str:
        """Its declared type in SQLite exports."""
        if self.dtype == pl.String:
            return "TEXT"
        return "REAL" if self.dtype.is_float() else "INTEGER"

    @property
    def parquet_dtype(self) -> pl.DataType:
        """Its type in Parquet exports: nsys writes Parquet 1.0, which has no unsigned 32-bit integers."""
        return pl.Int64() if self.dtype == pl.UInt32 else self.dtype


_I32, _I64, _U32, _U64 = pl.Int32(), pl.Int64(), pl.UInt32(), pl.UInt64()
_TEXT, _BOOL = pl.String(), pl.Boolean()


def _may(dtype: pl.DataType, *names: str) -> tuple[NsysColumn, ...]:
    """Columns that may be null."""
    return tuple(NsysColumn(name, dtype) for name in names)


def _must(dtype: pl.DataType, *names: str, default: int | None = None) -> tuple[NsysColumn, ...]:
    """Columns that may not be null."""
    return tuple(NsysColumn(name, dtype, nullable=False, default=default) for name in names)


_SPAN = _must(_I64, "start", "end")
_ON_GPU = (
    *_SPAN,
    *_must(_U32, "deviceId", default=0),
    *_must(_U64, "contextId", default=1),
    *_may(_U64, "greenContextId"),
    # 7 is the number that CUPTI gives the default stream of the first context.
    *_must(_U64, "streamId", default=7),
    *_may(_U32, "correlationId"),
    *_may(_U64, "globalPid"),
)
GRAPH_NODE_CREATION: Final = 77
"""`eventClass` of the creation of a CUDA graph node."""
_GRAPH_NODE = (
    *_SPAN,
    *_must(_U32, "eventClass", default=GRAPH_NODE_CREATION),
    *_may(_U64, "globalTid"),
    *_must(_U64, "nameId", "graphNodeId"),
    *_may(_U64, "originalGraphNodeId"),
)
_ENUM = (NsysColumn("id", _I64, nullable=False, key=True), *_may(_TEXT, "name", "label"))

NSYS_TABLES: Final[dict[str, tuple[NsysColumn, ...]]] = {
    "StringIds": (NsysColumn("id", _I32, nullable=False, key=True), *_must(_TEXT, "value")),
    "NVTX_EVENTS": (
        *_must(_I64, "start"),
        *_may(_I64, "end"),
        *_must(_U32, "eventType"),
        *_may(_U64, "rangeId", "category"),
        *_may(_U32, "color"),
        *_may(_TEXT, "text"),
        *_may(_U64, "globalTid", "endGlobalTid"),
        *_may(_U32, "textId"),
        *_may(_U64, "domainId", "uint64Value"),
        *_may(_I64, "int64Value"),
        *_may(pl.Float64(), "doubleValue"),
        *_may(_U32, "uint32Value"),
        *_may(_I32, "int32Value"),
        *_may(pl.Float32(), "floatValue"),
        *_may(_U32, "jsonTextId"),
        *_may(_TEXT, "jsonText"),
    ),
    "CUPTI_ACTIVITY_KIND_RUNTIME": (
        *_SPAN,
        *_must(_U32, "eventClass", default=0),
        *_may(_U64, "globalTid"),
        *_may(_U32, "correlationId"),
        *_must(_U64, "nameId"),
        *_must(_U32, "returnValue", default=0),
        *_may(_I64, "callchainId"),
    ),
    "CUPTI_ACTIVITY_KIND_KERNEL": (
        *_ON_GPU,
        *_must(_U64, "demangledName", "shortName"),
        *_may(_U64, "mangledName"),
        *_may(_U32, "launchType", "cacheConfig"),
        *_must(_U32, "registersPerThread", default=0),
        *_must(_I32, "gridX", "gridY", "gridZ", "blockX", "blockY", "blockZ", default=1),
        *_must(_I32, "staticSharedMemory", "dynamicSharedMemory", default=0),
        *_must(_I32, "localMemoryPerThread", "localMemoryTotal", default=0),
        *_must(_I64, "gridId", default=0),
        *_may(_U32, "sharedMemoryExecuted"),
        *_may(_U64, "graphNodeId"),
        *_may(_U32, "sharedMemoryLimitConfig"),
    ),
    "CUPTI_ACTIVITY_KIND_MEMCPY": (
        *_ON_GPU,
        *_must(_U64, "bytes", "copyKind", default=0),
        *_may(_U32, "deprecatedSrcId", "srcKind", "dstKind"),
        *_may(_U32, "srcDeviceId", "srcContextId", "dstDeviceId", "dstContextId", "migrationCause"),
        *_may(_U64, "graphNodeId", "virtualAddress"),
    ),
    "CUPTI_ACTIVITY_KIND_MEMSET": (
        *_ON_GPU,
        *_must(_U32, "value", default=0),
        *_must(_U64, "bytes", default=0),
        *_may(_U64, "graphNodeId"),
        *_may(_U32, "memKind"),
    ),
    "DIAGNOSTIC_EVENT": (
        *_must(_I64, "timestamp"),
        *_must(_U32, "timestampType", "source", "severity", default=1),
        *_must(_TEXT, "text"),
        *_may(_U64, "globalPid"),
    ),
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": (*_ON_GPU, *_must(_U64, "graphId", "graphExecId", default=0)),
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": (*_ON_GPU, *_must(_U32, "syncType", "eventId", default=0)),
    "CUDA_GRAPH_EVENTS": _GRAPH_NODE,
    "CUDA_GRAPH_NODE_EVENTS": _GRAPH_NODE,
    "ThreadNames": (*_must(_U64, "nameId"), *_may(_U64, "priority", "globalTid")),
    "PROCESSES": (*_may(_U64, "globalPid", "pid"), *_may(_TEXT, "name")),
    "TARGET_INFO_GPU": (
        *_must(_I64, "vmId", default=0),
        *_must(_U32, "id", default=0),
        *_may(_TEXT, "name", "busLocation"),
        *_may(_BOOL, "isDiscrete"),
        *_may(_U32, "l2CacheSize"),
        *_may(_U64, "totalMemory", "memoryBandwidth"),
        *_may(_U32, "clockRate", "smCount", "pwGpuId"),
        *_may(_TEXT, "uuid"),
        *_may(_U64, "luid"),
        *_may(_TEXT, "chipName"),
        *_may(_I32, "cuDevice"),
        *_may(_TEXT, "ctxswDevPath", "ctrlDevPath"),
        *_may(_U32, "revision", "nodeMask", "constantMemory", "maxIPC"),
        *_may(_U32, "maxRegistersPerBlock", "maxShmemPerBlock", "maxShmemPerBlockOptin", "maxShmemPerSm"),
        *_may(_U32, "maxRegistersPerSm", "threadsPerWarp", "asyncEngines", "maxWarpsPerSm", "maxBlocksPerSm"),
        *_may(_U32, "maxThreadsPerBlock", "maxBlockDimX", "maxBlockDimY", "maxBlockDimZ"),
        *_may(_U32, "maxGridDimX", "maxGridDimY", "maxGridDimZ"),
        *_may(_U32, "computeMajor", "computeMinor", "smMajor", "smMinor"),
    ),
    "TARGET_INFO_CUDA_CONTEXT_INFO": (
        *_must(_U32, "nullStreamId", default=7),
        *_must(_U32, "hwId", "vmId", default=0),
        *_must(_U32, "processId"),
        *_must(_U32, "deviceId", default=0),
        *_must(_U32, "contextId", default=1),
        *_may(_U32, "parentContextId"),
        *_may(_BOOL, "isGreenContext"),
    ),
    "TARGET_INFO_CUDA_STREAM": (
        *_must(_U32, "streamId", default=7),
        *_must(_U32, "hwId", "vmId", default=0),
        *_must(_U32, "processId"),
        *_must(_U32, "contextId", default=1),
        *_must(_U32, "priority", "flag", default=0),
    ),
    "META_DATA_EXPORT": (*_must(_TEXT, "name"), *_may(_TEXT, "value")),
    "ENUM_NSYS_EVENT_TYPE": _ENUM,
    "ENUM_NSYS_EVENT_CLASS": _ENUM,
    "ENUM_CUDA_MEMCPY_OPER": _ENUM,
    "ENUM_CUDA_MEM_KIND": _ENUM,
    "ENUM_CUDA_KERNEL_LAUNCH_TYPE": _ENUM,
    "ENUM_CUPTI_SYNC_TYPE": _ENUM,
}
"""Columns by nsys's name of the table, in nsys's order."""

_ENUM_ROWS: Final[dict[str, dict[int, tuple[str, str]]]] = {
    "ENUM_NSYS_EVENT_TYPE": {
        number: (name, name)
        for number, name in {
            33: "NvtxCategory",
            34: "NvtxMark",
            39: "NvtxThread",
            59: "NvtxPushPopRange",
            60: "NvtxStartEndRange",
            70: "NvtxtPushPopRange",
            71: "NvtxtStartEndRange",
            75: "NvtxDomainCreate",
            76: "NvtxDomainDestroy",
            113: "CudaGraphNodeCreation",
        }.items()
    },
    "ENUM_NSYS_EVENT_CLASS": {
        0: ("TRACE_PROCESS_EVENT_CUDA_RUNTIME", "CUDA runtime"),
        1: ("TRACE_PROCESS_EVENT_CUDA_DRIVER", "CUDA driver"),
        GRAPH_NODE_CREATION: ("TRACE_PROCESS_EVENT_CUDA_GRAPH_NODE_CREATION", "CUDA graph node creation"),
    },
    "ENUM_CUDA_MEMCPY_OPER": {
        0: ("CUDA_MEMCPY_KIND_UNKNOWN", "Unknown"),
        1: ("CUDA_MEMCPY_KIND_HTOD", "Host-to-Device"),
        2: ("CUDA_MEMCPY_KIND_DTOH", "Device-to-Host"),
        3: ("CUDA_MEMCPY_KIND_HTOA", "Host-to-Array"),
        4: ("CUDA_MEMCPY_KIND_ATOH", "Array-to-Host"),
        5: ("CUDA_MEMCPY_KIND_ATOA", "Array-to-Array"),
        6: ("CUDA_MEMCPY_KIND_ATOD", "Array-to-Device"),
        7: ("CUDA_MEMCPY_KIND_DTOA", "Device-to-Array"),
        8: ("CUDA_MEMCPY_KIND_DTOD", "Device-to-Device"),
        9: ("CUDA_MEMCPY_KIND_HTOH", "Host-to-Host"),
        10: ("CUDA_MEMCPY_KIND_PTOP", "Peer-to-Peer"),
        11: ("CUDA_MEMCPY_KIND_UVM_HTOD", "Unified Host-to-Device"),
        12: ("CUDA_MEMCPY_KIND_UVM_DTOH", "Unified Device-to-Host"),
        13: ("CUDA_MEMCPY_KIND_UVM_DTOD", "Unified Device-to-Device"),
    },
    "ENUM_CUDA_MEM_KIND": {
        0: ("CUDA_MEMOPR_MEMORY_KIND_PAGEABLE", "Pageable"),
        1: ("CUDA_MEMOPR_MEMORY_KIND_PINNED", "Pinned"),
        2: ("CUDA_MEMOPR_MEMORY_KIND_DEVICE", "Device"),
        3: ("CUDA_MEMOPR_MEMORY_KIND_ARRAY", "Array"),
        4: ("CUDA_MEMOPR_MEMORY_KIND_MANAGED", "Managed"),
        5: ("CUDA_MEMOPR_MEMORY_KIND_DEVICE_STATIC", "Device Static"),
        6: ("CUDA_MEMOPR_MEMORY_KIND_MANAGED_STATIC", "Managed Static"),
        7: ("CUDA_MEMOPR_MEMORY_KIND_UNKNOWN", "Unknown"),
    },
    "ENUM_CUDA_KERNEL_LAUNCH_TYPE": {
        0: ("CUDA_KERNEL_LAUNCH_TYPE_UNKNOWN", "Unknown"),
        1: ("CUDA_KERNEL_LAUNCH_TYPE_REGULAR", "Regular"),
        2: ("CUDA_KERNEL_LAUNCH_TYPE_COOPERATIVE_SINGLE_DEVICE", "Coop Single Device"),
        3: ("CUDA_KERNEL_LAUNCH_TYPE_COOPERATIVE_MULTI_DEVICE", "Coop Multi Device"),
    },
    "ENUM_CUPTI_SYNC_TYPE": {
        0: ("CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_UNKNOWN", "Unknown"),
        1: ("CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_EVENT_SYNCHRONIZE", "Event sync"),
        2: ("CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_WAIT_EVENT", "Stream wait sync"),
        3: ("CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_STREAM_SYNCHRONIZE", "Stream sync"),
        4: ("CUPTI_ACTIVITY_SYNCHRONIZATION_TYPE_CONTEXT_SYNCHRONIZE", "Context sync"),
    },
}

_EXPORT_INFO: Final = {
    "EXPORT_SCHEMA_VERSION": "3.7.2",
    "EXPORT_SCHEMA_VERSION_MAJOR": "3",
    "EXPORT_SCHEMA_VERSION_MINOR": "7",
    "EXPORT_SCHEMA_VERSION_MICRO": "2",
}


def columns_of(table: str) -> tuple[NsysColumn, ...]:
    """The columns of an nsys table, in nsys's order where that is known, else in the order of our declaration.

    Raises:
        ValueError: neither `NSYS_TABLES` nor `parsers.tables` has the table.
    """
    if table in NSYS_TABLES:
        return NSYS_TABLES[table]
    declared = [column for known in TABLES.values() if table in known.sources for column in known.columns]
    if not declared:
        known = sorted({*NSYS_TABLES, *(source for table in TABLES.values() for source in table.sources)})
        raise ValueError(f"{table} is no table of nsys that parsers declares: {', '.join(known)}")
    return tuple(_as_declared(column) for column in declared if column.aliases and ROWID not in column.aliases)


def _as_declared(column: Column) -> NsysColumn:
    dtype = column.dtype() if isinstance(column.dtype, type) else column.dtype
    return NsysColumn(column.aliases[0], dtype, nullable=not column.required)


def enumerations() -> dict[str, pl.DataFrame]:
    """The ENUM_ tables with their rows, which nsys's reports join for names.

    Event types and classes are only those that the tables here use.
    """
    return {
        table: pl.DataFrame(
            [(number, name, label) for number, (name, label) in rows.items()],
            schema={column.name: column.dtype for column in _ENUM},
            orient="row",
        )
        for table, rows in _ENUM_ROWS.items()
    }


def export_info(**more: str) -> pl.DataFrame:
    """META_DATA_EXPORT of a written export: the version of the schema, and the keys and values of `more`."""
    pairs = _EXPORT_INFO | more
    return pl.DataFrame({"name": list(pairs), "value": list(pairs.values())})
