"""`cuda_gpu_kern_sum`: time by kernel name.

ttinsys stats --report cuda_gpu_kern_sum --format csv run.sqlite
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.stats import Report
from ttinsys.stats.summary import rounded, summary


def cuda_gpu_kern_sum(trace: Trace) -> pl.DataFrame:
    """Kernels by name, the greatest total time first.

    Args:
        trace: an opened trace.

    Returns:
        nsys's columns: times in ns, the share of the total time in percent.
    """
    total_ns = pl.col("Total Time (ns)").sum()
    names = trace.strings.select("id", pl.col("value").alias("Name"))
    return (
        trace.kernels.select("name_id", (pl.col("end_ns") - pl.col("start_ns")).alias("duration_ns"))
        .join(names, left_on="name_id", right_on="id", how="left")
        .group_by("Name")
        .agg(pl.col("duration_ns").sum().alias("Total Time (ns)"), pl.len().alias("Instances"), *summary("duration_ns"))
        # A division by zero gives null in SQL.
        .with_columns(pl.when(total_ns != 0).then(pl.col("Total Time (ns)") * 100.0 / total_ns).alias("Time (%)"))
        .sort("Total Time (ns)", "Instances", "Name", descending=[True, False, False])
        .select(
            rounded("Time (%)"),
            "Total Time (ns)",
            "Instances",
            rounded("Avg (ns)"),
            rounded("Med (ns)"),
            "Min (ns)",
            "Max (ns)",
            rounded("StdDev (ns)"),
            "Name",
        )
        .collect()
    )


REPORT = Report("cuda_gpu_kern_sum", "CUDA GPU Kernel Summary", (("kernels",),), cuda_gpu_kern_sum)
