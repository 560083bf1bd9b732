"""Find iterations, the blocks in them, prologue and epilogue in the sequence of kernels alone.

ttinsys structure run.sqlite
ttinsys structure run.sqlite --list --plot structure.svg

No range is needed: kernels and CUDA graphs are compared by name, in the order in which they start on each device.
An iteration is what repeats at the longest distance, such as a denoising step, a token or a training iteration; a block
is what repeats in it, such as a layer. Where nothing repeats within an iteration, it may itself be a layer of one pass.
With `--steps-from structure`, other analyses take the iterations for steps.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.measures.intervals import busy
from ttinsys.measures.options import Option
from ttinsys.measures.sums import percentile_95, ratio
from ttinsys.runner.registry import analysis
from ttinsys.tables.needs import GPU_ACTIVITY
from ttinsys.tables.structure import structured

STRUCTURE = Table(
    "structure",
    Column("name", pl.String, "Name of the row: the device, or its part with its number where rows are listed."),
    Column("depth", pl.UInt32, "0 for a device, 1 for its parts, 2 for the blocks in a part."),
    Column("pid", pl.Int64, "ID of the process."),
    Column("device", pl.Int64, "CUDA device ordinal."),
    Column("part", pl.String, "`device`, `prologue`, `iteration`, `between` (between two iterations), `epilogue`, or "
           "`block`."),
    Column("number", pl.Int64, "Number of the iteration on its device, or of the block in its part, from 0; null in a "
           "summary."),
    Column("instances", pl.UInt32, "Number of such parts or blocks."),
    Column("ops", pl.UInt32, "Number of GPU operations, memory copies and fills included."),
    Column("ops_each", pl.Float64, "Median number of GPU operations of an instance."),
    Column("sum_ns", pl.Int64, "Sum of durations of the operations.", unit="ns"),
    Column("share", pl.Float64, "`sum_ns` divided by that of all devices.", unit="ratio"),
    Column("busy_ns", pl.Int64, "Time in which at least one operation runs, added up over the instances.", unit="ns"),
    Column("span_ns", pl.Int64, "Time from first start to last end, added up over the instances.", unit="ns"),
    Column("median_ns", pl.Float64, "Median span of an instance.", unit="ns"),
    Column("p95_ns", pl.Int64, "Shortest span that at least 95% of the instances do not exceed.", unit="ns"),
    Column("min_ns", pl.Int64, "Shortest span of an instance.", unit="ns"),
    Column("max_ns", pl.Int64, "Longest span of an instance.", unit="ns"),
    Column("outliers", pl.UInt32, "Number of instances whose span differs from the median by more than a tenth of it "
           "and by more than three times the scaled median absolute deviation."),
    Column("operators", pl.String, "Operators that take most of the time, with their shares."),
    Column("start_ns", pl.Int64, "Start time of the first operation.", unit="ns"),
    Column("end_ns", pl.Int64, "Latest end time of an operation.", unit="ns"),
    doc="one row per device, per kind of part and per kind of block, or per part and block where rows are listed; the "
    "rows of depth 1 add up to their device",
)  # fmt: skip

_KEYS = ("pid", "device", "tile", "part", "number", "holder")
_ORDER = {"prologue": 0, "iteration": 1, "between": 2, "epilogue": 3}
"""Order of the parts in a summary; the device comes first."""
_OPERATORS = 3
"""Operators that a row names."""


def where_nothing_repeats(frame: pl.DataFrame) -> list[str]:
    """What a reader must know before trusting the table: where nothing repeats, and where levels are few.

    Args:
        frame: `STRUCTURE`, of one trace or several.
    """
    sentences = []
    trace = ["trace"] if "trace" in frame.columns else []
    for _, rows in frame.group_by(*trace, "pid", "device", maintain_order=True):
        whole = rows.row(0, named=True)
        where = f"{whole['trace']}: {whole['name']}" if trace else whole["name"]
        if rows.height == 1:
            sentences.append(f"{where}: nothing repeats in the sequence of its kernels, so it has no iterations")
        # A CUDA graph is a pass of its own, whatever it holds.
        elif "block" not in rows["part"] and "graph" not in (whole["operators"] or ""):
            sentences.append(f"{where}: nothing repeats within an iteration; it may be a layer of a single pass")
    return sentences


@analysis(
    returns=STRUCTURE,
    options=(Option("list", "List each iteration and block instead of summing them up."),),
    needs=(GPU_ACTIVITY,),
    tree="sum_ns",
    remarks=where_nothing_repeats,
)
def structure(ops: pl.LazyFrame, *, list: bool = False) -> pl.LazyFrame:
    """Sum up GPU time by iteration and block, which are found in the sequence of kernels.

    Args:
        ops: `OPS`, one row per GPU operation.
        list: Whether each iteration and block has a row.

    Returns:
        `STRUCTURE`, by process and device, in the order of first operations; blocks follow their part. A device in
        whose sequence nothing repeats has one row.
    """
    columns = ("pid", "device", "context", "stream", "kind", "kernel", "operator", "start_ns", "end_ns", "duration_ns")
    placed = structured(ops.select(columns))
    return placed.map_batches(lambda frame: _table(frame, each=list), schema=STRUCTURE.schema)


def _table(placed: pl.DataFrame, *, each: bool) -> pl.DataFrame:
    """`STRUCTURE` of operations with their places."""
    placed = placed.sort("start_ns", "end_ns", maintain_order=True)
    null = pl.lit(None, pl.Int64)
    inside = placed.filter(pl.col("part").is_not_null())
    levels = [
        placed.select(*_OF_OP, null.alias("tile"), pl.lit("device").alias("part"), null.alias("number"),
                      pl.lit("").alias("holder"), pl.lit(0, pl.UInt32).alias("depth")),
        inside.select(*_OF_OP, "tile", "part", pl.col("iteration").alias("number"), pl.lit("").alias("holder"),
                      pl.lit(1, pl.UInt32).alias("depth")),
        inside.filter(pl.col("block").is_not_null()).select(
            *_OF_OP, "tile", pl.lit("block").alias("part"), pl.col("block").alias("number"),
            pl.col("part").alias("holder"), pl.lit(2, pl.UInt32).alias("depth")),
    ]  # fmt: skip
    ops = pl.concat(levels)
    keys = [*_KEYS, "depth"]
    instances = ops.group_by(keys, maintain_order=True).agg(
        pl.len().alias("ops"),
        pl.col("duration_ns").sum().alias("sum_ns"),
        busy().alias("busy_ns"),
        pl.col("start_ns").min(),
        pl.col("end_ns").max(),
    )
    # A row sums up all parts of a kind, or is one part.
    row = keys if each else [key for key in keys if key not in ("tile", "number")]
    kind = pl.when(pl.col("depth") == 2).then("holder").otherwise("part")
    place = pl.col("tile") if each else kind.replace_strict(_ORDER, default=None, return_dtype=pl.Int64)
    rows = (
        _summed(instances, row)
        .join(_operators(ops, row), on=row, how="left", nulls_equal=True)
        .with_columns(ratio("sum_ns", pl.lit(placed["duration_ns"].sum())).alias("share"))
    )
    if not each:
        rows = rows.with_columns(null.alias("tile"), null.alias("number"))
    ordered = rows.sort("pid", "device", place, "depth", "number", nulls_last=False)
    return ordered.select(_name().alias("name"), pl.exclude("name")).select(
        pl.col(name).cast(dtype) for name, dtype in STRUCTURE.schema.items()
    )


_OF_OP = ("pid", "device", "operator", "start_ns", "end_ns", "duration_ns")


def _summed(instances: pl.DataFrame, row: list[str]) -> pl.DataFrame:
    """Instances summed up by the columns of a row, with the spread of their spans."""
    span = pl.col("span_ns")
    far = (span - span.median()).abs()
    deviation = 1.4826 * (span - span.median()).abs().median()
    return (
        instances.with_columns((pl.col("end_ns") - pl.col("start_ns")).alias("span_ns"))
        .group_by(row, maintain_order=True)
        .agg(
            pl.len().alias("instances"),
            pl.col("ops").sum(),
            pl.col("ops").median().alias("ops_each"),
            pl.col("sum_ns", "busy_ns").sum(),
            span.sum().alias("span_ns"),
            span.median().alias("median_ns"),
            percentile_95("span_ns").alias("p95_ns"),
            span.min().alias("min_ns"),
            span.max().alias("max_ns"),
            ((far > 0.1 * span.median()) & (far > 3 * deviation)).sum().alias("outliers"),
            pl.col("start_ns").min(),
            pl.col("end_ns").max(),
        )
    )


def _operators(ops: pl.DataFrame, row: list[str]) -> pl.DataFrame:
    """The operators that take most of the time of each row, in one text."""
    percent = (100 * ratio("ns", pl.col("ns").sum().over(row))).round().fill_null(0).cast(pl.Int64)
    return (
        ops.group_by(*row, "operator")
        .agg(pl.col("duration_ns").sum().alias("ns"))
        .with_columns(pl.format("{} {}%", "operator", percent).alias("text"))
        .sort(pl.col("ns").neg(), "operator")
        .group_by(row)
        .agg(pl.col("text").head(_OPERATORS).str.join(", ").alias("operators"))
    )


def _name() -> pl.Expr:
    """The name of a row: the device with its process, a part, or a part with its number."""
    device = pl.format("device {}, process {}", pl.col("device").fill_null(-1), pl.col("pid").fill_null(-1))
    numbered = pl.format("{} {}", "part", "number")
    part = pl.when(pl.col("number").is_null()).then("part").otherwise(numbered)
    return pl.when(pl.col("depth") == 0).then(device).otherwise(part)
