"""Where the GPU idles and why: the CPU had not launched, was in a CUDA call, waited for the GPU, or work was queued.

ttinsys gaps run.sqlite
ttinsys gaps run.sqlite --by step --plot steps.svg

A gap ends with an operation, and is of its step or component. Up to the launch of that operation its time is `sync`
while the launching thread is still in a call that it began before the GPU went idle, `launch` while it is in one that
it began later, and `cpu` while it is in none; the launch itself is `launch`; what comes after it is `latency`.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.identity import BITS, pid_of, tid_of
from ttinsys.measures.dimensions import component
from ttinsys.measures.intervals import claimed, concurrent, cumulative_cover, gap, with_cover
from ttinsys.measures.options import Option
from ttinsys.measures.sums import ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY

GAPS = Table(
    "gaps",
    Column("device", pl.Int64, "CUDA device"),
    Column("component", pl.String, "part of the pipeline; `(pipeline)`, `(not annotated)` or `(reason)` elsewhere"),
    Column("step", pl.Int64, "denoising step or token; null outside steps"),
    Column("step_id", pl.Int64, "RangeId of the step's range: the number starts over with every run"),
    Column("span_ns", pl.Int64, "busy and idle: all rows of a device add up to its first start to last end", unit="ns"),
    Column("busy_ns", pl.Int64, "time in which operations run, counted once: of the one that began first", unit="ns"),
    Column("idle_ns", pl.Int64, "time without any, before operations of the row", unit="ns"),
    Column("idle_share", pl.Float64, "idle, of busy and idle", unit="ratio"),
    Column("cpu_ns", pl.Int64, "idle, nothing launched: the CPU was in no CUDA call", unit="ns"),
    Column("launch_ns", pl.Int64, "idle during CUDA calls that began after the GPU went idle, launches above all",
           unit="ns"),
    Column("sync_ns", pl.Int64, "idle until a CUDA call returned that began while the GPU was at work", unit="ns"),
    Column("latency_ns", pl.Int64, "idle although launched: latency, or waiting for other work", unit="ns"),
    Column("unknown_ns", pl.Int64, "idle before operations whose launch is not in the capture", unit="ns"),
    Column("gaps", pl.UInt32, "pieces of idle time"),
    Column("longest_ns", pl.Int64, "the longest of them", unit="ns"),
    Column("instances", pl.UInt32, "GPU operations"),
    Column("sum_ns", pl.Int64, "their durations added up", unit="ns"),
    Column("overlapped_ns", pl.Int64, "of the sum, what an earlier operation still covered", unit="ns"),
    Column("concurrent_ns", pl.Int64, "time in which two streams or more are busy, of the one that began last",
           unit="ns"),
    Column("copy_ns", pl.Int64, "durations of copies, added up", unit="ns"),
    Column("copy_exposed_ns", pl.Int64, "of that, while nothing but NCCL computes on the device", unit="ns"),
    Column("nccl_ns", pl.Int64, "durations of NCCL's kernels, added up", unit="ns"),
    Column("nccl_exposed_ns", pl.Int64, "of that, while nothing else computes on the device", unit="ns"),
    Column("wait_ns", pl.Int64, "from the opening of the step on the CPU to its first operation on the GPU", unit="ns"),
    Column("from_ns", pl.Int64, "first start, since the first annotated range, or without one the first launch",
           unit="ns"),
    Column("to_ns", pl.Int64, "last end, since then: of the first step, what it took to get there", unit="ns"),
    doc="one row per device and what was asked `--by`; `cpu` to `unknown` add up to `idle`",
)  # fmt: skip

Grouping = Literal["trace", "component", "step"]

KINDS = ("cpu", "launch", "sync", "latency", "unknown")
"""What idle time is spent on."""

_MOVING = ("copy_ns", "copy_exposed_ns", "nccl_ns", "nccl_exposed_ns")

_KEYS = ["device", "component", "step_id"]


@analysis(
    returns=GAPS,
    options=(Option("by", "Group rows by component, step or trace."),),
    needs=(GPU_ACTIVITY,),
)
def gaps(
    ops: pl.LazyFrame, ranges: pl.LazyFrame, api_calls: pl.LazyFrame, *, by: Grouping = "component"
) -> pl.LazyFrame:
    """Divide the time of each device into busy and idle, and idle time by what it was spent on.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, for the opening of steps.
        api_calls: what `ttinsys.attribution.launches.api_calls` returns.
        by: `trace`, `component` or `step`.

    Returns:
        `GAPS`, by device, in the order of first operations; what is outside steps last.
    """
    placed = _placed(ops, by).cache()
    opened = ranges.filter(pl.col("step_id") == pl.col("range_id")).select(
        "step_id", pl.col("start_ns").alias("_opened")
    )
    annotated = ranges.filter(pl.col("role").is_not_null()).select(pl.col("start_ns").min().alias("_annotated"))
    began = placed.select(pl.col("api_start_ns").min().alias("_launched"), pl.col("start_ns").min().alias("_started"))
    rows = placed.group_by(_KEYS).agg(
        pl.col("step").first(),
        pl.len().alias("instances"),
        (pl.col("end_ns") - pl.col("start_ns")).sum().alias("sum_ns"),
        pl.col("busy_ns", "idle_ns").sum(),
        (pl.col("idle_ns") > 0).sum().alias("gaps"),
        pl.col("idle_ns").max().alias("longest_ns"),
        pl.col("start_ns").min().alias("_first"),
        pl.col("end_ns").max().alias("_last"),
    )
    for part in (_idle(placed, api_calls), _exposed(placed), _concurrent(placed)):
        rows = rows.join(part, on=_KEYS, how="left", nulls_equal=True)
    origin = pl.coalesce("_annotated", "_launched", "_started")
    return (
        rows.join(opened, on="step_id", how="left")
        .join(annotated, how="cross")
        .join(began, how="cross")
        .with_columns(pl.col(*(f"{kind}_ns" for kind in KINDS), *_MOVING, "concurrent_ns").fill_null(0))
        .with_columns(
            (pl.col("busy_ns") + pl.col("idle_ns")).alias("span_ns"),
            (pl.col("sum_ns") - pl.col("busy_ns")).alias("overlapped_ns"),
            (pl.col("_first") - pl.col("_opened")).alias("wait_ns"),
            (pl.col("_first") - origin).alias("from_ns"),
            (pl.col("_last") - origin).alias("to_ns"),
        )
        .with_columns(ratio("idle_ns", "span_ns").alias("idle_share"))
        .sort("device", (pl.col("step_id").is_null() if by == "step" else "from_ns"), "from_ns", *_KEYS)
    )


def _placed(ops: pl.LazyFrame, by: str) -> pl.LazyFrame:
    """The operations of each device as they begin, with the time that each keeps it busy and the gap it ends."""
    wanted = {"component": component(), "step": pl.col("step"), "step_id": pl.col("step_id")}
    given = {"component"} if by == "component" else {"step", "step_id"} if by == "step" else set()
    return (
        ops.select(
            "device", "context", "stream", "pid", "kind", "operator", "start_ns", "end_ns", "api_start_ns",
            (pl.col("api_start_ns") + pl.col("api_duration_ns")).alias("api_end_ns"),
            _thread(pl.col("pid"), pl.col("tid")),
            *(
                value.alias(name) if name in given else pl.lit(None, GAPS.schema[name]).alias(name)
                for name, value in wanted.items()
            ),
        )
        .sort("device", "start_ns", "end_ns", maintain_order=True)
        .with_row_index("index")
        .with_columns(claimed().over("device").alias("busy_ns"), gap().over("device").alias("idle_ns"))
    )  # fmt: skip


def _thread(pid: pl.Expr, tid: pl.Expr) -> pl.Expr:
    return (pid * (1 << BITS) + tid).alias("thread")


def _idle(placed: pl.LazyFrame, api_calls: pl.LazyFrame) -> pl.LazyFrame:
    """Idle time by what it was spent on, as columns `KINDS`."""
    calls = cumulative_cover(
        api_calls.select(
            _thread(pid_of("global_tid"), tid_of("global_tid")),
            pl.col("api_start_ns").alias("start_ns"),
            pl.col("api_end_ns").alias("end_ns"),
        ),
        ["thread"],
    )
    idle_from, idle_to = pl.col("start_ns") - pl.col("idle_ns"), pl.col("start_ns")
    gaps = placed.filter(pl.col("idle_ns") > 0).select(
        *_KEYS,
        "thread",
        "idle_ns",
        idle_from.alias("_from"),
        # The launch divides the gap into what comes before, itself, and what comes after.
        pl.col("api_start_ns").clip(idle_from, idle_to).alias("_launch"),
        pl.col("api_end_ns").clip(idle_from, idle_to).alias("_launched"),
        idle_to.alias("_to"),
    )
    at_first = with_cover(gaps.filter(pl.col("_launch").is_not_null()), "_from", calls, ["thread"])
    at_launch = with_cover(
        at_first.rename({"covered_ns": "_covered_first", "until_ns": "_sync_until"}), "_launch", calls, ["thread"]
    )
    before, itself = pl.col("_launch") - pl.col("_from"), pl.col("_launched") - pl.col("_launch")
    in_calls = pl.col("covered_ns") - pl.col("_covered_first")
    sync = (pl.min_horizontal("_sync_until", "_launch") - pl.col("_from")).clip(lower_bound=0).fill_null(0)
    sync = pl.when(pl.col("_sync_until").is_not_null()).then(sync).otherwise(0)
    known = at_launch.select(
        *_KEYS,
        (before - in_calls).alias("cpu_ns"),
        (in_calls - sync + itself).alias("launch_ns"),
        sync.alias("sync_ns"),
        (pl.col("_to") - pl.col("_launched")).alias("latency_ns"),
    )
    unknown = gaps.filter(pl.col("_launch").is_null()).select(*_KEYS, pl.col("idle_ns").alias("unknown_ns"))
    return pl.concat([known, unknown], how="diagonal").group_by(_KEYS).agg(pl.col(f"{kind}_ns").sum() for kind in KINDS)


def _exposed(placed: pl.LazyFrame) -> pl.LazyFrame:
    """Time of copies and of NCCL's kernels, and how much of it no computation hides."""
    nccl, copy = pl.col("operator") == "nccl", pl.col("kind") == "memcpy"
    computing = cumulative_cover(placed.filter(pl.col("kind").is_in(["kernel", "graph"]) & ~nccl), ["device"])
    moved = placed.filter(nccl | copy).select(*_KEYS, "start_ns", "end_ns", nccl.alias("nccl"))
    first = with_cover(moved, "start_ns", computing, ["device"]).drop("until_ns").rename({"covered_ns": "_first"})
    both = with_cover(first, "end_ns", computing, ["device"])
    time = pl.col("end_ns") - pl.col("start_ns")
    exposed = time - (pl.col("covered_ns") - pl.col("_first"))
    return both.group_by(_KEYS).agg(
        value.filter(of).sum().alias(name)
        for name, (of, value) in zip(_MOVING, product((~pl.col("nccl"), pl.col("nccl")), (time, exposed)), strict=True)
    )


def _concurrent(placed: pl.LazyFrame) -> pl.LazyFrame:
    """Time in which two streams or more are busy."""
    found = concurrent(placed, ["pid", "context", "stream"], ["device"])
    return placed.select("index", *_KEYS).join(found, on="index").group_by(_KEYS).agg(pl.col("concurrent_ns").sum())
