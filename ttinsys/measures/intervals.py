"""Time of intervals that may overlap: what they cover, the gaps between them, where several run at once.

An interval is a row with `start_ns` and `end_ns`; the end is exclusive. The expressions take rows of one GPU sorted by
`start_ns`, or are evaluated `over` the GPU: time on two GPUs is not one time.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ttinsys.measures.sums import one_value


def timeline() -> pl.Expr:
    """A number for the GPU of each operation of `OPS`, whose operations share one time.

    Where `gpu` is null, the GPU is that of the process and its device alone, and has a negative number: two processes
    that may use two GPUs are not added up as if they used one.
    """
    alone = pl.col("pid").fill_null(0) * (1 << 32) + pl.col("device").fill_null(-1)
    return pl.coalesce("gpu", -2 - alone)


def gpu_of_rows() -> list[pl.Expr]:
    """The columns `gpu`, `device` and `pid` of rows that share a `timeline`: aggregations.

    `device` is null where processes number the GPU differently, and `pid` where the GPU is known.
    """
    gpu = pl.col("gpu").first()
    return [gpu, one_value("device"), pl.when(gpu.is_null()).then(pl.col("pid").first()).alias("pid")]


def gpu_label() -> pl.Expr:
    """What people call the GPU of a row with the columns of `gpu_of_rows`."""
    known, device = pl.format("GPU {}", "gpu"), pl.format("GPU {}", "device")
    several = pl.struct("gpu", "pid").n_unique() > 1
    return pl.coalesce(known, pl.when(several).then(pl.format("{} of process {}", device, "pid")), device)


def doubtful_gpus(frame: pl.DataFrame) -> list[str]:
    """One sentence where several processes use one device, and nothing tells whether it is one GPU.

    Args:
        frame: the result of an analysis, with the columns of `gpu_of_rows`.
    """
    claims = frame.filter(pl.col("gpu").is_null()).select("device", "pid").drop_nulls().unique()
    shared = claims.filter(pl.col("device").is_duplicated())
    if shared.is_empty():
        return []
    return [doubt(shared["pid"].unique().to_list())]


def doubt(pids: Sequence[int]) -> str:
    """The sentence for processes that use one device ordinal, each of which may mean another GPU."""
    listed = ", ".join(str(pid) for pid in sorted(pids)[:_LISTED]) + (" and others" if len(pids) > _LISTED else "")
    return (
        f"Processes {listed} use the same device ordinal, and the export does not tell whether it is one GPU: each "
        "counts as a GPU of its own. Export the report again with a newer nsys, or keep one process with --pid."
    )


_LISTED = 8


def covered_until() -> pl.Expr:
    """Latest end of the intervals before each; null for the first."""
    return pl.col("end_ns").cum_max().shift(1)


def claimed() -> pl.Expr:
    """Nanoseconds of each interval that no earlier one covers, so that covered time counts once."""
    return (pl.col("end_ns") - pl.max_horizontal("start_ns", covered_until())).clip(lower_bound=0)


def gap() -> pl.Expr:
    """Nanoseconds without any interval between the end of all earlier ones and the start of each."""
    return (pl.col("start_ns") - covered_until()).clip(lower_bound=0).fill_null(0)


def busy() -> pl.Expr:
    """Nanoseconds that at least one interval covers; an aggregation over sorted rows of one GPU."""
    return claimed().sum()


def busy_by(ops: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """Nanoseconds that operations cover on each GPU, added up over the GPUs.

    Args:
        ops: columns `gpu`, `pid`, `device`, `start_ns`, `end_ns` and `keys`, in any order.
        keys: columns to group by.

    Returns:
        `keys` and `busy_ns`.
    """
    return (
        ops.select(*keys, timeline().alias("_timeline"), "start_ns", "end_ns")
        .sort("start_ns")
        .group_by(*keys, "_timeline", maintain_order=True)
        .agg(busy().alias("busy_ns"))
        .group_by(*keys)
        .agg(pl.col("busy_ns").sum())
    )


def exposed_by(ops: pl.LazyFrame, keys: Sequence[str], apart: Sequence[str] = ()) -> pl.LazyFrame:
    """Nanoseconds in which operations of one group alone run on their GPU, added up over the GPUs.

    A trace without the group would be so much shorter at most. Operations that run at the same time hide each other.

    Args:
        ops: columns `gpu`, `pid`, `device`, `start_ns`, `end_ns` and `keys`, in any order.
        keys: columns to group by.
        apart: those of `keys` whose values share no time, such as the trace.

    Returns:
        `keys` and `exposed_ns`, for groups that have any.
    """
    lane = ["_timeline", *apart]
    pieces = (
        ops.select(*keys, timeline().alias("_timeline"), "start_ns", "end_ns")
        .with_columns(pl.struct(keys).rank("dense").cast(pl.Int64).alias("_group"))
        .sort("start_ns")
        # Of each group, pieces that do not overlap: then open pieces are groups that run.
        .with_columns(pl.max_horizontal("start_ns", covered_until().over(*lane, "_group")).alias("start_ns"))
        .filter(pl.col("end_ns") > pl.col("start_ns"))
    )
    group = pl.col("_group")
    events = pl.concat(
        [
            pieces.select(*lane, pl.col("start_ns").alias("at_ns"), pl.lit(1).alias("open"), group),
            pieces.select(*lane, pl.col("end_ns").alias("at_ns"), pl.lit(-1).alias("open"), -group),
        ]
    ).sort(*lane, "at_ns")
    # Where one group is open, the sum of the numbers of open groups is its own.
    alone = (
        events.select(
            pl.col("open").cum_sum().over(lane),
            group.cum_sum().over(lane),
            (pl.col("at_ns").shift(-1).over(lane) - pl.col("at_ns")).alias("exposed_ns"),
        )
        .filter(pl.col("open") == 1)
        .group_by("_group")
        .agg(pl.col("exposed_ns").sum())
    )
    return alone.join(pieces.select("_group", *keys).unique("_group"), on="_group").select(*keys, "exposed_ns")


def span() -> pl.Expr:
    """Nanoseconds from the first start to the last end; an aggregation."""
    return pl.col("end_ns").max() - pl.col("start_ns").min()


def cumulative_cover(intervals: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """Time covered up to each start, for `with_cover`.

    Args:
        intervals: columns `start_ns`, `end_ns` and `by`, in any order.
        by: columns that intervals share if they cover the same time, such as the GPU.

    Returns:
        `by`, `at_ns` (a start), `covered_ns` (time covered by the intervals that start no later) and `until_ns` (latest
        end of these), sorted by `at_ns`.
    """
    return (
        intervals.select(*by, "start_ns", "end_ns")
        .sort("start_ns")
        .select(
            *by,
            pl.col("start_ns").alias("at_ns"),
            claimed().cum_sum().over(by).alias("covered_ns"),
            pl.col("end_ns").cum_max().over(by).alias("until_ns"),
        )
    )


def with_cover(points: pl.LazyFrame, at: str, cover: pl.LazyFrame, by: Sequence[str]) -> pl.LazyFrame:
    """Add the time that intervals cover before a moment of each row.

    The difference between two moments is the time covered between them.

    Args:
        points: columns `at` and `by`.
        at: name of the column with the moments.
        cover: the result of `cumulative_cover`.
        by: as for `cumulative_cover`.

    Returns:
        The rows sorted by `at`, with `covered_ns` and `until_ns`, the latest end of the intervals that start no later
        than the moment; null where none does.
    """
    # After the moment, the intervals that began before it cover one piece: up to the latest of their ends.
    beyond = (pl.col("until_ns") - pl.col(at)).clip(lower_bound=0)
    return (
        points.sort(at)
        .join_asof(cover, left_on=at, right_on="at_ns", by=list(by), strategy="backward", check_sortedness=False)
        .with_columns((pl.col("covered_ns") - beyond).fill_null(0).alias("covered_ns"))
        .drop("at_ns", strict=False)
    )


def concurrent(intervals: pl.LazyFrame, lane: Sequence[str], by: Sequence[str]) -> pl.LazyFrame:
    """Time in which two or more lanes are busy, by the interval that started last.

    Args:
        intervals: columns `start_ns`, `end_ns`, `index` (number of the row), `lane` and `by`, sorted by `start_ns`.
        lane: columns that identify the lane of an interval; overlaps within a lane do not count.
        by: columns that lanes share if they run at the same time, such as the GPU.

    Returns:
        `index` and `concurrent_ns`, for intervals that have any.
    """
    # Most intervals overlap with no other, and are left out early.
    overlaps = (pl.col("start_ns") < covered_until()).fill_null(value=False)
    # Cut the intervals of a lane into pieces that do not overlap: then open pieces are busy lanes.
    begin = pl.max_horizontal("start_ns", covered_until().over(*by, *lane))
    pieces = (
        intervals.filter((overlaps | overlaps.shift(-1, fill_value=False)).over(by))
        .select(*by, "index", begin.alias("start_ns"), "end_ns")
        .filter(pl.col("end_ns") > pl.col("start_ns"))
    )
    one = pl.lit(1, pl.Int32)
    events = pl.concat(
        [
            pieces.select(*by, pl.col("start_ns").alias("at_ns"), one.alias("change"), "index"),
            pieces.select(*by, pl.col("end_ns").alias("at_ns"), (-one).alias("change"), pl.lit(None).alias("index")),
        ],
        how="vertical_relaxed",
    ).sort(*by, "at_ns", "index", nulls_last=False)
    return (
        events.select(
            pl.col("index").forward_fill().over(by),
            pl.col("change").cum_sum().over(by).alias("busy"),
            (pl.col("at_ns").shift(-1).over(by) - pl.col("at_ns")).alias("concurrent_ns"),
        )
        .filter((pl.col("busy") > 1) & (pl.col("concurrent_ns") > 0))
        .group_by("index")
        .agg(pl.col("concurrent_ns").sum())
    )
