"""`nvtx_kern_sum`: time by NVTX range name and kernel name; a kernel counts in every range around its launch.

ttinsys stats --report nvtx_kern_sum --format csv run.sqlite
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.launches import api_calls
from ttinsys.attribution.nesting import calls_inside
from ttinsys.stats import Report
from ttinsys.stats.codes import codes, greatest, small
from ttinsys.stats.launches import launches, launches_outside
from ttinsys.stats.nvtx_names import STYLE, finished, styled
from ttinsys.stats.summary import rounded, summary


def nvtx_kern_sum(trace: Trace) -> pl.DataFrame:
    """Kernels by the ranges that contain their launch.

    Args:
        trace: an opened trace.

    Returns:
        nsys's columns: times in ns. Kernels that were launched outside every range have a null range name.
    """
    kernels = trace.kernels.select(
        "global_pid", "correlation_id", "name_id", (pl.col("end_ns") - pl.col("start_ns")).alias("duration_ns")
    ).with_row_index("kernel")
    operations, called, opened = pl.collect_all([kernels, api_calls(trace).drop("api_name_id"), styled(trace)])
    calls, ranges = launches(operations, called, unlaunched=True), finished(opened)
    # Millions of pairs fall into thousands of groups, so that they are grouped by one integer instead of four keys:
    # code of the range * number of kernel names + code of the kernel name.
    kernel, name = codes(calls, ["name_id"]), codes(ranges, ["global_tid", STYLE, "name"])
    ranges = ranges.with_columns(small(name * (greatest(kernel) + 1), beyond=greatest(kernel)).alias("key"))
    calls = calls.with_columns(kernel.cast(ranges["key"].dtype).alias("code"))
    pairs = calls_inside(ranges.select("global_tid", "start_ns", "end_ns", "key"), calls)
    grouped = pl.concat([_in_ranges(ranges, calls, pairs), _outside(calls, pairs)])
    kernel_names = trace.strings.select(pl.col("id").alias("name_id"), pl.col("value").alias("Kernel Name")).collect()
    return (
        grouped.join(kernel_names, on="name_id", how="left")
        .with_columns(pid_of("global_tid").alias("PID"), tid_of("global_tid").alias("TID"))
        # nsys groups by style, then by kernel name: ties keep that order.
        .sort("name", "PID", "TID", pl.col("Total Time (ns)").neg(), STYLE, "Kernel Name")
        .select(
            pl.col("name").alias("NVTX Range"),
            STYLE,
            "PID",
            "TID",
            "NVTX Inst",
            "Kern Inst",
            "Total Time (ns)",
            rounded("Avg (ns)"),
            rounded("Med (ns)"),
            "Min (ns)",
            "Max (ns)",
            rounded("StdDev (ns)"),
            "Kernel Name",
        )
    )


_KEYS = ["global_tid", "name", STYLE, "name_id"]
_KERNELS = pl.col("kernel").n_unique().alias("Kern Inst")
_DURATIONS = [pl.col("duration_ns").sum().alias("Total Time (ns)"), *summary("duration_ns")]
_VALUES = ["NVTX Inst", "Kern Inst", *(duration.meta.output_name() for duration in _DURATIONS)]


def _in_ranges(ranges: pl.DataFrame, calls: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Kernels launched in ranges, by thread, range name, style and kernel name."""
    code, duration = (pl.lit(calls[name]).gather(pl.col("call")) for name in ("code", "duration_ns"))
    pairs = pairs.with_columns(pl.col("key") + code, duration.alias("duration_ns"))
    grouped = pairs.group_by("key").agg(
        pl.col("range", "call").first(),
        # The pairs of a range are neighbours, so ranges are counted by where the range changes.
        (pl.col("range") != pl.col("range").shift()).sum().alias("NVTX Inst") + 1,
        pl.len().alias("Kern Inst"),
        *_DURATIONS,
    )
    # A kernel occurs twice in a group if two calls have its correlation ID, or if a range contains one of its own name.
    # Only then are distinct kernels counted, which is slow.
    if calls.height > greatest(calls["kernel"]) + 1 or _namesakes_overlap(ranges):
        kernels = pairs.select("key", calls["kernel"].gather(pairs["call"])).group_by("key").agg(_KERNELS)
        grouped = grouped.update(kernels, on="key")
    named = ranges.select("global_tid", "name", STYLE)[grouped["range"]]
    kernel = calls.select("name_id")[grouped["call"]]
    return grouped.select(_VALUES).hstack(named).hstack(kernel).select(*_KEYS, *_VALUES)


def _namesakes_overlap(ranges: pl.DataFrame) -> bool:
    """Whether any two ranges of one thread, name and style overlap."""
    in_order = ranges if ranges["start_ns"].is_sorted() else ranges.sort("start_ns")
    # Sorted by start time, any two overlap only if two neighbours do.
    overlap = pl.col("start_ns") <= pl.col("end_ns").shift()
    return bool(in_order.group_by("key").agg(overlap.any().alias("overlap"))["overlap"].any())


def _outside(calls: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Kernels launched outside every range, by thread; the thread is null for kernels without an API call."""
    return (
        launches_outside(calls, pairs)
        .group_by("global_tid", "name_id")
        .agg(pl.lit(0, pl.UInt32).alias("NVTX Inst"), _KERNELS, *_DURATIONS)
        .with_columns(pl.lit(None, pl.String).alias("name"), pl.lit(None, pl.String).alias(STYLE))
        .select(*_KEYS, *_VALUES)
    )


REPORT = Report(
    "nvtx_kern_sum", "NVTX Range Kernel Summary", (("nvtx_events",), ("kernels",), ("api_calls",)), nvtx_kern_sum
)
