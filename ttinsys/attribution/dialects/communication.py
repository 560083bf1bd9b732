"""Ranges of communication libraries: NCCL, MPI and NVSHMEM around their calls."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect

_HEAD = pl.col("head")
_COMMUNICATES = (
    r"(?i)all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast|bcast|send|recv|reduce|gather|scatter"
    r"|group|barrier|wait|put|get"
)
# Calls that create or ask a communicator move no data.
_MANAGES = (
    r"(?i)comm(?:init|count|split|destroy|finalize|abort|userrank|cudevice|_rank|_size|_dup)|uniqueid|_init"
    r"|_finalize|version|error"
)

DIALECT = Dialect(
    name="communication",
    doc="NCCL, MPI and NVSHMEM: a range around each call",
    source=(
        "nccl/src/collectives.cc (NVTX3_FUNC_WITH_PARAMS); MPI ranges of nsys --trace=mpi; nsys reports published "
        "with vLLM"
    ),
    claims=pl.col("domain").is_in(["NCCL", "MPI", "NVSHMEM", "UCX", "MSCCL++"]).fill_null(value=False)
    | _HEAD.str.contains(r"^p?nccl[A-Z]\w*$|^MPI_[A-Z]\w*$|^nvshmemx?_\w+$"),
    reads={
        "group": pl.col("name"),
        "role": pl.when(_HEAD.str.contains(_COMMUNICATES) & ~_HEAD.str.contains(_MANAGES))
        .then(pl.lit("communication")),
    },
    examples={
        "ncclAllReduce": {"domain": "NCCL", "group": "ncclAllReduce", "role": "communication"},
        "ncclGroupStart": {"domain": "NCCL", "role": "communication"},
        "ncclReduceScatter": {"role": "communication"},
        "ncclCommCount": {"group": "ncclCommCount", "role": None},
        "ncclCommInitRankConfig": {"domain": "NCCL", "role": None},
        "MPI_Send": {"domain": "MPI", "role": "communication"},
        "MPI_Init": {"domain": "MPI", "role": None},
    },
    rank=-10,
)  # fmt: skip
