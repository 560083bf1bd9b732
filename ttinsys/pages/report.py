"""The page of one trace, or of several side by side: what stands out in words, then the tables and figures.

html = page({"run.sqlite": ttinsys.load("run.sqlite")})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from parsers import Trace
from ttinsys import __version__
from ttinsys.attribution.coverage import coverage_sentence
from ttinsys.figures import draw_figure, svg
from ttinsys.figures.style import NothingToDraw, trace_labels
from ttinsys.pages import html
from ttinsys.pages.findings import comparison, findings
from ttinsys.pages.gather import Gathered, Shown, gathered
from ttinsys.pages.sections import SECTIONS, Section, View
from ttinsys.render import Destination, emit_text
from ttinsys.render.overview import run_sentence
from ttinsys.tables.overview import Overview
from ttinsys.tables.registry import distinct_names


def report_page(traces: Mapping[str, Trace], progress: Callable[[str], None] = lambda _: None) -> str:
    """The page of some traces, as HTML that needs nothing else.

    Args:
        traces: opened, by the names that the page calls them, in order; the first is the baseline.
        progress: told what is being worked on.
    """
    progress("reading")
    of = gathered(traces)
    sections = [section for section in SECTIONS if len(traces) > 1 or not section.compares]
    body = [_head(of), _findings(of)]
    for section in sections:
        progress(section.title.lower())
        body.append(_section(section, of))
    anchors = "".join(f'<li><a href="#{section.id}">{html.text(section.title)}</a></li>' for section in sections)
    nav = f'<nav><ul><li><a href="#top">Findings</a></li>{anchors}</ul></nav>'
    foot = (
        f"<footer>Made by ttinsys {__version__}. Sums of durations, each reconciled with the trace to the ns.</footer>"
    )
    title = ", ".join(traces)
    return html.document(f"ttinsys: {title}", f"{nav}<main>{''.join(body)}{foot}</main>")


def report(*traces: Trace, path: str | Path, force: bool = False) -> Path:
    """Write one page of everything that traces show: findings, figures, tables. It opens anywhere, without a network.

        ttinsys.report(ttinsys.load("run.sqlite"), path="report.html")

    Args:
        *traces: Opened traces; the first is the baseline of the others.
        path: The HTML file.
        force: Whether a file that exists is replaced.

    Returns:
        The path of the file.

    Raises:
        TypeError: There is no trace.
        OutputError: The file is there already, or could not be written.
    """
    if not traces:
        raise TypeError("report takes at least one trace, as ttinsys.load(path) opens it")
    destination = Destination("html", Path(path), force)
    destination.check()
    names = distinct_names(trace_labels([str(trace.path) for trace in traces]))
    emit_text(report_page(dict(zip(names, traces, strict=True))), destination)
    return Path(path)


def _head(of: Gathered) -> str:
    cards = "".join(_card(name, seen) for name, seen in of.overviews.items())
    return f'<div id="top"></div><h1>Where the GPU time goes</h1><div class="cards">{cards}</div>'


def _card(name: str, seen: Overview) -> str:
    """What a trace is: capture, GPU, run, coverage, and what must be known before trusting a number."""
    version = seen.export.get("EXPORT_PRODUCT_VERSION", "unknown")
    gpus = ", ".join(dict.fromkeys(gpu for gpu in seen.gpus["name"] if gpu)) or "no GPU named"
    facts = [f"{seen.format}, nsys {version}; {gpus}", *map(run_sentence, seen.runs)]
    if seen.start_ns is not None and seen.end_ns is not None:
        facts[0] += f"; {(seen.end_ns - seen.start_ns) / 1e9:,.3f} s"
    notes = "".join(f'<div class="note">{html.text(note)}</div>' for note in seen.notes)
    return (
        f'<div class="card"><h3 class="mono">{html.text(name)}</h3>'
        f'<div class="soft">{"<br>".join(map(html.text, facts))}</div>'
        f"<p>{html.text(coverage_sentence(seen.coverage))}</p>{notes}</div>"
    )


def _findings(of: Gathered) -> str:
    several = len(of.tables) > 1
    said = [html.items(comparison(of), "findings")] if several else []
    for name in of.tables:
        heading = f'<h3 class="mono">{html.text(name)}</h3>' if several else ""
        said.append(heading + html.items(findings(of, name), "findings"))
    return "<h2>Findings</h2>" + "".join(said)


def _section(section: Section, of: Gathered) -> str:
    views = "".join(_view(view, of) for view in section.views)
    if section.id == "layers":
        views = _icicles(of) + views
    return f'<h2 id="{section.id}">{html.text(section.title)}</h2><p class="lead">{html.text(section.lead)}</p>{views}'


def _icicles(of: Gathered) -> str:
    """The tree of each trace's layers, to walk through."""
    trees = []
    for number, name in enumerate(of.tables):
        heading = f'<h3 class="mono">{html.text(name)}</h3>' if len(of.tables) > 1 else ""
        layers = of.result("layers", [name])
        if layers["total_ns"].sum() > 0:
            trees.append(heading + html.icicle(layers, f"tree-{number}"))
    return "".join(trees)


def _view(view: View, of: Gathered) -> str:
    heading = f"<h3>{html.text(view.heading)}</h3>" if view.heading else ""
    return heading + "".join(_shown(view, shown, several=len(of.tables) > 1) for shown in of.shown(view))


def _shown(view: View, shown: Shown, *, several: bool) -> str:
    lacking = "".join(f'<div class="lacking">{html.text(sentence)}</div>' for sentence in shown.lacking)
    if shown.frame.is_empty():
        return lacking or '<p class="soft">Nothing of this kind is in the trace.</p>'
    named = f'<h3 class="mono">{html.text(shown.trace)}</h3>' if several and shown.trace is not None else ""
    picture = ""
    if view.figure:
        try:
            picture = html.figure(svg(draw_figure(view.analysis, shown.frame)))
        except NothingToDraw:
            picture = ""
    listed = shown.frame.drop("trace", strict=False) if not several or shown.trace is not None else shown.frame
    table = (
        html.table(
            listed, shown.returns, title=view.heading or view.analysis, rows=view.rows,
            unfolded=view.open, tree=shown.tree,
        )
        if view.table
        else ""
    )  # fmt: skip
    return lacking + named + picture + table
