"""The questions that commands answer: headings of `ttinsys --help`."""

from __future__ import annotations

QUESTIONS: dict[str, tuple[str, ...]] = {
    "What is in a trace": ("info", "check", "attribute", "stats", "export"),
    "Where does the time go": ("breakdown", "layers", "ranges", "kernels", "gaps"),
    "How do attention and sequence lengths behave": ("attention", "lengths", "phases"),
    "How close to the limits of the hardware": ("roofline", "cache"),
    "What did a change do": ("diff", "speedup"),
    "How does time grow with size, and how do models compare": ("scaling", "model", "pareto", "taxonomy"),
    "Everything on one page": ("report", "reproduce"),
}
"""Commands under each heading, in the order of the list."""

OTHER = "Other questions"
"""Heading of all commands that `QUESTIONS` does not name: a new analysis is listed there until it is placed."""

SHORT_NAMES = {"ranges": "ranges_by_name"}
"""Analyses whose command has a shorter name: in Python, `ttinsys.ranges` is the table of ranges itself."""
