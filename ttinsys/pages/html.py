"""HTML of tables, figures, trees and lists. Only this module makes HTML of text from a trace, and it escapes all of it.

As a second defence, each page carries a Content-Security-Policy: the browser runs only our own script, identified by
its hash, and fetches nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from typing import Any

import polars as pl

from parsers.schema import Table
from ttinsys.figures.style import ROLE_COLOURS
from ttinsys.render.grid import cells
from ttinsys.render.output import printable

_NAMES = frozenset({"name", "path", "kernel", "range", "module"})
"""Columns that hold long names, whose cells may wrap."""


def text(value: object) -> str:
    """A value as HTML text: markup escaped, control characters made visible."""
    return escape(printable(str(value)))


def items(sentences: Iterable[str], css: str) -> str:
    """Sentences as a list of the CSS class `css`; empty text where there are none."""
    listed = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{css}">{listed}</ul>' if listed else ""


def table(frame: pl.DataFrame, declared: Table, *, title: str, rows: int, unfolded: bool, tree: bool = False) -> str:
    """A foldable table with a search field and sortable columns; columns without any value are left out.

    Args:
        frame: the rows.
        declared: the declaration of its columns, for units and for the docs that show on hover.
        title: text of the line that folds and unfolds the table.
        rows: number of rows listed at most, the first ones.
        unfolded: whether the table is open when the page loads.
        tree: whether the rows form a tree by `depth`.
    """
    # A column without any value tells a person nothing.
    valued = [name for name in frame.columns if frame[name].null_count() < frame.height]
    listed = frame.select(valued).head(rows)
    docs = {column.name: column.doc for column in declared.columns}
    columns = cells(listed, declared, "name" if tree else None)
    head, kinds = [], []
    for column in columns:
        kind = "number" if column.numeric else "name" if column.name in _NAMES else ""
        kinds.append(f' class="{kind}"' if kind else "")
        head.append(
            f'<th{kinds[-1]} aria-sort="none" title="{text(docs.get(column.name, ""))}"><button>'
            f"{text(column.heading)}</button></th>"
        )
    body = [
        "<tr>" + "".join(f"<td{kind}>{text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in zip(*(column.texts for column in columns), strict=True)
    ]
    count = f"{frame.height:,} rows" if frame.height <= rows else f"the first {rows:,} of {frame.height:,} rows"
    return (
        f'<details class="table"{" open" if unfolded else ""}><summary>{text(title)}: {count}</summary>'
        '<div class="tools"><input type="search" placeholder="search" aria-label="search">'
        '<span class="matches soft"></span></div>'
        f'<div class="scroll"><table><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div></details>"
    )


def figure(svg: str, caption: str = "") -> str:
    """A picture with its caption. The SVG is inserted as it is: its renderer has escaped the text in it."""
    shown = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{shown}</figure>"


def icicle(layers: pl.DataFrame, id: str) -> str:
    """An icicle graph of the tree of layers: boxes as wide as their total time, which the script makes clickable.

    Args:
        layers: `LAYERS`, all levels.
        id: id of the element that holds the data.
    """
    total_ns = int(layers.filter(pl.col("depth") == 0)["total_ns"].sum())
    kept = layers.filter(pl.col("total_ns") > 0, pl.col("total_ns") >= _NARROWEST * total_ns)
    roles = sorted({role for role in kept["role"] if role in ROLE_COLOURS})
    data = {
        "names": [printable(name) for name in kept["name"]],
        "depths": kept["depth"].to_list(),
        "totals": kept["total_ns"].to_list(),
        "selves": kept["self_ns"].to_list(),
        "instances": kept["instances"].to_list(),
        "roles": kept["role"].to_list(),
        "colours": {role: ROLE_COLOURS[role] for role in roles},
        "unit": {"ns": 1e6, "name": "ms"},
    }
    key = "".join(f'<span><i style="background:{ROLE_COLOURS[role]}"></i>{text(role)}</span>' for role in roles)
    return (
        f'<div class="tree" data-tree="{id}"><div class="icicle"></div>'
        '<div class="said soft" aria-live="polite">Click a box to go into it, and again to come back.</div>'
        f'<div class="key">{key}</div></div>{_data(data, id)}'
    )


_NARROWEST = 0.0004
"""Layers with a smaller share of the total time are left out: their boxes are narrower than a pixel."""


def _data(value: Any, id: str) -> str:
    """JSON in an element of the page. Without a `<`, no name in it can close the element."""
    text = json.dumps(value, allow_nan=False).replace("<", chr(92) + "u003c")
    return f'<script type="application/json" id="{id}">{text}</script>'


def document(title: str, body: str) -> str:
    """A whole page: `body`, which is HTML, with our style, script and Content-Security-Policy."""
    script, style = _asset("page.js"), _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # Inline styles are allowed, as figures carry them; scripts are not, but for the one with this hash.
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    # The empty icon keeps browsers from asking for /favicon.ico.
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width">\n<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n"
        f'<div id="tip"></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _asset(name: str) -> str:
    return files("ttinsys.pages").joinpath(name).read_text(encoding="utf-8")
