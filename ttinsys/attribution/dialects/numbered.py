"""Anybody's ranges whose names count something: steps, iterations, batches, layers."""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect
from ttinsys.attribution.dialects.words import folded

_HEAD, _NAME = pl.col("head"), pl.col("name")
_DECODE = (
    r"(?i)^(?:decod(?:e|ing)|generation|generate)[ _.-]*(?:step|token|iter(?:ation)?)[ _#:=-]*\d|^token[ _#:=-]*\d+$"
)
_STEP = (
    r"(?i)(?:^|[^A-Za-z])(?:denois\w*?|diffusion|sampling|inference)?[ _.-]*(?:step|iteration"
    r"|iter)[ _#:=-]*(\d{1,9})(?:[^A-Za-z0-9.]|$)"
)

DIALECT = Dialect(
    name="numbered",
    doc="ranges with a number in their name, which fold into one group; numbers of steps and iterations are read",
    source="NVTX examples of NVIDIA; scripts that number their iterations",
    claims=_HEAD.str.contains(r"[0-9]"),
    reads={
        "group": folded(_NAME),
        "step": _NAME.str.extract(_STEP, 1).cast(pl.Int64, strict=False),
        "phase": pl.when(_HEAD.str.contains(_DECODE)).then(pl.lit("decode")),
    },
    examples={
        "step_12": {"group": "step_#", "step": 12},
        "iteration 3": {"group": "iteration #", "step": 3},
        "denoising_step_7": {"group": "denoising_step_#", "step": 7, "phase": None},
        "decode_step_5": {"group": "decode_step_#", "step": 5, "phase": "decode"},
        "batch 4 of 10": {"group": "batch # of #", "step": None},
        "resnet50": {"group": "resnet50", "step": None},
        "layer4": {"group": "layer4", "step": None},
    },
    rank=90,
)
