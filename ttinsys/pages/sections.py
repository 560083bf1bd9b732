"""The sections of the page, in order. Each view is one analysis with its options, its figure and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class View:
    """One analysis on the page.

    Args:
        analysis: name of the analysis.
        heading: heading above the view; empty where the section's title suffices.
        options: options of the analysis.
        figure: whether to draw its figure.
        table: whether to list its rows.
        open: whether the table is unfolded when the page loads.
        rows: number of rows listed at most, the first ones; the page gives the number of all rows.
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
        id: anchor of the section.
        title: heading of the section.
        lead: what the section shows, in one or two sentences.
        views: the analyses that it shows.
        compares: whether the section needs several traces, and is left out for one.
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
        "Each trace compared with the first, aligned by layer and role, not by kernel name.",
        (
            View("speedup", open=True),
            View("diff", "By layer", rows=100),
        ),
        compares=True,
    ),
    Section(
        "breakdown",
        "Where the time goes",
        "GPU time (sum of durations) by role, component and operator. Time without a layer is listed with the reason.",
        (
            View("breakdown", "By role, or operator", open=True),
            View("breakdown", "By component and role", {"by": ("role", "component")}),
            View("breakdown", "By operator", {"by": ("operator",)}),
        ),
    ),
    Section(
        "attention",
        "Attention",
        "Time of each kind of attention: its core, its projections, and the copies that serve it.",
        (View("attention", open=True),),
    ),
    Section(
        "lengths",
        "Sequence lengths",
        "Numbers of queries and keys of every attention call, in the order of the calls.",
        (View("lengths", rows=100), View("phases", "Prefill-like or decode-like")),
    ),
    Section(
        "roofline",
        "Distance from the hardware's limits",
        "Achieved FLOP/s by arithmetic intensity (FLOPs per byte), under the ceilings of the GPU. Time is exclusive.",
        (View("roofline", open=True),),
    ),
    Section(
        "gaps",
        "Gaps",
        "When the GPU is idle, and what it waits for.",
        (View("gaps", open=True),),
    ),
    Section(
        "structure",
        "What repeats",
        "Iterations and the blocks in them, found in the sequence of kernels alone.",
        (View("structure", open=True),),
    ),
    Section(
        "layers",
        "Slowest layers",
        "Every stack of ranges with the time launched directly in it (self) and with its nested ranges (total).",
        (View("layers", figure=False, open=True, rows=1000),),
    ),
    Section(
        "kernels",
        "Slowest kernels",
        "Each kernel name with its operator, its time, and the number of its executions.",
        (View("kernels", figure=False, open=True, rows=500),),
    ),
)
"""All sections of the page, which follow the findings."""
