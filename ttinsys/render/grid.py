"""Tables for people: scaled to readable units, cut to the terminal, safe to print."""

from __future__ import annotations

import io
import re
import shutil
import sys
from typing import TYPE_CHECKING, Literal, NamedTuple

import polars as pl

from ttinsys.render.output import Destination, printable

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from parsers.schema import Table

PIPE_WIDTH = 160
"""Width of a table that does not go to a terminal, in characters."""

_GAP = 2
_LAST_WIDTH = 24

_SCALES: dict[str, tuple[tuple[float, tuple[float, str, int]], ...]] = {
    "ns": ((1e11, (1e9, "s", 3)), (1e6, (1e6, "ms", 3)), (0, (1e3, "us", 3))),
    "B": ((2**30, (2**30, "GiB", 2)), (2**20, (2**20, "MiB", 2)), (2**10, (2**10, "KiB", 2)), (0, (1, "B", 0))),
    "FLOP": ((1e12, (1e12, "TFLOP", 3)), (0, (1e9, "GFLOP", 3))),
    "FLOP/s": ((1e12, (1e12, "TFLOP/s", 2)), (0, (1e9, "GFLOP/s", 2))),
    "B/s": ((0, (1e9, "GB/s", 1)),),
}
"""By unit: from which greatest value on it is shown by which divisor, under which name, to how many digits."""


def table_text(
    frame: pl.DataFrame, destination: Destination, table: Table | None = None, tree: str | None = None
) -> str:
    """A frame as a table that fits the terminal.

    Args:
        frame: the rows.
        destination: how many rows there is room for, and whether it is a terminal.
        table: its declaration, for units; without one, columns are printed as they are.
        tree: for rows that form a tree by `depth`: the column by which rows are chosen where not all fit.
    """
    from rich.console import Console

    shown = chosen(valued(frame), destination.rows, tree)
    to_terminal = destination.path is None and sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if to_terminal else PIPE_WIDTH
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        force_terminal=to_terminal,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    grid, hidden = _grid(shown, table, tree, width)
    console.print(grid)
    if hidden:
        console.print(f"no room for {', '.join(hidden)}: a wider terminal shows more")
    if rest := rest_of_rows(frame, shown):
        console.print(rest)
    return text.getvalue()


def valued(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns that have a value: one without any says nothing to a person."""
    return frame.select(column.name for column in frame if frame.is_empty() or column.null_count() < frame.height)


def rest_of_rows(frame: pl.DataFrame, shown: pl.DataFrame) -> str:
    """What to say of the rows of a frame that are not shown; nothing where all are."""
    rest = frame.height - shown.height
    return f"{rest:,} more rows: --rows 0 shows all, --format csv|json|parquet holds all" if rest else ""


def chosen(frame: pl.DataFrame, rows: int, tree: str | None) -> pl.DataFrame:
    """The rows that a person sees first; of a tree, those with the greatest totals, whose ancestors' are no less."""
    if rows <= 0 or frame.height <= rows:
        return frame
    if tree is None:
        return frame.head(rows)
    numbered = frame.with_row_index("_row")
    kept = numbered.sort(tree, "_row", descending=[True, False], nulls_last=True).head(rows).sort("_row")
    return kept.drop("_row")


def _grid(frame: pl.DataFrame, table: Table | None, tree: str | None, width: int) -> tuple[RichTable, list[str]]:
    """The rows as a table of at most `width` characters, and the names of columns for which there was no room."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as RichTable
    from rich.text import Text

    columns = {name: (title, texts) for name, title, texts, _ in cells(frame, table, tree)}
    names = list(columns)
    widths = {name: max(map(cell_len, [title, *texts])) for name, (title, texts) in columns.items()}
    *others, last = names
    hidden: list[str] = []
    while others and sum(widths[name] + _GAP for name in others) + min(widths[last], _LAST_WIDTH) > width:
        hidden.insert(0, others.pop())
    room = max(width - sum(widths[name] + _GAP for name in others), _GAP)
    grid = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for name in [*others, last]:
        justify: Literal["left", "right"] = "right" if frame[name].dtype.is_numeric() else "left"
        exact = min(widths[name], room) if name == last else widths[name]
        grid.add_column(columns[name][0], justify=justify, no_wrap=True, overflow="ellipsis", width=exact)
    for row in zip(*(columns[name][1] for name in [*others, last]), strict=True):
        grid.add_row(*map(Text, row))
    return grid, hidden


class Cells(NamedTuple):
    """A column as people read it: its name, heading and cells, and whether these are numbers."""

    name: str
    heading: str
    texts: list[str]
    numeric: bool


def cells(frame: pl.DataFrame, table: Table | None = None, tree: str | None = None) -> list[Cells]:
    """Columns in readable units, every name safe to print.

    Args:
        frame: the rows.
        table: its declaration, for units.
        tree: for rows that form a tree by `depth`: then the name, indented, says what depth and path say, in less room.
    """
    units = {column.name: column.unit for column in table.columns} if table else {}
    names = list(frame.columns)
    if tree is not None:
        names = [name for name in names if name not in ("name", "depth", "path")] + ["name"]
    scales = {name: scale for name in names if (scale := _scale(frame, name, units)) is not None}
    found = []
    for name in names:
        heading, texts = _column(frame[name], units.get(name), scales.get(name))
        # Names come from strangers: they are text, never markup, and never control the terminal.
        texts = list(map(printable, texts))
        if name == "name" and tree is not None:
            texts = ["  " * depth + text for depth, text in zip(frame["depth"], texts, strict=True)]
        found.append(Cells(name, heading, texts, frame[name].dtype.is_numeric()))
    return found


def _scale(frame: pl.DataFrame, name: str, units: dict[str, str | None]) -> tuple[float, str, int] | None:
    """Divisor, unit and digits of a column: those that suit the greatest value of all columns it is compared with.

    Durations are compared with durations, and moments, which count from the capture's start, with moments.
    """
    unit = units.get(name)
    if unit not in _SCALES:
        return None
    alike = [
        # As floats: the least integer has no absolute value.
        frame[other].cast(pl.Float64).abs().max()
        for other in frame.columns
        if units.get(other) == unit and other.endswith(_MOMENTS) == name.endswith(_MOMENTS)
    ]
    greatest = max((peak for peak in alike if isinstance(peak, int | float)), default=0)
    return next(scale for least, scale in _SCALES[unit] if greatest >= least)


_MOMENTS = ("start_ns", "end_ns")


def _column(values: pl.Series, unit: str | None, scale: tuple[float, str, int] | None) -> tuple[str, list[str]]:
    """Heading and cells of a column."""
    name = values.name
    if unit == "ratio":
        return f"{name} (%)", ["" if value is None else f"{100 * value:.1f}" for value in values]
    if scale is not None:
        factor, shown, digits = scale
        heading = f"{name.removesuffix('_ns').removesuffix('_bytes').removesuffix('_per_s')} ({shown})"
        return heading, ["" if value is None else f"{value / factor:,.{digits}f}" for value in values]
    if values.dtype.is_float():
        return name, ["" if value is None else f"{value:,.2f}" for value in values]
    if values.dtype.is_integer() and name not in _IDENTIFIERS:
        return name, ["" if value is None else f"{value:,}" for value in values]
    if name == "kernel":
        return name, ["" if value is None else brief(value) for value in values]
    return name, ["" if value is None else str(value) for value in values]


def brief(kernel: str) -> str:
    """A kernel's name without what says nothing, so that what tells it from others has room."""
    return _NOISE.sub("", kernel)


def ellipsized(text: str, length: int) -> str:
    """Text of at most so many characters: what is too long loses its middle, as both ends of a name tell."""
    if len(text) <= length:
        return text
    end = (length - 1) // 3
    return f"{text[: length - 1 - end]}…{text[len(text) - end :]}"


_NOISE = re.compile(
    r"\bvoid (?=\w)|\bat::(native|detail)::|\bstd::|\(anonymous namespace\)::|<unnamed>::"
    r"|\((int|bool|unsigned long)\)(?=-?\d)"
)

_IDENTIFIERS = frozenset({"pid", "tid", "device", "context", "stream", "correlation_id", "range_id"})
