"""Exports of traces to other viewers: Perfetto, speedscope, and flame graphs.

    capture = captured("run.sqlite", ttinsys.load("run.sqlite"), collapsed.COLUMNS)
    with open("run.txt", "wb") as file:
        collapsed.writer([capture])(file)

Each module is one format. It defines `COLUMNS`, the columns of `OPS` that it needs, and `writer`, which computes all
rows and returns a function that writes them: so nothing is written where the computation fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from parsers import Trace

EXPORTS = ("perfetto", "speedscope", "collapsed")
"""Names of the formats, each the name of its module."""


@dataclass(frozen=True, slots=True)
class Capture:
    """A trace with its attributed operations and its ranges.

    Args:
        name: name of the trace in the export.
        trace: the trace, filtered or not.
        ops: some columns of `OPS`.
        ranges: some columns of `RANGES`.
        simulated: the sentence that says so where the trace is simulated; else None.
    """

    name: str
    trace: Trace
    ops: pl.DataFrame
    ranges: pl.DataFrame
    simulated: str | None = None


def captured(name: str, trace: Trace, columns: Sequence[str]) -> Capture:
    """Attribute a trace for an export.

    Args:
        name: name of the trace in the export.
        trace: an opened trace, filtered or not.
        columns: columns of `OPS` to collect; those that tell how an operation was attributed are added.
    """
    # Imported here, so that the command line reads EXPORTS without loading polars.
    import polars as pl

    from ttinsys.attribution.attribute import attribute
    from ttinsys.attribution.nvtx import ranges
    from ttinsys.tables.overview import simulated

    wanted = dict.fromkeys([*columns, "start_ns", "end_ns", "duration_ns", "range_id", "attributed_by"])
    # Collected one after the other: each nests all ranges, which needs most of the memory.
    ops = attribute(trace).select(wanted.keys()).collect()
    nested = ranges(trace).select(_OF_RANGES).collect()
    sentence = simulated(dict(trace.export_info.drop_nulls().collect().iter_rows()))
    return Capture(name, trace, ops, nested.with_columns(pl.col("name").fill_null("(unnamed)")), sentence)


_OF_RANGES = ("index", "range_id", "kind", "global_tid", "domain", "name", "start_ns", "end_ns", "parent", "depth",
              "path", "role", "step", "phase")  # fmt: skip


def frames(ranges: pl.DataFrame) -> pl.Series:
    """Name of each range within its parent: the last part of its path.

    Args:
        ranges: `index`, `parent` and `path` of `RANGES`.
    """
    import polars as pl

    from ttinsys.attribution.nesting import extended

    above = extended(ranges["path"], None).gather(ranges["parent"].fill_null(ranges.height))
    pair = pl.DataFrame([ranges["path"].alias("path"), (above + "/").alias("above")])
    return pair.select(pl.col("path").str.strip_prefix(pl.col("above").fill_null("")))["path"]


def brief_kernels(ops: pl.DataFrame) -> pl.Series:
    """Kernel names without words that distinguish none, such as `void` and `at::native::`.

    Args:
        ops: `kernel` of `OPS`.
    """
    import polars as pl

    from ttinsys.render.grid import brief

    names = ops["kernel"].fill_null("(unnamed)")
    return names.replace_strict({name: brief(name) for name in names.unique()}, return_dtype=pl.String)


def stacks(capture: Capture, spelled: Callable[[pl.Series], pl.Series], separator: str) -> pl.DataFrame:
    """GPU time by stack: the ranges around the launch, outermost first, and then the kernel name.

    An operation that ends before it starts counts as 0 ns: viewers refuse negative weights.

    Args:
        capture: a trace with `kernel` of `OPS`.
        spelled: function from the names of frames to how the format writes them.
        separator: text between frames.

    Returns:
        `stack` and `sum_ns`, in the order in which ranges opened. Operations without a range come last, under a frame
        `(reason)`.
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
    """Number of operations that end before they start, and the sum of their times in ns, which is negative."""
    times = capture.ops["end_ns"] - capture.ops["start_ns"]
    negative = times.filter(times < 0)
    return negative.len(), int(negative.sum())
