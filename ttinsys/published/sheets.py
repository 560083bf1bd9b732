"""Data sheets of GPUs and specifications of models: the one door through which the analysis sees those of `annotate`.

Nothing here is measured; every entry names its source. Importing it imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from annotate.errors import ImpossibleRequest
from annotate.gpus import GPUS, Gpu, known
from annotate.models import MODELS, Model, Part, Request, Size, model

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
    "unknown_models",
]


def unknown_models(names: Iterable[str]) -> str:
    """What to say of names that are not among `MODELS`: the nearest one of each, and all that there are."""
    unknown = [name for name in names if name not in MODELS]
    nearest = dict.fromkeys(near for name in unknown for near in get_close_matches(name, MODELS, 1))
    suggestion = f"did you mean {' '.join(nearest)}? There" if nearest else "there"
    return f"no model {', '.join(unknown)}: {suggestion} are {', '.join(MODELS)}"
