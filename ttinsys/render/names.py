"""Names in less room than they need: what tells the names of a column apart stays visible."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile

from rich.cells import cell_len

ELLIPSIS = "…"

_CODE = frozenset("<>():")
"""Characters of C++ names, which no module's name has."""


def width_of(text: str) -> int:
    """Places that a text takes in a terminal: wide characters take two."""
    return len(text) if text.isascii() else cell_len(text)


def ellipsized(text: str, width: int) -> str:
    """The text in at most `width` places: both ends of a name say what it is, so its middle is cut.

    Args:
        text: printable text.
        width: places of the terminal, at least 1.
    """
    if width_of(text) <= width:
        return text
    end = (width - 1) // 3
    return f"{_head(text, width - 1 - end)}{ELLIPSIS}{_tail(text, end)}"


def fit_names(names: Sequence[str], width: int) -> list[str]:
    """The names of a column in at most `width` places each.

    Names that fit are not changed. Of the ways to cut the others, the one that leaves most names distinct is taken;
    of equal ones, the one that suits what the names are: paths lose the beginning that all of them share, kernels keep
    both of their ends.

    Args:
        names: printable names.
        width: places of the terminal, at least 1.
    """
    distinct = set(names)
    long = sorted(name for name in distinct if width_of(name) > width)
    if not long:
        return list(names)
    paths = 2 * sum(map(_is_path, long)) > len(long)
    usual, other, differing = (_end, _both_ends, _difference) if paths else (_both_ends, _end, _start_and_difference)
    skipped = _shared_beginning(long)
    cuts = [{name: way(name, skipped, width) for name in long} for way in (usual, differing, other)]
    cuts.insert(2, _told_apart(cuts[0], differing, width))
    whole = distinct.difference(long)
    best = max(cuts, key=lambda cut: len(whole.union(cut.values())))
    return [best.get(name, name) for name in names]


_Way = Callable[[str, int, int], str]
"""Cuts a name of which the first characters, so many, are shared by others, to a width."""


def _told_apart(cut: Mapping[str, str], way: _Way, width: int) -> dict[str, str]:
    """Cut names, in which those that a cut made equal are cut where they differ from each other."""
    groups: dict[str, list[str]] = {}
    for name, text in cut.items():
        groups.setdefault(text, []).append(name)
    return {
        name: way(name, _shared_beginning(group), width) if len(group) > 1 else text
        for text, group in groups.items()
        for name in group
    }


def _both_ends(name: str, _: int, width: int) -> str:
    """As `ellipsized`."""
    return ellipsized(name, width)


def _end(name: str, skipped: int, width: int) -> str:
    """What follows the first characters of a name, or as much of its end as there is room for."""
    return ELLIPSIS + _tail(name[skipped:], width - 1)


def _difference(name: str, skipped: int, width: int) -> str:
    """A name from where it differs from others, and its end."""
    return ellipsized(ELLIPSIS + name[skipped:] if skipped else name, width)


def _start_and_difference(name: str, skipped: int, width: int) -> str:
    """A third for the beginning of a name; then the name from where it differs from others, and its end."""
    start = width // 3
    if skipped <= start:
        return ellipsized(name, width)
    return _head(name, start) + _difference(name, skipped, width - start)


def _shared_beginning(names: Sequence[str]) -> int:
    """Characters of whole words with which all names begin, whole components where they are paths.

    Args:
        names: distinct, sorted. A single one shares nothing.
    """
    if len(names) == 1:
        return 0
    # Of sorted names, the first and the last share least.
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(names[0], names[-1], strict=False))
    prefix = "".join(character for character, _ in alike)
    slash = prefix.rfind("/")
    return slash if slash > 0 else len(_LAST_WORD.sub("", prefix))


_LAST_WORD = re.compile(r"[^\W_]+$")


def _is_path(name: str) -> bool:
    """Whether a name consists of components, as those of modules, files and nested ranges do."""
    return ("/" in name and "<" not in name) or ("." in name and _CODE.isdisjoint(name))


def _head(text: str, width: int) -> str:
    """The longest beginning of a text that takes at most `width` places."""
    if text.isascii():
        return text[:width]
    end = min(width, len(text))
    while cell_len(text[:end]) > width:
        end -= 1
    return text[:end]


def _tail(text: str, width: int) -> str:
    """The longest end of a text that takes at most `width` places."""
    if text.isascii():
        return text[max(len(text) - width, 0) :]
    start = max(len(text) - width, 0)
    while cell_len(text[start:]) > width:
        start += 1
    return text[start:]
