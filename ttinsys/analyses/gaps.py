"""Find where the GPU idles, and what it waits for.

ttinsys gaps run.sqlite
ttinsys gaps run.sqlite --by step --plot steps.svg

A gap belongs to the operation that ends it, and to the step and component of that operation. The launch of the
operation divides the gap. Before the launch, time is sync while the launching thread is in a CUDA call that began
before the GPU went idle, launch while it is in a call that began later, and cpu while it is in no call. The launch
itself is launch. After the launch, time is latency.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.identity import BITS, pid_of, tid_of
from ttinsys.measures.dimensions import component
from ttinsys.measures.intervals import (
    claimed,
    concurrent,
    cumulative_cover,
    doubtful_gpus,
    gap,
    gpu_of_rows,
    timeline,
    with_cover,
)
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

GAPS = Table(
    "gaps",
    Column("device", pl.Int64, "CUDA device ordinal; null where the processes of a GPU number it differently."),
    Column("gpu", pl.Int64, "Number of the GPU, as in `info`; null where the export does not tell which GPU it is, and "
           "the row is of a process and its device."),
    Column("pid", pl.Int64, "ID of the process whose device it is, where `gpu` is null; else null."),
    Column("component", pl.String, "Part of the pipeline, such as `denoiser`; `(pipeline)` for the pipeline as a "
           "whole, `(not annotated)` in a range without annotation, `(reason)` without a range."),
    Column("step", pl.Int64, "Number of the denoising step or token, from 0 in each run; null outside steps."),
    Column("step_id", pl.Int64, "RangeId of the step's range, which tells steps of several runs apart; negative for an "
           "iteration of `--steps-from structure`, null outside steps."),
    Column("span_ns", pl.Int64, "Busy and idle time; over all rows of a GPU it adds up to first start to last end.",
           unit="ns"),
    Column("busy_ns", pl.Int64, "Time in which operations run; overlap counts for the operation that began first.",
           unit="ns"),
    Column("idle_ns", pl.Int64, "Time without any operation, before the operations of the row.", unit="ns"),
    Column("idle_share", pl.Float64, "`idle_ns` divided by `span_ns`.", unit="ratio"),
    Column("cpu_ns", pl.Int64, "Idle time before the launch in which the launching thread was in no CUDA call.",
           unit="ns"),
    Column("launch_ns", pl.Int64, "Idle time in CUDA calls that began after the GPU went idle, mostly launches.",
           unit="ns"),
    Column("sync_ns", pl.Int64, "Idle time in CUDA calls that began before the GPU went idle, mostly synchronisation.",
           unit="ns"),
    Column("latency_ns", pl.Int64, "Idle time after the launch: launch latency, or waiting for other work.",
           unit="ns"),
    Column("unknown_ns", pl.Int64, "Idle time before operations whose launch is not in the trace.", unit="ns"),
    Column("gaps", pl.UInt32, "Number of gaps."),
    Column("longest_ns", pl.Int64, "Duration of the longest gap.", unit="ns"),
    Column("instances", pl.UInt32, "Number of GPU operations."),
    Column("sum_ns", pl.Int64, "Sum of durations of the operations.", unit="ns"),
    Column("overlapped_ns", pl.Int64, "`sum_ns` minus `busy_ns`: time that an earlier operation covers as well.",
           unit="ns"),
    Column("concurrent_ns", pl.Int64, "Time in which two streams or more are busy; it counts for the operation that "
           "began last.", unit="ns"),
    Column("copy_ns", pl.Int64, "Sum of durations of memory copies.", unit="ns"),
    Column("copy_exposed_ns", pl.Int64, "Part of `copy_ns` in which no kernel but NCCL's runs on the GPU.",
           unit="ns"),
    Column("nccl_ns", pl.Int64, "Sum of durations of NCCL kernels.", unit="ns"),
    Column("nccl_exposed_ns", pl.Int64, "Part of `nccl_ns` in which no other kernel runs on the GPU.", unit="ns"),
    Column("wait_ns", pl.Int64, "Time from the opening of the step on the CPU to its first operation on the GPU; null "
           "outside steps.", unit="ns"),
    Column("from_ns", pl.Int64, "First start on the GPU, relative to the first annotated range (or, without one, to "
           "the first launch).", unit="ns"),
    Column("to_ns", pl.Int64, "Last end on the GPU, relative to the first annotated range (or, without one, to the "
           "first launch).", unit="ns"),
    doc="one row per GPU and component, step or whole trace; `cpu_ns`, `launch_ns`, `sync_ns`, `latency_ns` and "
    "`unknown_ns` add up to `idle_ns`",
)  # fmt: skip

Grouping = Literal["trace", "component", "step"]

KINDS = ("cpu", "launch", "sync", "latency", "unknown")
"""Kinds of idle time: `GAPS` has a column for each."""

_MOVING_COLUMNS = ("copy_ns", "copy_exposed_ns", "nccl_ns", "nccl_exposed_ns")

_KEYS = ["timeline", "component", "step_id"]
"""Columns that tell rows apart; those that `by` does not name are null."""


@analysis(
    returns=GAPS,
    options=(Option("by", "Group rows by component or step, or give one row per GPU."),),
    needs=(GPU_ACTIVITY,),
    remarks=doubtful_gpus,
    steps=True,
)
def gaps(
    ops: pl.LazyFrame, ranges: pl.LazyFrame, api_calls: pl.LazyFrame, *, by: Grouping = "component"
) -> pl.LazyFrame:
    """Divide the time of each GPU into busy and idle, and idle time by what the GPU waited for.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.
        api_calls: CUDA API calls, as `ttinsys.attribution.launches.api_calls` returns them.
        by: `component`, `step`, or `trace` for one row per GPU.

    Returns:
        `GAPS`, by GPU, in the order of first operations; what runs outside steps comes last.
    """
    # Four plans read the operations: they are sorted once.
    placed = _placed(ops, by).cache()
    opened = ranges.filter(pl.col("step_id") == pl.col("range_id")).select(
        "step_id", pl.col("start_ns").alias("_opened")
    )
    annotated = ranges.filter(pl.col("role").is_not_null()).select(pl.col("start_ns").min().alias("_annotated"))
    first = placed.select(pl.col("api_start_ns").min().alias("_launched"), pl.col("start_ns").min().alias("_started"))
    rows = placed.group_by(_KEYS).agg(
        pl.col("step").first(),
        *gpu_of_rows(),
        pl.len().alias("instances"),
        (pl.col("end_ns") - pl.col("start_ns")).clip(lower_bound=0).sum().alias("sum_ns"),
        pl.col("busy_ns", "idle_ns").sum(),
        (pl.col("idle_ns") > 0).sum().alias("gaps"),
        pl.col("idle_ns").max().alias("longest_ns"),
        pl.col("start_ns").min().alias("_first"),
        pl.col("end_ns").max().alias("_last"),
    )
    for part in (_idle(placed, api_calls), _exposed(placed), _concurrent(placed)):
        rows = rows.join(part, on=_KEYS, how="left", nulls_equal=True)
    # Times are relative to the start of the program's own work, not to that of the capture.
    origin = pl.coalesce("_annotated", "_launched", "_started")
    return (
        rows.join(opened, on="step_id", how="left")
        .join(annotated, how="cross")
        .join(first, how="cross")
        .with_columns(pl.col(*(f"{kind}_ns" for kind in KINDS), *_MOVING_COLUMNS, "concurrent_ns").fill_null(0))
        .with_columns(
            (pl.col("busy_ns") + pl.col("idle_ns")).alias("span_ns"),
            (pl.col("sum_ns") - pl.col("busy_ns")).alias("overlapped_ns"),
            (pl.col("_first") - pl.col("_opened")).alias("wait_ns"),
            (pl.col("_first") - origin).alias("from_ns"),
            (pl.col("_last") - origin).alias("to_ns"),
        )
        .with_columns(ratio("idle_ns", "span_ns").alias("idle_share"))
        .sort("gpu", "device", "pid", (pl.col("step_id").is_null() if by == "step" else "from_ns"), "from_ns", *_KEYS)
    )


def _placed(ops: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """The operations of each GPU by start time, with the busy time that each adds and the gap that it ends."""
    keys = {"component": component(), "step": pl.col("step"), "step_id": pl.col("step_id")}
    kept = {"trace": (), "component": ("component",), "step": ("step", "step_id")}[by]
    return (
        ops.select(
            timeline().alias("timeline"),
            "gpu", "device", "context", "stream", "pid", "kind", "operator", "start_ns", "end_ns", "api_start_ns",
            (pl.col("api_start_ns") + pl.col("api_duration_ns")).alias("api_end_ns"),
            _thread(pl.col("pid"), pl.col("tid")),
            *(
                key.alias(name) if name in kept else pl.lit(None, GAPS.schema[name]).alias(name)
                for name, key in keys.items()
            ),
        )
        .sort("timeline", "start_ns", "end_ns", maintain_order=True)
        .with_row_index("index")
        .with_columns(claimed().over("timeline").alias("busy_ns"), gap().over("timeline").alias("idle_ns"))
    )  # fmt: skip


def _thread(pid: pl.Expr, tid: pl.Expr) -> pl.Expr:
    """One number for a thread and its process."""
    return (pid * (1 << BITS) + tid).alias("thread")


def _idle(placed: pl.LazyFrame, api_calls: pl.LazyFrame) -> pl.LazyFrame:
    """Idle time of each row by kind, in a column for each of `KINDS`."""
    idle_from, idle_to = pl.col("start_ns") - pl.col("idle_ns"), pl.col("start_ns")
    gaps = placed.filter(pl.col("idle_ns") > 0).select(
        *_KEYS,
        "thread",
        "idle_ns",
        idle_from.alias("_from"),
        # The launch divides the gap. Where it lies outside the gap, one of the parts is empty.
        pl.col("api_start_ns").clip(idle_from, idle_to).alias("_launch"),
        pl.col("api_end_ns").clip(idle_from, idle_to).alias("_launched"),
        idle_to.alias("_to"),
    )
    has_launch = pl.col("_launch").is_not_null()
    explained = _explained(gaps.filter(has_launch), api_calls)
    unknown = gaps.filter(~has_launch).select(*_KEYS, pl.col("idle_ns").alias("unknown_ns"))
    kinds = pl.concat([explained, unknown], how="diagonal")
    return kinds.group_by(_KEYS).agg(pl.col(f"{kind}_ns").sum() for kind in KINDS)


def _explained(gaps: pl.LazyFrame, api_calls: pl.LazyFrame) -> pl.LazyFrame:
    """Divide each gap whose launch is known by what its thread did from the start of the gap on.

    Args:
        gaps: `thread`, `_from` and `_to` (the gap), `_launch` and `_launched` (start and end of the launch in it).
        api_calls: CUDA API calls of all threads.
    """
    calls = cumulative_cover(
        api_calls.select(
            _thread(pid_of("global_tid"), tid_of("global_tid")),
            pl.col("api_start_ns").alias("start_ns"),
            pl.col("api_end_ns").alias("end_ns"),
        ),
        ["thread"],
    )
    at_start = with_cover(gaps, "_from", calls, ["thread"]).rename(
        {"covered_ns": "_covered_at_start", "until_ns": "_sync_until"}
    )
    at_launch = with_cover(at_start, "_launch", calls, ["thread"])
    before_launch = pl.col("_launch") - pl.col("_from")
    launch = pl.col("_launched") - pl.col("_launch")
    in_calls = pl.col("covered_ns") - pl.col("_covered_at_start")
    # `_sync_until` is the latest end of the calls that began before the gap did; it is null before the first call.
    sync_end = pl.min_horizontal("_sync_until", "_launch")
    waited = (sync_end - pl.col("_from")).clip(lower_bound=0)
    sync = pl.when(pl.col("_sync_until").is_not_null()).then(waited).otherwise(0).fill_null(0)
    return at_launch.select(
        *_KEYS,
        (before_launch - in_calls).alias("cpu_ns"),
        (in_calls - sync + launch).alias("launch_ns"),
        sync.alias("sync_ns"),
        (pl.col("_to") - pl.col("_launched")).alias("latency_ns"),
    )


def _exposed(placed: pl.LazyFrame) -> pl.LazyFrame:
    """Time of memory copies and of NCCL kernels, and the part of it that no other kernel hides."""
    is_nccl, is_copy = pl.col("operator") == "nccl", pl.col("kind") == "memcpy"
    computing = cumulative_cover(placed.filter(pl.col("kind").is_in(["kernel", "graph"]) & ~is_nccl), ["timeline"])
    moves = placed.filter(is_nccl | is_copy).select(*_KEYS, "start_ns", "end_ns", is_nccl.alias("nccl"))
    at_start = with_cover(moves, "start_ns", computing, ["timeline"]).drop("until_ns")
    at_end = with_cover(at_start.rename({"covered_ns": "_covered_at_start"}), "end_ns", computing, ["timeline"])
    time = (pl.col("end_ns") - pl.col("start_ns")).clip(lower_bound=0)
    exposed = time - (pl.col("covered_ns") - pl.col("_covered_at_start"))
    nccl = pl.col("nccl")
    return at_end.group_by(_KEYS).agg(
        time.filter(~nccl).sum().alias("copy_ns"),
        exposed.filter(~nccl).sum().alias("copy_exposed_ns"),
        time.filter(nccl).sum().alias("nccl_ns"),
        exposed.filter(nccl).sum().alias("nccl_exposed_ns"),
    )


def _concurrent(placed: pl.LazyFrame) -> pl.LazyFrame:
    """Time in which two streams or more are busy."""
    by_operation = concurrent(placed, ["pid", "context", "stream"], ["timeline"])
    counted = placed.select("index", *_KEYS).join(by_operation, on="index")
    return counted.group_by(_KEYS).agg(pl.col("concurrent_ns").sum())
