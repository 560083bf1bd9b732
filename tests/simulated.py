"""Full-size traces of models that no machine here could run, made by the simulator once per run of the tests."""

from __future__ import annotations

import warnings
from pathlib import Path

from annotate.gpus import gpu
from annotate.models import model
from tests.shared import made_once

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import diffusers  # noqa: F401
    import torch  # noqa: F401

    from annotate.simulation import export
    from annotate.simulation.run import simulate

FEW = {"steps": 2, "tokens": 3}
"""Steps and tokens of a run, where a model has them."""


def simulated(folder: Path, name: str, attention: str) -> Path:
    """The trace of a full-size run on an H200, as a Parquet directory.

    Args:
        folder: The fixture `session_folder`.
        name: Of the model.
        attention: How it computes attention, as `annotate.simulate --attention` takes it.
    """

    def write(unfinished: Path) -> None:
        declared = model(name)
        few = {axis: least for axis, least in FEW.items() if getattr(declared.requests["full"], axis)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            request = declared.request("full", **few)
            export.write(simulate(declared, "full", request, gpu("h200"), attend=attention), unfinished)

    return made_once(folder / f"{name}-{attention}_pqtdir", write)
