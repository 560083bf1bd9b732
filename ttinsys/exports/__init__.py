"""Traces in the formats of other viewers: Perfetto, speedscope, and flame graphs.

    capture = captured("run.sqlite", ttinsys.load("run.sqlite"), collapsed.COLUMNS)
    with open("run.txt", "wb") as file:
        collapsed.writer([capture])(file)

Each module has a `writer`, which does the work and returns what writes the file, and `COLUMNS`, what it needs of `OPS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from parsers import Trace

EXPORTS = ("perfetto", "speedscope", "collapsed")
"""Formats, each the module of its name."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A trace, attributed.

    Args:
        name: what to call it.
        trace: the trace, filtered or not.
        ops: columns of `OPS`.
        ranges: columns of `RANGES`.
        simulated: the sentence that says so where no machine ran it.
    """

    name: str
    trace: Trace
    ops: pl.DataFrame
    ranges: pl.DataFrame
    simulated: str | None = None


def captured(name: str, trace: Trace, columns: Sequence[str]) -> Capture:
    """Attribute a trace.

    Args:
        name: what to call it.
        trace: an opened trace, filtered or not.
        columns: of `OPS`, the ones to have; those that say how an operation was attributed come with them.
    """
    import polars as pl

    from ttinsys.attribution.attribute import attribute
    from ttinsys.attribution.nvtx import ranges
    from ttinsys.tables.overview import simulated

    wanted = dict.fromkeys([*columns, "duration_ns", "range_id", "attributed_by"])
    # One after the other: the nesting of ranges is most of the work of both, and needs most of the memory.
    ops = attribute(trace).select(wanted.keys()).collect()
    nested = ranges(trace).select(_OF_RANGES).collect()
    said = simulated(dict(trace.export_info.drop_nulls().collect().iter_rows()))
    return Capture(name, trace, ops, nested.with_columns(pl.col("name").fill_null("(unnamed)")), said)


_OF_RANGES = ("index", "range_id", "kind", "global_tid", "domain", "name", "start_ns", "end_ns", "parent", "depth",
              "path", "role", "step", "phase")  # fmt: skip


def frames(ranges: pl.DataFrame) -> pl.Series:
    """The last part of each range's path: what it is called within the range around it.

    Args:
        ranges: `RANGES`.
    """
    import polars as pl

    from ttinsys.attribution.nesting import extended

    above = extended(ranges["path"], None).gather(ranges["parent"].fill_null(ranges.height))
    pair = pl.DataFrame([ranges["path"].alias("path"), (above + "/").alias("above")])
    return pair.select(pl.col("path").str.strip_prefix(pl.col("above").fill_null("")))["path"]


def brief_kernels(ops: pl.DataFrame) -> pl.Series:
    """Names of operations without what says nothing.

    Args:
        ops: `OPS`.
    """
    import polars as pl

    from ttinsys.render.grid import brief

    names = ops["kernel"].fill_null("(unnamed)")
    return names.replace_strict({name: brief(name) for name in names.unique()}, return_dtype=pl.String)


def stacks(capture: Capture, spelled: Callable[[pl.Series], pl.Series], separator: str) -> pl.DataFrame:
    """GPU time by stack: the ranges around the launch, outermost first, and the operation.

    An operation that ends before it starts weighs nothing: no viewer can draw less.

    Args:
        capture: with `kernel` of `OPS`.
        spelled: what writes names of frames.
        separator: what stands between frames.

    Returns:
        `stack` and `sum_ns`, in the order in which the ranges were opened. What has no range is under `(reason)`, last.
    """
    import polars as pl

    from ttinsys.attribution.nesting import trail

    around = capture.ranges.select("range_id", trail(capture.ranges, spelled(frames(capture.ranges)), separator))
    around.columns = ["range_id", "around"]
    by_range = (
        capture.ops.with_columns(brief_kernels(capture.ops).alias("kernel"))
        .group_by("range_id", "attributed_by", "kernel")
        .agg(pl.col("duration_ns").clip(lower_bound=0).sum())
        .sort("range_id", "attributed_by", "kernel", nulls_last=True)
        .join(around, on="range_id", how="left", maintain_order="left")
    )
    reasons = spelled(by_range.select(pl.format("({})", "attributed_by"))["attributed_by"])
    return (
        by_range.with_columns(spelled(by_range["kernel"]).alias("kernel"), reasons.alias("reason"))
        .group_by(
            pl.concat_str(pl.coalesce("around", "reason"), "kernel", separator=separator).alias("stack"),
            maintain_order=True,
        )
        .agg(pl.col("duration_ns").sum().alias("sum_ns"))
    )


def backwards(capture: Capture) -> tuple[int, int]:
    """Operations that end before they start: how many, and their durations added up, in ns."""
    negative = capture.ops["duration_ns"].filter(capture.ops["duration_ns"] < 0)
    return negative.len(), int(negative.sum())


def nothing_to_export(name: str, *, filtered: bool) -> str:
    """The error for a trace without GPU operations, in one line.

    Args:
        name: the trace.
        filtered: whether filters may have removed its operations.
    """
    if filtered:
        return f"{name} has no GPU operation that the filters keep: widen or drop a filter"
    return f"{name} has no GPU operation: profile on a machine with a GPU with --trace=cuda,nvtx"
