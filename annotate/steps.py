"""Steps: where one begins and ends, in pipelines that have no method for it.

A denoising step opens at the first `scale_model_input` or call of the denoiser, and closes after `scheduler.step`: a
denoiser may run twice in it (guidance in two passes), and a scheduler may step more often than it was asked to (PNDM).
Between the denoiser and the scheduler lies guidance, where it is on. An autoregressive model's step is one call of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from annotate.labels import PHASES, ModuleLabel
from annotate.tracer import Tracer
from annotate.wrappers import Wrapper, is_compiling

STEP = "step"
GUIDANCE = "guidance"


class Steps(threading.local):
    """The steps of one pipeline, on each thread its own.

    Args:
        tracer: what opens and closes their ranges.
        prefix: what their names begin with.
        guided: whether guidance is on, asked whenever the denoiser has run.
        component: part of the pipeline that takes the steps.
    """

    def __init__(self, tracer: Tracer, prefix: str, guided: Callable[[], bool], component: str | None = None) -> None:
        self.tracer = tracer
        self.step = ModuleLabel(prefix + STEP, cls=STEP, component=component, level="step")
        self.guidance = ModuleLabel(prefix + GUIDANCE, cls=GUIDANCE, component="denoiser", level="stage")
        self.guided = guided
        self.index = 0
        self.is_open = False
        self.guiding = False

    def begin(self, **values: int) -> None:
        """Something of a step starts: open one if none is open."""
        self._close_guidance()
        if not self.is_open:
            self.tracer.open(self.step, {"step": self.index, **values})
            self.is_open = True

    def denoised(self) -> None:
        """The denoiser has returned: what follows is guidance, if it is on."""
        if self.is_open and not self.guiding and self.guided():
            self.tracer.open(self.guidance)
            self.guiding = True

    def schedule(self) -> None:
        """The scheduler is about to step: guidance is over."""
        self._close_guidance()

    def end(self) -> None:
        """The step is done."""
        self.abandon()
        self.index += 1
        self.tracer.steps_taken += 1

    def abandon(self) -> None:
        """Close what is open, on whatever way out."""
        self._close_guidance()
        if self.is_open:
            self.is_open = False
            self.tracer.close()

    def _close_guidance(self) -> None:
        if self.guiding:
            self.guiding = False
            self.tracer.close()

    def restart(self) -> None:
        """A new run: steps count from zero."""
        self.abandon()
        self.index = 0


class _OfSteps(Wrapper):
    def __init__(self, inner: Callable[..., Any], steps: Steps) -> None:
        super().__init__(inner)
        self.steps = steps


class Denoises(_OfSteps):
    """Around the call of a denoiser."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off:
            return self.inner(*args, **kwargs)
        self.steps.begin()
        try:
            output = self.inner(*args, **kwargs)
        except BaseException:
            self.steps.abandon()
            raise
        self.steps.denoised()
        return output


class Begins(_OfSteps):
    """Around `scheduler.scale_model_input`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.off:
            self.steps.begin()
        return self.inner(*args, **kwargs)


class Ends(_OfSteps):
    """Around `scheduler.step`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.off:
            return self.inner(*args, **kwargs)
        self.steps.schedule()
        try:
            output = self.inner(*args, **kwargs)
        except BaseException:
            self.steps.abandon()
            raise
        self.steps.end()
        return output


class Restarts(_OfSteps):
    """Around `scheduler.set_timesteps`, or `generate`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.off:
            self.steps.restart()
        return self.inner(*args, **kwargs)


class IsStep(_OfSteps):
    """Around the call of an autoregressive model, each of which is a step."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if is_compiling() or self.off or self.steps.is_open:
            return self.inner(*args, **kwargs)
        self.steps.begin(**phase(args, kwargs))
        try:
            return self.inner(*args, **kwargs)
        finally:
            self.steps.end()


_QUERIES = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")


def phase(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, int]:
    """`prefill` where many tokens are read at once, `decode` where one is; nothing where there are no tokens."""
    named = next((kwargs[name] for name in _QUERIES if kwargs.get(name) is not None), None)
    first = args[0] if args and getattr(args[0], "dtype", None) in _TOKENS else None
    shape: Sequence[int] = getattr(first if named is None else named, "shape", ())
    return {"phase": PHASES.index("prefill" if shape[1] > 1 else "decode")} if len(shape) > 1 else {}


_TOKENS = (torch.int64, torch.int32)
