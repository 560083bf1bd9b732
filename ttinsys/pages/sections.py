"""What the page shows, in its order: each view is an analysis with its options, its figure and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class View:
    """One analysis on the page.

    Args:
        analysis: its name.
        heading: over it; empty where the section's title says it.
        options: of the analysis.
        figure: whether it is drawn.
        table: whether its rows are listed.
        open: whether the table is unfolded at first.
        rows: at most so many, the first ones; the page says how many there are.
    """

    analysis: str
    heading: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    figure: bool = True
    table: bool = True
    open: bool = False
    rows: int = 300


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Args:
        id: its anchor.
        title: its heading.
        lead: what the reader sees in it, in a sentence or two.
        views: what it shows.
        compares: whether it is there only for several traces.
    """

    id: str
    title: str
    lead: str
    views: tuple[View, ...]
    compares: bool = False


SECTIONS = (
    Section(
        "comparison",
        "What changed",
        "Each trace against the first, aligned by layer and role, not by kernel name.",
        (
            View("speedup", open=True),
            View("diff", "By layer", rows=100),
        ),
        compares=True,
    ),
    Section(
        "breakdown",
        "Where the time goes",
        "GPU time, durations added up, by what it is for. What has no layer is there too, with the reason.",
        (
            View("breakdown", "By role", {"by": ("role",)}, open=True),
            View("breakdown", "By component and role", {"by": ("role", "component")}),
            View("breakdown", "By operator", {"by": ("operator",)}),
        ),
    ),
    Section(
        "attention",
        "Attention",
        "Each kind of attention: its core, its projections, and the copies that serve it.",
        (View("attention", open=True),),
    ),
    Section(
        "lengths",
        "Sequence lengths",
        "Queries and keys of every call of attention, in the order of the calls.",
        (View("lengths", rows=100), View("phases", "Like prefill, or like decode")),
    ),
    Section(
        "roofline",
        "Distance from the hardware's limits",
        "Operations per byte against what was achieved, under the ceilings of the GPU. Time is exclusive.",
        (View("roofline", open=True),),
    ),
    Section(
        "gaps",
        "Gaps",
        "When the GPU idles, and what it waits for.",
        (View("gaps", open=True),),
    ),
    Section(
        "layers",
        "Slowest layers",
        "Every stack of ranges with what was launched right in it (self) and with its parts (total).",
        (View("layers", figure=False, open=True, rows=1000),),
    ),
    Section(
        "kernels",
        "Slowest kernels",
        "By name: what each does, and how often it runs.",
        (View("kernels", figure=False, open=True, rows=500),),
    ),
)
"""All of the page, after its findings."""
