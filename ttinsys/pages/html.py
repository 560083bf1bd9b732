"""HTML of tables, figures, trees and lists. What comes from a trace is escaped here, and nowhere else.

A page also carries a policy by which a browser runs our script alone, known by its hash, and fetches nothing.
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
"""Columns of long names, which may wrap."""


def text(value: object) -> str:
    """A value as text that a browser takes as text."""
    return escape(printable(str(value)))


def items(sentences: Iterable[str], css: str) -> str:
    """Sentences as a list; nothing where there are none."""
    listed = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{css}">{listed}</ul>' if listed else ""


def table(frame: pl.DataFrame, declared: Table, *, title: str, rows: int, unfolded: bool, tree: bool = False) -> str:
    """A table that can be searched and sorted, folded or not.

    Args:
        frame: its rows.
        declared: what its columns mean.
        title: what it is called where it is folded.
        rows: at most so many are listed, the first ones.
        unfolded: whether it is open at first.
        tree: whether its rows form a tree by `depth`.
    """
    valued = [name for name in frame.columns if frame[name].null_count() < frame.height]
    listed = frame.select(valued).head(rows)
    docs = {column.name: column.doc for column in declared.columns}
    columns = cells(listed, declared, "name" if tree else None)
    head, kinds = [], []
    for name, heading, _, numeric in columns:
        kind = "number" if numeric else "name" if name in _NAMES else ""
        kinds.append(f' class="{kind}"' if kind else "")
        head.append(
            f'<th{kinds[-1]} aria-sort="none" title="{text(docs.get(name, ""))}"><button>{text(heading)}</button></th>'
        )
    body = [
        "<tr>" + "".join(f"<td{kind}>{text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in zip(*(texts for _, _, texts, _ in columns), strict=True)
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
    """A picture; the text in it was escaped when it was drawn."""
    said = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{said}</figure>"


def icicle(layers: pl.DataFrame, id: str) -> str:
    """The tree of layers, to walk through: boxes as wide as their time.

    Args:
        layers: `LAYERS`, all levels.
        id: of the element that holds its data.
    """
    whole = int(layers.filter(pl.col("depth") == 0)["total_ns"].sum())
    kept = layers.filter(pl.col("total_ns") > 0, pl.col("total_ns") >= _NARROWEST * whole)
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
"""Share of all time below which a layer is too narrow to be seen, however far one goes in from the top."""


def _data(value: Any, id: str) -> str:
    """JSON in a page: nothing in it can end its element."""
    return f'<script type="application/json" id="{id}">{json.dumps(value).replace("<", chr(92) + "u003c")}</script>'


def document(title: str, body: str) -> str:
    """A whole page: its style, its script, its policy and `body`, which is HTML."""
    script, style = _asset("page.js"), _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width">\n<link rel="icon" href="data:,">\n'
        f"<title>{text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n{body}\n"
        f'<div id="tip"></div>\n<script>{script}</script>\n</body>\n</html>\n'
    )


def _asset(name: str) -> str:
    return files("ttinsys.pages").joinpath(name).read_text(encoding="utf-8")
