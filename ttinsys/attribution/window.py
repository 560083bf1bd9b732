"""A window of time, as a person writes it: `1.5s/2s`, `/300ms`, `110/`."""

from __future__ import annotations

import re
from fractions import Fraction

Window = tuple[int | None, int | None]
"""Start and end in ns since the capture began; None where open."""

_UNITS = {"": 1, "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


def parse_window(text: str) -> Window:
    """Read START/END; either may be left out. Numbers are nanoseconds unless they have a unit: ns, us, ms or s.

    Raises:
        ValueError: It is no window; the message is one line.
    """
    start, slash, end = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} has no slash: give START/END, such as 1.5s/2s or /300ms")
    first, last = _moment(start), _moment(end)
    if first is not None and last is not None and first >= last:
        raise ValueError(f"{text!r} ends no later than it starts")
    return first, last


def _moment(text: str) -> int | None:
    if not text.strip():
        return None
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*(ns|us|ms|s|)\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time: give a number with ns, us, ms or s")
    moment = round(Fraction(match[1]) * _UNITS[match[2]])
    # Times are 64-bit integers.
    if abs(moment) >= 1 << 63:
        raise ValueError(f"{text!r} is longer than any capture")
    return moment
