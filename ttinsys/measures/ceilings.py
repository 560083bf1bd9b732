"""What the GPUs of a trace can do at most: operations and bytes per second.

    ceilings(used, numbered_gpus(trace)).collect()

Peaks and bandwidth come from the data sheet of the GPU that the trace names. The bandwidth is checked against that in
the trace, which nsys derives from the clock and the width of the memory: for an A100 80GB it gives 2039.04 GB/s, and
the data sheet 2039.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import HALF
from ttinsys.published.sheets import GPUS, Gpu, known

CEILINGS = Table(
    "ceilings",
    Column("gpu", pl.Int64, "Number of the GPU, as in `OPS`; null where it is unknown."),
    Column("name", pl.String, "Name of the GPU; null where the trace has none."),
    Column("half_flops_per_s", pl.Float64, "Peak of matrix products of 16-bit floats, dense.", unit="FLOP/s"),
    Column("tf32_flops_per_s", pl.Float64, "Peak of matrix products in TF32, dense.", unit="FLOP/s"),
    Column("single_flops_per_s", pl.Float64, "Peak of 32-bit floats without tensor cores.", unit="FLOP/s"),
    Column("bandwidth_bytes_per_s", pl.Float64, "Bandwidth of the memory.", unit="B/s"),
    Column("ridge", pl.Float64, "Intensity from which 16-bit matrix products are compute-bound.", unit="FLOP/B"),
    Column("source", pl.String, "`data sheet`, `trace`, `both` where their bandwidths agree, or `given`."),
    Column("note", pl.String, "Ceilings that are unknown, or a disagreement of trace and data sheet; else null."),
    doc="one row per GPU",
)


def peak_of_type(float32: str = "tf32") -> pl.Expr:
    """Peak of matrix products in the type of a call, from `dtype` and the columns of `CEILINGS`.

    Args:
        float32: the peak that 32-bit floats are compared with, `tf32` or `single`. Other types have none.
    """
    single = pl.when(dtype="float32").then(f"{float32}_flops_per_s")
    return pl.coalesce(pl.when(pl.col("dtype").is_in(HALF)).then("half_flops_per_s"), single)


TOLERANCE = 0.1
"""Relative difference of the two bandwidths above which the row has a note."""


def ceilings(
    used: pl.LazyFrame,
    gpus: pl.LazyFrame,
    *,
    gpu: str | None = None,
    peak: float | None = None,
    bandwidth: float | None = None,
) -> pl.LazyFrame:
    """The ceilings of GPUs.

    Args:
        used: a column `gpu`, a row or more per GPU.
        gpus: `NUMBERED_GPUS`. A GPU without a row there takes the name and the bandwidth that all rows share, if any.
        gpu: key of the data sheet to use, whatever the trace names.
        peak: peak in TFLOP/s, for every type.
        bandwidth: bandwidth in GB/s.

    Returns:
        `CEILINGS`, sorted by `gpu`.
    """
    columns = [pl.col("name"), pl.col("bandwidth_bytes_per_s").cast(pl.Float64)]
    numbered = gpus.filter(pl.col("gpu").is_not_null()).unique("gpu", keep="first")
    shared = gpus.select(
        pl.when(column.n_unique() == 1).then(column.first()).alias(f"any_{column.meta.output_name()}")
        for column in columns
    )
    rows = (
        used.select("gpu")
        .unique()
        .join(numbered.select("gpu", *columns), on="gpu", how="left")
        .join(shared, how="cross")
        .select("gpu", *(pl.coalesce(name, f"any_{name}") for name in ("name", "bandwidth_bytes_per_s")))
        .sort("gpu")
    )

    def look_up(named: pl.DataFrame) -> pl.DataFrame:
        ceiling = [_ceiling(*row, sheet_key=gpu, peak=peak, bandwidth=bandwidth) for row in named.iter_rows()]
        return pl.DataFrame(ceiling, schema=CEILINGS.schema, orient="row")

    return rows.map_batches(look_up, schema=CEILINGS.schema)


def _ceiling(
    number: int | None,
    name: str | None,
    measured: float | None,
    *,
    sheet_key: str | None,
    peak: float | None,
    bandwidth: float | None,
) -> tuple[object, ...]:
    """A row of `CEILINGS` from the trace's name and bandwidth of a GPU and from the options given."""
    sheet = GPUS[sheet_key] if sheet_key else known(name) if name else None
    # Newer drivers no longer report the memory's clock: nsys then writes a bandwidth of 0.
    measured = measured if measured and sheet_key is None and bandwidth is None else None
    peaks = (sheet.half, sheet.tf32, sheet.single) if sheet else (None, None, None)
    if peak is not None:
        peaks = (peak * 1e12,) * 3
    bytes_per_s = bandwidth * 1e9 if bandwidth is not None else sheet.bandwidth if sheet else measured
    given = sheet_key is not None or peak is not None or bandwidth is not None
    agree = sheet is not None and measured is not None and _agree(measured, sheet)
    source = "given" if given else "both" if agree else "data sheet" if sheet else "trace" if measured else None
    ridge = peaks[0] / bytes_per_s if peaks[0] and bytes_per_s else None
    note = _note(name, sheet, measured, peaks[0], bytes_per_s)
    return number, sheet.name if sheet else name, *peaks, bytes_per_s, ridge, source, note


def _agree(measured: float, sheet: Gpu) -> bool:
    return abs(measured - sheet.bandwidth) <= TOLERANCE * sheet.bandwidth


def _note(
    name: str | None, sheet: Gpu | None, measured: float | None, peak: float | None, bandwidth: float | None
) -> str | None:
    """What a reader of the ceiling must know; None where nothing is missing or in doubt."""
    missing = [option for option, value in (("--peak", peak), ("--bandwidth", bandwidth)) if value is None]
    if missing:
        reason = f"{name} has no data sheet here" if name else "the trace does not name its GPU"
        return f"{reason}: give --gpu, or {' and '.join(missing)}"
    if sheet and measured and not _agree(measured, sheet):
        return (
            f"the bandwidth is {sheet.bandwidth / 1e9:,.0f} GB/s in the data sheet of {sheet.name}, which is used, and "
            f"{measured / 1e9:,.0f} GB/s in the trace: give --gpu, or --bandwidth"
        )
    return None
