"""What the GPUs of a trace can do at most: operations and bytes a second.

    ceilings(devices, trace.gpus).collect()

Operations come from data sheets (`ttinsys.published`), by the name that the trace gives the GPU; bandwidth too, checked
against the one that nsys wrote down. nsys derives it from the memory's clock and width, in bytes a second in
every version met so far: on an A100 80GB it says 2039.04 GB/s, where the data sheet says 2039.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import HALF
from ttinsys.published.sheets import GPUS, Gpu, known

CEILINGS = Table(
    "ceilings",
    Column("device", pl.Int64, "CUDA device"),
    Column("name", pl.String, "GPU; null where the trace names none"),
    Column("half_flops_per_s", pl.Float64, "matrix products of 16-bit floats, dense", unit="FLOP/s"),
    Column("tf32_flops_per_s", pl.Float64, "matrix products in TF32, dense", unit="FLOP/s"),
    Column("single_flops_per_s", pl.Float64, "32-bit floats without tensor cores", unit="FLOP/s"),
    Column("bandwidth_bytes_per_s", pl.Float64, "of its memory", unit="B/s"),
    Column("ridge", pl.Float64, "from which on 16-bit products are bound by arithmetic", unit="FLOP/B"),
    Column("source", pl.String, "`data sheet`, `trace`, `both` where they agree on bandwidth, or `given`"),
    Column("note", pl.String, "what is not known, or where the trace and the data sheet disagree"),
    doc="one row per device",
)


def peak_of_type(float32: str = "tf32") -> pl.Expr:
    """Operations per second of matrix products in the type of a call, from `dtype` and columns of `CEILINGS`.

    Args:
        float32: whether 32-bit floats are held against the peak of `tf32` or of `single`. Of other types none is known.
    """
    full = pl.when(dtype="float32").then(f"{float32}_flops_per_s")
    return pl.coalesce(pl.when(pl.col("dtype").is_in(HALF)).then("half_flops_per_s"), full)


TOLERANCE = 0.1
"""By how much of the data sheet's the trace's bandwidth may differ before that is noted."""


def ceilings(
    devices: pl.LazyFrame,
    gpus: pl.LazyFrame,
    *,
    gpu: str | None = None,
    peak: float | None = None,
    bandwidth: float | None = None,
) -> pl.LazyFrame:
    """The ceilings of devices.

    Args:
        devices: `device`, one row each.
        gpus: `GPUS` of `parsers.tables`. A device that it does not number is the GPU whose name all have, if one is.
        gpu: key of the GPU that it is, whatever the trace says.
        peak: TFLOP/s, for every type.
        bandwidth: GB/s.

    Returns:
        `CEILINGS`, by device.
    """
    said = [pl.col("name"), pl.col("bandwidth_bytes_per_s").cast(pl.Float64)]
    numbered = gpus.filter(pl.col("device_id").is_not_null()).unique("device_id", keep="first")
    alike = gpus.select(
        pl.when(column.n_unique() == 1).then(column.first()).alias(f"any_{column.meta.output_name()}")
        for column in said
    )
    rows = (
        devices.unique()
        .join(numbered.select(pl.col("device_id").alias("device"), *said), on="device", how="left")
        .join(alike, how="cross")
        .select("device", *(pl.coalesce(name, f"any_{name}") for name in ("name", "bandwidth_bytes_per_s")))
        .sort("device")
    )

    def looked_up(found: pl.DataFrame) -> pl.DataFrame:
        ceiling = [_ceiling(*row, gpu=gpu, peak=peak, bandwidth=bandwidth) for row in found.iter_rows()]
        return pl.DataFrame(ceiling, schema=CEILINGS.schema, orient="row")

    return rows.map_batches(looked_up, schema=CEILINGS.schema)


def _ceiling(
    device: int | None,
    name: str | None,
    measured: float | None,
    *,
    gpu: str | None,
    peak: float | None,
    bandwidth: float | None,
) -> tuple[object, ...]:
    """A row of `CEILINGS` from what the trace says of a device and what the person says."""
    sheet = GPUS[gpu] if gpu else known(name) if name else None
    # Drivers that no longer tell the memory's clock say nought.
    measured = measured if measured and gpu is None and bandwidth is None else None
    peaks = (sheet.half, sheet.tf32, sheet.single) if sheet else (None, None, None)
    if peak is not None:
        peaks = (peak * 1e12,) * 3
    bytes_per_s = bandwidth * 1e9 if bandwidth is not None else sheet.bandwidth if sheet else measured
    given = gpu is not None or peak is not None or bandwidth is not None
    agree = sheet is not None and measured is not None and _agree(measured, sheet)
    source = "given" if given else "both" if agree else "data sheet" if sheet else "trace" if measured else None
    ridge = peaks[0] / bytes_per_s if peaks[0] and bytes_per_s else None
    note = _note(name, sheet, measured, peaks[0], bytes_per_s)
    return device, sheet.name if sheet else name, *peaks, bytes_per_s, ridge, source, note


def _agree(measured: float, sheet: Gpu) -> bool:
    return abs(measured - sheet.bandwidth) <= TOLERANCE * sheet.bandwidth


def _note(
    name: str | None, sheet: Gpu | None, measured: float | None, peak: float | None, bandwidth: float | None
) -> str | None:
    """What a reader of the ceiling must know; null where all is well."""
    missing = [option for option, value in (("--peak", peak), ("--bandwidth", bandwidth)) if value is None]
    if missing:
        what = f"no data sheet of {name} is known here" if name else "the trace does not name its GPU"
        return f"{what}: give --gpu, or {' and '.join(missing)}"
    if sheet and measured and not _agree(measured, sheet):
        return (
            f"the trace says {measured / 1e9:,.0f} GB/s and the data sheet of {sheet.name} "
            f"{sheet.bandwidth / 1e9:,.0f}, which is used: give --gpu, or --bandwidth"
        )
    return None
