"""The study from a folder of captures: evidence for each figure and table, and measures beside each claim."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ttinsys.pages.gather import Gathered, Shown
from ttinsys.pages.sections import View
from ttinsys.study.captures import Captures
from ttinsys.study.claims import CLAIMS, Claim
from ttinsys.study.items import ITEMS, Item
from ttinsys.study.measures import MEASURES


@dataclass(frozen=True, slots=True)
class Evidence:
    """The result of a view for one group of captures.

    Args:
        view: The analysis and its options.
        label: What the captures are.
        shown: The result, or what it lacks.
    """

    view: View
    label: str
    shown: Shown


@dataclass(frozen=True, slots=True)
class Result:
    """A figure or table of the study, reproduced.

    Args:
        item: Which figure or table.
        evidence: Results of its views; empty where captures are missing.
    """

    item: Item
    evidence: tuple[Evidence, ...]

    @property
    def has_evidence(self) -> bool:
        """Whether any of the evidence has rows."""
        return any(not each.shown.frame.is_empty() for each in self.evidence)


@dataclass(frozen=True, slots=True)
class MeasuredClaim:
    """A claim of the study and the measured value, as text; None where nothing was measured."""

    claim: Claim
    measured: str | None


def reproduced(
    captures: Captures, progress: Callable[[str], None] = lambda _: None
) -> tuple[list[Result], list[MeasuredClaim]]:
    """Reproduce all of the study that the captures have data for.

    Args:
        captures: Captures of a folder.
        progress: Called with what is being worked on.

    Returns:
        Every figure and table, with evidence or without; and every claim, measured or not.
    """
    results: list[Result] = []
    measured: dict[str, str] = {}
    for item in ITEMS:
        progress(item.title)
        result = Result(item, tuple(_evidence_for(item, captures)))
        results.append(result)
        if result.has_evidence:
            measured |= _measured(result)
    return results, [MeasuredClaim(claim, measured.get(claim.id)) for claim in CLAIMS]


def _evidence_for(item: Item, captures: Captures) -> Iterator[Evidence]:
    """Each view of each group of captures, then the tables that the item makes itself."""
    for group in item.pick(captures):
        gathered = Gathered({}, captures.tables(group.traces))
        for view in item.views:
            yield from (Evidence(view, group.label, shown) for shown in gathered.shown(view))
    if item.made is not None:
        yield from (Evidence(item.views[0], label, shown) for label, shown in item.made(captures))


def _measured(result: Result) -> dict[str, str]:
    """Values that the evidence gives for claims, by the claim's id; none unless every view has a result."""
    if result.item.id not in MEASURES:
        return {}
    by_view = [
        {each.label: each.shown.frame for each in result.evidence if each.view == view and not each.shown.lacking}
        for view in result.item.views
    ]
    return dict(MEASURES[result.item.id](*by_view)) if all(by_view) else {}
