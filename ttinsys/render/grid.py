"""Tables for people: scaled to readable units, safe to print, and whole, except in a terminal that is too narrow."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from ttinsys.render.names import ELLIPSIS, ellipsized, fit_names, width_of
from ttinsys.render.output import Destination, printable

if TYPE_CHECKING:
    from parsers.schema import Table

_GAP = 2
"""Spaces between two columns."""
_LEAST_WIDTH = 24
"""Places that a column of names has at least, where its names need more."""
_LEAST_NAME = 8
"""Places that an indented name has at least before its indentation is cut, too."""
_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


def table_text(
    frame: pl.DataFrame, destination: Destination, table: Table | None = None, tree: str | None = None
) -> str:
    """A frame as a table: in a terminal no wider than that, elsewhere with all columns and whole names.

    Args:
        frame: the rows.
        destination: how many rows are shown, and whether they go to a terminal.
        table: its declaration, for units; without one, columns are printed as they are.
        tree: for rows that form a tree by `depth`: the column by which rows are chosen where not all are shown.
    """
    shown = chosen(valued(frame), destination.rows, tree)
    rest = rest_of_rows(frame, shown)
    if destination.path is not None or not sys.stdout.isatty():
        lines = _lines(cells(shown, table, tree, whole_names=True))
        return "\n".join([*lines, *([rest] if rest else [])]) + "\n"
    width = shutil.get_terminal_size().columns
    columns, hidden = _fitted(cells(shown, table, tree), width, indented=tree is not None)
    heading, *lines = _lines(_wrapped_prose(columns))
    if os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        heading = f"{_BOLD}{heading}{_PLAIN}"
    remarks = [f"no room for {', '.join(hidden)}: a wider terminal shows more"] if hidden else []
    remarks += [rest] if rest else []
    wrapped = [line for remark in remarks for line in textwrap.wrap(remark, width)]
    return "\n".join([heading, *lines, *wrapped]) + "\n"


def valued(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that have a value in any row; all, where none has."""
    names = [column.name for column in frame if frame.is_empty() or column.null_count() < frame.height]
    return frame.select(names) if names else frame


def rest_of_rows(frame: pl.DataFrame, shown: pl.DataFrame) -> str:
    """A remark on the rows of a frame that are not shown; empty where all are."""
    rest = frame.height - shown.height
    return f"{rest:,} more rows: --rows 0 shows all, --format csv|json|parquet holds all" if rest else ""


def chosen(frame: pl.DataFrame, rows: int, tree: str | None) -> pl.DataFrame:
    """The first rows; of a tree, those with the greatest totals, since no ancestor of one has a smaller total."""
    if rows <= 0 or frame.height <= rows:
        return frame
    if tree is None:
        return frame.head(rows)
    numbered = frame.with_row_index("_row")
    kept = numbered.sort(tree, "_row", descending=[True, False], nulls_last=True).head(rows).sort("_row")
    return kept.drop("_row")


class Cells(NamedTuple):
    """A column as people read it: its name, heading and cells, and whether these are numbers, or sentences."""

    name: str
    heading: str
    texts: list[str]
    numeric: bool
    prose: bool = False


def _lines(columns: Sequence[Cells]) -> list[str]:
    """Heading, rule and rows of a table, numbers to the right."""
    widths = [_width(column) for column in columns]
    padded = [_padded(column, width) for column, width in zip(columns, widths, strict=True)]
    gap = " " * _GAP
    heading, *rows = (gap.join(row).rstrip() for row in zip(*padded, strict=True))
    return [heading, "─" * (sum(widths) + _GAP * (len(widths) - 1)), *rows]


def _padded(column: Cells, width: int) -> list[str]:
    """Heading and cells of a column, each `width` places wide."""
    texts = [column.heading, *column.texts]
    if all(map(str.isascii, texts)):
        return [text.rjust(width) if column.numeric else text.ljust(width) for text in texts]
    blanks = [" " * (width - width_of(text)) for text in texts]
    return [blank + text if column.numeric else text + blank for text, blank in zip(texts, blanks, strict=True)]


def _width(column: Cells) -> int:
    return max(map(width_of, [column.heading, *column.texts]))


def _fitted(columns: Sequence[Cells], width: int, *, indented: bool) -> tuple[list[Cells], list[str]]:
    """The columns for which a line of `width` places has room, their names cut, and the headings of the others.

    Columns are left out from the end; the last one, which mostly has the names, is always there.
    """
    wanted = [_width(column) for column in columns]
    last = len(columns) - 1
    least = [
        min(places, _LEAST_WIDTH) if number == last or not column.numeric else places
        for number, (column, places) in enumerate(zip(columns, wanted, strict=True))
    ]
    kept = list(range(last + 1))
    while len(kept) > 1 and sum(least[number] + _GAP for number in kept) - _GAP > width:
        del kept[-2]
    room = max(width - _GAP * (len(kept) - 1), _GAP)
    fixed = [number for number in kept if least[number] == wanted[number]]
    flexible = [number for number in kept if least[number] < wanted[number]] or fixed[-1:]
    room -= sum(wanted[number] for number in fixed if number not in flexible)
    shares = dict(zip(flexible, _shares([wanted[number] for number in flexible], room), strict=True))
    cut = [_cut(columns[number], shares.get(number, wanted[number]), indented=indented) for number in kept]
    return cut, [column.heading for number, column in enumerate(columns) if number not in kept]


def _shares(wanted: Sequence[int], room: int) -> list[int]:
    """Widths that add up to `room` at most: what is wanted, where it is no more than an even share of what is left."""
    widths = list(wanted)
    for rank, number in enumerate(sorted(range(len(wanted)), key=wanted.__getitem__)):
        widths[number] = min(wanted[number], room // (len(wanted) - rank))
        room -= widths[number]
    return widths


def _cut(column: Cells, width: int, *, indented: bool) -> Cells:
    """The column in at most `width` places."""
    if column.numeric:
        # Part of a number would be read as another number.
        texts = [text if width_of(text) <= width else ELLIPSIS for text in column.texts]
    elif indented and column.name == "name":
        texts = [_cut_indented(text, width) for text in column.texts]
    elif _width(column) <= width:
        texts = column.texts
    elif column.prose:
        texts = ["\n".join(textwrap.wrap(text, width)) for text in column.texts]
    else:
        texts = fit_names(list(map(brief, column.texts)), width)
    return column._replace(heading=ellipsized(column.heading, width), texts=texts)


def _wrapped_prose(columns: Sequence[Cells]) -> list[Cells]:
    """Rows with sentences as several lines, where a sentence was broken; an empty line parts such rows."""
    if not any(column.prose for column in columns):
        return list(columns)
    broken = [[text.split("\n") for text in column.texts] for column in columns]
    heights = [max(map(len, row)) + 1 for row in zip(*broken, strict=True)]
    return [
        column._replace(texts=[line for text, height in zip(texts, heights, strict=True)
                               for line in (*text, *[""] * (height - len(text)))])
        for column, texts in zip(columns, broken, strict=True)
    ]  # fmt: skip


def _cut_indented(text: str, width: int) -> str:
    """An indented name in at most `width` places; its indentation is kept where that leaves room for a name."""
    name = text.lstrip(" ")
    indent = len(text) - len(name)
    if width - indent < _LEAST_NAME:
        return ellipsized(text, width)
    return text[:indent] + ellipsized(name, width - indent)


def cells(
    frame: pl.DataFrame, table: Table | None = None, tree: str | None = None, *, whole_names: bool = False
) -> list[Cells]:
    """Columns in readable units, every name safe to print.

    Args:
        frame: the rows.
        table: its declaration, for units.
        tree: for rows that form a tree by `depth`: then the name, indented, says what depth and path say, in less room.
        whole_names: whether kernels keep all of their names, and not only what `brief` leaves.
    """
    units = {column.name: column.unit for column in table.columns} if table else {}
    prose = {column.name for column in table.columns if column.prose} if table else set()
    names = list(frame.columns)
    if tree is not None:
        names = [name for name in names if name not in ("name", "depth", "path")] + ["name"]
    columns = []
    for name in names:
        values, scale = frame[name], scale_of(frame, name, units)
        texts = _texts(values, units.get(name), scale, whole_names=whole_names)
        if name == "name" and tree is not None:
            texts = ["  " * depth + text for depth, text in zip(frame["depth"], texts, strict=True)]
        heading = _heading(name, units.get(name), scale)
        columns.append(Cells(name, heading, texts, values.dtype.is_numeric(), name in prose))
    return columns


class Scale(NamedTuple):
    """How the numbers of a column are shown: divided, under the name of a unit, with so many digits."""

    divisor: float
    unit: str
    digits: int


_SCALES: dict[str, tuple[tuple[float, Scale], ...]] = {
    "ns": ((1e11, Scale(1e9, "s", 3)), (1e6, Scale(1e6, "ms", 3)), (0, Scale(1e3, "us", 3))),
    "B": (
        (2**30, Scale(2**30, "GiB", 2)),
        (2**20, Scale(2**20, "MiB", 2)),
        (2**10, Scale(2**10, "KiB", 2)),
        (0, Scale(1, "B", 0)),
    ),
    "FLOP": ((1e12, Scale(1e12, "TFLOP", 3)), (0, Scale(1e9, "GFLOP", 3))),
    "FLOP/s": ((1e12, Scale(1e12, "TFLOP/s", 2)), (0, Scale(1e9, "GFLOP/s", 2))),
    "B/s": ((0, Scale(1e9, "GB/s", 1)),),
}
"""By unit: the least greatest value of a column from which a scale applies, and the scale."""


def scale_of(frame: pl.DataFrame, name: str, units: Mapping[str, str | None]) -> Scale | None:
    """The scale of a column: that which suits the greatest value of all columns that it is compared with.

    Durations are compared with durations, and moments, which count from the capture's start, with moments.

    Args:
        frame: the rows.
        name: the column.
        units: by column.

    Returns:
        The scale; None for a unit that is not scaled.
    """
    unit = units.get(name)
    if unit not in _SCALES:
        return None
    alike = [
        # As floats: the least integer has no absolute value.
        frame[other].cast(pl.Float64).abs().max()
        for other in frame.columns
        if units.get(other) == unit and other.endswith(MOMENTS) == name.endswith(MOMENTS)
    ]
    greatest = max((peak for peak in alike if isinstance(peak, int | float)), default=0)
    return next(scale for least, scale in _SCALES[unit] if greatest >= least)


MOMENTS = ("start_ns", "end_ns")
"""Ends of the names of columns that are times since the capture's start, not durations."""


def _heading(name: str, unit: str | None, scale: Scale | None) -> str:
    if unit == "ratio":
        return f"{name} (%)"
    if scale is not None:
        return f"{name.removesuffix('_ns').removesuffix('_bytes').removesuffix('_per_s')} ({scale.unit})"
    return name


def _texts(values: pl.Series, unit: str | None, scale: Scale | None, *, whole_names: bool) -> list[str]:
    """Cells of a column. The `z` of a format prints what rounds to zero without a minus sign."""
    listed = values.to_list()
    if unit == "ratio":
        return ["" if value is None else f"{100 * value:z.1f}" for value in listed]
    if scale is not None:
        divisor, _, digits = scale
        return ["" if value is None else f"{value / divisor:z,.{digits}f}" for value in listed]
    if values.dtype.is_float():
        return ["" if value is None else f"{value:z,.2f}" for value in listed]
    if values.dtype.is_integer() and values.name not in IDENTIFIERS:
        return ["" if value is None else f"{value:,}" for value in listed]
    texts = ["" if value is None else str(value) for value in listed]
    shortened = values.name == "kernel" and not whole_names
    # Names come from strangers: they are text, never markup, and never control the terminal.
    shown = {text: printable(brief(text) if shortened else text) for text in set(texts)}
    return [shown[text] for text in texts]


def brief(kernel: str) -> str:
    """A kernel's name without namespaces and casts that most kernels share."""
    return _NOISE.sub("", kernel)


_NOISE = re.compile(
    r"\bvoid (?=\w)|\bat::(native|detail)::|\bstd::|\(anonymous namespace\)::|<unnamed>::"
    r"|\((int|bool|unsigned long)\)(?=-?\d)"
)

IDENTIFIERS = frozenset({"pid", "tid", "device", "gpu", "context", "stream", "correlation_id", "range_id"})
"""Integer columns that name something, and count nothing."""
