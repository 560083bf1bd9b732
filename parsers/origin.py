"""The program that made a trace: nsys or the PyTorch profiler, in words, and how to have it record more."""

from __future__ import annotations

from collections.abc import Mapping

from parsers.schema import Table

KINETO = "kineto"
"""`Trace.format` of a trace of the PyTorch profiler."""
UNTIMED = "EVENTS_WITHOUT_TIME"
"""Key of `export_info`: the number of events that are left out, as they do not say when they began."""

_GPU_REMEDY = "profile on a machine with a GPU with activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]"
_RANGES_REMEDY = "profile with ProfilerActivity.CPU among the activities, with_modules=True and record_shapes=True"


def origin(format: str, info: Mapping[str, str]) -> str:
    """The program that made a trace, with its version: `nsys 2023.4.4`, `the PyTorch profiler (CUDA 12.4)`.

    Args:
        format: `Trace.format`.
        info: keys and values of the table `export_info`.
    """
    if format != KINETO:
        version = info.get("EXPORT_PRODUCT_VERSION")
        return f"nsys {version}" if version else "nsys of an unknown version"
    versions = [version for key in ("cuda", "hip") if (version := _runtime(info, key))]
    return "the PyTorch profiler" + (f" ({', '.join(versions)})" if versions else "")


def schema_version(format: str, info: Mapping[str, str]) -> str:
    """Version of a trace's schema; `unknown` where it states none."""
    return info.get("schemaVersion" if format == KINETO else "EXPORT_SCHEMA_VERSION", "unknown")


def remedy(format: str, table: Table) -> str:
    """How to capture a table that a trace lacks.

    Args:
        format: `Trace.format`.
        table: the table.
    """
    if format != KINETO:
        return table.remedy
    return _RANGES_REMEDY if table.name == "nvtx_events" else _GPU_REMEDY


def _runtime(info: Mapping[str, str], key: str) -> str | None:
    """Name and version of a runtime, from its number: 12040 is CUDA 12.4, 70226015 is HIP 7.2.26015."""
    stated = info.get(f"{key}_runtime_version", "")
    if not (stated.isascii() and stated.isdecimal() and len(stated) < 10 and int(stated)):
        return None
    number = int(stated)
    if key == "cuda":
        return f"CUDA {number // 1000}.{number % 1000 // 10}"
    return f"HIP {number // 10**7}.{number // 10**5 % 100}.{number % 10**5}"
