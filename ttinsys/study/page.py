"""The page of a reproduction, and the files beside it: every table as CSV, every figure as SVG.

write(captures, Path("reproduced"))
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from parsers import TraceError
from ttinsys import __version__
from ttinsys.figures import draw_figure, svg
from ttinsys.figures.style import NothingToDraw
from ttinsys.pages import html
from ttinsys.render.folder import check_folder, write_folder
from ttinsys.study.captures import Captures
from ttinsys.study.reproduction import Beside, Evidence, Result, reproduced

PAGE = "index.html"


def write(
    captures: Captures, folder: Path, *, force: bool = False, say: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """Write `index.html`, `tables/` and `figures/`: all of it, or nothing.

    Args:
        captures: of a folder.
        folder: where to; made if it is not there.
        force: whether a reproduction that is there is replaced.
        say: told what is being worked on.

    Returns:
        Every figure and table, made or not.

    Raises:
        OutputError: the folder holds an input or a file of somebody's, is there without `force`, or could not be
            written.
        TraceError: there is nothing to write.
    """
    inputs = [captures.folder, *(trace.path for trace in captures.traces.values()), *captures.profiles]
    check_folder(folder, force=force, inputs=inputs)
    results, beside = reproduced(captures, say)
    if not any(result.found for result in results):
        count, make = len(captures.traces), results[0].item.capture
        raise TraceError(f"none of the {count} captures says which model it is of: make some with {make}")

    def fill(made: Path) -> None:
        parts = [_result(result, made) for result in results]
        text = html.document("ttinsys: the study reproduced", _body(captures, results, beside, parts))
        (made / PAGE).write_text(text, encoding="utf-8")

    write_folder(folder, fill, force=force, inputs=inputs)
    return results


def missing(results: Sequence[Result]) -> list[str]:
    """A line for each figure or table that could not be made, with the command that captures what it needs."""
    return [f"{result.item.title} needs captures: {result.item.capture}" for result in results if not result.found]


def _body(captures: Captures, results: Sequence[Result], beside: Sequence[Beside], parts: Sequence[str]) -> str:
    found = [result for result in results if result.found]
    links = "".join(f'<li><a href="#{r.item.id}">{html.text(r.item.title.split(":")[0])}</a></li>' for r in found)
    nav = f'<nav><ul><li><a href="#top">Measured and published</a></li>{links}</ul></nav>'
    head = (
        '<div id="top"></div><h1>The study, reproduced</h1><p class="lead">Generative AI Beyond LLMs: System '
        "Implications of Multi-Modal Generation (arXiv 2312.14385v2), from captures of one&#x27;s own. Other GPUs have "
        "other ridge points: compare order and direction, not absolute values.</p>"
    )
    lacking = html.items(missing(results), "findings")
    wanting = f"<h2>What is missing</h2>{lacking}" if lacking else ""
    failed = f"<h2>What could not be read</h2>{html.items(captures.failed, 'findings')}" if captures.failed else ""
    foot = f"<footer>Made by ttinsys {__version__}. Each table is beside this page as CSV, each figure as SVG.</footer>"
    return (
        f"{nav}<main>{head}{_captures(captures)}<h2>Measured beside published</h2>{_claims(beside)}{wanting}{failed}"
        f"{''.join(parts)}{foot}</main>"
    )


def _captures(captures: Captures) -> str:
    devices = captures.runs["device"].drop_nulls().unique(maintain_order=True).to_list()
    models = captures.runs["model"].n_unique()
    said = f"{len(captures.traces)} captures of {models} models on {', '.join(devices) or 'unnamed devices'}."
    made_up = int(captures.runs["simulated"].sum())
    note = f'<div class="note">No machine ran {made_up} of them: their times come from a model of a GPU.</div>'
    return f"<p>{html.text(said)}</p>{note if made_up else ''}"


def _claims(beside: Sequence[Beside]) -> str:
    """A row per claim: what the study says, how sure that is, and what was measured."""
    rows = [
        f'<tr><td><a href="#{each.claim.item}">{html.text(each.claim.item.replace("-", " ").capitalize())}</a></td>'
        + "".join(f"<td>{html.text(cell)}</td>" for cell in (each.claim.subject, each.claim.says))
        + f"<td>{html.text(each.claim.published)}</td><td>{each.claim.mark}</td>"
        + f"<td><b>{html.text(each.measured) if each.measured is not None else '&mdash;'}</b></td></tr>"
        for each in beside
    ]
    heads = "".join(f"<th>{name}</th>" for name in ("where", "what", "claim", "published", "mark", "measured"))
    marks = (
        "stated: in the abstract; recalled: from the body, to compare with; published on an A100 80 GB, "
        "FlashAttention-2 against unfused attention"
    )
    return (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="soft">{html.text(marks)}.</p>'
    )


def _result(result: Result, folder: Path) -> str:
    if not result.found:
        return ""
    item = result.item
    shown = "".join(_evidence(item.id, number, each, folder) for number, each in enumerate(result.evidence, start=1))
    return f'<h2 id="{item.id}">{html.text(item.title)}</h2><p class="lead">{html.text(item.shows)}</p>{shown}'


def _evidence(id: str, number: int, each: Evidence, folder: Path) -> str:
    """One view of one group: heading, picture and table; the latter two also go to files."""
    name, frame = each.shown.name, each.shown.frame
    lacking = "".join(f'<div class="lacking">{html.text(sentence)}</div>' for sentence in each.shown.lacking)
    title = ": ".join(part for part in (each.label, each.view.heading) if part) or name
    if frame.is_empty():
        return lacking
    stem = re.sub("[^a-z0-9]+", "-", f"{id} {number:02d} {title}".lower()).strip("-")
    (folder / "tables").mkdir(exist_ok=True)
    frame.write_csv(folder / "tables" / f"{stem}.csv")
    picture = ""
    if each.view.figure:
        try:
            drawn = svg(draw_figure(name, frame))
        except NothingToDraw:
            drawn = ""
        if drawn:
            (folder / "figures").mkdir(exist_ok=True)
            (folder / "figures" / f"{stem}.svg").write_text(drawn, encoding="utf-8")
            picture = html.figure(drawn)
    table = html.table(frame, each.shown.returns, title=title, rows=each.view.rows, unfolded=each.view.open)
    return f"<h3>{html.text(title)}</h3>{lacking}{picture}{table}"
