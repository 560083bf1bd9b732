"""Calls of PyTorch operations as its profiler records them, from what torch dispatches. Import it where torch is."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Recorded:
    """A dispatched call, and what torch counts for it.

    Args:
        name: With namespace, without overload.
        sizes: As `Input Dims`.
        values: As `Concrete Inputs`.
        output: Size of the first result.
        flops: torch's own count; None where torch has no formula.
    """

    name: str
    sizes: list[Any]
    values: list[str]
    output: list[int] | None
    flops: int | None


class Dispatched(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records what runs inside it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Recorded] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        output = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        first = output[0] if isinstance(output, tuple) else output
        self.calls.append(
            Recorded(
                func._schema.name,
                [_size(each) for each in args],
                [_value(each) for each in args],
                list(first.shape) if isinstance(first, torch.Tensor) else None,
                formula(*args, **(kwargs or {}), out_val=output) if formula else None,
            )
        )
        return output


def dispatched(run: Callable[[], object]) -> list[Recorded]:
    """Calls that torch has a formula for, in the order in which `run` makes them."""
    with Dispatched() as mode:
        run()
    return [call for call in mode.calls if call.flops is not None]


def _size(value: Any) -> list[Any]:
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    if isinstance(value, list | tuple) and value and all(isinstance(each, torch.Tensor) for each in value):
        return [list(each.shape) for each in value]
    return []


def _value(value: Any) -> str:
    return str(value) if isinstance(value, int | float | list | tuple) and not _size(value) else ""


def profiled(run: Callable[[], object], path: Path) -> pl.DataFrame:
    """Operations that `run` makes, as `operations_of` reads them from the trace that is written to `path`."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiler:
        run()
    profiler.export_chrome_trace(str(path))
    return operations_of(path)


def operations_of(path: Path) -> pl.DataFrame:
    """Operations in a trace of PyTorch's profiler: `row`, `parent`, `operation`, `sizes`, `types`, `values`."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    events = json.loads(content)["traceEvents"]
    operations = [event for event in events if event.get("cat") == "cpu_op" and "dur" in event]
    operations.sort(key=lambda event: (event["tid"], event["ts"], -event["dur"]))
    rows: list[tuple[object, ...]] = []
    enclosing: list[tuple[int, float, int]] = []
    for row, event in enumerate(operations):
        thread, start = event["tid"], event["ts"]
        while enclosing and (enclosing[-1][0] != thread or enclosing[-1][1] <= start):
            enclosing.pop()
        arguments = [_text(event["args"], key) for key in ("Input Dims", "Input type", "Concrete Inputs")]
        rows.append((row, enclosing[-1][2] if enclosing else None, event["name"], *arguments))
        enclosing.append((thread, start + event["dur"], row))
    columns = {"row": pl.Int64, "parent": pl.Int64} | dict.fromkeys(
        ("operation", "sizes", "types", "values"), pl.String
    )
    return pl.DataFrame(rows, schema=columns, orient="row")


def _text(arguments: dict[str, Any], key: str) -> str | None:
    return json.dumps(arguments[key]) if key in arguments else None


def outermost(operations: pl.DataFrame, own: Sequence[int | None]) -> pl.DataFrame:
    """Operations with a value in `own` that no other such operation encloses."""
    parent = dict(operations.select("row", "parent").iter_rows())
    has = {row for row, value in zip(operations["row"], own, strict=True) if value}

    def enclosed(row: int) -> bool:
        above = parent[row]
        while above is not None and above not in has:
            above = parent[above]
        return above is not None

    return operations.filter(pl.col("row").is_in([row for row in has if not enclosed(row)]))
