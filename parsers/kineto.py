"""Traces of the PyTorch profiler: Kineto's Chrome JSON, `.json` or `.json.gz`, as the tables of an nsys export.

Kernels, copies, sets and API calls keep their meaning. Operators (`cpu_op`) and calls of modules (`nn.Module: X_n`) are
push/pop ranges of the NVTX domain `PyTorch`, with the sequence number as payload and sizes and types as structured
payload, spelt as Kineto spells them. User annotations are ranges of the default domain. Time zero is the first event.

Left out are other Python frames, memory events, arrows, what Kineto derives (`gpu_user_annotation`, `overhead`,
`cuda_sync`), and the shared memory of kernels, of which Kineto gives the sum of static and dynamic.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from parsers.chrome_json import ChromeTrace
from parsers.errors import UnreadableTrace
from parsers.export import Reader
from parsers.kineto_events import ARGS, frames
from parsers.kineto_threads import GlobalIds, inside_parents
from parsers.origin import KINETO, UNTIMED
from parsers.schema import ROWID, Column
from parsers.tables import DOMAIN_CREATE_EVENT, PUSH_POP_TYPES

DOMAIN = "PyTorch"
"""NVTX domain of operators and modules."""
_DOMAIN_ID = 1

_ACTIVITY = {
    "kernel": "CUPTI_ACTIVITY_KIND_KERNEL",
    "memcpy": "CUPTI_ACTIVITY_KIND_MEMCPY",
    "memset": "CUPTI_ACTIVITY_KIND_MEMSET",
}
"""nsys's table of each kind of GPU operation."""

_DIRECTION = r"(?i)\b(?:copy|memcpy)?\s*([hdap])(?:ost|evice|rray|eer)?to([hdap])(?:ost|evice|rray|eer)?\b"
"""The direction of a copy in its name: `Memcpy HtoD (Pageable -> Device)`, ROCm's `CopyHostToDevice`."""
_COPY_KINDS = {"hd": 1, "dh": 2, "ha": 3, "ah": 4, "aa": 5, "ad": 6, "da": 7, "dd": 8, "hh": 9, "pp": 10}
"""Keys of `COPY_KINDS` by the first letters of source and destination."""

_DEVICE = {
    "id": "id",
    "name": "name",
    "smCount": "numSms",
    "totalMemory": "totalGlobalMem",
    "computeMajor": "computeMajor",
    "computeMinor": "computeMinor",
}
"""Columns of TARGET_INFO_GPU and the device properties that they are."""


class KinetoTrace:
    """A file of the PyTorch profiler, read whole.

    Raises:
        UnreadableTrace: the file is damaged, or holds no event of a profiler.
    """

    format = KINETO

    def __init__(self, path: Path) -> None:
        self.path = path
        trace = ChromeTrace(path, ARGS)
        self._tables = {name: rows for name, rows in _tables(trace).items() if not rows.is_empty()}
        if not self._tables.keys() & {*_ACTIVITY.values(), "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"}:
            remedy = "profile with activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], at least one active step"
            raise UnreadableTrace(path, "a trace of the PyTorch profiler without any event", remedy)
        self.tables = {name: (ROWID, *rows.columns) for name, rows in self._tables.items()}

    def reader(self, source: str, wanted: Mapping[str, Column]) -> Reader:
        """See `Export.reader`."""
        del wanted  # Every column has the type that is declared.
        return partial(self._read, source)

    def _read(self, source: str, names: Sequence[str]) -> Iterator[pl.DataFrame]:
        rows = self._tables[source]
        yield (rows.with_row_index(ROWID, offset=1) if ROWID in names else rows).select(names)


def _tables(trace: ChromeTrace) -> dict[str, pl.DataFrame]:
    """The tables of nsys."""
    events = frames(trace)
    origin = pl.concat([frame["start"] for kind, frame in events.items() if kind != "metadata"]).min()
    timed = {
        kind: frame.filter(pl.col("start").is_not_null()).with_columns(pl.col("start", "end") - (origin or 0))
        for kind, frame in events.items()
        if kind not in {"metadata", "instant"}
    }
    untimed = sum(events[kind].height - frame.height for kind, frame in timed.items())
    ids = GlobalIds(timed["call"], timed["range"], events["metadata"])
    calls, ranges = _calls(ids.of_threads(timed["call"])), _ranges(ids.of_threads(timed["range"]))
    operations = {_ACTIVITY[kind]: _activity(kind, ids.of_processes(timed[kind], calls)) for kind in _ACTIVITY}
    named = [frame["name"] for kind, frame in timed.items()]
    strings = _strings(pl.concat([*named, events["metadata"]["label"], timed["range"]["attributes"]]))
    kernels, strings = _with_short_names(operations["CUPTI_ACTIVITY_KIND_KERNEL"], strings)
    devices = pl.concat([rows["deviceId"] for rows in operations.values()]).drop_nulls().unique().sort()
    return {
        **operations,
        "CUPTI_ACTIVITY_KIND_KERNEL": kernels,
        "CUPTI_ACTIVITY_KIND_RUNTIME": calls,
        "NVTX_EVENTS": ranges,
        "StringIds": strings,
        "ThreadNames": ids.thread_names().select("globalTid", _id("label").alias("nameId")),
        "PROCESSES": ids.processes(),
        "TARGET_INFO_GPU": _gpus(trace.header.get("deviceProperties"), devices.to_list()),
        "META_DATA_EXPORT": _export_info(trace.header, untimed),
    }


def _id(name: str) -> pl.Expr:
    """ID of a text in StringIds: the number of its category."""
    return pl.col(name).to_physical().cast(pl.Int64)


def _calls(calls: pl.DataFrame) -> pl.DataFrame:
    """CUPTI_ACTIVITY_KIND_RUNTIME."""
    return calls.select(
        "start", "end", "globalTid", pl.col("correlation").alias("correlationId"), _id("name").alias("nameId")
    )


def _activity(kind: str, operations: pl.DataFrame) -> pl.DataFrame:
    """A table of GPU operations."""
    # A GPU is the process of its operations, for a viewer's sake.
    gpu = pl.col("pid").cast(pl.String).cast(pl.Int64, strict=False)
    node = pl.col("graph_node")
    columns = {
        "start": pl.col("start"),
        "end": pl.col("end"),
        "deviceId": pl.coalesce("device", gpu),
        "contextId": pl.col("context"),
        "streamId": pl.col("stream"),
        "correlationId": pl.col("correlation"),
        "globalPid": pl.col("globalPid"),
        # Kineto writes 0 where there is no graph.
        "graphNodeId": pl.when(node != 0).then(node),
    }
    if kind == "kernel":
        columns |= {"demangledName": _id("name"), "registersPerThread": pl.col("registers")}
        columns |= {f"{size}{axis.upper()}": pl.col(f"{size}_{axis}") for size in ("grid", "block") for axis in "xyz"}
    else:
        columns |= {"bytes": pl.col("bytes")}
    if kind == "memcpy":
        columns |= {"copyKind": pl.coalesce(_copy_kind("copy"), _copy_kind("name"), 0)}
    return operations.select(expression.alias(name) for name, expression in columns.items())


def _copy_kind(name: str) -> pl.Expr:
    """Key of `COPY_KINDS` that a text speaks of; null where it speaks of none."""
    ends = pl.col(name).cast(pl.String).str.extract_groups(_DIRECTION).struct
    direction = (ends.field("1") + ends.field("2")).str.to_lowercase()
    return direction.replace_strict(_COPY_KINDS, default=None, return_dtype=pl.Int64)


def _ranges(ranges: pl.DataFrame) -> pl.DataFrame:
    """NVTX_EVENTS: one range per event, and one event that names the domain per process."""
    category = pl.col("cat").cast(pl.String).str.strip_chars('"').str.to_lowercase()
    # Of two ranges with the same times the module is the outer one, as it is what calls operators.
    inner = (category != "python_function").alias("inner")
    domain = pl.when(category != "user_annotation").then(_DOMAIN_ID).otherwise(0)
    nested = inside_parents(ranges.with_columns(inner, domain.cast(pl.Int64).alias("domainId")))
    rows = nested.select(
        "start",
        "end",
        pl.lit(PUSH_POP_TYPES[0], pl.Int64).alias("eventType"),
        "globalTid",
        "domainId",
        pl.lit(None, pl.String).alias("text"),
        _id("name").alias("textId"),
        _id("attributes").alias("jsonTextId"),
        pl.col("sequence").alias("int64Value"),
    )
    process = pl.col("globalTid") // (1 << 24)
    domains = rows.filter(pl.col("domainId") == _DOMAIN_ID).group_by(process.alias("process"), maintain_order=True)
    creations = domains.agg(pl.col("start").min(), pl.col("globalTid", "domainId").first()).drop("process")
    event = pl.lit(DOMAIN_CREATE_EVENT, pl.Int64).alias("eventType")
    return pl.concat([rows, creations.with_columns(event, pl.lit(DOMAIN).alias("text"))], how="diagonal")


def _strings(texts: pl.Series) -> pl.DataFrame:
    """StringIds: each text once. What is a string in the file is decoded; structured payloads stay JSON."""
    distinct = texts.unique().drop_nulls()
    raw = distinct.cast(pl.String)
    quoted = raw.str.starts_with('"')
    plain = raw.str.slice(1, raw.str.len_chars() - 2)
    escaped = quoted & plain.str.contains("\\", literal=True)
    value = raw.zip_with(~quoted, plain)
    decoded = pl.Series([msgspec.json.decode(text) for text in raw.filter(escaped)], dtype=pl.String)
    return pl.DataFrame(
        {"id": distinct.to_physical().cast(pl.Int64), "value": value.scatter(escaped.arg_true(), decoded)}
    )


def _with_short_names(kernels: pl.DataFrame, strings: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Add `shortName`: as nsys has it, the name of the function, without return type, namespaces, arguments."""
    ids = kernels.select(pl.col("demangledName").alias("id")).unique()
    named = strings.join(ids, on="id", how="semi").sort("id")
    name = pl.col("value").str.replace_all(r" \[clone [^\]]*\]|\.kd$", "")
    for brackets in (r"<[^<>]*>", r"\([^()]*\)"):
        for _ in range(_DEEPEST):
            name = name.str.replace_all(brackets, "")
    base = name.str.strip_chars().str.extract(r"([^\s:]+)$")
    top = strings.select(pl.col("id").max()).item() or 0
    short = named.select("id", pl.coalesce(base, "value").alias("value")).with_columns(
        (pl.col("value").rank("dense").cast(pl.Int64) + top).alias("shortName")
    )
    kernels = kernels.join(
        short.select(pl.col("id").alias("demangledName"), "shortName"),
        on="demangledName",
        how="left",
        maintain_order="left",
    )
    added = short.select(pl.col("shortName").alias("id"), "value").unique("id", maintain_order=True)
    return kernels, pl.concat([strings, added])


def _gpus(properties: Any, devices: list[int]) -> pl.DataFrame:
    """TARGET_INFO_GPU.

    ROCm numbers the devices of operations by its agents, of which the first are CPUs. Where an operation's device is
    not listed and all that are listed are of one product, it is one of those that no operation names.
    """
    listed = [each for each in properties if isinstance(each, dict)] if isinstance(properties, list) else []
    rows = [{column: each.get(name) for column, name in _DEVICE.items()} for each in listed]
    spare = [row for row in rows if row["id"] not in devices]
    unlisted = [device for device in devices if device not in {row["id"] for row in rows}]
    alike = len({str({**row, "id": None}) for row in rows}) == 1
    given = dict(zip((id(row) for row in spare), unlisted, strict=False)) if alike else {}
    for row in rows:
        row["cuDevice"] = given.get(id(row), row["id"])
    dtypes = {"name": pl.String(), **dict.fromkeys([*_DEVICE, "cuDevice"], pl.Int64())}
    dtypes["name"] = pl.String()
    return pl.DataFrame(rows, schema=dtypes, strict=False)


def _export_info(header: Mapping[str, Any], untimed: int) -> pl.DataFrame:
    """META_DATA_EXPORT: what the file states beside its events."""
    stated = {
        name: value for name, value in header.items() if name not in {"deviceProperties", UNTIMED} and value is not None
    }
    stated |= {UNTIMED: f"{untimed:,}"} if untimed else {}
    texts = [value if isinstance(value, str) else json.dumps(value) for value in stated.values()]
    return pl.DataFrame({"name": [*stated], "value": texts}, schema={"name": pl.String, "value": pl.String})


_DEEPEST = 24
"""Bound on the depth of template arguments in kernel names that are shortened."""
