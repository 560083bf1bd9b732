"""GPUs of the machine."""

import polars as pl

from parsers.schema import Column, Table

GPUS = Table(
    "gpus",
    Column("device_id", pl.Int64, "CUDA device; null where CUDA did not see it", aliases=("cuDevice",)),
    Column("id", pl.Int64, "nsys's own number", aliases=("id",)),
    Column("name", pl.String, "name", aliases=("name",)),
    Column("chip", pl.String, "chip, such as GA100", aliases=("chipName",)),
    Column("sm_count", pl.Int64, "streaming multiprocessors", aliases=("smCount",)),
    Column("clock_hz", pl.Int64, "clock", unit="Hz", aliases=("clockRate",)),
    Column("memory_bytes", pl.Int64, "device memory", unit="B", aliases=("totalMemory",)),
    Column("bandwidth_bytes_per_s", pl.Int64, "memory bandwidth", unit="B/s", aliases=("memoryBandwidth",)),
    Column("l2_bytes", pl.Int64, "L2 cache", unit="B", aliases=("l2CacheSize",)),
    Column("compute_major", pl.Int64, "compute capability, major", aliases=("computeMajor",)),
    Column("compute_minor", pl.Int64, "compute capability, minor", aliases=("computeMinor",)),
    doc="one row per GPU",
    sources=("TARGET_INFO_GPU",),
)
