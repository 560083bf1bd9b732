"""Kernel executions."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import CUDA_REMEDY, GPU_ACTIVITY, GRAPH_NODE

KERNELS = Table(
    "kernels",
    *GPU_ACTIVITY,
    Column("name_id", pl.Int64, "kernel name with templates, in `strings`", aliases=("demangledName",), required=True),
    Column("short_name_id", pl.Int64, "kernel base name, in `strings`", aliases=("shortName",)),
    Column("grid_x", pl.Int64, "grid size, x", unit="blocks", aliases=("gridX",)),
    Column("grid_y", pl.Int64, "grid size, y", unit="blocks", aliases=("gridY",)),
    Column("grid_z", pl.Int64, "grid size, z", unit="blocks", aliases=("gridZ",)),
    Column("block_x", pl.Int64, "block size, x", unit="threads", aliases=("blockX",)),
    Column("block_y", pl.Int64, "block size, y", unit="threads", aliases=("blockY",)),
    Column("block_z", pl.Int64, "block size, z", unit="threads", aliases=("blockZ",)),
    Column("registers_per_thread", pl.Int64, "registers", unit="1/thread", aliases=("registersPerThread",)),
    Column("static_shared_bytes", pl.Int64, "static shared memory", unit="B/block", aliases=("staticSharedMemory",)),
    Column("dynamic_shared_bytes", pl.Int64, "dynamic shared memory", unit="B/block", aliases=("dynamicSharedMemory",)),
    GRAPH_NODE,
    doc="one row per kernel execution",
    sources=("CUPTI_ACTIVITY_KIND_KERNEL",),
    remedy=CUDA_REMEDY,
)
