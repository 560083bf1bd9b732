"""Cache hit rates and DRAM traffic by role and operator: Nsight Compute's counters, joined to the layers of a trace.

    counters(parsers.ncu.load(Path("profile.csv")), tables_of(ttinsys.load("run.sqlite")))

A profiled kernel takes its layer from the annotated NVTX range around its launch, or else from its order: the n-th
launch of a kernel with its grid is the n-th launch of that kernel and grid in the trace. Nothing is joined by time, for
a profiler that replays kernels has times of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import polars as pl

from parsers.schema import Column, Table
from ttinsys.attribution.labels import DOMAIN
from ttinsys.attribution.operators import classify
from ttinsys.measures.attention_parts import with_parts
from ttinsys.measures.sums import weighted

CACHE = Table(
    "cache",
    Column("operator", pl.String, "What the kernels do, read from their names."),
    Column("role", pl.String, "Role of their layer; of an attention's core, that of the attention; null: unknown."),
    Column("part", pl.String, "Part of attention, see `ttinsys.measures.attention_parts`; null elsewhere."),
    Column("l1_hit_ratio", pl.Float64, "L1 hit rate of sectors, mean weighted by duration.", unit="ratio"),
    Column("l2_hit_ratio", pl.Float64, "L2 hit rate of sectors, mean weighted by duration.", unit="ratio"),
    Column("instances", pl.UInt32, "Number of profiled kernels."),
    Column("sum_ns", pl.Int64, "Durations of the kernels under the profiler, added up.", unit="ns"),
    Column("dram_read_bytes", pl.Int64, "Bytes read from DRAM.", unit="B"),
    Column("dram_write_bytes", pl.Int64, "Bytes written to DRAM.", unit="B"),
    Column("l1_median_ratio", pl.Float64, "L1 hit rate, median over kernels.", unit="ratio"),
    Column("l2_median_ratio", pl.Float64, "L2 hit rate, median over kernels.", unit="ratio"),
    Column("matched_by", pl.String, "How the layer was found, or why there is none: see `MATCHES`."),
    Column("module", pl.String, "Name of the layer; null where a trace gives its role instead."),
    doc="one row per operator, role, part and way in which kernels found their layer",
)

MATCHES = {
    "nvtx": "The innermost annotated range around the launch gives the layer.",
    "order": "The same launch of the same kernel and grid in the trace, counted from the first, gives the layer.",
    "no_annotated_range": "The launch is in no annotated range, neither in the profile nor in the trace.",
    "not_in_trace": "The trace has no such layer, or fewer launches of the kernel and grid.",
    "no_trace": "No trace was given, so the role of the layer is unknown.",
}
"""Meaning of each `matched_by`: the first two found a layer, the others give the reason why there is none."""

Match = Literal["auto", "nvtx", "order"]

_KEYS = ("operator", "role", "part", "module", "matched_by")
_LAYER = ("module", "role", "attention")


def counters(
    kernels: pl.DataFrame, tables: Mapping[str, pl.LazyFrame] | None = None, *, match: Match = "auto"
) -> pl.DataFrame:
    """Group profiled kernels by role and operator (Fig. 12 of the study).

    Hit rates are ratios of sectors, whose numbers ncu does not export beside them. Their mean is therefore weighted by
    duration: a kernel that runs ten times as long counts ten times. The median counts every kernel once.

    Args:
        kernels: `KERNEL_METRICS` of `parsers.ncu`.
        tables: tables of a trace of the same program, see `ttinsys.tables.registry`; None where there is no trace.
        match: how layers are found; `auto` takes the range, and the order where there is no range.

    Returns:
        `CACHE`, the longest sum first; `instances`, times and bytes add up to those of the profile.
    """
    numbered = kernels.with_row_index("_row").with_columns(_innermost(), _operators(kernels["kernel"]))
    layers = _by_order(numbered, tables) if match == "order" else _by_range(numbered, tables)
    if match == "auto" and tables is not None:
        by_order = _by_order(numbered, tables)
        better = (layers["matched_by"] != "nvtx") & (by_order["matched_by"] == "order")
        layers = layers.select(
            pl.when(better).then(by_order[name]).otherwise(name).alias(name) for name in layers.columns
        )
    return _grouped(_with_parts(numbered.hstack(layers)), named=tables is None)


def _operators(kernel: pl.Series) -> pl.Series:
    """Operators of kernels by name; each name is classified once."""
    names = kernel.unique().drop_nulls().to_frame("kernel").with_columns(classify(pl.col("kernel")).alias("operator"))
    return kernel.to_frame("kernel").join(names, on="kernel", how="left", maintain_order="left")["operator"]


def _innermost() -> pl.Expr:
    """Name of the innermost annotated range of each kernel."""
    annotated = pl.element().struct.field("name").filter(pl.element().struct.field("domain") == DOMAIN)
    return pl.col("ranges").list.eval(annotated).list.last().alias("_range")


def _by_range(kernels: pl.DataFrame, tables: Mapping[str, pl.LazyFrame] | None) -> pl.DataFrame:
    """Layer of each kernel by the annotated range around its launch."""
    if tables is None:
        reason = pl.when(pl.col("_range").is_null()).then(pl.lit("no_annotated_range")).otherwise(pl.lit("no_trace"))
        nothing = (pl.lit(None, pl.String).alias(name) for name in _LAYER[1:])
        return kernels.select(pl.col("_range").alias("module"), *nothing, reason.alias("matched_by"))
    layers = (
        tables["ranges"]
        .filter(pl.col("role").is_not_null())
        .select(pl.col("name").alias("_range"), "role", "attention")
        .unique("_range", keep="last", maintain_order=True)
        .collect()
    )
    reason = (
        pl.when(pl.col("_range").is_null())
        .then(pl.lit("no_annotated_range"))
        .when(pl.col("role").is_null())
        .then(pl.lit("not_in_trace"))
        .otherwise(pl.lit("nvtx"))
    )
    joined = kernels.select("_range").join(layers, on="_range", how="left", maintain_order="left")
    return joined.select(pl.col("_range").alias("module"), *_LAYER[1:], reason.alias("matched_by"))


def _by_order(kernels: pl.DataFrame, tables: Mapping[str, pl.LazyFrame] | None) -> pl.DataFrame:
    """Layer of each kernel by its number among the launches of its name, grid and block."""
    if tables is None:
        nothing = (pl.lit(None, pl.String).alias(name) for name in _LAYER)
        return kernels.select(*nothing, pl.repeat("no_trace", pl.len(), dtype=pl.String).alias("matched_by"))
    ops = (
        tables["ops"]
        .filter(pl.col("kind") == "kernel")
        .select(
            "kernel", "kernel_short", *_LAYER, "api_start_ns", "start_ns",
            *(_size(name).alias(name) for name in ("grid", "block")),
        )
        .sort("api_start_ns", "start_ns", nulls_last=True)
        .collect()
    )  # fmt: skip
    profiled = kernels.select("_row", "launch", "grid", "block", _plain("kernel").alias("name")).sort("launch", "_row")
    # ncu prints names with their template arguments, or without them where an option says so.
    traced = ops.with_columns(_plain("kernel").alias("name"))
    if not profiled["name"].is_in(traced["name"].unique().implode()).any():
        traced = ops.with_columns(pl.col("kernel_short").alias("name"))
    shaped = [name for name in ("grid", "block") if profiled[name].null_count() == 0]
    keys = ["name", *shaped]
    number = pl.int_range(pl.len()).over(keys).alias("n")
    matched_by = pl.when(pl.col("module").is_null()).then(pl.lit("no_annotated_range")).otherwise(pl.lit("order"))
    launches = traced.select(*keys, *_LAYER, number, matched_by.alias("matched_by"))
    return (
        profiled.select("_row", *keys, number)
        .join(launches, on=[*keys, "n"], how="left", validate="1:1")
        .sort("_row")
        .select(*_LAYER, pl.col("matched_by").fill_null("not_in_trace"))
    )


def _size(name: str) -> pl.Expr:
    return pl.format("{}x{}x{}", *(f"{name}_{axis}" for axis in "xyz"))


def _plain(name: str) -> pl.Expr:
    """A kernel's name in one spelling: demanglers differ in casts of template arguments, in spaces and in `void`."""
    typed = r"\((?:int|bool|unsigned int|long|unsigned long|unsigned char|short)\)"
    return pl.col(name).str.replace_all(typed + r"(-?\d)", "$1").str.strip_prefix("void ").str.replace_all(" ", "")


def _with_parts(kernels: pl.DataFrame) -> pl.DataFrame:
    """Add `part`: consecutive launches of one layer are one call of it."""
    ordered = kernels.sort("pid", "launch", "_row", nulls_last=True)
    numbered = ordered.with_columns(
        pl.col("module").rle_id().cast(pl.Int64).alias("module_id"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("start_ns"),
        # ncu counts kernels and records no sizes.
        pl.lit(None, pl.Int64).alias("q_len"),
    )
    return with_parts(numbered.lazy()).collect()


def _grouped(kernels: pl.DataFrame, *, named: bool) -> pl.DataFrame:
    module = pl.col("module") if named else pl.lit(None, pl.String)
    known = pl.col("matched_by").is_in(["nvtx", "order"])
    ratios = [
        expression
        for cache in ("l1", "l2")
        for expression in (
            weighted(f"{cache}_hit_ratio", "duration_ns").alias(f"{cache}_hit_ratio"),
            pl.col(f"{cache}_hit_ratio").median().alias(f"{cache}_median_ratio"),
        )
    ]
    return (
        kernels.with_columns(module.alias("module"), pl.when(known).then("role").alias("role"))
        .group_by(_KEYS)
        .agg(
            pl.len().alias("instances"),
            pl.col("duration_ns").sum().alias("sum_ns"),
            *ratios,
            pl.col("dram_read_bytes", "dram_write_bytes").sum(),
        )
        .select(pl.col(column.name).cast(column.dtype) for column in CACHE.columns)
        .sort(pl.col("sum_ns").neg(), *_KEYS, nulls_last=True)
    )
