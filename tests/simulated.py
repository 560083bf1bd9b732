"""Full-size traces of models that no machine here could run, made by the simulator once per run of the tests."""

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
"""Steps and tokens of a run, where a test asks for no others and the model has them."""


def simulated(name: str, attention: str = "sdpa", size: Size = "full", **changes: int) -> Path:
    """The trace of a run on an H200, as a Parquet directory.

    Args:
        name: Of the model.
        attention: How it computes attention, as `annotate.simulate --attention` takes it.
        size: As published, or for tests.
        changes: Of the model's default request.
    """

    def write(unfinished: Path) -> None:
        declared = model(name)
        few = {axis: least for axis, least in FEW.items() if getattr(declared.requests[size], axis)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            request = declared.request(size, **{**few, **changes})
            export.write(simulate(declared, size, request, gpu("h200"), attend=attention), unfinished)

    told_apart = "-".join([name, attention, size, *(f"{axis}={value}" for axis, value in sorted(changes.items()))])
    return made_once(f"{told_apart}_pqtdir", write)
