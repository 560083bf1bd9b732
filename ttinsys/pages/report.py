"""The page of one trace, or of several side by side: findings in sentences, then figures and tables.

html = report_page({"run.sqlite": ttinsys.load("run.sqlite")})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from parsers import Trace
from parsers.origin import origin
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
    """The page of some traces, as HTML without references to other files.

    Args:
        traces: Opened traces by their names on the page, in order; the first is the baseline.
        progress: Called with what is being worked on.
    """
    progress("reading")
    data = gathered(traces)
    sections = [section for section in SECTIONS if len(traces) > 1 or not section.compares]
    body = [_head(data), _findings(data)]
    for section in sections:
        progress(section.title.lower())
        body.append(_section(section, data))
    anchors = "".join(f'<li><a href="#{section.id}">{html.text(section.title)}</a></li>' for section in sections)
    nav = f'<nav><ul><li><a href="#top">Findings</a></li>{anchors}</ul></nav>'
    foot = (
        f"<footer>Made by ttinsys {__version__}. Sums of durations equal those of the trace to the nanosecond.</footer>"
    )
    title = ", ".join(traces)
    return html.document(f"ttinsys: {title}", f"{nav}<main>{''.join(body)}{foot}</main>")


def report(*traces: Trace, path: str | Path, force: bool = False) -> Path:
    """Write one page with findings, figures and tables of all analyses; it needs no network to open.

        ttinsys.report(ttinsys.load("run.sqlite"), path="report.html")

    Args:
        *traces: Opened traces; the first is the baseline of the others.
        path: The HTML file to write.
        force: Whether to replace the file if it exists.

    Returns:
        The path of the file.

    Raises:
        TypeError: No trace is passed.
        OutputError: The file exists and `force` is not set, or it cannot be written.
    """
    if not traces:
        raise TypeError("report takes at least one trace, as ttinsys.load(path) opens it")
    destination = Destination("html", Path(path), force)
    destination.check()
    names = distinct_names(trace_labels([str(trace.path) for trace in traces]))
    emit_text(report_page(dict(zip(names, traces, strict=True))), destination)
    return Path(path)


def _head(data: Gathered) -> str:
    cards = "".join(_card(name, overview) for name, overview in data.overviews.items())
    return f'<div id="top"></div><h1>Where the GPU time goes</h1><div class="cards">{cards}</div>'


def _card(name: str, overview: Overview) -> str:
    """What a trace is: capture, GPU, run, coverage, and notes that a reader needs before trusting a number."""
    gpus = ", ".join(dict.fromkeys(gpu for gpu in overview.gpus["name"] if gpu)) or "no GPU named"
    facts = [
        f"{overview.format}, {origin(overview.format, overview.export)}; {gpus}",
        *map(run_sentence, overview.runs),
    ]
    if overview.start_ns is not None and overview.end_ns is not None:
        facts[0] += f"; {(overview.end_ns - overview.start_ns) / 1e9:,.3f} s"
    notes = "".join(f'<div class="note">{html.text(note)}</div>' for note in overview.notes)
    return (
        f'<div class="card"><h3 class="mono">{html.text(name)}</h3>'
        f'<div class="soft">{"<br>".join(map(html.text, facts))}</div>'
        f"<p>{html.text(coverage_sentence(overview.coverage))}</p>{notes}</div>"
    )


def _findings(data: Gathered) -> str:
    several = len(data.tables) > 1
    lists = [html.items(comparison(data), "findings")] if several else []
    for name in data.tables:
        heading = f'<h3 class="mono">{html.text(name)}</h3>' if several else ""
        lists.append(heading + html.items(findings(data, name), "findings"))
    return "<h2>Findings</h2>" + "".join(lists)


def _section(section: Section, data: Gathered) -> str:
    views = "".join(_view(view, data) for view in section.views)
    if section.id == "layers":
        views = _icicles(data) + views
    return f'<h2 id="{section.id}">{html.text(section.title)}</h2><p class="lead">{html.text(section.lead)}</p>{views}'


def _icicles(data: Gathered) -> str:
    """The tree of layers of each trace, as a figure to walk through."""
    trees = []
    for number, name in enumerate(data.tables):
        heading = f'<h3 class="mono">{html.text(name)}</h3>' if len(data.tables) > 1 else ""
        layers = data.result("layers", [name])
        if layers["total_ns"].sum() > 0:
            trees.append(heading + html.icicle(layers, f"tree-{number}"))
    return "".join(trees)


def _view(view: View, data: Gathered) -> str:
    heading = f"<h3>{html.text(view.heading)}</h3>" if view.heading else ""
    return heading + "".join(_shown(view, shown, several=len(data.tables) > 1) for shown in data.shown(view))


def _shown(view: View, shown: Shown, *, several: bool) -> str:
    lacking = "".join(f'<div class="lacking">{html.text(sentence)}</div>' for sentence in shown.lacking)
    if shown.frame.is_empty():
        return lacking or '<p class="soft">The trace has nothing of this kind.</p>'
    named = f'<h3 class="mono">{html.text(shown.trace)}</h3>' if several and shown.trace is not None else ""
    picture = ""
    if view.figure:
        try:
            picture = html.figure(svg(draw_figure(view.analysis, shown.frame)))
        except NothingToDraw:
            picture = ""
    rows = shown.frame.drop("trace", strict=False) if not several or shown.trace is not None else shown.frame
    table = (
        html.table(
            rows, shown.returns, title=view.heading or view.analysis, rows=view.rows,
            unfolded=view.open, tree=shown.tree,
        )
        if view.table
        else ""
    )  # fmt: skip
    return lacking + named + picture + table
