"""Published facts of GPUs and models: the one door through which the analysis sees the data of `annotate`.

Nothing here is measured; every entry names its source. Importing it imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from annotate.errors import ImpossibleRequest, unknown
    from annotate.gpus import GPUS, Gpu, known
    from annotate.models import MODELS, Model, Part, Request, Size, model
else:
    from ttinsys._annotate.errors import ImpossibleRequest, unknown
    from ttinsys._annotate.gpus import GPUS, Gpu, known
    from ttinsys._annotate.models import MODELS, Model, Part, Request, Size, model

__all__ = [
    "GPUS",
    "MODELS",
    "Gpu",
    "ImpossibleRequest",
    "Model",
    "Part",
    "Request",
    "Size",
    "known",
    "model",
    "unknown_model",
]


def unknown_model(names: Iterable[str]) -> str | None:
    """An error for the first of the names that is no model: the nearest name, and the list. None where all are."""
    return next((unknown("model", name, MODELS) for name in names if name not in MODELS), None)
