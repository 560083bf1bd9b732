"""Which GPU an operation ran on, where several processes number their devices by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import Finding, TraceTables, checking, counted


def _measure(tables: TraceTables) -> pl.LazyFrame:
    processes = tables["ops"].group_by("device").agg(pl.col("pid").n_unique().alias("processes"), pl.len().alias("ops"))
    shared = processes.select(
        pl.len().alias("devices"),
        pl.col("ops").sum().alias("ops"),
        pl.col("processes").max().alias("most"),
        pl.col("device").sort_by("processes", "device").last(),
        pl.col("ops").filter(pl.col("processes") > 1).sum().alias("ambiguous"),
    )
    gpus = tables["gpus"].select(pl.len().alias("gpus"))
    # nsys's table of the devices of each process, where this version of it writes one.
    mapped = tables["sources"].select((pl.col("table") == "cuda_devices").any().alias("mapped"))
    return pl.concat([shared, gpus, mapped], how="horizontal")


@checking(_measure)
def gpu_identity(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether two processes may mean different GPUs by one number."""
    have = numbers.row(0, named=True)
    if not have["devices"]:
        return
    if have["most"] > 1 and not have["mapped"] and have["gpus"] != 1:
        machine = f"the machine has {have['gpus']:,} GPUs" if have["gpus"] else "the export does not list the GPUs"
        yield Finding(
            "warning",
            f"{have['most']:,} processes call their GPU device {have['device']}, and {machine}: which GPU "
            f"{counted(have['ambiguous'], 'operation')} ran on is unknown.",
            ("gaps", "roofline"),
            "export with an nsys that writes TARGET_INFO_CUDA_DEVICE, analyse each process with --pid, or do not set "
            "CUDA_VISIBLE_DEVICES",
            have["ambiguous"],
        )
    else:
        where = counted(have["devices"], "device")
        known = "processes share no device number" if have["most"] == 1 else "the GPU of each is known"
        yield Finding("sound", f"{counted(have['ops'], 'operation')} ran on {where}: {known}.")
