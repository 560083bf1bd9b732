"""The page of a reproduction, with every table as a CSV file and every figure as an SVG file beside it.

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
        folder: Folder to write to, which is created if it does not exist.
        force: Whether to replace a reproduction that the folder holds.
        progress: Called with the title of each figure and table before it is made.

    Returns:
        Every figure and table of the study, with evidence or without.

    Raises:
        OutputError: The folder holds an input, holds files that we did not write, exists without `force`, or cannot be
            written.
        TraceError: The captures have the data for none of the figures and tables.
    """
    # Checked before the work, which takes minutes, and again when the folder is written.
    inputs = [captures.folder, *(trace.path for trace in captures.traces.values()), *captures.profiles]
    check_folder(folder, force=force, inputs=inputs)
    results, claims = reproduced(captures, progress)
    if not any(result.has_evidence for result in results):
        count, make = len(captures.traces), results[0].item.capture
        raise TraceError(f"none of the {count} captures says which model it ran: make some with {make}")

    def fill(made: Path) -> None:
        parts = [_result(result, made) for result in results]
        text = html.document("ttinsys: the study reproduced", _body(captures, results, claims, parts))
        (made / PAGE).write_text(text, encoding="utf-8")

    write_folder(folder, fill, force=force, inputs=inputs)
    return results


def missing(results: Sequence[Result]) -> list[str]:
    """One line for each figure or table that could not be made, with the command that makes its captures."""
    return [
        f"{result.item.title} needs captures: {result.item.capture}" for result in results if not result.has_evidence
    ]


def _body(captures: Captures, results: Sequence[Result], claims: Sequence[MeasuredClaim], parts: Sequence[str]) -> str:
    made = [result for result in results if result.has_evidence]
    links = "".join(f'<li><a href="#{r.item.id}">{html.text(r.item.title.split(":")[0])}</a></li>' for r in made)
    nav = f'<nav><ul><li><a href="#top">Measured and published</a></li>{links}</ul></nav>'
    head = (
        '<div id="top"></div><h1>The study, reproduced</h1><p class="lead">Generative AI Beyond LLMs: System '
        "Implications of Multi-Modal Generation (arXiv 2312.14385v2), reproduced from your own captures. Other GPUs "
        "have other ridge points: compare order and direction, not absolute values.</p>"
    )
    lines = html.items(missing(results), "findings")
    lacking = f"<h2>Missing captures</h2>{lines}" if lines else ""
    failed = f"<h2>Failed captures</h2>{html.items(captures.failed, 'findings')}" if captures.failed else ""
    foot = f"<footer>Made by ttinsys {__version__}. Each table is beside this page as CSV, each figure as SVG.</footer>"
    return (
        f"{nav}<main>{head}{_captures(captures)}<h2>Measured beside published</h2>{_claims(claims)}{lacking}{failed}"
        f"{''.join(parts)}{foot}</main>"
    )


def _captures(captures: Captures) -> str:
    devices = captures.runs["device"].drop_nulls().unique(maintain_order=True).to_list()
    models = captures.runs["model"].n_unique()
    sentence = f"{len(captures.traces)} captures of {models} models on {', '.join(devices) or 'unnamed devices'}."
    simulated = int(captures.runs["simulated"].sum())
    note = f'<div class="note">{simulated} of them are simulated: their times come from a model of a GPU.</div>'
    return f"<p>{html.text(sentence)}</p>{note if simulated else ''}"


def _claims(claims: Sequence[MeasuredClaim]) -> str:
    """The table of claims: what the study publishes, how sure it is that it does, and what was measured."""
    rows = [
        f'<tr><td><a href="#{each.claim.item}">{html.text(each.claim.item.replace("-", " ").capitalize())}</a></td>'
        + "".join(f"<td>{html.text(cell)}</td>" for cell in (each.claim.subject, each.claim.says))
        + f"<td>{html.text(each.claim.published)}</td><td>{each.claim.mark}</td>"
        + f"<td><b>{html.text(each.measured) if each.measured is not None else '&mdash;'}</b></td></tr>"
        for each in claims
    ]
    heads = "".join(f"<th>{name}</th>" for name in ("where", "what", "claim", "published", "mark", "measured"))
    marks = (
        "Stated: in the abstract. Recalled: from the body of the paper. The study measures FlashAttention-2 against "
        "unfused attention on an A100 80 GB"
    )
    return (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f'<p class="soft">{html.text(marks)}.</p>'
    )


def _result(result: Result, folder: Path) -> str:
    if not result.has_evidence:
        return ""
    item = result.item
    shown = "".join(_evidence(item.id, number, each, folder) for number, each in enumerate(result.evidence, start=1))
    return f'<h2 id="{item.id}">{html.text(item.title)}</h2><p class="lead">{html.text(item.shows)}</p>{shown}'


def _evidence(id: str, number: int, each: Evidence, folder: Path) -> str:
    """HTML of one view of one group: heading, figure and table. The figure and the table are also written as files."""
    name, frame = each.shown.name, each.shown.frame
    lacking = "".join(f'<div class="lacking">{html.text(sentence)}</div>' for sentence in each.shown.lacking)
    title = ": ".join(part for part in (each.label, each.view.heading) if part) or name
    if frame.is_empty():
        return lacking
    # Titles hold names from traces: only letters and digits of them reach a file name.
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
