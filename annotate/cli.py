"""What the commands of this package share: options, and the one place that turns an error into an exit status."""

from __future__ import annotations

import difflib
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
    ("batch", "Prompts per run."),
    ("seed", "Seed of the noise and of random weights."),
)

SIZES = ("full", "tiny")
DTYPES = ("float32", "float16", "bfloat16")


class Choice(click.Choice[str]):
    """One of some words; a word that is near one of them gets a suggestion, and every other word the list."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word, or fail with the nearest one."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            near = difflib.get_close_matches(str(value), self.choices, 1)
            if near:
                self.fail(f"{error.message.rstrip('.')}: did you mean {near[0]}?", param, ctx)
            raise


def model_options(command: Command) -> Command:
    """Add the options of every run of a model: size, type, granularity, and those of `annotate.models.Request`."""
    options = [
        click.option("--size", type=Choice(SIZES), default="full", show_default=True, help=_SIZE),
        click.option("--dtype", type=Choice(DTYPES), help=_DTYPE),
        *(click.option(f"--{name}", type=int, help=text) for name, text in _REQUEST),
        click.option("--granularity", type=Choice(LEVELS), default="leaf", show_default=True, help=_GRANULARITY),
    ]
    return reduce(lambda inner, option: option(inner), reversed(options), command)


_SIZE = "The published size, or one for tests."
_DTYPE = "Type of weights and activations; half precision on a GPU by default."
_GRANULARITY = "Finest level that has ranges of its own."

REQUEST_NAMES = tuple(name.replace("-", "_") for name, _ in _REQUEST)
"""Names of the parameters of a command that make up its request."""


def requested(declared: Model, chosen: Mapping[str, Any]) -> Request:
    """The request that the options of a command make; options that are absent have the model's defaults."""
    return declared.request(chosen["size"], **{name: chosen[name] for name in REQUEST_NAMES})


def help_text(docstring: str | None) -> str:
    """A raw docstring as click needs it: examples that follow a line with backslash and b keep their lines."""
    return (docstring or "").replace("\\b", "\b")


def say(text: str) -> None:
    """Print a line on standard error."""
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
