"""Kernel executions."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import CUDA_REMEDY, GPU_ACTIVITY, GRAPH_NODE

KERNELS = Table(
    "kernels",
    *GPU_ACTIVITY,
    Column(
        "name_id",
        pl.Int64,
        "Demangled kernel name with template arguments, as an ID in `strings`.",
        aliases=("demangledName",),
        required=True,
    ),
    Column("short_name_id", pl.Int64, "Kernel base name, as an ID in `strings`.", aliases=("shortName",)),
    Column("grid_x", pl.Int64, "Grid size in x.", unit="blocks", aliases=("gridX",)),
    Column("grid_y", pl.Int64, "Grid size in y.", unit="blocks", aliases=("gridY",)),
    Column("grid_z", pl.Int64, "Grid size in z.", unit="blocks", aliases=("gridZ",)),
    Column("block_x", pl.Int64, "Block size in x.", unit="threads", aliases=("blockX",)),
    Column("block_y", pl.Int64, "Block size in y.", unit="threads", aliases=("blockY",)),
    Column("block_z", pl.Int64, "Block size in z.", unit="threads", aliases=("blockZ",)),
    Column("registers_per_thread", pl.Int64, "Registers per thread.", unit="1/thread", aliases=("registersPerThread",)),
    Column(
        "static_shared_bytes",
        pl.Int64,
        "Static shared memory per block.",
        unit="B/block",
        aliases=("staticSharedMemory",),
    ),
    Column(
        "dynamic_shared_bytes",
        pl.Int64,
        "Dynamic shared memory per block.",
        unit="B/block",
        aliases=("dynamicSharedMemory",),
    ),
    GRAPH_NODE,
    doc="one row per kernel execution",
    sources=("CUPTI_ACTIVITY_KIND_KERNEL",),
    remedy=CUDA_REMEDY,
)
