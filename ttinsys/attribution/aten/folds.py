"""Equations between attention calls alone: keys that grow as a cache does, and tokens that are folded two ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MOST_EXTRA = 5
"""Most tokens beside the positions of a picture that are no text: a class token and four registers."""
_LEAST_RUN = 3
"""Lengths that grow at one pace before they count as those of a cache."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """Batch, heads (None where they are folded into the batch), queries and keys of an attention call."""

    batch: int
    heads: int | None
    q_len: int
    kv_len: int


def cache_runs(shapes: Iterable[AttentionShape]) -> dict[tuple[int | None, int], list[int]]:
    """Find lengths of keys that grow by the number of queries, as a cache does.

    Args:
        shapes: Calls of one component.

    Returns:
        For heads and number of queries, the longest run of lengths, rising; none that is shorter than three.
    """
    lengths: dict[tuple[int | None, int], set[int]] = defaultdict(set)
    for shape in shapes:
        if shape.kv_len >= shape.q_len:
            lengths[shape.heads, shape.q_len].add(shape.kv_len)
    runs = {}
    for (heads, q_len), grown in lengths.items():
        longest: list[int] = []
        run: list[int] = []
        for length in sorted(grown):
            run = [*run, length] if run and length - run[-1] == q_len else [length]
            longest = max(longest, run, key=len)
        if len(longest) >= _LEAST_RUN:
            runs[heads, q_len] = longest
    return runs


def fold_pairs(shapes: Iterable[AttentionShape]) -> set[tuple[AttentionShape, AttentionShape]]:
    """Find attention over time and over space of the same tokens: B P sequences of F, and B F sequences of P.

    Args:
        shapes: Calls of one component whose keys are their queries.

    Returns:
        Pairs of the one over time and the one over space. Where the one over space has no further tokens, the equation
        holds as well with both exchanged, and so both pairs are among them.
    """
    distinct = list(shapes)
    return {
        (time, space)
        for time in distinct
        for space in distinct
        if time.heads == space.heads and _folds_into(time, space)
    }


def _folds_into(time: AttentionShape, space: AttentionShape) -> bool:
    frames = time.q_len
    clips, left = divmod(space.batch, frames)
    if left or not clips or frames < 2 or time.batch % clips or frames == space.q_len:
        return False
    positions = time.batch // clips
    return positions > 1 and 0 <= space.q_len - positions <= MOST_EXTRA


def roles_of_folds(pairs: set[tuple[AttentionShape, AttentionShape]]) -> Mapping[AttentionShape, str]:
    """Roles that the pairs of `fold_pairs` settle.

    A pair that holds in one reading only is settled. Of one that holds in both, the side that several others have in
    common is time: levels of a U-Net differ in positions, and not in frames.
    """
    partners: dict[int, set[int]] = defaultdict(set)
    for time, space in pairs:
        partners[time.q_len].add(space.q_len)
    roles: dict[AttentionShape, str] = {}
    for time, space in pairs:
        common = len(partners[time.q_len]) > 1 and len(partners[space.q_len]) == 1
        if (space, time) not in pairs or common:
            roles[time], roles[space] = "temporal_attention", "spatial_attention"
    return roles
