"""The models: each file beside this one declares one, at its published size and at a tiny one.

    model("stable-diffusion").parameters   # {"unet": 859520964, ...}
    list(MODELS)                           # names of all models

A file declares `MODELS`, a tuple of `annotate.models.spec.Model`, and is found by lying here: no list names it.
The name of a model is that of its file with dashes, followed by a size or version where there are several. What models
share lies in `parts`. Declaring imports neither torch nor diffusers.

The analysis reads these files too, under another package name (see `ttinsys/_annotate`): they import each other
relatively.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cached_property

from ..errors import UnknownModel, unknown
from .spec import Cascade, Golden, Model, Part, Request, Size

STUDY = ("Stable Diffusion", "Imagen", "Muse", "Parti", "Prod Image", "Make-A-Video", "Phenaki", "LLaMA2")
"""Models of the study (arXiv 2312.14385); those that stand for them are listed first, in this order."""


class Declared(Mapping[str, Model]):
    """The models of a package's files by name: those of the study first, then by file.

    Args:
        package: import path of the package.
    """

    def __init__(self, package: str) -> None:
        self._package = package

    def __getitem__(self, name: str) -> Model:
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    @cached_property
    def files(self) -> Mapping[str, tuple[Model, ...]]:
        """The models that each file declares, by the name of the file without its suffix.

        Raises:
            ValueError: a file declares no model, one that is not named after it, or one of another study.
        """
        path = importlib.import_module(self._package).__path__
        names = [file.name for file in pkgutil.iter_modules(path) if not file.ispkg and file.name != "spec"]
        return {name: self._declared_in(name) for name in sorted(names)}

    @cached_property
    def _models(self) -> dict[str, Model]:
        return {model.name: model for models in sorted(self.files.values(), key=_place) for model in models}

    def _declared_in(self, file: str) -> tuple[Model, ...]:
        module = importlib.import_module(f"{self._package}.{file}")
        models: tuple[Model, ...] = getattr(module, "MODELS", ())
        if not models:
            raise ValueError(f"{module.__file__} declares no model: give it MODELS, a tuple of Model")
        expected = file.replace("_", "-")
        for model in models:
            if model.study not in {None, *STUDY}:
                rows = ", ".join(STUDY)
                raise ValueError(
                    f"{module.__file__}: study={model.study!r} is not a model of the study: there are {rows}"
                )
            if model.name != expected and not model.name.startswith(f"{expected}-"):
                raise ValueError(
                    f"{module.__file__} declares the model {model.name}: call it {expected} or {expected}-SIZE, or "
                    "rename the file"
                )
        return models


def _place(models: tuple[Model, ...]) -> int:
    """Position of a file's models: that in the study, or after it."""
    return min((STUDY.index(model.study) for model in models if model.study), default=len(STUDY))


MODELS = Declared(__name__)
"""All models by name."""


def model(name: str) -> Model:
    """A model by name.

    Raises:
        UnknownModel: no model has that name.
    """
    if name in MODELS:
        return MODELS[name]
    variants = [variant.name for variant in MODELS.files.get(name.replace("-", "_"), ())]
    if variants:
        raise UnknownModel(f"no model {name}: {name.replace('-', '_')}.py declares {' and '.join(variants)}")
    raise UnknownModel(unknown("model", name, MODELS))


__all__ = ["MODELS", "Cascade", "Golden", "Model", "Part", "Request", "Size", "model"]
