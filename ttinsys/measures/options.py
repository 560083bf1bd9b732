"""An option of an analysis, declared once for the command line and for Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword-only parameter of an analysis, and the command-line option that sets it.

    Args:
        name: the parameter's name.
        type: `int`, `float`, `str`, `bool`, or a function that parses a text and raises ValueError with one line.
        default: its value where the person gives none.
        help: one line.
        choices: the values that it takes; empty: any.
        multiple: it may be given several times, and is a tuple.
    """

    name: str
    type: Any
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    multiple: bool = False
