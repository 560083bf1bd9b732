"""Slices of a capture, and the rows that they are on: per GPU and stream, and per program and thread."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.launches import api_calls
from ttinsys.attribution.nesting import deepest, extended
from ttinsys.exports import Capture, brief_kernels, frames
from ttinsys.exports.lanes import lanes, nesting

_STREAM = ("device", "pid", "context", "stream")
CALL = ("pid", "tid", "api_start_ns")
"""What a call is known by: a thread does one thing at a time."""
_AXES = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z")
_SAID = ("path", "role", "operator", "component", "step", "phase", "q_len", "kv_len", "heads", "flops", "bytes",
         "registers_per_thread", "static_shared_bytes", "dynamic_shared_bytes", "size_bytes", "queue_ns",
         "correlation_id", "attributed_by")  # fmt: skip
TIMELINE_COLUMNS: tuple[str, ...] = (
    *_STREAM,
    "tid",
    "api_start_ns",
    "kind",
    "kernel",
    "start_ns",
    "end_ns",
    *_SAID,
    *_AXES,
)
"""What is needed of `OPS`."""

EVENT = ("start_ns", "end_ns", "process", "thread", "cat", "name", "args")
"""Columns of a slice: when, on which of `Rows`, of what kind, called what; and a Struct of what else is known."""


class Rows:
    """Numbers processes and threads, each number once: those of the operating system may repeat within a report."""

    def __init__(self) -> None:
        self.told: list[dict[str, object]] = []

    def process(self, name: str) -> int:
        """A new process."""
        return self._tell("process", name, None)

    def thread(self, process: int, name: str) -> int:
        """A new row of a process, below those that it has."""
        return self._tell("thread", name, process)

    def _tell(self, kind: str, name: str, process: int | None) -> int:
        number = len(self.told) // 2 + 1
        where = {"ph": "M", "pid": process or number, "tid": number}
        self.told.append({**where, "name": f"{kind}_name", "args": {"name": name}})
        self.told.append({**where, "name": f"{kind}_sort_index", "args": {"sort_index": number}})
        return number


def gpus(capture: Capture, rows: Rows, prefix: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Slices of operations, with all that `COLUMNS` has, and of layers; a process per device, rows per stream."""
    ops = capture.ops.with_columns(
        brief_kernels(capture.ops).alias("name"), pl.max_horizontal("start_ns", "end_ns").alias("end_ns")
    )
    streams = ops.select(_STREAM).unique().sort(_STREAM).with_row_index("row")
    ops = ops.join(streams, on=_STREAM, how="left", nulls_equal=True).sort("row", "start_ns", "end_ns")
    ops = ops.with_columns(lanes(ops).alias("lane"))
    most = ops.group_by("row").agg(pl.col("lane").max())
    named = dict(capture.trace.gpus.select("device_id", "name").drop_nulls().unique("device_id").collect().iter_rows())
    again = {*streams.filter(pl.struct("device", "stream").is_duplicated()).select("device", "stream").iter_rows()}
    devices: dict[int | None, int] = {}
    places, tops = [], []
    for row, device, pid, context, stream, lane in streams.join(most, on="row").sort("row").iter_rows():
        if device not in devices:
            devices[device] = rows.process(f"{prefix}GPU {device}: {named.get(device, 'GPU')}")
        name = f"stream {stream}" + (f" of process {pid}, context {context}" if (device, stream) in again else "")
        tops.append((row, devices[device], rows.thread(devices[device], f"{name}, layers")))
        for number in range(lane + 1):
            label = f"{name}, overlapping" if number else name
            places.append((row, number, devices[device], rows.thread(devices[device], label)))
    numbers = {"row": pl.UInt32, "lane": pl.UInt32, "process": pl.Int64, "thread": pl.Int64}
    at = pl.DataFrame(places, schema=numbers, orient="row")
    top = pl.DataFrame(tops, schema={name: numbers[name] for name in ("row", "process", "thread")}, orient="row")
    sizes = (pl.format("{}x{}x{}", *(f"{of}_{axis}" for axis in "xyz")).alias(of) for of in ("grid", "block"))
    layers = _layers(ops, capture.ranges).join(top, on="row", how="left", maintain_order="left").select(EVENT)
    placed = ops.join(at, on=["row", "lane"], how="left", maintain_order="left").with_columns(
        pl.col("kind").alias("cat"), pl.struct(*_valued(ops, _SAID), *sizes).alias("args")
    )
    return placed.sort("start_ns", "end_ns", descending=[False, True], maintain_order=True), layers


def _valued(frame: pl.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if frame[name].null_count() < frame.height]


def _layers(ops: pl.DataFrame, ranges: pl.DataFrame) -> pl.DataFrame:
    """Slices of ranges on the GPU: per stream, each run of operations with the same range at the same level.

    A slice ends with the last end of its operations, or, where that is earlier, with the start of the next operation
    of the stream: so those of a level do not overlap, and each lies within the one around it.

    Args:
        ops: by `row` and `start_ns`.
        ranges: `RANGES`.
    """
    none = ranges.height
    index = ops.select("range_id").join(ranges.select("range_id", "index"), on="range_id", how="left",
                                        maintain_order="left")["index"]  # fmt: skip
    parents = extended(ranges["parent"].fill_null(none), none)
    at = ops.select(
        "row", "start_ns", "end_ns", "duration_ns", pl.col("start_ns").shift(-1).over("row").alias("next_ns")
    ).with_columns(index.alias("index"), pl.int_range(pl.len()).alias("position"))
    levels = extended(ranges["depth"], None).gather(index.fill_null(none))
    holder = index.fill_null(none)
    found = [_runs(at.clear(), 0)]
    for level in range(deepest(ranges), -1, -1):
        here = (levels == level).fill_null(value=False)
        found.append(_runs(at.with_columns(holder.alias("index")).filter(here), level))
        # From here on, an operation stands for the range around.
        holder = parents.gather(holder).zip_with(here, holder)
        levels = levels - here.cast(pl.UInt32) if level else levels
    runs = pl.concat(found).sort("start_ns", "end_ns", "level", descending=[False, True, False], maintain_order=True)
    of = ranges.select("name", "role", "step", "phase", frames(ranges).alias("frame"))[runs["index"]]
    args = [*_valued(of, ("role", "step", "phase")), "ops", "sum_ns"]
    return runs.hstack(of).select(
        "row",
        "start_ns",
        "end_ns",
        pl.lit("layer").alias("cat"),
        pl.col("frame").alias("name"),
        pl.struct(pl.col("name").alias("range"), *args).alias("args"),
    )


def _runs(ops: pl.DataFrame, level: int) -> pl.DataFrame:
    """Runs of neighbours with one `index`."""
    changes = (
        pl.col("index").ne_missing(pl.col("index").shift())
        | pl.col("row").ne_missing(pl.col("row").shift())
        | (pl.col("position") != pl.col("position").shift() + 1)
    )
    return (
        ops.group_by(changes.fill_null(value=True).cum_sum().alias("run"), maintain_order=True)
        .agg(
            pl.col("row", "index", "start_ns").first(),
            pl.min_horizontal(pl.col("end_ns").max(), pl.col("next_ns").last()).alias("end_ns"),
            pl.len().alias("ops"),
            pl.col("duration_ns").sum().alias("sum_ns"),
            pl.lit(level, pl.UInt32).alias("level"),
        )
        .drop("run")
    )


def threads(
    capture: Capture, within: tuple[int, int] | None, rows: Rows, prefix: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Slices of ranges and API calls, a process per program; and where each call is."""
    going = _going_on(capture, within)
    nested, crossing = nesting(going.with_row_index("row_id"))
    crossing = crossing.sort("global_tid", "start_ns", "end_ns")
    apart = lanes(crossing.rename({"global_tid": "row"})) + 1
    both = pl.concat(
        [nested.with_columns(pl.lit(0, pl.UInt32).alias("lane")), crossing.with_columns(apart.alias("lane"))]
    )
    at = _placed(capture, both.group_by("global_tid").agg(pl.col("lane").max()).sort("global_tid"), rows, prefix)
    placed = both.join(at, on=["global_tid", "lane"], how="left", maintain_order="left")
    placed = placed.sort("start_ns", "end_ns", descending=[False, True], maintain_order=True)
    calls = placed.filter(pl.col("cat") == "api").select(
        pid_of("global_tid").alias("pid"), tid_of("global_tid").alias("tid"), pl.col("start_ns").alias("api_start_ns"),
        "process", "thread",
    )  # fmt: skip
    return placed.select(EVENT), calls.unique(CALL, keep="first")


def _going_on(capture: Capture, within: tuple[int, int] | None) -> pl.DataFrame:
    """Ranges and API calls, as intervals."""
    strings = capture.trace.strings.select(pl.col("id").alias("api_name_id"), pl.col("value").alias("name"))
    calls = (
        api_calls(capture.trace)
        .join(strings, on="api_name_id", how="left")
        .select(
            "global_tid",
            pl.col("api_start_ns").alias("start_ns"),
            pl.max_horizontal("api_start_ns", "api_end_ns").alias("end_ns"),
            pl.lit("api").alias("cat"),
            # cudaLaunchKernel_v7000 and its later versions are one function to a reader.
            pl.col("name").str.replace(r"_v\d+$", "").fill_null("(unnamed)"),
            pl.lit(None, pl.String).alias("domain"),
            pl.lit(None, pl.String).alias("role"),
            "correlation_id",
        )
        .collect()
    )
    ends = [frame["end_ns"].max() for frame in (capture.ops, capture.ranges, calls)]
    last = max((moment for moment in ends if isinstance(moment, int)), default=0)
    ranges = capture.ranges.select(
        "global_tid",
        "start_ns",
        # One that was never closed is open to the end.
        pl.max_horizontal("start_ns", pl.col("end_ns").fill_null(last)).alias("end_ns"),
        pl.lit("nvtx").alias("cat"),
        "name",
        "domain",
        "role",
        pl.lit(None, pl.Int64).alias("correlation_id"),
    )
    both = pl.concat([ranges, calls]).drop_nulls(["global_tid", "start_ns"])
    if within is not None:
        both = both.filter(pl.col("end_ns") >= within[0], pl.col("start_ns") <= within[1])
    return both.select(
        pl.exclude("domain", "role", "correlation_id"), pl.struct("domain", "role", "correlation_id").alias("args")
    )


def _placed(capture: Capture, threads: pl.DataFrame, rows: Rows, prefix: str) -> pl.DataFrame:
    """Process and row of each thread and lane."""
    strings = capture.trace.strings.select(pl.col("id").alias("name_id"), "value")
    named = capture.trace.threads.join(strings, on="name_id").select("global_tid", "value").collect()
    names = dict(named.drop_nulls().iter_rows())
    programs = dict(capture.trace.processes.select("pid", "name").drop_nulls().collect().iter_rows())
    processes: dict[int, int] = {}
    places = []
    who = threads.select("global_tid", pid_of("global_tid").alias("pid"), tid_of("global_tid").alias("tid"), "lane")
    for thread, pid, tid, lane in who.iter_rows():
        if pid not in processes:
            processes[pid] = rows.process(f"{prefix}{programs.get(pid, 'process')} ({pid})")
        name = f"{names.get(thread, 'thread')} ({tid})"
        for number in range(lane + 1):
            label = f"{name}, crossing" if number else name
            places.append((thread, number, processes[pid], rows.thread(processes[pid], label)))
    schema = {"global_tid": pl.Int64, "lane": pl.UInt32, "process": pl.Int64, "thread": pl.Int64}
    return pl.DataFrame(places, schema=schema, orient="row")


def window(ops: pl.DataFrame) -> tuple[int, int] | None:
    """From the first launch to the last end of an operation; None where there is none."""
    first, last = ops.select(pl.coalesce("api_start_ns", "start_ns").min(), pl.col("end_ns").max()).row(0)
    return None if first is None else (first, last)
