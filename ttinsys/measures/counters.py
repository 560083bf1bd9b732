"""Cache hit rates and DRAM traffic by what kernels are for: Nsight Compute's counters, joined to the layers of a trace.

    counters(parsers.ncu.load(Path("profile.csv")), tables_of(ttinsys.load("run.sqlite")))

A kernel of the profile finds its layer by the annotated NVTX range around its launch, or else by its order: the n-th
launch of a kernel with its grid is the n-th of that kernel and grid in the trace. Nothing is joined by time: a
profiler that replays kernels has its own.
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
    Column("operator", pl.String, "what the kernel does, read from its name"),
    Column("role", pl.String, "what its layer does: of an attention's core, that attention; null: not known"),
    Column("part", pl.String, "part of attention, see `ttinsys.measures.attention_parts`; null elsewhere"),
    Column("l1_hit_ratio", pl.Float64, "L1 hits of sectors, weighted by duration", unit="ratio"),
    Column("l2_hit_ratio", pl.Float64, "L2 hits of sectors, weighted by duration", unit="ratio"),
    Column("instances", pl.UInt32, "kernels profiled"),
    Column("sum_ns", pl.Int64, "their durations under the profiler, added up", unit="ns"),
    Column("dram_read_bytes", pl.Int64, "read from DRAM", unit="B"),
    Column("dram_write_bytes", pl.Int64, "written to DRAM", unit="B"),
    Column("l1_median_ratio", pl.Float64, "L1 hits, median over kernels", unit="ratio"),
    Column("l2_median_ratio", pl.Float64, "L2 hits, median over kernels", unit="ratio"),
    Column("matched_by", pl.String, "how the layer was found, or why it was not: see `MATCHES`"),
    Column("module", pl.String, "name of its layer; only where no trace tells roles"),
    doc="one row per operator, role, part and way in which kernels found their layer",
)

MATCHES = {
    "nvtx": "the innermost annotated range around its launch",
    "order": "the same launch of the same kernel and grid in the trace, counted from the first",
    "no_annotated_range": "its launch is in no annotated range, as far as the profile and the trace tell",
    "not_in_trace": "the trace has no such layer, or not as many launches of the kernel and grid",
    "no_trace": "no trace was given that tells what its layer does",
}
"""Meaning of each `matched_by`; the first two found a layer, the others say why there is none."""

Match = Literal["auto", "nvtx", "order"]

_KEYS = ("operator", "role", "part", "module", "matched_by")
_OF_LAYER = ("module", "role", "attention")


def counters(
    kernels: pl.DataFrame, tables: Mapping[str, pl.LazyFrame] | None = None, *, match: Match = "auto"
) -> pl.DataFrame:
    """Group profiled kernels by what they are for (Fig. 12 of the study).

    Hit rates are ratios of sectors that ncu does not export beside them, so their mean is weighted by duration: a
    kernel that runs ten times as long counts ten times. The median counts every kernel once.

    Args:
        kernels: `KERNEL_METRICS`, see `parsers.ncu`.
        tables: of the trace of the same program, see `ttinsys.tables.registry`; None: there is none.
        match: how layers are found; `auto` takes the range, and the order where there is no range.

    Returns:
        `CACHE`, the longest first; `instances`, times and bytes add up to those of the profile.
    """
    numbered = kernels.with_row_index("_row").with_columns(_innermost(), _operators(kernels["kernel"]))
    told = _by_order(numbered, tables) if match == "order" else _by_range(numbered, tables)
    if match == "auto" and tables is not None:
        by_order = _by_order(numbered, tables)
        better = (told["matched_by"] != "nvtx") & (by_order["matched_by"] == "order")
        told = told.select(pl.when(better).then(by_order[name]).otherwise(name).alias(name) for name in told.columns)
    return _grouped(_with_parts(numbered.hstack(told)), named=tables is None)


def _operators(kernel: pl.Series) -> pl.Series:
    """Operators of kernels; each name is read once."""
    names = kernel.unique().drop_nulls().to_frame("kernel").with_columns(classify(pl.col("kernel")).alias("operator"))
    return kernel.to_frame("kernel").join(names, on="kernel", how="left", maintain_order="left")["operator"]


def _innermost() -> pl.Expr:
    """Name of the innermost annotated range of each kernel."""
    ours = pl.element().struct.field("name").filter(pl.element().struct.field("domain") == DOMAIN)
    return pl.col("ranges").list.eval(ours).list.last().alias("_range")


def _by_range(kernels: pl.DataFrame, tables: Mapping[str, pl.LazyFrame] | None) -> pl.DataFrame:
    """Layer of each kernel by the annotated range around its launch."""
    if tables is None:
        reason = pl.when(pl.col("_range").is_null()).then(pl.lit("no_annotated_range")).otherwise(pl.lit("no_trace"))
        nothing = (pl.lit(None, pl.String).alias(name) for name in _OF_LAYER[1:])
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
    return joined.select(pl.col("_range").alias("module"), *_OF_LAYER[1:], reason.alias("matched_by"))


def _by_order(kernels: pl.DataFrame, tables: Mapping[str, pl.LazyFrame] | None) -> pl.DataFrame:
    """Layer of each kernel by its number among the launches of its name, grid and block."""
    if tables is None:
        nothing = (pl.lit(None, pl.String).alias(name) for name in _OF_LAYER)
        return kernels.select(*nothing, pl.repeat("no_trace", pl.len(), dtype=pl.String).alias("matched_by"))
    ops = (
        tables["ops"]
        .filter(pl.col("kind") == "kernel")
        .select(
            "kernel", "kernel_short", *_OF_LAYER, "api_start_ns", "start_ns",
            *(_size(name).alias(name) for name in ("grid", "block")),
        )
        .sort("api_start_ns", "start_ns", nulls_last=True)
        .collect()
    )  # fmt: skip
    ours = kernels.select("_row", "launch", "grid", "block", _plain("kernel").alias("name")).sort("launch", "_row")
    # ncu prints names with their templates, or, so asked, without.
    whole = ops.with_columns(_plain("kernel").alias("name"))
    if not ours["name"].is_in(whole["name"].unique().implode()).any():
        whole = ops.with_columns(pl.col("kernel_short").alias("name"))
    shaped = [name for name in ("grid", "block") if ours[name].null_count() == 0]
    keys = ["name", *shaped]
    number = pl.int_range(pl.len()).over(keys).alias("n")
    found = pl.when(pl.col("module").is_null()).then(pl.lit("no_annotated_range")).otherwise(pl.lit("order"))
    launches = whole.select(*keys, *_OF_LAYER, number, found.alias("matched_by"))
    return (
        ours.select("_row", *keys, number)
        .join(launches, on=[*keys, "n"], how="left", validate="1:1")
        .sort("_row")
        .select(*_OF_LAYER, pl.col("matched_by").fill_null("not_in_trace"))
    )


def _size(name: str) -> pl.Expr:
    return pl.format("{}x{}x{}", *(f"{name}_{axis}" for axis in "xyz"))


def _plain(name: str) -> pl.Expr:
    """A kernel's name in one spelling: demanglers differ in casts of template arguments, in spaces, in `void`."""
    typed = r"\((?:int|bool|unsigned int|long|unsigned long|unsigned char|short)\)"
    return pl.col(name).str.replace_all(typed + r"(-?\d)", "$1").str.strip_prefix("void ").str.replace_all(" ", "")


def _with_parts(kernels: pl.DataFrame) -> pl.DataFrame:
    """Add `part`: launches of one layer in a row are one call of it."""
    ordered = kernels.sort("pid", "launch", "_row", nulls_last=True)
    numbered = ordered.with_columns(
        pl.col("module").rle_id().cast(pl.Int64).alias("module_id"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("start_ns"),
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
