"""Errors of a trace, each in one line: where, what, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class TraceError(Exception):
    """A trace cannot be used: `str(error)` is one line with the reason and the remedy."""


class UnreadableTrace(TraceError):
    """A file or directory is not an nsys export, or is damaged.

    Args:
        path: the file or directory.
        problem: what is wrong with it.
        remedy: what to do.
    """

    def __init__(self, path: str | Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {_one_line(problem)}: {remedy}")


class MissingTable(TraceError):
    """A table that an analysis needs is absent: nsys writes a table only where it has rows."""

    def __init__(self, path: str | Path, sources: Iterable[str], remedy: str) -> None:
        super().__init__(f"{path} has no {' or '.join(sources)}: {remedy}")


class MissingColumn(TraceError):
    """A table lacks a column without which its rows mean nothing."""

    def __init__(self, path: str | Path, table: str, column: str, present: Iterable[str]) -> None:
        super().__init__(
            f"{path}: table {table} has no column {column}: it has {', '.join(present) or 'none'}; "
            "export the report again with nsys 2022.1 or newer"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The suggestion that follows an unknown name in an error: ` (did you mean 'layers'?)`; empty where none is near.

    Args:
        name: the unknown name; upper and lower case are the same.
        known: the names that exist, in any order.
    """
    import difflib

    by_folded = {candidate.casefold(): candidate for candidate in sorted(known)}
    near = difflib.get_close_matches(name.casefold(), by_folded, 1)
    return f" (did you mean {by_folded[near[0]]!r}?)" if near else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())
