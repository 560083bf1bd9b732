"""The page of a reproduction and the files beside it: every table as CSV, every figure as SVG.

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
from ttinsys.study.reproduction import Evidence, MeasuredClaim, Result, reproduced

PAGE = "index.html"


def write(
    captures: Captures, folder: Path, *, force: bool = False, progress: Callable[[str], None] = lambda _: None
) -> list[Result]:
    """Write `index.html`, `tables/` and `figures/`: all of it, or nothing.

    Args:
        captures: Captures of a folder.
        folder: Folder to write; it is created if it does not exist.
        force: Whether to replace an earlier reproduction.
        progress: Called with what is being worked on.

    Returns:
        Every figure and table, with evidence or without.

    Raises:
        OutputError: The folder holds an input or a foreign file, exists and `force` is not set, or cannot be written.
        TraceError: No capture says which model it is of.
    """
    inputs = [captures.folder, *(trace.path for trace in captures.traces.values()), *captures.profiles]
    check_folder(folder, force=force, inputs=inputs)
    results, claims = reproduced(captures, progress)
    if not any(result.has_evidence for result in results):
        count, make = len(captures.traces), results[0].item.capture
        raise TraceError(f"none of the {count} captures says which model it is of: make some with {make}")

    def fill(target: Path) -> None:
        parts = [_result(result, target) for result in results]
        text = html.document("ttinsys: the study reproduced", _body(captures, results, claims, parts))
        (target / PAGE).write_text(text, encoding="utf-8")

    write_folder(folder, fill, force=force, inputs=inputs)
    return results


def missing(results: Sequence[Result]) -> list[str]:
    """A line for each figure or table without evidence, with the command that makes its captures."""
    return [
        f"{result.item.title} needs captures: {result.item.capture}" for result in results if not result.has_evidence
    ]


def _body(captures: Captures, results: Sequence[Result], claims: Sequence[MeasuredClaim], parts: Sequence[str]) -> str:
    shown = [result for result in results if result.has_evidence]
    links = "".join(f'<li><a href="#{r.item.id}">{html.text(r.item.title.split(":")[0])}</a></li>' for r in shown)
    nav = f'<nav><ul><li><a href="#top">Measured and published</a></li>{links}</ul></nav>'
    head = (
        '<div id="top"></div><h1>The study, reproduced</h1><p class="lead">Generative AI Beyond LLMs: System '
        "Implications of Multi-Modal Generation (arXiv 2312.14385v2), from your own captures. Other GPUs have other "
        "ridge points: compare order and direction, not absolute values.</p>"
    )
    missing_items = html.items(missing(results), "findings")
    lacking = f"<h2>What is missing</h2>{missing_items}" if missing_items else ""
    failed = f"<h2>What could not be read</h2>{html.items(captures.failed, 'findings')}" if captures.failed else ""
    foot = f"<footer>Made by ttinsys {__version__}. Each table is beside this page as CSV, each figure as SVG.</footer>"
    return (
        f"{nav}<main>{head}{_captures(captures)}<h2>Measured beside published</h2>{_claims(claims)}{lacking}{failed}"
        f"{''.join(parts)}{foot}</main>"
    )


def _captures(captures: Captures) -> str:
    devices = captures.runs["device"].drop_nulls().unique(maintain_order=True).to_list()
    models = captures.runs["model"].n_unique()
    summary = f"{len(captures.traces)} captures of {models} models on {', '.join(devices) or 'unnamed devices'}."
    simulated = int(captures.runs["simulated"].sum())
    note = f'<div class="note">{simulated} of them are simulated: their times come from a model of a GPU.</div>'
    return f"<p>{html.text(summary)}</p>{note if simulated else ''}"


def _claims(claims: Sequence[MeasuredClaim]) -> str:
    """A row per claim: what the study says, how sure that is, and what was measured."""
    rows = [
        f'<tr><td><a href="#{each.claim.item}">{html.text(each.claim.item.replace("-", " ").capitalize())}</a></td>'
        + "".join(f"<td>{html.text(cell)}</td>" for cell in (each.claim.subject, each.claim.says))
        + f"<td>{html.text(each.claim.published)}</td><td>{each.claim.mark}</td>"
        + f"<td><b>{html.text(each.measured) if each.measured is not None else '&mdash;'}</b></td></tr>"
        for each in claims
    ]
    heads = "".join(f"<th>{name}</th>" for name in ("where", "what", "claim", "published", "mark", "measured"))
    marks = (
        "Marks: stated in the abstract, recalled from the body, or computed from the definitions of the models. "
        "Published values are of an A100 80 GB, with FlashAttention-2 against unfused attention."
    )
    return (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="soft">{html.text(marks)}</p>'
    )


def _result(result: Result, folder: Path) -> str:
    if not result.has_evidence:
        return ""
    item = result.item
    shown = "".join(_evidence(item.id, number, each, folder) for number, each in enumerate(result.evidence, start=1))
    return f'<h2 id="{item.id}">{html.text(item.title)}</h2><p class="lead">{html.text(item.shows)}</p>{shown}'


def _evidence(id: str, number: int, each: Evidence, folder: Path) -> str:
    """One view of one group: heading, figure and table; figure and table are also written to files."""
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
