"""Full-size traces of models that no machine here could run, made once per worker by the simulator."""

from __future__ import annotations

import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

from annotate.gpus import gpu
from annotate.models import model

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import diffusers  # noqa: F401
    import torch  # noqa: F401

    from annotate.simulation import export
    from annotate.simulation.run import simulate

FEW = {"steps": 2, "tokens": 3}
"""What a run does at most, where a test says nothing else."""


@cache
def simulated(name: str, attention: str = "sdpa", size: Any = "full", **changes: int) -> Path:
    """The trace of a run on an H200, as a Parquet directory."""
    declared = model(name)
    default = declared.requests[size]
    few = {axis: least for axis, least in FEW.items() if getattr(default, axis)}
    place = Path(tempfile.mkdtemp(prefix="ttinsys-simulated-")) / f"{name}-{attention}_pqtdir"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        request = declared.request(size, **{**few, **changes})
        export.write(simulate(declared, size, request, gpu("h200"), attend=attention), place)
    return place
