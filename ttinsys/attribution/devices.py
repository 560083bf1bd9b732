"""Which GPU an operation ran on.

    with_gpus(trace, ops)

A process numbers the GPUs that it sees from 0: under CUDA_VISIBLE_DEVICES, device 0 of two processes is two GPUs. So a
GPU is a process and an ordinal, and TARGET_INFO_CUDA_DEVICE tells which. Where the export lacks that table, the GPU is
unknown if several processes use one ordinal of a machine with several GPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from parsers import Trace
from parsers.scan import lazy
from parsers.schema import Column, Table
from parsers.tables import CUDA_DEVICES, GPUS
from ttinsys.attribution.identity import BITS, pid_of

GPU = Column(
    "gpu",
    pl.Int64,
    "Number of the GPU: nsys's ID, or its place in the list where IDs repeat, as with several machines or MIG. The "
    "device ordinal where the export lists no GPU; null where the export does not tell which GPU it is.",
)
NUMBERED_GPUS = Table(
    "gpus",
    GPU,
    *GPUS.columns,
    Column("instance", pl.String, "UUID of the MIG instance; null for a whole GPU."),
    doc="one row per GPU, or per MIG instance that a process uses",
)

_DEVICE = ["global_pid", "device_id"]


def numbered_gpus(trace: Trace) -> pl.LazyFrame:
    """The GPUs of a trace with the numbers that `OPS` gives them.

    Args:
        trace: an opened trace.

    Returns:
        `NUMBERED_GPUS`. A MIG instance has a row of its own, without the bandwidth of the whole GPU.
    """

    def read(_: Sequence[str]) -> Iterator[pl.DataFrame]:
        yield _numbered(*pl.collect_all([trace.gpus, trace.cuda_devices]))

    return lazy(NUMBERED_GPUS.schema, read)


def with_gpus(trace: Trace, ops: pl.DataFrame) -> pl.DataFrame:
    """Add the column `gpu`.

    Args:
        trace: the trace of the operations.
        ops: `global_pid` and `device_id`.
    """
    used = ops.select(_DEVICE).unique()
    known = _resolved(trace, used)
    if used.height == 1:
        return ops.with_columns(pl.lit(known["gpu"].item(), pl.Int64).alias("gpu"))
    return ops.join(known, on=_DEVICE, how="left", nulls_equal=True, maintain_order="left")


def settled_devices(trace: Trace) -> pl.LazyFrame:
    """`CUDA_DEVICES` with a row for each device that the operations of a trace use.

    Which GPU a process uses may follow from what other processes use: a part of the trace, which may lack those, takes
    its devices from here.

    Args:
        trace: the whole trace.
    """

    def read(_: Sequence[str]) -> Iterator[pl.DataFrame]:
        listed = trace.cuda_devices.collect()
        if not _are_ids(_numbered(trace.gpus.collect(), listed)):
            yield listed
            return
        activity = (trace.kernels, trace.memcpys, trace.memsets, trace.graph_launches)
        used = pl.concat([frame.select(_DEVICE) for frame in activity]).unique().collect()
        settled = _resolved(trace, used.drop_nulls()).select(
            pl.col("gpu").alias("gpu_id"), "device_id", pid_of("global_pid").alias("pid")
        )
        others = listed.join(settled, on=["pid", "device_id"], how="anti")
        yield pl.concat([others, settled], how="diagonal").select(CUDA_DEVICES.schema.names())

    return lazy(CUDA_DEVICES.schema, read)


def _numbered(gpus: pl.DataFrame, devices: pl.DataFrame) -> pl.DataFrame:
    """`NUMBERED_GPUS`, from the tables `gpus` and `cuda_devices`."""
    instances = _instances(gpus, devices)
    parts = instances.join(gpus.drop("uuid", "sm_count"), on="id", how="left").with_columns(
        pl.col("instance").alias("uuid"),
        # What MIG leaves to an instance is not in the trace, and data sheets are of whole GPUs.
        pl.lit(None, pl.Int64).alias("bandwidth_bytes_per_s"),
        pl.format("MIG instance of {}", pl.col("name").fill_null("a GPU")).alias("name"),
    )
    whole = gpus.join(instances, on="id", how="anti", maintain_order="left")
    listed = pl.concat([whole, parts], how="diagonal").sort("vm_id", "id", "instance", maintain_order=True)
    places = pl.int_range(pl.len(), dtype=pl.Int64)
    distinct = pl.col("id").is_unique().all() & pl.col("id").is_not_null().all()
    return listed.with_columns(pl.when(distinct).then("id").otherwise(places).alias("gpu")).select(
        pl.col(name).cast(dtype) if name in {*listed.columns, "gpu"} else pl.lit(None, dtype).alias(name)
        for name, dtype in NUMBERED_GPUS.schema.items()
    )


def _instances(gpus: pl.DataFrame, devices: pl.DataFrame) -> pl.DataFrame:
    """MIG instances, by `id` of their GPU: devices with fewer multiprocessors, or several UUIDs of one GPU."""
    if gpus["vm_id"].n_unique() > 1:
        # An ID stands for a GPU of each machine, whose UUIDs differ.
        devices = devices.clear()
    has_less = (pl.col("sm_count") < pl.col("_whole")).fill_null(value=False)
    share = pl.col("uuid").drop_nulls().n_unique().over("gpu_id") > 1
    return (
        devices.join(gpus.select("id", pl.col("sm_count").alias("_whole")), left_on="gpu_id", right_on="id")
        .filter(pl.col("uuid").is_not_null() & (has_less | share))
        .select(pl.col("gpu_id").alias("id"), pl.col("uuid").alias("instance"), "sm_count")
        .unique(["id", "instance"], keep="first", maintain_order=True)
    )


def _are_ids(gpus: pl.DataFrame) -> bool:
    """Whether the numbers of the GPUs are nsys's IDs."""
    return gpus["gpu"].equals(gpus["id"])


def _resolved(trace: Trace, used: pl.DataFrame) -> pl.DataFrame:
    """The GPU of each device.

    Args:
        trace: the trace.
        used: `global_pid` and `device_id`, each pair once.

    Returns:
        The rows of `used`, with `gpu`.
    """
    listed, devices, processes = pl.collect_all([trace.gpus, trace.cuda_devices, trace.processes])
    gpus = _numbered(listed, devices)
    hosts = gpus["vm_id"].n_unique()
    host = pl.col("global_pid") // (1 << 2 * BITS) if hosts > 1 else pl.lit(0, pl.Int64)
    gpus = gpus.with_columns((pl.col("vm_id") // (1 << 2 * BITS) if hosts > 1 else pl.lit(0, pl.Int64)).alias("host"))
    used = used.with_columns(host.alias("host"), pid_of("global_pid").alias("pid"))
    told = _told(used, gpus, devices, processes)
    rest = used.join(told, on=_DEVICE, how="anti", nulls_equal=True)
    return pl.concat([told, _inferred(used, rest, gpus)])


def _told(used: pl.DataFrame, gpus: pl.DataFrame, devices: pl.DataFrame, processes: pl.DataFrame) -> pl.DataFrame:
    """The GPU of each device that `cuda_devices` lists; null where it lists several."""
    # In a container, a process has another ID inside than outside.
    named = processes.select("global_pid", "pid").drop_nulls().unique()
    ids = pl.concat([used.select("global_pid", "pid"), named.join(used, on="global_pid", how="semi")]).unique()
    own = used.drop("pid").join(ids, on="global_pid").join(devices, on=["pid", "device_id"])
    strange = used.join(ids.join(devices, on="pid", how="semi"), on="global_pid", how="anti", nulls_equal=True)
    others = devices.join(ids, on="pid", how="anti")
    foreign = strange.drop("pid").join(others, on="device_id")
    numbers = gpus.select("host", pl.col("id").alias("gpu_id"), pl.col("instance").alias("uuid"), "gpu")
    candidates = pl.concat([own, foreign], how="diagonal")
    candidates = candidates.join(numbers.drop_nulls("uuid"), on=["host", "gpu_id", "uuid"], how="left")
    candidates = candidates.join(
        numbers.filter(pl.col("uuid").is_null()).drop("uuid"), on=["host", "gpu_id"], how="left", suffix="_whole"
    )
    # The table of GPUs may lack the one that a process uses.
    number = pl.coalesce("gpu", "gpu_whole", pl.col("gpu_id") if _are_ids(gpus) else pl.lit(None, pl.Int64))
    return candidates.group_by(_DEVICE).agg(pl.when(number.n_unique() == 1).then(number.first()).alias("gpu"))


def _inferred(used: pl.DataFrame, rest: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """The GPU of each device in `rest`, which `cuda_devices` does not list; null where there is doubt."""
    listed = gpus.group_by("host").agg(pl.len().alias("listed"), pl.col("gpu").first().alias("only"))
    claims = used.group_by("host", "device_id").agg(pl.col("global_pid").n_unique().alias("claims"))
    ordinals = used.group_by("host").agg(pl.col("device_id").n_unique().alias("ordinals"))
    by_ordinal = gpus.group_by("host", "device_id").agg(
        pl.when(pl.len() == 1).then(pl.col("gpu").first()).alias("numbered")
    )
    # Without any list, a machine has as many GPUs as its processes show, and their ordinals are all that is known.
    unlisted, one_ordinal = pl.lit(gpus.is_empty()), pl.col("ordinals") == 1
    return (
        rest.join(listed, on="host", how="left")
        .join(claims, on=["host", "device_id"], how="left", nulls_equal=True)
        .join(ordinals, on="host", how="left")
        .join(by_ordinal, on=["host", "device_id"], how="left")
        .select(
            *_DEVICE,
            pl.when((pl.col("listed") == 1) & one_ordinal)
            .then("only")
            .when(unlisted & (one_ordinal | (pl.col("claims") == 1)))
            .then("device_id")
            .when(pl.col("claims") > 1)
            .then(None)
            .otherwise("numbered")
            .alias("gpu"),
        )
    )
