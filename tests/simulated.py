"""Traces of models that no machine here could run, made by the simulator once per run of the tests."""

from __future__ import annotations

import warnings
from pathlib import Path

from annotate.gpus import gpu
from annotate.models import Size, model
from tests.shared import made_once

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import diffusers  # noqa: F401
    import torch  # noqa: F401

    from annotate.simulation import export
    from annotate.simulation.run import simulate

FEW = {"steps": 2, "tokens": 3}
"""Steps and tokens of a run, where a model has them."""


def simulated(folder: Path, name: str, attention: str = "sdpa", size: Size = "full", **changes: int) -> Path:
    """The trace of a run on an H200, as a Parquet directory.

    Args:
        folder: The fixture `session_folder`.
        name: Of the model.
        attention: How it computes attention, as `annotate.simulate --attention` takes it.
        size: The published configuration, or the tiny one.
        changes: What differs from the default request.
    """

    def write(unfinished: Path) -> None:
        declared = model(name)
        few = {axis: least for axis, least in FEW.items() if getattr(declared.requests[size], axis)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            request = declared.request(size, **{**few, **changes})
            export.write(simulate(declared, size, request, gpu("h200"), attend=attention), unfinished)

    asked = "".join(f"-{value}-{axis}" for axis, value in changes.items())
    return made_once(folder / f"{name}-{size}-{attention}{asked}_pqtdir", write)
