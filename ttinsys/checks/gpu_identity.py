"""Which GPU an operation ran on, where several processes number their devices by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import Finding, TraceTables, checking, counted
from ttinsys.measures.sums import ratio


def _measure(tables: TraceTables) -> pl.LazyFrame:
    unknown = pl.col("gpu").is_null()
    ops = tables["ops"].select(
        pl.len().alias("ops"),
        pl.col("gpu").drop_nulls().n_unique().alias("known"),
        unknown.sum().alias("unknown"),
        pl.col("pid").filter(unknown).n_unique().alias("processes"),
        pl.col("device").filter(unknown).min().alias("device"),
        ratio(pl.col("duration_ns").filter(unknown).sum(), pl.col("duration_ns").sum()).alias("share"),
    )
    return pl.concat([ops, tables["gpus"].select(pl.len().alias("gpus"))], how="horizontal")


@checking(_measure)
def gpu_identity(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether it is known which GPU each operation ran on."""
    have = numbers.row(0, named=True)
    if not have["ops"]:
        return
    if have["unknown"]:
        machine = f"{counted(have['gpus'], 'GPU')} in the list" if have["gpus"] else "no list of GPUs"
        yield Finding(
            # Of one process, no two GPUs are taken for one: only what its GPU can do is unknown.
            "warning" if have["processes"] > 1 else "note",
            f"Which GPU {counted(have['unknown'], 'operation')} of {have['ops']:,} ran on is unknown: "
            f"{counted(have['processes'], 'process', 'processes')} with device {have['device']}, and {machine}.",
            ("gaps", "roofline", "phases"),
            "export with an nsys that writes TARGET_INFO_CUDA_DEVICE, analyse each process with --pid, or do not set "
            "CUDA_VISIBLE_DEVICES",
            have["unknown"],
            have["share"],
        )
    else:
        yield Finding("sound", f"{counted(have['ops'], 'operation')} ran on {counted(have['known'], 'known GPU')}.")
