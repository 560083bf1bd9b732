"""Autotuning in the capture: many variants of one kernel back to back, most of which never run again.

Autotuners (cudnn.benchmark, triton.autotune, Inductor's max-autotune) run each candidate for one problem before the
first call, and keep one. No name is asked for: only what runs in a row, and whether it ever comes back.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.coverage import percent
from ttinsys.checks import Finding, TraceTables, checking, counted, milliseconds_of

_VARIANTS = 6
"""Variants of one operator in a row that make it a search; a layer calls two or three kinds of products in a row."""
_SETTINGS = 4
"""Settings (threads, registers, shared memory) of a kernel of one name in a row that make it a search."""
_LOST = 0.75
"""Least share of the variants that never run again."""
_SEARCHED = ("gemm", "conv", "flash_attention", "triton_template", "triton_pointwise", "triton_reduction",
             "triton_persistent_reduction")  # fmt: skip
"""Operators that libraries have many kernels for."""
_BETWEEN = ("memset", "memcpy", "copy", "elementwise")
"""Operators between candidates: autotuners clear the L2 cache, and convert layouts."""

_STREAM = ["pid", "device", "context", "stream"]
_SETTING = ("block_x", "block_y", "block_z", "registers_per_thread", "static_shared_bytes", "dynamic_shared_bytes")


def _measure(tables: TraceTables) -> pl.LazyFrame:
    kernels = (
        tables["ops"]
        .filter(~pl.col("operator").is_in(_BETWEEN) & (pl.col("kind") == "kernel"))
        .select(*_STREAM, "start_ns", "duration_ns", "operator", "kernel", *_SETTING)
        .sort(*_STREAM, "start_ns")
    )
    new_stream = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in _STREAM)
    runs = kernels.with_columns(
        (new_stream | pl.col("operator").ne_missing(pl.col("operator").shift())).cum_sum().alias("run")
    )
    variants = (
        runs.group_by("run", "operator", "kernel", *_SETTING)
        .agg(pl.len().alias("executions"), pl.col("duration_ns").sum().alias("ns"))
        .with_columns((pl.len().over("kernel", *_SETTING) == 1).alias("once"))
    )
    by_run = (
        variants.with_columns(pl.len().over("run", "kernel").alias("settings"))
        .group_by("run", "operator")
        .agg(
            pl.len().alias("variants"),
            pl.col("once").sum().alias("lost"),
            pl.col("settings").max(),
            pl.col("executions").min().alias("least"),
            pl.col("ns").filter("once").sum().alias("lost_ns"),
        )
        # What is searched for runs again: a part of the program that runs but once is no search.
        .with_columns((pl.col("run") < pl.col("run").max().over("operator")).alias("continued"))
    )
    of_library = pl.col("operator").is_in(_SEARCHED) & (pl.col("variants") >= _VARIANTS)
    of_kernel = (pl.col("settings") >= _SETTINGS) & (pl.col("least") > 1)
    searched = (of_library | of_kernel) & (pl.col("lost") >= _LOST * pl.col("variants")) & pl.col("continued")
    searches = by_run.filter(searched).select(
        pl.len().alias("searches"),
        pl.col("lost").sum(),
        pl.col("lost_ns").sum(),
        pl.col("operator").mode().sort().first(),
    )
    whole = tables["ops"].select(pl.len().alias("ops"), pl.col("duration_ns").sum().alias("whole_ns"))
    most = by_run.select(pl.col("variants").max().alias("most"))
    return pl.concat([searches, whole, most], how="horizontal")


@checking(_measure)
def autotuning(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether candidates of an autotuner ran in the capture."""
    have = numbers.row(0, named=True)
    if have["most"] is None:
        return
    if not have["searches"]:
        yield Finding(
            "sound",
            f"No sign of autotuning: an operator runs in at most {counted(have['most'], 'variant')} in a row, or its "
            "variants run again.",
        )
        return
    yield Finding(
        "warning",
        f"Autotuning ran in the capture: {counted(have['lost'], 'kernel variant')}, mostly of {have['operator']}, ran "
        f"in {counted(have['searches'], 'series', 'series')} and never again, {milliseconds_of(have['lost_ns'])} or "
        f"{percent(have['lost_ns'], have['whole_ns'])} of the GPU time.",
        ("breakdown", "kernels", "diff", "speedup"),
        "warm up before the capture begins (--capture-range=cudaProfilerApi), with the sizes that are captured",
        have["lost"],
        have["lost_ns"] / have["whole_ns"] if have["whole_ns"] > 0 else None,
    )
