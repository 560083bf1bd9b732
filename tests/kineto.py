"""Traces of the PyTorch profiler with exact times, for tests whose numbers are worked out by hand.

    kineto(path, op("aten::mm", 0, 50), call("cudaLaunchKernel", 10, 5, correlation=1),
           on_gpu("kernel", "sgemm", 20, 30, correlation=1))

Times are in us, a start and a duration, as Kineto writes them.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl

Event = dict[str, Any]
PID = 10
HEADER = {
    "schemaVersion": 1,
    "deviceProperties": [{"id": 0, "name": "NVIDIA H100", "numSms": 132, "totalGlobalMem": 80, "computeMajor": 9}],
    "cuda_runtime_version": 12040,
    "baseTimeNanoseconds": 1751410836000000000,
}
BEGIN = {"ph": "i", "s": "g", "name": "Iteration Start: PyTorch Profiler", "pid": "Traces", "tid": "x", "ts": 0}


def event(cat: str, name: str, ts: float, dur: float, *, pid: Any = PID, tid: Any = 11, **args: Any) -> Event:
    """A complete event; `args` under Kineto's names, with `_` for a space."""
    spelt = {member.replace("_", " "): value for member, value in args.items()}
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": spelt}


def op(name: str, ts: float, dur: float, **more: Any) -> Event:
    """An operator."""
    return event("cpu_op", name, ts, dur, **more)


def module(name: str, ts: float, dur: float, **more: Any) -> Event:
    """The call of a module, such as `Linear_0`."""
    return event("python_function", f"nn.Module: {name}", ts, dur, **more)


def call(name: str, ts: float, dur: float, *, cat: str = "cuda_runtime", **more: Any) -> Event:
    """An API call."""
    return event(cat, name, ts, dur, **more)


def on_gpu(cat: str, name: str, ts: float, dur: float, *, device: int = 0, stream: int = 7, **more: Any) -> Event:
    """An operation on a GPU."""
    return event(cat, name, ts, dur, pid=device, tid=stream, device=device, stream=stream, **more)


def kineto(path: Path, *events: Event, **header: Any) -> Path:
    """Write a file, compressed if it is called so; time 0 is its first moment."""
    text = json.dumps({**HEADER, **header, "traceEvents": [BEGIN, *events]})
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


_CATEGORIES = {
    "CUPTI_ACTIVITY_KIND_KERNEL": "kernel",
    "CUPTI_ACTIVITY_KIND_MEMCPY": "gpu_memcpy",
    "CUPTI_ACTIVITY_KIND_MEMSET": "gpu_memset",
}
_DIRECTIONS = {1: "HtoD (Pageable -> Device)", 2: "DtoH (Device -> Pinned)", 8: "DtoD (Device -> Device)"}


def of_nsys(tables: dict[str, pl.DataFrame]) -> list[Event]:
    """The events of an export as the PyTorch profiler would have written them; ranges of domain 1 are operators."""
    strings = dict(tables["StringIds"].select("id", "value").iter_rows()) if "StringIds" in tables else {}
    events = []
    for table, rows in tables.items():
        for row in rows.to_dicts():
            if "start" not in row or row.get("eventType", 59) != 59:
                continue
            dur = (row["end"] - row["start"]) / 1000
            tid = (row.get("globalTid") or 0) & 0xFFFFFF
            pid = (row.get("globalTid") or row.get("globalPid") or 0) >> 24 & 0xFFFFFF
            at = (row["start"] / 1000, dur)
            if table == "CUPTI_ACTIVITY_KIND_RUNTIME":
                events.append(call(strings[row["nameId"]], *at, pid=pid, tid=tid, correlation=row["correlationId"]))
            elif table == "NVTX_EVENTS":
                more = {} if row["int64Value"] is None else {"Sequence_number": row["int64Value"]}
                cat = "cpu_op" if row["domainId"] else "user_annotation"
                events.append(event(cat, row["text"], *at, pid=pid, tid=tid, **more))
            else:
                names = {
                    "CUPTI_ACTIVITY_KIND_MEMCPY": f"Memcpy {_DIRECTIONS.get(row.get('copyKind', 0))}",
                    "CUPTI_ACTIVITY_KIND_MEMSET": "Memset (Device)",
                }
                more = (
                    {"bytes": row["bytes"]} if "bytes" in row else {"registers_per_thread": row["registersPerThread"]}
                )
                if table == "CUPTI_ACTIVITY_KIND_KERNEL":
                    more |= {size: [row[f"{size}{axis}"] for axis in "XYZ"] for size in ("grid", "block")}
                name = names.get(table) or strings[row["demangledName"]]
                more |= {"correlation": row["correlationId"], "context": row["contextId"]}
                more |= {"graph_node_id": row["graphNodeId"] or 0}
                events.append(
                    on_gpu(_CATEGORIES[table], name, *at, device=row["deviceId"], stream=row["streamId"], **more)
                )
    return events
