"""Runs tiny models, annotated, and writes down what was opened: a program for nsys to capture.

python tests/annotated.py OPENED.json stable-diffusion wan-1.3b
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from annotate import annotate
from annotate.backends import Nvtx, Recorder
from annotate.build import build
from annotate.models import model

FIELDS = ("step", "q_len", "kv_len", "flops", "bytes")


class Both:
    """Ranges and marks go to NVTX and into memory."""

    def __init__(self) -> None:
        self.nvtx, self.recorder = Nvtx(), Recorder()
        self.active, self.handle = self.nvtx.active, None

    def prepared(self, name: str, role: str, call: int) -> tuple[Any, Any]:
        return self.nvtx.prepared(name, role, call), self.recorder.prepared(name, role, call)

    def push(self, prepared: tuple[Any, Any], _handle: None) -> None:
        self.nvtx.push(prepared[0], self.nvtx.handle)
        self.recorder.push(prepared[1], None)

    def pop(self, _handle: None) -> None:
        self.recorder.pop(None)
        self.nvtx.pop(self.nvtx.handle)

    def mark(self, text: str, category: int = 0, payload: int | None = None) -> None:
        self.nvtx.mark(text, category, payload)


def main(opened: Path, names: list[str]) -> None:
    """Run the models one after the other, in one domain."""
    both = Both()
    assert both.active, "nothing listens to NVTX"
    with torch.no_grad():
        for name in names:
            declared = model(name)
            pipeline = build(declared, "tiny")
            with annotate(pipeline, backend=both, name=name) as annotation:
                declared.generate(pipeline, declared.request("tiny"))
            assert not both.recorder.open
    calls = annotation.tracer.calls
    rows = [
        {"name": r.name, "role": r.role, "depth": r.depth, **{k: calls.values(r.call).get(k) for k in FIELDS}}
        for r in both.recorder.ranges
    ]
    opened.write_text(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
