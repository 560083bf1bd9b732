"""The study from a folder: evidence for each figure and table, and what is missing for the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ttinsys.pages.gather import Gathered, Shown
from ttinsys.pages.sections import View
from ttinsys.study.captures import Captures
from ttinsys.study.claims import CLAIMS, Claim
from ttinsys.study.items import ITEMS, Item
from ttinsys.study.measures import MEASURES


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a view shows of one group of captures.

    Args:
        view: the analysis and its options.
        label: what the captures are.
        shown: its result, or what it lacks.
    """

    view: View
    label: str
    shown: Shown


@dataclass(frozen=True, slots=True)
class Result:
    """One figure or table.

    Args:
        item: which.
        evidence: what was made for it; empty where the captures are missing.
    """

    item: Item
    evidence: tuple[Evidence, ...]

    @property
    def found(self) -> bool:
        """Whether there is anything to look at."""
        return any(not each.shown.frame.is_empty() for each in self.evidence)


@dataclass(frozen=True, slots=True)
class Beside:
    """A claim of the study, and what was measured; None where it was not."""

    claim: Claim
    measured: str | None


def reproduced(captures: Captures, say: Callable[[str], None] = lambda _: None) -> tuple[list[Result], list[Beside]]:
    """All of the study that the captures have the data for.

    Args:
        captures: of a folder.
        say: told what is being worked on.

    Returns:
        Every figure and table, made or not, and every claim, measured or not.
    """
    results: list[Result] = []
    measured: dict[str, str] = {}
    for item in ITEMS:
        say(item.title)
        evidence = [
            Evidence(view, group.label, shown)
            for group in item.pick(captures)
            for of in [Gathered({}, captures.tables(group.traces))]
            for view in item.views
            for shown in of.shown(view)
        ]
        if item.made is not None:
            evidence += [Evidence(item.views[0], label, shown) for label, shown in item.made(captures)]
        results.append(Result(item, tuple(evidence)))
        if results[-1].found and item.id in MEASURES:
            by_view = [
                {each.label: each.shown.frame for each in evidence if each.view == view and not each.shown.lacking}
                for view in item.views
            ]
            if all(by_view):
                measured |= dict(MEASURES[item.id](*by_view))
    beside = [Beside(claim, measured.get(claim.id)) for claim in CLAIMS]
    return results, beside
