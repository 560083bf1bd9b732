"""The models: one file each, with the sizes that were published of it; found by name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from functools import cache

from annotate.errors import UnknownModel
from annotate.models.spec import Cascade, Model, Part, Request, Size

MODELS: Mapping[str, str] = {
    "stable-diffusion": "stable_diffusion",
    "imagen": "imagen",
    "muse": "muse",
    "parti": "parti",
    "parti-3b": "parti",
    "sdxl": "sdxl",
    "make-a-video": "make_a_video",
    "phenaki": "phenaki",
    "llama2-7b": "llama2",
    "llama2-70b": "llama2",
    "svd": "svd",
    "animatediff": "animatediff",
    "sd3": "sd3",
    "flux": "flux",
    "pixart": "pixart",
    "kandinsky-2.2": "kandinsky",
    "latte": "latte",
    "cogvideox-2b": "cogvideox",
    "cogvideox-5b": "cogvideox",
    "hunyuan-video": "hunyuan_video",
    "ltx": "ltx",
    "mochi": "mochi",
    "wan-1.3b": "wan",
    "wan-14b": "wan",
}
"""File of each model, the study's eight first."""


@cache
def model(name: str) -> Model:
    """A model by name.

    Raises:
        UnknownModel: no model has that name.
    """
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(MODELS)}"
        raise UnknownModel(f"no model {name}: {hint}")
    module = importlib.import_module(f"annotate.models.{MODELS[name]}")
    found: Model = next(declared for declared in module.MODELS if declared.name == name)
    return found


__all__ = ["MODELS", "Cascade", "Model", "Part", "Request", "Size", "model"]
