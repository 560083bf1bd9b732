"""Chrome's trace-event JSON, plain or compressed by gzip, decoded into columns of text.

A file is decoded twice, both times in C. The first pass finds where each event begins and ends, and with it checks the
whole file. The second one takes the wanted fields of a hundred thousand events at a time, each as the bytes that stand
in the file: numbers keep all their digits, and a value of an unexpected type is no error.
"""

from __future__ import annotations

import mmap
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from msgspec import Raw

from parsers.errors import UnreadableTrace
from parsers.memory import LARGE_BYTES, available_bytes
from parsers.schema import decode

EVENTS_AT_ONCE = 100_000
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_INFLATED_AT_ONCE = 1 << 16
_NEED = 1.5
"""Memory that a file takes while it is read, per byte of JSON: measured, with some room."""

_REMEDY = "write the trace again with `export_chrome_trace`"
_UNFINISHED = "let the profiler finish, so that it writes the file to its end; a shorter schedule writes less"

_FIELDS = ("ph", "cat", "name", "pid", "tid", "ts", "dur")
_ABSENT = Raw(b"")


class ChromeTrace:
    """A file of trace events.

    Args:
        path: the file.
        args: the members of an event's `args` that are read, by the name of their column.

    Raises:
        UnreadableTrace: the file is damaged, ends early, or needs more memory than there is.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, args: Mapping[str, str]) -> None:
        self.path = path
        wanted = [(column, Raw, msgspec.field(default=_ABSENT, name=member)) for column, member in args.items()]
        self._args = msgspec.defstruct("Args", wanted, gc=False)
        fields = [(name, Raw, _ABSENT) for name in _FIELDS]
        event = msgspec.defstruct("Event", [*fields, ("args", self._args | None, None)], gc=False)
        self._decoder = msgspec.json.Decoder(list[event])  # type: ignore[valid-type]
        content = _content(path)
        try:
            self.header, self._events = _outline(content)
        except (msgspec.DecodeError, RecursionError):
            # What JSON has no way to write, and profilers write none the less, is mended once.
            _mend(content)
            self.header, self._events = self._told(partial(_outline, content))

    def parts(self) -> Iterator[EventColumns]:
        """The events, in the order of the file, a part at a time; one without events where there are none."""
        for first in range(0, max(len(self._events), 1), EVENTS_AT_ONCE):
            part = b"[%b]" % b",".join(self._events[first : first + EVENTS_AT_ONCE])
            events, none = self._told(partial(self._decoder.decode, part)), self._args()
            yield EventColumns(events, [event.args or none for event in events])

    def _told(self, decoded: Callable[[], Any]) -> Any:
        """What `decoded` returns, with its errors as `UnreadableTrace`."""
        try:
            return decoded()
        except msgspec.ValidationError as error:
            raise UnreadableTrace(self.path, f"not a list of trace events: {error}", _REMEDY) from error
        except msgspec.DecodeError as error:
            if "truncated" in str(error):
                raise UnreadableTrace(
                    self.path, "cut short: its JSON ends before its last event", _UNFINISHED
                ) from error
            raise UnreadableTrace(self.path, f"damaged: {error}", _REMEDY) from error
        except RecursionError as error:
            raise UnreadableTrace(self.path, "damaged: its JSON is nested too deeply", _REMEDY) from error


class EventColumns:
    """Some events, of which each field is a column of text: JSON as it stands in the file, null where it is absent."""

    def __init__(self, events: Sequence[Any], args: Sequence[Any]) -> None:
        self._events = events
        self._args = args

    def at(self, rows: pl.Series) -> EventColumns:
        """The events at these positions."""
        positions = rows.to_list()
        return EventColumns(*([*map(column.__getitem__, positions)] for column in (self._events, self._args)))

    def column(self, name: str) -> pl.Series:
        """A field, or a member of `args`, by the name of its column."""
        holders = self._events if name in _FIELDS else self._args
        raw = pl.Series(name, [*map(bytes, map(attrgetter(name), holders))], dtype=pl.Binary)
        return decode(raw).replace(["", "null"], None)

    def columns(self, *names: str) -> pl.DataFrame:
        """Several of them."""
        return pl.DataFrame([self.column(name) for name in names])


def _outline(content: bytearray | mmap.mmap) -> tuple[dict[str, Any], list[Raw]]:
    """The members beside the events, and the events, of either form of the format: an object, or a bare list."""
    whole = memoryview(content)[len(_BOM) if content[: len(_BOM)] == _BOM else 0 :]
    if content[:64].removeprefix(_BOM).lstrip().startswith(b"["):
        return {}, msgspec.json.decode(whole, type=list[Raw])
    members = msgspec.json.decode(whole, type=dict[str, Raw])
    events = msgspec.json.decode(members.pop("traceEvents", b"null"), type=list[Raw])
    return {name: msgspec.json.decode(member) for name, member in members.items()}, events


def _content(path: Path) -> bytearray | mmap.mmap:
    """The JSON of a file, as bytes that may be changed without changing the file."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP)) == _GZIP
        if not compressed:
            _refuse_too_large(path, path.stat().st_size)
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    try:
        return _inflated(path)
    except (zlib.error, EOFError) as error:
        raise UnreadableTrace(path, f"damaged: {error}", "copy it again, or write the trace again") from error


def _inflated(path: Path) -> bytearray:
    """The content of a file that gzip compressed, of one member or several."""
    content, checked = bytearray(), LARGE_BYTES
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    with path.open("rb") as file:
        while part := file.read(_INFLATED_AT_ONCE):
            while part:
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                content += inflate.decompress(part)
                # Zeros may fill up the last block of a device.
                part = inflate.unused_data.lstrip(b"\0")
            if len(content) > checked:
                # Some kilobytes can inflate to any size.
                _refuse_too_large(path, len(content))
                checked += LARGE_BYTES
    if not inflate.eof:
        raise UnreadableTrace(path, "cut short: its compressed data ends early", _UNFINISHED)
    return content


def _refuse_too_large(path: Path, size: int) -> None:
    """Refuse a file whose JSON is too large to be read here: what runs out of memory ends without a word."""
    there = available_bytes()
    if size > LARGE_BYTES and there is not None and size * _NEED > there:
        problem = f"{size / 2**30:,.1f} GiB of JSON take up to {size * _NEED / 2**30:,.1f} GiB of memory, "
        raise UnreadableTrace(
            path,
            f"{problem}and {there / 2**30:,.1f} GiB are free",
            "read it on a machine with more memory, or profile fewer steps",
        )


_ESCAPES = re.compile(rb"\\u[dD][89abAB]..\\u[dD][c-fC-F]..|(\\u[dD][89a-fA-F]..)|\\.", re.DOTALL)
"""Escapes in strings; the group is half of a surrogate pair."""
_NUMBERS = re.compile(
    rb'(?:[^"NIin-]++|"(?:[^"\\]++|\\.)*+"|null|-(?=\d))*+(?:(-?(?:NaN|Infinity|nan|inf))|.|\Z)', re.DOTALL
)
"""What needs no change, and after it, as the group, a number that JSON cannot write. The end of the file ends a match,
or else the search would begin anew at every byte of the last one."""


def _mend(content: bytearray | mmap.mmap) -> None:
    """Replace, in place, what JSON cannot write: half a surrogate pair by U+FFFD, NaN and Infinity by an empty string.

    An empty string is a number in no column, as NaN is none.
    """
    for match in _ESCAPES.finditer(content):
        if match[1]:
            content[match.start(1) : match.end(1)] = b"\\ufffd"
    for match in _NUMBERS.finditer(content):
        if match[1]:
            content[match.start(1) : match.end(1)] = b'""'.ljust(len(match[1]))
