"""The commands by the question that they answer: how `ttinsys --help` lists them."""

from __future__ import annotations

QUESTIONS: dict[str, tuple[str, ...]] = {
    "What is in a trace": ("info", "attribute", "stats", "export"),
    "Where does the time go": ("breakdown", "layers", "ranges", "kernels", "gaps"),
    "How do attention and sequence lengths behave": ("attention", "lengths", "phases"),
    "How far from the hardware's limits": ("roofline", "cache"),
    "What did a change do": ("diff", "speedup"),
    "How does it grow, and how do models compare": ("scaling", "model", "pareto", "taxonomy"),
    "All at once, as a page": ("report", "reproduce"),
}
"""Commands under each heading, in the order in which they are listed."""

OTHER = "Other questions"
"""Heading of the commands that no question above lists: a new analysis is found there until it is given a place."""

SHORT_NAMES = {"ranges": "ranges_by_name"}
"""Analyses by their command, where that is shorter: in Python, `ttinsys.ranges` is the table of ranges itself."""
