"""A law of several analyses: on every real capture, their times add up to those of the operations."""

from __future__ import annotations

from pathlib import Path

import polars as pl

import parsers
import ttinsys
from tests.shared import each_capture
from ttinsys.runner.run import analyse


@each_capture
def test_sums_of_every_analysis_equal_the_sum_over_the_operations(capture: Path) -> None:
    trace = parsers.load(capture)
    ops = ttinsys.attribute(trace).select("duration_ns", "path").collect()
    whole = ops["duration_ns"].sum()
    kernels, layers, ranges = (analyse(name, trace) for name in ("kernels", "layers", "ranges_by_name"))
    assert kernels["sum_ns"].sum() == whole
    assert layers["self_ns"].sum() == whole
    assert layers.filter(pl.col("depth") == 0)["total_ns"].sum() == whole
    assert ranges["self_ns"].sum() == whole
    assert kernels["instances"].sum() == ops.height
    assert (layers["total_ns"] >= layers["self_ns"]).all()
    # By path, the tree says what grouping the operations says.
    own = ops.drop_nulls("path").group_by("path").agg(pl.col("duration_ns").sum().alias("expected"))
    joined = own.join(layers, on="path", how="left")
    assert joined["expected"].sum() == layers.drop_nulls("path")["self_ns"].sum()
