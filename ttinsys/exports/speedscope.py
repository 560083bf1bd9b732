"""Speedscope's own format: one sampled profile per trace, with stacks weighted by GPU time in ns.

The schema is https://www.speedscope.app/file-format-schema.json.
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
    """Profiles of captures; frames of the same name are shared.

    Args:
        captures: captures with `COLUMNS`, one profile for each.

    Returns:
        A function that writes the file. The weights of a profile add up to the time of its operations.
    """
    numbered = _Numbered()
    profiles = [_profile(capture, stacks(capture, numbered, ",")) for capture in captures]
    head = {
        "$schema": SCHEMA,
        "exporter": f"ttinsys {__version__}",
        "name": captures[0].name if len(captures) == 1 else f"{len(captures)} traces",
        "activeProfileIndex": 0,
        "shared": {"frames": [{"name": name} for name in numbered.numbers]},
    }

    # Profiles are JSON text already, made by Polars: they are appended to the head without parsing them again.
    def write(file: IO[bytes]) -> None:
        file.write(json.dumps(head).removesuffix("}").encode() + b', "profiles": [')
        file.write(",\n".join(profiles).encode())
        file.write(b"]}\n")

    return write


def _profile(capture: Capture, weighted: pl.DataFrame) -> str:
    """A profile as JSON. Each stack is already text: the numbers of its frames, joined by commas."""
    head = {
        "type": "sampled",
        "name": capture.name + (f" ({capture.simulated})" if capture.simulated else ""),
        "unit": "nanoseconds",
        "startValue": 0,
        "endValue": int(weighted["sum_ns"].sum()),
    }
    samples = weighted.select(pl.format("[{}]", "stack"))["stack"].str.join(",").item() or ""
    weights = weighted["sum_ns"].cast(pl.String).str.join(",").item() or ""
    return json.dumps(head).removesuffix("}") + f', "samples": [{samples}], "weights": [{weights}]}}'


class _Numbered:
    """Numbers names in the order of their first use, and writes each name as its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, names: pl.Series) -> pl.Series:
        for name in names.unique(maintain_order=True):
            self.numbers.setdefault(name, len(self.numbers))
        return names.replace_strict(self.numbers, return_dtype=pl.Int64).cast(pl.String)
