"""What a trace has where filters leave nothing: nearest range names, devices, streams, processes, extent in time."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import polars as pl

from parsers import Trace
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.identity import pid_of
from ttinsys.attribution.nvtx import nestable_ranges
from ttinsys.attribution.select import OPERATIONS, Selection, apply_selection, start_conditions


def available(trace: Trace, selection: Selection) -> str:
    """What a trace has where filters leave no GPU operation.

    Args:
        trace: the whole trace, before `apply_selection`.
        selection: the filters.

    Returns:
        One sentence about the first filter that leaves nothing, without a full stop; empty where operations are left.

    Raises:
        NoSuchDomain: as `apply_selection`.
    """
    ops = pl.concat([trace.frames[name].select(_FILTERED) for name in OPERATIONS.values()]).collect()
    if ops.is_empty():
        return f"no GPU activity: {trace.remedy('kernels')}"
    subject = "no GPU operation"
    for noun, preposition, values in (
        ("device", "on", selection.devices),
        ("stream", "on", selection.streams),
        ("process", "in", selection.pids),
    ):
        if values:
            there = ops[noun].unique().drop_nulls().sort().to_list()
            ops = ops.filter(pl.col(noun).is_in(values))
            if ops.is_empty():
                verb = "are" if len(there) > 1 else "is"
                asked = f"{subject} is {preposition} {_listed(noun, values)}"
                return f"{asked}: there {verb} {_listed(noun, there) or 'none'}"
            subject += f" {preposition} {_listed(noun, values)}"
    times = start_conditions(selection)
    if times:
        starts, window = ops["start_ns"].drop_nulls().sort(), _window(selection)
        if ops.filter(times).is_empty():
            if starts.is_empty():
                return f"{subject} starts {window}: no start is known"
            extent = f"the first starts at {_seconds(starts[0])}, the last at {_seconds(starts[-1])}"
            return f"{subject} starts {window}: {extent}"
        subject += f" that starts {window}"
    if selection.range is None:
        return ""
    part = apply_selection(trace, replace(selection, range=None))
    return _range_there_is(part, selection.range, subject)


def _range_there_is(part: Trace, glob: str, subject: str) -> str:
    """As `available`, of a part that all filters but `glob` have made."""
    inside = apply_selection(part, Selection(range=glob))
    if attribute(inside).select(pl.len()).collect().item():
        return ""
    names = _by_count(nestable_ranges(part, ["name"]), "name")
    if not names:
        return f"no range has a name: {part.remedy('nvtx_events')}"
    if not any(fnmatchcase(name, glob) for name in names):
        near = _nearest(glob, names)
        hint = f"did you mean {_quoted(near)}?" if near else f"the most frequent names are {_quoted(names)}"
        return f"no range is named {glob!r}: {hint}"
    launching = _by_count(attribute(part), "range")
    where = f"most are in {_quoted(launching)}" if launching else "none is in any range"
    return f"{subject} was launched in a range named {glob!r}: {where}"


def _by_count(frame: pl.LazyFrame, column: str) -> list[str]:
    """The values of a column, the most frequent first."""
    counts = frame.drop_nulls(column).group_by(column).agg(pl.len().alias("count"))
    return counts.sort("count", column, descending=[True, False]).collect()[column].to_list()


def _nearest(glob: str, names: Sequence[str]) -> list[str]:
    """Names that contain the text of a glob, the shortest first, then names that are spelt alike."""
    text = glob.strip("*?").casefold()
    containing = sorted(
        (name for name in names if text and text in name.casefold()), key=lambda name: (len(name), name)
    )
    folded = {name.casefold(): name for name in reversed(names[:_COMPARED])}
    alike = [folded[name] for name in difflib.get_close_matches(text, folded, _SHOWN)]
    return [*dict.fromkeys([*containing, *alike])]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}...") for name in names[:_SHOWN])


def _listed(noun: str, values: Sequence[int]) -> str:
    """`device 0`, or `devices 0, 1 and 2`; nothing where there is none."""
    if len(values) < 2:
        return "".join(f"{noun} {value}" for value in values)
    texts = [str(value) for value in values]
    if len(texts) > _MOST:
        texts = [*texts[:_MOST], f"{len(texts) - _MOST} more"]
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{plural} {', '.join(texts[:-1])} and {texts[-1]}"


def _window(selection: Selection) -> str:
    """The time of a selection, in words."""
    start, end = selection.start_ns, selection.end_ns
    if start is None or end is None:
        return f"at {_seconds(start)} or later" if start is not None else f"before {_seconds(end or 0)}"
    return f"from {_seconds(start)} to {_seconds(end)}"


def _seconds(ns: int) -> str:
    """A moment to the nanosecond, as `--time` takes it."""
    whole, rest = divmod(abs(ns), 10**9)
    return f"{'-' * (ns < 0)}{whole}.{rest:09}".rstrip("0").rstrip(".") + " s"


_FILTERED = (
    pl.col("device_id").alias("device"),
    pl.col("stream_id").alias("stream"),
    pid_of("global_pid").alias("process"),
    pl.col("start_ns"),
)
_SHOWN, _LONGEST = 3, 80
"""Names that an error shows, and characters of each."""
_COMPARED = 2000
"""Names that are compared letter by letter, which takes 10 ms for a thousand."""
_MOST = 10
"""Numbers that an error shows."""
