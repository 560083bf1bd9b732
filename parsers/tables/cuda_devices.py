"""CUDA devices of each process, which lead from a process's ordinal to the GPU that it means."""

import polars as pl

from parsers.schema import Column, Table

CUDA_DEVICES = Table(
    "cuda_devices",
    Column(
        "gpu_id", pl.Int64, "Number that nsys gives the GPU, as `id` in `gpus`; null if unknown.", aliases=("gpuId",)
    ),
    Column(
        "device_id",
        pl.Int64,
        "CUDA device ordinal, as the process numbers its devices.",
        aliases=("cudaId",),
        required=True,
    ),
    Column("pid", pl.Int64, "ID of the process that numbers the device.", aliases=("pid",)),
    Column("uuid", pl.String, "UUID of the device: that of the GPU, or of its MIG instance.", aliases=("uuid",)),
    Column(
        "sm_count",
        pl.Int64,
        "Number of streaming multiprocessors of the device; a MIG instance has some of its GPU's.",
        aliases=("numMultiprocessors",),
    ),
    doc="one row per process and CUDA device that it sees",
    sources=("TARGET_INFO_CUDA_DEVICE",),
)
