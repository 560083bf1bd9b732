"""`cuda_kern_exec_trace`: launch, queue and execution times of each kernel.

ttinsys stats --report cuda_kern_exec_trace --format csv run.sqlite
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.identity import pid_of, tid_of
from ttinsys.attribution.launches import api_calls
from ttinsys.stats import Report
from ttinsys.stats.launches import launches


def cuda_kern_exec_trace(trace: Trace) -> pl.DataFrame:
    """Kernels with the API calls that launched them, in the order of the calls.

    Args:
        trace: an opened trace.

    Returns:
        nsys's columns: times in ns; null queue times where the kernel started before the call ended.
    """
    kernels = trace.kernels.with_row_index("kernel")
    launched = launches(*pl.collect_all([kernels, api_calls(trace)]), unlaunched=False).lazy()
    names = trace.strings.select("id", "value")
    waited = pl.col("start_ns") - pl.col("api_end_ns")
    return (
        launched.join(names.rename({"value": "Kernel Name"}), left_on="name_id", right_on="id", how="left")
        .join(names.rename({"value": "function"}), left_on="api_name_id", right_on="id", how="left")
        # Ties come in the order of the kernels in the export, as nsys joins them.
        .sort("api_start_ns", "kernel", maintain_order=True)
        .select(
            pl.col("api_start_ns").alias("API Start (ns)"),
            (pl.col("api_end_ns") - pl.col("api_start_ns")).alias("API Dur (ns)"),
            pl.when(waited >= 0).then("api_end_ns").alias("Queue Start (ns)"),
            pl.when(waited >= 0).then(waited).alias("Queue Dur (ns)"),
            pl.col("start_ns").alias("Kernel Start (ns)"),
            (pl.col("end_ns") - pl.col("start_ns")).alias("Kernel Dur (ns)"),
            (pl.max_horizontal("api_end_ns", "end_ns") - pl.col("api_start_ns")).alias("Total Dur (ns)"),
            pid_of("global_tid").alias("PID"),
            tid_of("global_tid").alias("TID"),
            pl.col("device_id").alias("DevId"),
            # nsys strips "_v" and four characters, so that _v11060 stays.
            pl.col("function").str.replace(r"_v.{4}$", "").alias("API Function"),
            _dimensions("grid").alias("GridXYZ"),
            _dimensions("block").alias("BlockXYZ"),
            "Kernel Name",
        )
        .collect()
    )


def _dimensions(what: str) -> pl.Expr:
    """The sizes of a grid or block in x, y and z, each padded to four characters as in nsys."""
    widths = [pl.col(f"{what}_{axis}").cast(pl.String).str.pad_start(4) for axis in "xyz"]
    return pl.concat_str(widths, separator=" ")


REPORT = Report(
    "cuda_kern_exec_trace", "CUDA Kernel Launch & Exec Time Trace", (("kernels",), ("api_calls",)), cuda_kern_exec_trace
)
