"""Processes and threads of the PyTorch profiler as nsys's global IDs, and ranges that lie inside each other.

A global thread ID has 24 bits for the process and 24 for the thread. Linux's own IDs fit. Those of other systems, and
names such as `Trace PyTorch Profiler`, get a number in their stead that no other one has.
"""

from __future__ import annotations

import polars as pl

_BITS = 24
_MASK = (1 << _BITS) - 1
_MACHINE = 1 << 2 * _BITS
"""Virtual machine 1, as nsys has it on Linux."""
_FOREVER = 2**63 - 1


class GlobalIds:
    """The processes and threads of a trace.

    Args:
        calls: API calls, with the texts `pid` and `tid`.
        ranges: ranges, with the same.
        names: the metadata that names processes and threads: `name` (what is named), `pid`, `tid`, `label`.
    """

    def __init__(self, calls: pl.DataFrame, ranges: pl.DataFrame, names: pl.DataFrame) -> None:
        identity = ["pid", "tid"]
        threads = pl.concat([frame.select(identity).unique() for frame in (calls, ranges)]).unique().drop_nulls()
        text = threads.with_columns(_unquoted("pid").alias("process"), _unquoted("tid").alias("thread"))
        text = text.sort("process", "thread")
        process, thread = (_numbers(text[name]) for name in ("process", "thread"))
        global_pid = process * (_MASK + 1) + _MACHINE
        self._threads = text.with_columns(global_pid.alias("globalPid"), (global_pid + thread).alias("globalTid"))
        called = self._threads.join(calls.select(identity).unique(), on=identity, how="semi")
        self._hosts = (self._threads if called.is_empty() else called)["globalPid"].unique()
        self._names = names

    def of_threads(self, events: pl.DataFrame) -> pl.DataFrame:
        """Add `globalTid`, null where an event names no process or no thread."""
        ids = self._threads.select("pid", "tid", "globalTid")
        return events.join(ids, on=["pid", "tid"], how="left", maintain_order="left")

    def of_processes(self, operations: pl.DataFrame, calls: pl.DataFrame) -> pl.DataFrame:
        """Add `globalPid` to operations of GPUs, whose own `pid` is a GPU.

        In a file of one process it is that one. In a file that was merged from several, it is the process that made the
        call with this correlation ID; where several did, the one whose calls alone explain other operations of the same
        GPU, as far as there is only one. Else it is null.

        Args:
            operations: `pid` and `correlation`.
            calls: API calls, `correlationId` and `globalTid`.
        """
        if self._hosts.len() < 2:
            only = self._hosts.first() if self._hosts.len() else None
            return operations.with_columns(pl.lit(only, pl.Int64).alias("globalPid"))
        process = (pl.col("globalTid") - (pl.col("globalTid") & _MASK)).alias("globalPid")
        callers = calls.select(pl.col("correlationId").alias("correlation"), process).unique().drop_nulls()
        sure = callers.filter(pl.len().over("correlation") == 1)
        known = operations.join(sure, on="correlation", how="left", maintain_order="left")
        on_gpu = known.select("pid", "globalPid").unique().drop_nulls().filter(pl.len().over("pid") == 1)
        guessed = known.join(on_gpu, on="pid", how="left", suffix="_of_gpu", maintain_order="left")
        likely = pl.col("correlation").is_in(callers["correlation"].implode())
        return guessed.with_columns(
            pl.coalesce("globalPid", pl.when(likely).then("globalPid_of_gpu")).alias("globalPid")
        ).drop("globalPid_of_gpu")

    def processes(self) -> pl.DataFrame:
        """PROCESSES: names of programs; with the process's own ID where that is no number of 24 bits."""
        named = self._named("process_name", ["pid"])
        rows = self._threads.select("pid", "process", "globalPid").unique(
            "globalPid", keep="first", maintain_order=True
        )
        number = ((pl.col("globalPid") - _MACHINE) // (_MASK + 1)).alias("number")
        rows = rows.join(named, on="pid", how="left", maintain_order="left").with_columns(number)
        own = pl.col("process") == pl.col("number").cast(pl.String)
        name = (
            pl.when(own).then("label").otherwise(pl.format("{} (process {})", pl.col("label").fill_null(""), "process"))
        )
        return rows.select("globalPid", pl.col("number").alias("pid"), name.str.strip_chars().alias("name"))

    def thread_names(self) -> pl.DataFrame:
        """Names of threads: `globalTid` and `label`, JSON as it stands in the file."""
        named = self._named("thread_name", ["pid", "tid"], raw=True)
        return self._threads.join(named, on=["pid", "tid"], how="inner", maintain_order="left").select(
            "globalTid", "label"
        )

    def _named(self, what: str, identity: list[str], *, raw: bool = False) -> pl.DataFrame:
        label = pl.col("label") if raw else _unquoted("label")
        named = self._names.filter(pl.col("name").cast(pl.String) == f'"{what}"').drop_nulls([*identity, "label"])
        return named.select(*identity, label).unique(identity, keep="first", maintain_order=True)


def _unquoted(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).str.strip_chars('"')


def _numbers(texts: pl.Series) -> pl.Series:
    """A number of 24 bits for each text: the one that it is, or else a free one, if possible of its own last bits."""
    distinct = [*dict.fromkeys(texts)]
    numbers = {text: int(text) for text in distinct if _fits(text)}
    taken = {*numbers.values()}
    for text in distinct:
        if text not in numbers:
            number = int(text) & _MASK if _is_integer(text) else _MASK
            while number in taken:
                number = (number - 1) & _MASK
            taken.add(number)
            numbers[text] = number
    return pl.Series([numbers[text] for text in texts], dtype=pl.Int64)


def _is_integer(text: str) -> bool:
    # Python refuses to convert thousands of digits.
    return text.removeprefix("-").isdecimal() and text.isascii() and len(text) < 40


def _fits(text: str) -> bool:
    return _is_integer(text) and str(int(text)) == text and 0 <= int(text) <= _MASK


def inside_parents(ranges: pl.DataFrame) -> pl.DataFrame:
    """Sort ranges by thread and start, and end none later than the one around it by mere rounding.

    PyTorch before 2.2 cut times to whole microseconds: start and duration each, so that a range may seem to outlive
    the one that it lies in by one microsecond. By more than the unit of its times, no range is cut.

    Args:
        ranges: `globalTid`, `start`, `end`, and `inner`, which tells the inner of two that are equal by being greater.
    """
    ranges = ranges.with_columns(pl.col("end").fill_null(_FOREVER).alias("until")).sort(
        "globalTid", "start", "until", "inner", descending=[False, False, True, False], maintain_order=True
    )
    coarse = ranges.select(((pl.col("start") % 1000 == 0) & (pl.col("end") % 1000 == 0)).all()).item()
    until = _cut(ranges["globalTid"], ranges["start"], ranges["until"], unit=1000 if coarse else 1)
    cut = ranges["until"] != until
    return ranges.with_columns(pl.when(cut).then(until).otherwise("end").alias("end")).drop("until", "inner")


def _cut(thread: pl.Series, start: pl.Series, end: pl.Series, *, unit: int) -> pl.Series:
    """Ends of ranges, each no later than that of the range around it.

    That is the nearest one before it that is still open, and ends no more than a `unit` earlier.

    A range points to a candidate, at first to the one before it. Every round, a candidate that does not hold gives way
    to the one that it points to itself, for all ranges at once. The number of ranges stands for "none".
    """
    none = end.len()
    position = pl.int_range(none, dtype=pl.UInt32, eager=True)
    first = thread.ne_missing(thread.shift(1)) | (position == 0)
    before = position.cast(pl.Int64) - 1
    holder = before.set(first, none).cast(pl.UInt32).extend(pl.Series([none], dtype=pl.UInt32))
    ends = end.extend_constant(_FOREVER, 1) if none else end
    unsure = position
    while not unsure.is_empty():
        candidate = ends.gather(holder.gather(unsure))
        slack = candidate.clip(upper_bound=_FOREVER - unit) + unit
        holds = (candidate > start.gather(unsure)) & (slack >= end.gather(unsure))
        unsure = unsure.filter(~holds)
        holder = holder.scatter(unsure, holder.gather(holder.gather(unsure)))
    holder = holder.slice(0, none)
    while not (cut := pl.select(pl.min_horizontal(end, ends.gather(holder))).to_series()).equals(end):
        end = cut
        ends = cut.extend_constant(_FOREVER, 1)
    return end
