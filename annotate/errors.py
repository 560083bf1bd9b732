"""Errors of the annotation layer. Each message is one line that says what, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

USAGE, FAILED = 2, 3
"""Exit statuses of the commands: what was asked for does not exist; what was asked for failed."""


class AnnotateError(Exception):
    """Anything that annotation or one of its commands cannot do.

    Attributes:
        status: exit status of a command that ends with it.
    """

    status: ClassVar[int] = FAILED


class UnknownModel(AnnotateError):
    """A name that no model or GPU has."""

    status = USAGE


class ImpossibleRequest(AnnotateError):
    """A size, device or option that the model or the machine does not have."""

    status = USAGE


class MissingPackage(AnnotateError):
    """A package or program that is not installed."""


class OutputExists(AnnotateError):
    """An output that is already there and may not be replaced."""


class RunFailed(AnnotateError):
    """A run that began and did not end well."""


class NothingRecorded(AnnotateError):
    """A capture that holds none of the ranges that it should hold, or not all."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not known: the nearest one, and the list.

    Args:
        kind: what it is the name of, as `model`.
        name: as a person wrote it.
        known: all names that there are.
    """
    names = list(known)
    near = difflib.get_close_matches(name.lower(), names, 1)
    hint = f"did you mean {near[0]}? There" if near else "there"
    return f"no {kind} {name}: {hint} are {', '.join(names)}"


def pipeline_failed(name: str, error: Exception) -> RunFailed:
    """The error to raise where a model's own pipeline raised: a library's error in one line."""
    message = (str(error).strip().splitlines() or ["no message"])[0]
    return RunFailed(f"{name} failed in its pipeline: {type(error).__name__}: {message} (TTINSYS_DEBUG=1 shows where)")
