"""Run a script with all its diffusers pipelines annotated, without changing a line of it."""

from __future__ import annotations

import functools
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from annotate.backends import Backend
from annotate.errors import AnnotateError, NothingRecorded
from annotate.hooks import Annotation, attach, nvtx
from annotate.patches import Patches
from annotate.tree import roots


class EveryPipeline:
    """Annotates every pipeline at its first call, and again after its modules were exchanged.

    Args:
        granularity: finest level that has ranges of its own.
        backend: where ranges go; NVTX if None.

    Attributes:
        calls: number of calls that attached ranges.
    """

    def __init__(self, granularity: str = "leaf", backend: Backend | None = None) -> None:
        self._granularity = granularity
        self._backend = nvtx() if backend is None else backend
        self._patches = Patches()
        self._classes: set[type] = set()
        self._annotated: WeakKeyDictionary[Any, tuple[Annotation, tuple[int, ...]]] = WeakKeyDictionary()
        self.calls = 0

    def __enter__(self) -> EveryPipeline:
        from diffusers import DiffusionPipeline

        # Every pipeline calls this method when it is made, whatever its class.
        self._patches.put(DiffusionPipeline, "register_modules", self._registering)
        return self

    def __exit__(self, *_: object) -> None:
        for annotation, _ in list(self._annotated.values()):
            annotation.detach()
        self._patches.restore()

    def _registering(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def register_modules(pipeline: Any, **modules: Any) -> Any:
            cls = type(pipeline)
            if cls not in self._classes and callable(getattr(cls, "__call__", None)):  # noqa: B004 - is it its own
                self._classes.add(cls)
                self._patches.put(cls, "__call__", self._calling)
            return inner(pipeline, **modules)

        return register_modules

    def _calling(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def call(pipeline: Any, *args: Any, **kwargs: Any) -> Any:
            if self._attached(pipeline):
                return inner(pipeline, *args, **kwargs)
            self.calls += 1
            # The annotation has put a stand-in of its own on the class: go through that.
            return type(pipeline).__call__(pipeline, *args, **kwargs)

        return call

    def _attached(self, pipeline: Any) -> bool:
        """Whether a pipeline is annotated with its current modules; if it is not, attach ranges now."""
        modules = tuple(id(module) for root in roots(pipeline) for module in root.components.values())
        annotation, known = self._annotated.get(pipeline, (None, ()))
        if annotation is not None and known == modules:
            return True
        if annotation is not None:
            annotation.detach()
        self._annotated[pipeline] = attach(pipeline, granularity=self._granularity, backend=self._backend), modules
        return False


def run_script(script: Path, arguments: Sequence[str], *, granularity: str = "leaf") -> None:
    """Run a script as `python SCRIPT ARGUMENTS...` does, with its pipelines annotated.

    Args:
        script: path of the script.
        arguments: its arguments.
        granularity: finest level that has ranges of its own.

    Raises:
        AnnotateError: there is no such file.
        NothingRecorded: the script called no pipeline.
    """
    if not script.is_file():
        raise AnnotateError(f"{script}: no such file: --script takes the path of a Python script")
    before, path = sys.argv, sys.path[:]
    sys.argv, sys.path[0] = [str(script), *arguments], str(script.resolve().parent)
    try:
        with EveryPipeline(granularity) as pipelines:
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path[:] = before, path
    if not pipelines.calls:
        raise NothingRecorded(f"{script} called no diffusers pipeline, so nothing was annotated")
