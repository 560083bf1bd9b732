"""Events of the PyTorch profiler (Kineto) as typed columns, one frame for each kind of event.

Times are integers of nanoseconds, to the digit that the file has: `ts` and `dur` are decimal numbers of microseconds,
and as floats of 64 bits those of a Unix time would lose a quarter of a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from parsers.chrome_json import ChromeTrace, EventColumns

ATTRIBUTES = {
    "input_dims": "Input Dims",
    "input_type": "Input type",
    "concrete_inputs": "Concrete Inputs",
    "fwd_thread_id": "Fwd thread id",
}
"""Members of `args` of an operator that become its structured payload, in this order, by our name."""

ARGS = {
    "correlation": "correlation",
    "device": "device",
    "context": "context",
    "stream": "stream",
    "grid": "grid",
    "block": "block",
    "registers": "registers per thread",
    "graph_node": "graph node id",
    "bytes": "bytes",
    "copy": "kind",
    "sequence": "Sequence number",
    "label": "name",
    **ATTRIBUTES,
}
"""Members of `args` that are read, by our name."""

_GPU = ("device", "context", "stream", "correlation", "graph_node")
_COLUMNS = {
    "kernel": (*_GPU, "grid", "block", "registers"),
    "memcpy": (*_GPU, "bytes", "copy"),
    "memset": (*_GPU, "bytes"),
    "call": ("correlation",),
    "range": ("cat", "sequence", *ATTRIBUTES),
    "instant": (),
    "metadata": ("label",),
}
"""Kinds of events, and what is read of each beside name, process, thread and time."""

_CATEGORIES = {
    "kernel": "kernel",
    "gpu_memcpy": "memcpy",
    "memcpy": "memcpy",
    "gpu_memset": "memset",
    "memset": "memset",
    "runtime": "call",
    "cpu_op": "range",
    "operator": "range",
    "user_annotation": "range",
    "python_function": "module",
}
"""Kind of event by its category, in lower case. PyTorch before 1.13 writes `Kernel`, `Memcpy` and `Operator`."""

_CALLS = r"_(runtime|driver)$"
"""End of the categories of API calls: `cuda_runtime`, `cuda_driver`, `hip_runtime`."""
_NAMES = {"module": '^"nn.Module: ', "metadata": '^"(process|thread)_name"$'}
"""Names of the wanted events of a kind. Python frames that are no call of a module may be millions."""

_WORDS = ("name", "cat", "pid", "tid", "label", "copy", "attributes")
_SIZES = ("grid", "block")
_LATEST_US = 4 * 10**15
"""Bound on times, the year 2096, so that the nanoseconds of a start and a duration fit into 64 bits together."""


def frames(trace: ChromeTrace) -> dict[str, pl.DataFrame]:
    """The events of a trace.

    Args:
        trace: an opened file, with the members `ARGS`.

    Returns:
        A frame for each kind: `kernel`, `memcpy`, `memset`, `call`, `range` (operators, modules and annotations),
        `instant` and `metadata`. Each has `name`, `pid`, `tid`, `start`, `end` and what this kind has beside. Texts are
        categorical, all of the same categories, and JSON as it stands in the file. Times are in ns, null where absent.
    """
    words = pl.Categorical(pl.Categories.random())
    parts: dict[str, list[pl.DataFrame]] = {kind: [] for kind in _COLUMNS}
    for events in trace.parts():
        kinds = _kinds(events)
        for kind, names in _COLUMNS.items():
            text = events.at((kinds == kind).arg_true()).columns("name", "pid", "tid", "ts", "dur", *names)
            parts[kind].append(text.select(_typed(kind, text.columns, words)))
    return {kind: pl.concat(of_kind) for kind, of_kind in parts.items()}


def _kinds(events: EventColumns) -> pl.Series:
    """Kind of each event; null for what is left out."""
    phase, lower = pl.col("ph"), pl.col("cat").str.strip_chars('"').str.to_lowercase()
    kind = (
        pl.when(phase == '"X"')
        .then(
            pl.when(lower.str.contains(_CALLS))
            .then(pl.lit("call"))
            .otherwise(lower.replace_strict(_CATEGORIES, default=None, return_dtype=pl.String))
        )
        .when(phase.str.to_lowercase() == '"i"')
        .then(pl.lit("instant"))
        .when(phase == '"M"')
        .then(pl.lit("metadata"))
    )
    kinds = events.columns("ph", "cat").select(kind.alias("kind"))["kind"]
    for of_kind, wanted in _NAMES.items():
        rows = (kinds == of_kind).arg_true()
        others = rows.filter(~events.at(rows).column("name").str.contains(wanted).fill_null(value=False))
        kinds = kinds.scatter(others, None)
    return kinds.replace("module", "range")


def _typed(kind: str, columns: list[str], words: pl.Categorical) -> Iterator[pl.Expr]:
    """Expressions of the columns of a kind of event over the columns of text."""
    start, duration = _microseconds("ts"), _microseconds("dur")
    yield _nanoseconds(start).alias("start")
    # Rounding keeps the order of times, so ends that are rounded as starts are keep ranges inside each other. Of
    # operations the duration counts: sums of rounded durations are those of the file.
    end = _nanoseconds(start + duration) if kind == "range" else _nanoseconds(start) + _nanoseconds(duration)
    yield end.alias("end")
    if kind == "range":
        yield _attributes().cast(words).alias("attributes")
    for name in columns:
        if name in _WORDS:
            yield pl.col(name).cast(words)
        elif name in _SIZES:
            sizes = pl.col(name).str.strip_chars("[] \n\t").str.split_exact(",", 2).struct
            yield from (_whole(sizes.field(f"field_{at}")).alias(f"{name}_{axis}") for at, axis in enumerate("xyz"))
        elif name not in {"ts", "dur", *ATTRIBUTES}:
            yield _whole(pl.col(name)).alias(name)


def _microseconds(name: str) -> pl.Expr:
    """A time in us as a decimal number; null where it is none."""
    number = pl.col(name).str.strip_chars('"').cast(pl.Decimal(38, 6), strict=False)
    return pl.when(number.abs() < _LATEST_US).then(number)


def _nanoseconds(microseconds: pl.Expr) -> pl.Expr:
    return (microseconds * 1000).round(0).cast(pl.Int64)


def _whole(text: pl.Expr) -> pl.Expr:
    """An integer; null where there is none, or none of 64 bits."""
    text = text.str.strip_chars('" \n\t')
    return pl.coalesce(
        text.cast(pl.Int64, strict=False), text.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    )


def _attributes() -> pl.Expr:
    """JSON with those of `ATTRIBUTES` that an event has; null where it has none."""
    members = [pl.lit(f'"{spelling}":') + pl.col(name) for name, spelling in ATTRIBUTES.items()]
    joined = pl.concat_str(members, separator=",", ignore_nulls=True)
    return pl.when(joined != "").then(pl.lit("{") + joined + "}")
