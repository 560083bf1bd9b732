"""What a model file declares: its parts at both sizes, how a pipeline is assembled from them, and how it runs.

    from annotate.models import model
    sd = model("stable-diffusion")
    pipeline = annotate.build.build(sd, "tiny")
    sd.generate(pipeline, sd.request("tiny", steps=2))

Declaring imports neither torch nor diffusers: classes are named by their import path until a part is built.
"""

from __future__ import annotations

import importlib
import string
from collections.abc import Callable, Mapping, Set
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from ..errors import ImpossibleRequest

Size = Literal["full", "tiny"]


def imported(path: str) -> Any:
    """The class or function at an import path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@dataclass(frozen=True)
class Part:
    """A component that is not built yet: its class and its configuration.

    Args:
        cls: import path of the class, as `diffusers.UNet2DConditionModel`, or of a function that returns the component.
        config: keyword arguments of the configuration; what is absent has the class's default.
    """

    cls: str
    config: Mapping[str, Any] = field(default_factory=dict)

    def but(self, **changes: Any) -> Part:
        """Copy the part with changes to its configuration."""
        return replace(self, config={**self.config, **changes})

    def build(self) -> Any:
        """Build the component on the current default device, in the current default dtype, as its class fills it."""
        cls = imported(self.cls)
        configured = getattr(cls, "config_class", None)  # of a transformers model
        return cls(configured(**self.config)) if configured else cls(**self.config)


@dataclass(frozen=True)
class Request:
    """What one run of a model makes. Values that do not apply to a model are None in its default request.

    Args:
        steps: denoising or parallel-decoding steps.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        frames: frames of the clip.
        tokens: tokens that an autoregressive model decodes.
        prompt_tokens: tokens of the prompt, where the model does not pad it to a fixed length.
        batch: prompts per run.
        seed: seed of the noise and of random weights.
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
        """The values that apply to the model, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def prompts(self) -> list[str]:
        """One prompt per entry of the batch, of `prompt_tokens` words (seven if None); each word is one token."""
        letters = string.ascii_lowercase
        return [" ".join(letters[i % len(letters)] for i in range(self.prompt_tokens or 7))] * self.batch

    def generator(self) -> Any:
        """A random number generator on the CPU, so that the noise is the same on every device."""
        import torch

        return torch.Generator("cpu").manual_seed(self.seed)


def assembled(path: str, **fixed: Any) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function that builds a pipeline from its parts.

    Args:
        path: import path of the pipeline's class.
        fixed: further arguments of the class, beside the parts by name.
    """
    return lambda parts: imported(path)(**parts, **fixed)


def run_pipeline(pipeline: Any, request: Request, **more: Any) -> Any:
    """Call a diffusers pipeline with a request, under the argument names that most pipelines share.

    Args:
        pipeline: the pipeline.
        request: what to make; sizes and steps that are None are not passed.
        more: further arguments of the pipeline.
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
    """A model of several pipelines that run one after the other, by the name of the stage."""

    stages: Mapping[str, Any]


@dataclass(frozen=True)
class Golden:
    """Numbers of a model that do not come from this code: worked out by hand, published, or counted by torch.

    The tests compare the model with them.

    Args:
        steps: steps of one tiny run.
        ranges: number of ranges of each role in one tiny run; a role that is absent has none.
        lengths: role, number of queries and number of keys of every attention in it. Frames, places and tokens of a
            tiny model all differ in number, so that none can be mistaken for another.
        teraflops: FLOPs of one call of a component at published size and batch 1, in units of 1e12, by component, as
            torch's FlopCounterMode counts them on the meta device.
    """

    steps: int
    ranges: Mapping[str, int]
    lengths: Set[tuple[str, int, int]]
    teraflops: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """A workload: its components at published size and at a size for tests.

    Args:
        name: name on the command line.
        title: name as people write it.
        full: the published configuration, by component.
        tiny: a configuration with the same classes and block types that runs in seconds on a CPU.
        assemble: makes the pipeline from the built components.
        generate: runs the pipeline once.
        requests: the default request of each size.
        parameters: published number of parameters of each component of `full`, exactly.
        golden: numbers that the tests compare the model with.
        source: where `full` is published.
        study: row of the study (arXiv 2312.14385) that it is or stands for; None for later models.
        note: what it stands in for and where it differs, for the reader of a result.
        multiple_of: height and width are multiples of this, by size.
        pretrained: import path of the class whose `from_pretrained` loads the real weights.
    """

    name: str
    title: str
    full: Mapping[str, Part]
    tiny: Mapping[str, Part]
    assemble: Callable[[Mapping[str, Any]], Any]
    generate: Callable[[Any, Request], Any]
    requests: Mapping[Size, Request]
    parameters: Mapping[str, int]
    golden: Golden
    source: str
    study: str | None = None
    note: str = ""
    multiple_of: Mapping[Size, int] = field(default_factory=lambda: {"full": 8, "tiny": 8})
    pretrained: str | None = None

    @property
    def half(self) -> str:
        """Half-precision type that was usual when the model came out; its default on a GPU."""
        return "float16" if self.study else "bfloat16"

    def parts(self, size: Size) -> Mapping[str, Part]:
        """Components of a size."""
        return self.full if size == "full" else self.tiny

    def request(self, size: Size, **changes: int | None) -> Request:
        """The default request of a size, with changes; a change to None is none.

        Raises:
            ImpossibleRequest: a value is out of range, or does not apply to this model.
        """
        default = self.requests[size]
        asked = {name: value for name, value in changes.items() if value is not None}
        usable = [entry.name for entry in fields(Request) if getattr(default, entry.name) is not None]
        for name, value in asked.items():
            if name not in usable:
                known = ", ".join(f"--{option.replace('_', '-')}" for option in usable)
                raise ImpossibleRequest(f"{self.name} has no --{name.replace('_', '-')}: it takes {known}")
            least = 0 if name == "seed" else 1
            if value < least:
                raise ImpossibleRequest(f"--{name.replace('_', '-')} {value}: must be at least {least}")
            if name in {"height", "width"} and value % self.multiple_of[size]:
                multiple = self.multiple_of[size]
                nearest = max(multiple, round(value / multiple) * multiple)
                raise ImpossibleRequest(
                    f"--{name} {value}: {self.name} makes multiples of {multiple}: the nearest is {nearest}"
                )
        return replace(default, **asked)
