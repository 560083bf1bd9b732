"""GPUs of the machine."""

import polars as pl

from parsers.schema import Column, Table

GPUS = Table(
    "gpus",
    Column("device_id", pl.Int64, "CUDA device ordinal; null where CUDA did not see the GPU.", aliases=("cuDevice",)),
    Column("id", pl.Int64, "Number that nsys gives the GPU.", aliases=("id",)),
    Column("vm_id", pl.Int64, "Machine of the GPU: a global process ID with only the bits of host and VM.",
           aliases=("vmId",)),
    Column("name", pl.String, "Name of the product.", aliases=("name",)),
    Column("uuid", pl.String, "UUID of the GPU.", aliases=("uuid",)),
    Column("chip", pl.String, "Name of the chip, such as GA100.", aliases=("chipName",)),
    Column("sm_count", pl.Int64, "Number of streaming multiprocessors.", aliases=("smCount",)),
    Column("clock_hz", pl.Int64, "Clock rate.", unit="Hz", aliases=("clockRate",)),
    Column("memory_bytes", pl.Int64, "Size of device memory.", unit="B", aliases=("totalMemory",)),
    Column("bandwidth_bytes_per_s", pl.Int64, "Bandwidth of device memory.", unit="B/s", aliases=("memoryBandwidth",)),
    Column("l2_bytes", pl.Int64, "Size of the L2 cache.", unit="B", aliases=("l2CacheSize",)),
    Column("compute_major", pl.Int64, "Major version of the compute capability.", aliases=("computeMajor",)),
    Column("compute_minor", pl.Int64, "Minor version of the compute capability.", aliases=("computeMinor",)),
    doc="one row per GPU",
    sources=("TARGET_INFO_GPU",),
)  # fmt: skip
