"""Chrome's trace-event JSON, which ui.perfetto.dev and chrome://tracing open.

Each GPU is shown as a process. Each of its streams has a row of operations and, above it, a row of the layers that
launched them: one slice for each run of neighbouring operations of a layer. Each program is a process, with a row of
ranges and API calls per thread. A slice that crosses another one of its row moves to a row of its own, as Perfetto
drops it otherwise.

The format is described in "Trace Event Format", Duce and others, 2016. Times are in us, with ns as decimals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import IO

import polars as pl

from ttinsys import __version__
from ttinsys.exports import Capture
from ttinsys.exports.timeline import CALL, EVENT, TIMELINE_COLUMNS, Rows, gpus, threads, window

COLUMNS = TIMELINE_COLUMNS

_ROWS_AT_ONCE = 200_000
"""Rows that are converted to JSON text at a time, which bounds the memory."""


def writer(captures: Sequence[Capture], *, flows: bool = False, cut: bool = False) -> Callable[[IO[bytes]], None]:
    """Trace events of captures.

    Args:
        captures: captures with `COLUMNS`; if there are several, names of processes begin with that of the capture.
        flows: whether to draw an arrow from each API call to the operation that it launched.
        cut: whether to show of the threads only the time from the first launch to the last end of an operation.

    Returns:
        A function that writes the file.
    """
    rows = Rows()
    sections: list[tuple[str, pl.DataFrame]] = []
    for capture in captures:
        prefix = f"{capture.name}: " if len(captures) > 1 else ""
        ops, layers = gpus(capture, rows, prefix)
        cpu, calls = threads(capture, window(ops) if cut else None, rows, prefix)
        starts = [0, *(frame["start_ns"].min() for frame in (ops, cpu))]
        # Time zero is the start of the capture, unless an event precedes it: viewers refuse negative times.
        zero = min(moment for moment in starts if isinstance(moment, int))
        drawn = [("X", layers), ("X", ops.select(EVENT)), ("X", cpu)]
        if flows:
            drawn += _flows(ops, calls, sum(frame.height for phase, frame in sections if phase == "s"))
        sections += [(phase, _since(frame, zero)) for phase, frame in drawn]
    other: dict[str, object] = {"exporter": f"ttinsys {__version__}", "traces": [capture.name for capture in captures]}
    if notes := [f"{capture.name}: {capture.simulated}" for capture in captures if capture.simulated]:
        other["notes"] = notes

    def write(file: IO[bytes]) -> None:
        head = json.dumps({"displayTimeUnit": "ns", "otherData": other}).removesuffix("}")
        file.write(f'{head}, "traceEvents": [\n'.encode())
        # An event without effect comes first, so that all others can be written with a comma before them.
        file.write(b'{"ph":"M","name":"trace","pid":0,"tid":0,"args":{}}\n')
        file.writelines(b"," + json.dumps(event).encode() + b"\n" for event in rows.events)
        for phase, frame in sections:
            for part in frame.iter_slices(_ROWS_AT_ONCE):
                _json(phase, part).write_csv(file, include_header=False, quote_style="never")
        file.write(b"]}\n")

    return write


def _flows(ops: pl.DataFrame, calls: pl.DataFrame, before: int) -> list[tuple[str, pl.DataFrame]]:
    """Arrows as events: their starts at the API calls, their ends at the operations.

    Args:
        ops: operations with their rows.
        calls: API calls with their rows.
        before: number of arrows that other captures have, as IDs of arrows are unique in the file.
    """
    drawn = (
        ops.select(*CALL, "start_ns", "process", "thread")
        .join(calls, on=CALL, how="inner", suffix="_of_call")
        .with_row_index("id", before + 1)
        .with_columns(pl.lit("launch").alias("cat"), pl.lit("launch").alias("name"))
    )
    starts = drawn.select(
        pl.col("api_start_ns").alias("start_ns"), pl.col("process_of_call").alias("process"),
        pl.col("thread_of_call").alias("thread"), "cat", "name", "id",
    )  # fmt: skip
    # Binding point `e`: the arrow ends at the enclosing slice, not at the next one to begin.
    ends = drawn.select("start_ns", "process", "thread", "cat", "name", "id", pl.lit("e").alias("bp"))
    return [("s", starts.sort("start_ns")), ("f", ends.sort("start_ns"))]


def _since(frame: pl.DataFrame, zero: int) -> pl.DataFrame:
    return frame.with_columns(pl.col("^(start|end)_ns$") - zero)


def _json(phase: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Events as JSON text, each after a comma, without keys whose value is null."""
    fields = pl.struct(
        pl.col("process").alias("pid"), pl.col("thread").alias("tid"),
        pl.exclude("start_ns", "end_ns", "process", "thread"),
    ).struct.json_encode()  # fmt: skip
    times = [pl.lit(f',{{"ph":"{phase}","ts":'), _microseconds(pl.col("start_ns"))]
    if "end_ns" in frame.columns:
        times += [pl.lit(',"dur":'), _microseconds(pl.col("end_ns") - pl.col("start_ns"))]
    # A quote within a name is written with a backslash, so this pattern can only match a key.
    valued = fields.str.strip_prefix("{").str.replace_all(r'"[a-z_]+":null,', "")
    return frame.select(pl.concat_str(*times, pl.lit(","), valued))


def _microseconds(nanoseconds: pl.Expr) -> pl.Expr:
    """Microseconds with exact decimals, which a division of floats does not give."""
    return pl.concat_str(nanoseconds // 1000, pl.lit("."), (nanoseconds % 1000).cast(pl.String).str.zfill(3))
