"""Slices of a capture and their rows: per GPU and stream, and per program and thread."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ttinsys.attribution.devices import numbered_gpus
from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.launches import api_calls
from ttinsys.attribution.nesting import deepest, extended
from ttinsys.attribution.replays import REPLAY
from ttinsys.exports import Capture, brief_kernels, frames
from ttinsys.exports.lanes import lanes, nesting
from ttinsys.measures.intervals import gpu_label, timeline

_STREAM = ("timeline", "gpu", "device", "pid", "context", "stream")
CALL = ("pid", "tid", "api_start_ns")
"""Columns that identify an API call: a thread makes one at a time."""
_AXES = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z")
_ARGS = ("path", "role", "operator", "component", "step", "phase", "q_len", "kv_len", "heads", "flops", "bytes",
         "registers_per_thread", "static_shared_bytes", "dynamic_shared_bytes", "size_bytes", "queue_ns",
         "correlation_id", "attributed_by")  # fmt: skip
TIMELINE_COLUMNS: tuple[str, ...] = (
    *_STREAM[1:],
    "tid",
    "api_start_ns",
    "kind",
    "kernel",
    "start_ns",
    "end_ns",
    *_ARGS,
    *_AXES,
)
"""Columns of `OPS` that a timeline needs."""

EVENT = ("start_ns", "end_ns", "process", "thread", "cat", "name", "args")
"""Columns of a slice: its times, its process and thread in `Rows`, its category, its name, and a Struct of details."""


class Rows:
    """Processes and threads of the timeline, with new numbers: those of the operating system may repeat in a report.

    Attributes:
        events: metadata events that name and order the processes and threads, two for each.
    """

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []

    def process(self, name: str) -> int:
        """Number of a new process."""
        return self._add("process", name, None)

    def thread(self, process: int, name: str) -> int:
        """Number of a new row of a process, below the rows that it has."""
        return self._add("thread", name, process)

    def _add(self, kind: str, name: str, process: int | None) -> int:
        number = len(self.events) // 2 + 1
        identity = {"ph": "M", "pid": process or number, "tid": number}
        self.events.append({**identity, "name": f"{kind}_name", "args": {"name": name}})
        self.events.append({**identity, "name": f"{kind}_sort_index", "args": {"sort_index": number}})
        return number


def gpus(capture: Capture, rows: Rows, prefix: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Slices of operations and of layers: a process per GPU, rows per stream.

    Args:
        capture: a capture with `TIMELINE_COLUMNS`.
        rows: where to add the processes and rows.
        prefix: prefix of the names of processes.

    Returns:
        Operations, with all of `TIMELINE_COLUMNS` and `EVENT`; and layers, with `EVENT`.
    """
    ops = capture.ops.with_columns(
        timeline().alias("timeline"),
        brief_kernels(capture.ops).alias("name"),
        pl.max_horizontal("start_ns", "end_ns").alias("end_ns"),
    )
    streams = ops.select(_STREAM).unique().sort(_STREAM[1:]).with_row_index("row")
    ops = ops.join(streams, on=_STREAM, how="left", nulls_equal=True).sort("row", "start_ns", "end_ns")
    ops = ops.with_columns(lanes(ops).alias("lane"))
    last_lanes = ops.group_by("row").agg(pl.col("lane").max())
    gpu_names = dict(
        numbered_gpus(capture.trace).select("gpu", "name").drop_nulls().unique("gpu").collect().iter_rows()
    )
    # Streams of several processes, or contexts, can have the same number: their names say whose they are.
    same = ("timeline", "stream")
    ambiguous = {*streams.filter(pl.struct(same).is_duplicated()).select(same).iter_rows()}
    labels = dict(streams.select("timeline", gpu_label()).iter_rows())
    processes: dict[int, int] = {}
    of_lanes, of_layers = [], []
    listed = streams.join(last_lanes, on="row").sort("row").drop("device")
    for row, line, gpu, pid, context, stream, last_lane in listed.iter_rows():
        if line not in processes:
            processes[line] = rows.process(f"{prefix}{labels[line]}: {gpu_names.get(gpu, 'GPU')}")
        process = processes[line]
        name = f"stream {stream}" + (f" of process {pid}, context {context}" if (line, stream) in ambiguous else "")
        of_layers.append((row, process, rows.thread(process, f"{name}, layers")))
        for lane in range(last_lane + 1):
            label = f"{name}, overlapping" if lane else name
            of_lanes.append((row, lane, process, rows.thread(process, label)))
    schema = {"row": pl.UInt32, "lane": pl.UInt32, "process": pl.Int64, "thread": pl.Int64}
    lane_rows = pl.DataFrame(of_lanes, schema=schema, orient="row")
    layer_schema = {name: schema[name] for name in ("row", "process", "thread")}
    layer_rows = pl.DataFrame(of_layers, schema=layer_schema, orient="row")
    sizes = (pl.format("{}x{}x{}", *(f"{size}_{axis}" for axis in "xyz")).alias(size) for size in ("grid", "block"))
    layers = _layers(ops, capture.ranges).join(layer_rows, on="row", how="left", maintain_order="left").select(EVENT)
    placed = ops.join(lane_rows, on=["row", "lane"], how="left", maintain_order="left").with_columns(
        pl.col("kind").alias("cat"), pl.struct(*_valued(ops, _ARGS), *sizes).alias("args")
    )
    return placed.sort("start_ns", "end_ns", descending=[False, True], maintain_order=True), layers


def _valued(frame: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """The columns among `names` that have a value."""
    return [name for name in names if frame[name].null_count() < frame.height]


def _layers(ops: pl.DataFrame, ranges: pl.DataFrame) -> pl.DataFrame:
    """Slices of ranges on the GPU: per stream, each run of operations with the same range at the same level.

    A slice ends with the last end of its operations, or with the start of the next operation of the stream if that is
    earlier. So slices of one level do not overlap, and each lies within the slice around it.

    Args:
        ops: operations, sorted by `row` and `start_ns`.
        ranges: `RANGES`.

    Returns:
        `row`, `start_ns`, `end_ns`, `cat`, `name` and `args`.
    """
    none = ranges.height
    index = ops.select("range_id").join(ranges.select("range_id", "index"), on="range_id", how="left",
                                        maintain_order="left")["index"]  # fmt: skip
    parents = extended(ranges["parent"].fill_null(none), none)
    neighbours = ops.select(
        "row", "start_ns", "end_ns", "duration_ns", pl.col("start_ns").shift(-1).over("row").alias("next_ns")
    ).with_columns(index.alias("index"), pl.int_range(pl.len()).alias("position"))
    levels = extended(ranges["depth"], None).gather(index.fill_null(none))
    holder = index.fill_null(none)
    runs_of_levels = [_runs(neighbours.clear(), 0)]
    for level in range(deepest(ranges), -1, -1):
        of_level = (levels == level).fill_null(value=False)
        runs_of_levels.append(_runs(neighbours.with_columns(holder.alias("index")).filter(of_level), level))
        # Operations of this level belong to the parent of their range on the next level.
        holder = parents.gather(holder).zip_with(of_level, holder)
        levels = levels - of_level.cast(pl.UInt32) if level else levels
    runs = pl.concat(runs_of_levels).sort(
        "start_ns", "end_ns", "level", descending=[False, True, False], maintain_order=True
    )
    of_runs = ranges.select("name", "role", "step", "phase", frames(ranges).alias("frame"))[runs["index"]]
    args = [*_valued(of_runs, ("role", "step", "phase")), "ops", "sum_ns"]
    return runs.hstack(of_runs).select(
        "row",
        "start_ns",
        "end_ns",
        pl.lit("layer").alias("cat"),
        pl.col("frame").alias("name"),
        pl.struct(pl.col("name").alias("range"), *args).alias("args"),
    )


def _runs(ops: pl.DataFrame, level: int) -> pl.DataFrame:
    """Runs of neighbouring operations of one `row` with the same `index`, at one level."""
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
    """Slices of ranges and API calls: a process per program, rows per thread.

    Args:
        capture: a capture.
        within: times in ns from and up to which to show slices; None shows all.
        rows: where to add the processes and rows.
        prefix: prefix of the names of processes.

    Returns:
        Slices, with `EVENT`; and API calls, with `CALL`, `process` and `thread`.
    """
    nested, crossing = nesting(_cpu_intervals(capture, within).with_row_index("row_id"))
    crossing = crossing.sort("global_tid", "start_ns", "end_ns")
    # Lane 0 of a thread holds all that nests; only intervals that cross need lanes of their own.
    crossing_lanes = lanes(crossing.rename({"global_tid": "row"})) + 1
    slices = pl.concat(
        [nested.with_columns(pl.lit(0, pl.UInt32).alias("lane")), crossing.with_columns(crossing_lanes.alias("lane"))]
    )
    last_lanes = slices.group_by("global_tid").agg(pl.col("lane").max()).sort("global_tid")
    lane_rows = _thread_rows(capture, last_lanes, rows, prefix)
    placed = slices.join(lane_rows, on=["global_tid", "lane"], how="left", maintain_order="left")
    placed = placed.sort("start_ns", "end_ns", descending=[False, True], maintain_order=True)
    calls = placed.filter(pl.col("cat") == "api").select(
        pid_of("global_tid").alias("pid"), tid_of("global_tid").alias("tid"), pl.col("start_ns").alias("api_start_ns"),
        "process", "thread",
    )  # fmt: skip
    # Of nested calls that begin at the same time, the outer one comes first.
    return placed.select(EVENT), calls.unique(CALL, keep="first")


def _cpu_intervals(capture: Capture, within: tuple[int, int] | None) -> pl.DataFrame:
    """Ranges and API calls as intervals: `global_tid`, `start_ns`, `end_ns`, `cat`, `name` and `args`."""
    strings = capture.trace.strings.select(pl.col("id").alias("api_name_id"), pl.col("value").alias("name"))
    calls = (
        api_calls(capture.trace)
        .join(strings, on="api_name_id", how="left")
        .select(
            "global_tid",
            pl.col("api_start_ns").alias("start_ns"),
            pl.max_horizontal("api_start_ns", "api_end_ns").alias("end_ns"),
            pl.lit("api").alias("cat"),
            # cudaLaunchKernel_v7000 and cudaLaunchKernel_v11060 are one function to a reader.
            pl.col("name").str.replace(r"_v\d+$", "").fill_null("(unnamed)"),
            pl.lit(None, pl.String).alias("domain"),
            pl.lit(None, pl.String).alias("role"),
            "correlation_id",
        )
        .collect()
    )
    ends = [frame["end_ns"].max() for frame in (capture.ops, capture.ranges, calls)]
    last = max((moment for moment in ends if isinstance(moment, int)), default=0)
    # Replays of CUDA graphs are shown on the GPU: no code of theirs runs on the CPU.
    ranges = capture.ranges.filter(pl.col("kind") != REPLAY).select(
        "global_tid",
        "start_ns",
        # A range that never closed is drawn up to the last event.
        pl.max_horizontal("start_ns", pl.col("end_ns").fill_null(last)).alias("end_ns"),
        pl.lit("nvtx").alias("cat"),
        "name",
        "domain",
        "role",
        pl.lit(None, pl.Int64).alias("correlation_id"),
    )
    intervals = pl.concat([ranges, calls]).drop_nulls(["global_tid", "start_ns"])
    if within is not None:
        intervals = intervals.filter(pl.col("end_ns") >= within[0], pl.col("start_ns") <= within[1])
    return intervals.select(
        pl.exclude("domain", "role", "correlation_id"), pl.struct("domain", "role", "correlation_id").alias("args")
    )


def _thread_rows(capture: Capture, last_lanes: pl.DataFrame, rows: Rows, prefix: str) -> pl.DataFrame:
    """`process` and `thread` of each lane of each thread, by `global_tid` and `lane`."""
    strings = capture.trace.strings.select(pl.col("id").alias("name_id"), "value")
    named = capture.trace.threads.join(strings, on="name_id").select("global_tid", "value").collect()
    names = dict(named.drop_nulls().iter_rows())
    programs = dict(capture.trace.processes.select("pid", "name").drop_nulls().collect().iter_rows())
    processes: dict[int, int] = {}
    of_lanes = []
    threads = last_lanes.select(
        "global_tid", pid_of("global_tid").alias("pid"), tid_of("global_tid").alias("tid"), "lane"
    )
    for thread, pid, tid, last_lane in threads.iter_rows():
        if pid not in processes:
            processes[pid] = rows.process(f"{prefix}{programs.get(pid, 'process')} ({pid})")
        name = f"{names.get(thread, 'thread')} ({tid})"
        for lane in range(last_lane + 1):
            label = f"{name}, crossing" if lane else name
            of_lanes.append((thread, lane, processes[pid], rows.thread(processes[pid], label)))
    schema = {"global_tid": pl.Int64, "lane": pl.UInt32, "process": pl.Int64, "thread": pl.Int64}
    return pl.DataFrame(of_lanes, schema=schema, orient="row")


def window(ops: pl.DataFrame) -> tuple[int, int] | None:
    """Time in ns of the first launch and of the last end of operations; None where there is no operation."""
    first, last = ops.select(pl.coalesce("api_start_ns", "start_ns").min(), pl.col("end_ns").max()).row(0)
    return None if first is None else (first, last)
