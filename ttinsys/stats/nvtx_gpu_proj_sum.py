"""`nvtx_gpu_proj_sum`: GPU projections of NVTX ranges, by range name.

ttinsys stats --report nvtx_gpu_proj_sum --format csv run.sqlite
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.stats import Report
from ttinsys.stats.nvtx_names import STYLE
from ttinsys.stats.projections import NEEDS, projections
from ttinsys.stats.summary import rounded, summary


def nvtx_gpu_proj_sum(trace: Trace) -> pl.DataFrame:
    """Range names, the greatest total projected time first.

    Args:
        trace: an opened trace.

    Returns:
        nsys's columns: times in ns.
    """
    return (
        projections(trace)
        .filter(pl.col("name").is_not_null())
        .group_by("name", STYLE)
        .agg(
            pl.col("projected_ns").sum().alias("Total Proj Time (ns)"),
            pl.col("duration_ns").sum().alias("Total Range Time (ns)"),
            pl.len().alias("Range Instances"),
            *summary("projected_ns", prefix="Proj "),
            pl.col("ops").sum().alias("Total GPU Ops"),
            pl.col("ops").mean().alias("Avg GPU Ops"),
            pl.col("depth").mean().alias("Avg Range Lvl"),
            pl.col("children").mean().alias("Avg Num Child"),
        )
        # nsys groups by name, then by style: ties keep that order.
        .sort(pl.col("Total Proj Time (ns)").neg(), "name", STYLE)
        .select(
            pl.col("name").alias("Range"),
            STYLE,
            "Total Proj Time (ns)",
            "Total Range Time (ns)",
            "Range Instances",
            rounded("Proj Avg (ns)"),
            rounded("Proj Med (ns)"),
            "Proj Min (ns)",
            "Proj Max (ns)",
            rounded("Proj StdDev (ns)"),
            "Total GPU Ops",
            rounded("Avg GPU Ops"),
            rounded("Avg Range Lvl"),
            rounded("Avg Num Child"),
        )
    )


REPORT = Report("nvtx_gpu_proj_sum", "NVTX GPU Projection Summary", NEEDS, nvtx_gpu_proj_sum)
