"""`nvtx_gpu_proj_trace`: GPU projection of each NVTX range.

ttinsys stats --report nvtx_gpu_proj_trace --format csv run.sqlite
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.stats import Report
from ttinsys.stats.nvtx_names import STYLE
from ttinsys.stats.projections import NEEDS, projections


def nvtx_gpu_proj_trace(trace: Trace) -> pl.DataFrame:
    """One row per range that launched a GPU operation, by RangeId.

    Args:
        trace: an opened trace.

    Returns:
        nsys's columns: times in ns. The row with a null name stands for all operations launched outside every range.
    """
    return projections(trace).select(
        pl.col("name").alias("Name"),
        pl.col("projected_start_ns").alias("Projected Start (ns)"),
        pl.col("projected_ns").alias("Projected Duration (ns)"),
        pl.col("start_ns").alias("Orig Start (ns)"),
        pl.col("duration_ns").alias("Orig Duration (ns)"),
        STYLE,
        pl.col("pid").alias("PID"),
        pl.col("tid").alias("TID"),
        pl.col("ops").alias("NumGPUOps"),
        pl.col("depth").alias("Lvl"),
        pl.col("children").alias("NumChild"),
        pl.col("range_id").alias("RangeId"),
        pl.col("parent_id").alias("ParentId"),
        pl.col("stack").alias("RangeStack"),
    )


REPORT = Report("nvtx_gpu_proj_trace", "NVTX GPU Projection Trace", NEEDS, nvtx_gpu_proj_trace)
