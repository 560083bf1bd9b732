"""Models that `annotate_overhead.py` runs, and how many modules a pass through each of them calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from annotate import annotate
from annotate.backends import Recorder
from annotate.build import build
from annotate.models import model
from annotate.tree import sites


@dataclass(frozen=True)
class Workload:
    """A model and one pass through it.

    Args:
        name: for people.
        module: the model.
        run: one pass.
        calls: of modules that have ranges, in one pass.
        ranges: that annotation opens in one pass: those, steps and cores of attention.
    """

    name: str
    module: nn.Module
    run: Callable[[], Any]
    calls: int
    ranges: int


def workloads() -> list[Workload]:
    """A chain of many small modules, and the U-Net of the tiny Stable Diffusion."""
    blocks = [nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.SiLU()) for _ in range(200)]
    chain, row = nn.Sequential(*blocks).eval(), torch.zeros(1, 8)
    unet = build(model("stable-diffusion"), "tiny").unet
    inputs = torch.zeros(2, 4, 16, 16), torch.tensor(500), torch.zeros(2, 13, 24)
    return [
        _counted("600 small modules in 200 blocks", chain, lambda: chain(row)),
        _counted("U-Net of tiny Stable Diffusion", unet, lambda: unet(*inputs)),
    ]


def _counted(name: str, module: nn.Module, run: Callable[[], Any]) -> Workload:
    recorder = Recorder()
    names = {site.label.name for site in sites(module)}
    with annotate(module, backend=recorder):
        run()
    calls = sum(opened.name in names for opened in recorder.ranges)
    return Workload(name, module, run, calls, len(recorder.ranges))
