"""Speedscope's own format: one sampled profile per trace, its stacks weighted by nanoseconds of GPU time.

Written after https://www.speedscope.app/file-format-schema.json.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import IO

import polars as pl

from ttinsys import __version__
from ttinsys.exports import Capture, stacks

COLUMNS = ("kernel",)
SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def writer(captures: Sequence[Capture]) -> Callable[[IO[bytes]], None]:
    """Make profiles of captures, of which frames of one name are one.

    Args:
        captures: a profile each.

    Returns:
        What writes the file; the weights of a profile add up to the time of its operations.
    """
    numbered = _Numbered()
    found = [stacks(capture, numbered, ",") for capture in captures]
    profiles = [_profile(capture, frame) for capture, frame in zip(captures, found, strict=True)]
    whole = {
        "$schema": SCHEMA,
        "exporter": f"ttinsys {__version__}",
        "name": captures[0].name if len(captures) == 1 else f"{len(captures)} traces",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in numbered.numbers]},
    }

    def write(file: IO[bytes]) -> None:
        file.write(json.dumps(whole).removesuffix("}").encode() + b', "profiles": [')
        file.write(",\n".join(profiles).encode())
        file.write(b"]}\n")

    return write


def _profile(capture: Capture, found: pl.DataFrame) -> str:
    """A profile as JSON; a stack is already written as numbers with commas between them."""
    head = {
        "type": "sampled",
        "name": capture.name + (f" ({capture.simulated})" if capture.simulated else ""),
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": int(found["sum_ns"].sum()),
    }
    samples = found.select(pl.format("[{}]", "stack"))["stack"].str.join(",").item() or ""
    weights = found["sum_ns"].cast(pl.String).str.join(",").item() or ""
    return json.dumps(head).removesuffix("}") + f', "samples": [{samples}], "weights": [{weights}]}}'


class _Numbered:
    """Writes a name as its number, the same wherever it occurs."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, names: pl.Series) -> pl.Series:
        for name in names.unique(maintain_order=True):
            self.numbers.setdefault(name, len(self.numbers))
        return names.replace_strict(self.numbers, return_dtype=pl.Int64).cast(pl.String)
