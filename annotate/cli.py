"""What the commands of this package share: options, and one place that turns errors into a line and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NoReturn

import click

from annotate.errors import FAILED, AnnotateError
from annotate.installation import problem
from annotate.labels import LEVELS
from annotate.models import Model, Request

Command = Callable[..., Any]

_REQUEST = (
    ("steps", "Denoising or parallel-decoding steps."),
    ("height", "Height of the picture, in pixels."),
    ("width", "Width of the picture, in pixels."),
    ("frames", "Frames of the clip."),
    ("tokens", "Tokens to decode."),
    ("prompt-tokens", "Tokens of the prompt, where the model does not pad it to a fixed length."),
    ("batch", "Prompts at once."),
    ("seed", "Of the noise and of random weights."),
)


def model_options(command: Command) -> Command:
    """Size, type, `--steps` and the rest of `annotate.models.Request`, granularity: what every run of a model has."""
    options = [
        click.option("--size", type=click.Choice(["full", "tiny"]), default="full", show_default=True, help=_SIZE),
        click.option("--dtype", type=click.Choice(["float32", "float16", "bfloat16"]), help=_DTYPE),
        *(click.option(f"--{name}", type=int, help=text) for name, text in _REQUEST),
        click.option("--granularity", type=click.Choice(LEVELS), default="leaf", show_default=True, help=_GRANULARITY),
    ]
    return reduce(lambda inner, option: option(inner), reversed(options), command)


_SIZE = "As published, or for tests."
_DTYPE = "Of weights and activations; half precision on a GPU by default."
_GRANULARITY = "The finest ranges."

REQUEST_NAMES = tuple(name.replace("-", "_") for name, _ in _REQUEST)
"""Names of the parameters that `model_options` gives to a command for its request."""


def requested(declared: Model, chosen: Mapping[str, Any]) -> Request:
    """What a command's options ask of a model; what is not given is the model's default."""
    return declared.request(chosen["size"], **{name: chosen[name] for name in REQUEST_NAMES})


def help_text(docstring: str | None) -> str:
    """A raw docstring as click wants it: its examples, after a line of backslash and b, stay as they are."""
    return (docstring or "").replace("\\b", "\b")


def say(text: str) -> None:
    """A line for the person, on standard error."""
    click.echo(text, err=True)


def main(command: click.Command) -> NoReturn:
    """Run a command and exit: 0 done, 2 wrong usage, 3 where the run or its output failed.

    An error of this package is one line on standard error; any other is a bug, and stays a traceback.
    """
    if wrong := problem():
        _fail(wrong, FAILED)
    # Libraries print on import what concerns training, or packages that nothing here needs.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        command.main(standalone_mode=True)
    except AnnotateError as error:
        if os.environ.get("TTINSYS_DEBUG"):
            raise
        _fail(str(error), error.status)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        _fail(f"{error.name} is not installed: pip install 'ttinsys[annotate]'", FAILED)
    sys.exit(0)


def _fail(line: str, status: int) -> NoReturn:
    say(f"Error: {line}")
    sys.exit(status)


_EXTRA = frozenset({"torch", "diffusers", "transformers", "nvtx", "accelerate", "tokenizers"})
