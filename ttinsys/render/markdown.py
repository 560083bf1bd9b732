"""Tables in GitHub's Markdown, with the numbers that a terminal shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ttinsys.render.grid import cells, chosen, rest_of_rows, valued

if TYPE_CHECKING:
    import polars as pl

    from parsers.schema import Table
    from ttinsys.render.output import Destination


def markdown_text(
    frame: pl.DataFrame, destination: Destination, table: Table | None = None, tree: str | None = None
) -> str:
    """A frame as a Markdown table with all columns that have a value; arguments as for `grid.table_text`."""
    shown = chosen(valued(frame), destination.rows, tree)
    columns = cells(shown, table, tree, whole_names=True)
    lines = [
        _row([column.heading for column in columns]),
        _row(["---:" if column.numeric else ":---" for column in columns]),
    ]
    texts = [column.texts if column.numeric else list(map(escaped, column.texts)) for column in columns]
    lines += map(_row, zip(*texts, strict=True))
    if rest := rest_of_rows(frame, shown):
        lines += ["", rest]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """A name from a trace as a cell: nothing in it is markup, a link, or a mention of someone.

    Plain words stay as they are; anything else becomes code. Leading spaces, which indent a tree, are kept.
    """
    name = text.lstrip(" ")
    indent = _INDENT * ((len(text) - len(name)) // 2)
    if _PLAIN.fullmatch(name) and "www." not in name.lower():
        return indent + name
    if "|" in name:
        # A bar ends the cell even in a code span, and renderers disagree about a backslash before it.
        return f"{indent}<code>{_SPECIAL.sub(lambda match: f'&#{ord(match[0])};', name)}</code>"
    fence = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    padding = " " if name.startswith("`") or name.endswith("`") else ""
    return f"{indent}{fence}{padding}{name}{padding}{fence}"


_INDENT = "&emsp;"
_WORDS = r"[^\W_]+(?:(?:_+|[-./]|,? )[^\W_]+)*"
_PLAIN = re.compile(rf"(?:{_WORDS}|\({_WORDS}\))?")
_SPECIAL = re.compile(r"[^\w ]|_")


def _row(texts: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(texts)} |"
