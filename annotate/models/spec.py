"""What a model file declares: its parts, published and tiny; how a pipeline is made of them; how it is run.

    from annotate.models import model
    sd = model("stable-diffusion")
    pipeline = sd.build("tiny")
    sd.generate(pipeline, sd.request("tiny", steps=2))

Declaring imports neither torch nor diffusers: classes are named by their import path until a part is built.
"""

from __future__ import annotations

import importlib
import string
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from annotate.errors import ImpossibleRequest

Size = Literal["full", "tiny"]


def imported(path: str) -> Any:
    """The class or function at an import path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Part:
    """One component before it is built: a class and what its configuration says.

    Args:
        cls: import path of the class, as `diffusers.UNet2DConditionModel`, or of a function of ours that makes it.
        config: keyword arguments of its configuration; what is absent is the class's default.
    """

    cls: str
    config: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Part:
        """The same part with some of its configuration changed."""
        return replace(self, config={**self.config, **changes})

    def build(self) -> Any:
        """Make it: on the current default device, in the current default dtype, its weights as its class sets them."""
        cls = imported(self.cls)
        configured = getattr(cls, "config_class", None)  # of a transformers model
        return cls(configured(**self.config)) if configured else cls(**self.config)


@dataclass(frozen=True)
class Request:
    """What is asked of a model in one run. What does not apply to a model is None in its own defaults.

    Args:
        steps: denoising or parallel-decoding steps.
        height, width: of the picture, in pixels.
        frames: of the clip.
        tokens: to decode, for an autoregressive model.
        prompt_tokens: of the prompt, where the model does not pad it to a fixed length.
        batch: prompts at once.
        seed: of the noise.
    """

    steps: int | None = None
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    batch: int = 1
    seed: int = 0

    def asked(self) -> dict[str, int]:
        """What is asked, without what the model has no use for."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def prompts(self) -> list[str]:
        """As many prompts as the batch holds, of `prompt_tokens` words, or of seven; each word is one token."""
        letters = string.ascii_lowercase
        return [" ".join(letters[i % len(letters)] for i in range(self.prompt_tokens or 7))] * self.batch

    def generator(self) -> Any:
        """A generator of random numbers on the CPU, where pipelines draw the same noise for every device."""
        import torch

        return torch.Generator("cpu").manual_seed(self.seed)


def assembled(path: str, **fixed: Any) -> Callable[[Mapping[str, Any]], Any]:
    """What makes a pipeline of this class of all the parts, by their names, and of what is fixed."""
    return lambda parts: imported(path)(**parts, **fixed)


def run_pipeline(pipeline: Any, request: Request, **more: Any) -> Any:
    """Ask a diffusers pipeline for what a request holds, under the names that most pipelines have for it.

    Args:
        pipeline: called with the prompts.
        request: sizes and steps that are None are not passed.
        more: further arguments.
    """
    named = {
        "height": request.height,
        "width": request.width,
        "num_frames": request.frames,
        "num_inference_steps": request.steps,
    }
    given = {name: value for name, value in named.items() if value is not None}
    return pipeline(request.prompts, **given, generator=request.generator(), output_type="pt", **more)


@dataclass(frozen=True)
class Cascade:
    """Pipelines that run one after the other, by stage: what a model is whose stages are pipelines of their own."""

    stages: Mapping[str, Any]


@dataclass(frozen=True)
class Model:
    """A workload: what it is made of, at its published size and at a size for tests.

    Args:
        name: as on the command line.
        title: as people write it.
        full: the published configuration, by component.
        tiny: a configuration with the same classes and block types that runs in seconds on a CPU, whose frames,
            height times width and text length all differ, so that no two sequence lengths are confused.
        assemble: makes the pipeline of the built components.
        generate: runs it once.
        requests: what each size runs by default.
        parameters: published number of parameters by component of `full`, exactly.
        source: where `full` is published.
        study: the row of the study (arXiv 2312.14385) that it is or stands for; None for models of today.
        note: what a reader should know of it: what it stands in for, and where it differs.
        multiple_of: height and width (and frames, less one where so said) that the model can make.
        pretrained: the class whose `from_pretrained` loads the real weights, by import path.
    """

    name: str
    title: str
    full: Mapping[str, Part]
    tiny: Mapping[str, Part]
    assemble: Callable[[Mapping[str, Any]], Any]
    generate: Callable[[Any, Request], Any]
    requests: Mapping[Size, Request]
    parameters: Mapping[str, int]
    source: str
    study: str | None = None
    note: str = ""
    multiple_of: Mapping[Size, int] = field(default_factory=lambda: {"full": 8, "tiny": 8})
    pretrained: str | None = None

    @property
    def half(self) -> str:
        """Type in which it runs on a GPU: what was usual when it came out."""
        return "float16" if self.study else "bfloat16"

    def parts(self, size: Size) -> Mapping[str, Part]:
        """Components of a size."""
        return self.full if size == "full" else self.tiny

    def request(self, size: Size, **changes: int | None) -> Request:
        """The default request of a size, with what is given (and is not None) changed.

        Raises:
            ImpossibleRequest: a value out of range, or one that this model has no use for.
        """
        default = self.requests[size]
        asked = {name: value for name, value in changes.items() if value is not None}
        usable = [entry.name for entry in fields(Request) if getattr(default, entry.name) is not None]
        for name, value in asked.items():
            if name not in usable:
                known = ", ".join(f"--{option.replace('_', '-')}" for option in usable)
                raise ImpossibleRequest(f"{self.name} has no --{name.replace('_', '-')}: it takes {known}")
            if value < (0 if name == "seed" else 1):
                raise ImpossibleRequest(f"--{name.replace('_', '-')} {value}: must be at least 1")
            if name in {"height", "width"} and value % self.multiple_of[size]:
                multiple = self.multiple_of[size]
                nearest = max(multiple, round(value / multiple) * multiple)
                raise ImpossibleRequest(
                    f"--{name} {value}: {self.name} makes multiples of {multiple}: the nearest is {nearest}"
                )
        return replace(default, **asked)
