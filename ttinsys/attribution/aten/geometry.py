"""Role of attention calls by geometry: what they attend to, and along which axis, from lengths and batches alone.

    attention_roles(calls, Surroundings(grids=frozenset({(2, 64, 64)}), tokens=frozenset({(1, 77)})))

A name never decides. Every role follows from an equation between the numbers of a call and those of its surroundings:

- the same tokens, folded two ways: F frames of P positions are P sequences of F (temporal) and F of P (spatial);
- a picture's grid: H W tokens (spatial), F H W tokens (spatiotemporal);
- a picture and text in one sequence: their sum (joint);
- keys that are not the queries (cross), unless they grow from call to call as a cache does (self);
- tokens that an embedding looked up (self).

Where no equation holds, or several do that disagree, the role is null.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from math import isqrt
from statistics import median

import polars as pl

from .cost import Size
from .folds import MOST_EXTRA, AttentionShape, cache_runs, fold_pairs, roles_of_folds

ATTENTION_CALL_COLUMNS = ("component", "batch", "heads", "q_len", "kv_len", "calls")
"""Columns of distinct attention calls: the part of the pipeline (null: unknown), the sizes, the number of calls."""

_ALONG_ONE_SEQUENCE = frozenset({"text_encoder", "image_encoder", "decoder"})
"""Components in which annotation calls every attention self-attention."""
_LEAST_TEXT = 8
"""Least length of text beside a picture; fewer tokens are classes and registers."""
_LEAST_PICTURE = 16
"""Least length of a picture beside text."""
_MOST_TEXTS = 16
"""Most lengths of text of which sums are taken: a trace of a long decode has thousands."""
_FEW_QUERIES = 16
"""Most queries of a step that decodes several tokens at once, and so continues a cache."""


@dataclass(frozen=True)
class Surroundings:
    """What else a trace shows.

    Args:
        grids: Batch and extents of tensors with channels: (B, L), (B, H, W) or (B, F, H, W).
        tokens: Batch and length of sequences of tokens that embeddings look up.
        sequences: Batch and length of sequences that linear layers take.
    """

    grids: frozenset[Size] = frozenset()
    tokens: frozenset[tuple[int, int]] = frozenset()
    sequences: frozenset[tuple[int, int]] = frozenset()

    def visual(self, batch: int, *, packed: bool = False) -> tuple[frozenset[int], frozenset[int]]:
        """Lengths of pictures, and of clips, as sequences.

        Args:
            batch: Batch of the attention: frames that a convolution takes as pictures are clips of this number.
            packed: Count four pixels as one token.
        """
        return _visual(self.grids, batch, packed)


@cache
def _visual(grids: frozenset[Size], batch: int, packed: bool) -> tuple[frozenset[int], frozenset[int]]:  # noqa: FBT001
    pictures, clips = set(), set()
    for count, *extents in grids:
        if len(extents) < 2 or (packed and (extents[-1] % 2 or extents[-2] % 2)):
            continue
        positions = extents[-2] * extents[-1] // (4 if packed else 1)
        pictures.add(positions)
        if len(extents) == 3 and extents[0] > 1:
            clips.add(extents[0] * positions)
        elif len(extents) == 2 and batch and count % batch == 0 and count > batch:
            clips.add(count // batch * positions)
    return frozenset(pictures), frozenset(clips)


@dataclass
class _Component:
    """The attention calls of one component.

    Args:
        name: The component; None where it is unknown.
        calls: Number of calls of each shape.
        around: What the trace shows.
        text: Lengths of text in the trace.
    """

    name: str | None
    calls: Mapping[AttentionShape, int]
    around: Surroundings
    text: frozenset[int]
    runs: Mapping[tuple[int | None, int], list[int]] = field(init=False)
    pairs: set[tuple[AttentionShape, AttentionShape]] = field(init=False)
    folded: Mapping[AttentionShape, str] = field(init=False)

    def __post_init__(self) -> None:
        self.runs = cache_runs(self.calls)
        self.pairs = fold_pairs(shape for shape in self.calls if shape.q_len == shape.kv_len)
        self.folded = roles_of_folds(self.pairs)

    def role(self, shape: AttentionShape) -> str | None:
        """Role of a shape; None where nothing tells."""
        run = self.runs.get((shape.heads, shape.q_len), [])
        if shape.kv_len in run:
            return self._with_growing_keys(shape, run)
        if shape.q_len != shape.kv_len:
            return self._with_other_keys(shape, run)
        if self.name in _ALONG_ONE_SEQUENCE or self._is_prefill(shape):
            return "self_attention"
        exact = self._exact(shape)
        if shape in self.folded and (not exact or self.folded[shape] in exact):
            return self.folded[shape]
        for candidates in (exact, self._joint(shape, packed=False), self._by_length(shape)):
            if candidates:
                return min(candidates) if len(candidates) == 1 else None
        return None

    def _with_growing_keys(self, shape: AttentionShape, run: Iterable[int]) -> str | None:
        """Keys that grow are a cache's. One length called far more often than the others is text as well."""
        usual = median(self._count(shape, length) for length in run)
        if self._count(shape, shape.kv_len) > 1.5 * usual:
            return None
        return "spatiotemporal_attention" if self._is_visual(shape) else "self_attention"

    def _count(self, shape: AttentionShape, kv_len: int) -> int:
        alike = (shape.heads, shape.q_len, kv_len)
        return sum(number for each, number in self.calls.items() if (each.heads, each.q_len, each.kv_len) == alike)

    def _with_other_keys(self, shape: AttentionShape, run: Iterable[int]) -> str | None:
        """Cross-attention, unless the keys may be the queries' own, more of them or fewer.

        Text may be added to a picture's keys; parts of a sequence on several GPUs meet the keys of all; a picture's
        keys may be reduced by the square of a factor; a single query may pool its own sequence.
        """
        q_len, kv_len = shape.q_len, shape.kv_len
        more = kv_len - q_len
        sharing = {each.q_len for each in self.calls if each.kv_len == kv_len and each.q_len != kv_len}
        if more > 0 and self._is_visual(shape):
            adding = {each.q_len for each in self.calls if each.kv_len - each.q_len == more and self._is_visual(each)}
            if more in self.text or len(adding) > 1:
                return None if kv_len in self.text or len(sharing) > 1 else "joint_attention"
        if q_len <= _FEW_QUERIES and any(each.q_len == each.kv_len == more for each in self.calls):
            return "self_attention"  # it continues what one call has begun
        if q_len == 1:
            return "cross_attention" if run else None
        if kv_len in self.text or len(sharing) > 1:
            return "cross_attention"
        factor = isqrt(q_len // kv_len)
        reduced = factor > 1 and factor * factor * kv_len == q_len
        return None if more > 0 or reduced else "cross_attention"

    def _is_prefill(self, shape: AttentionShape) -> bool:
        """Whether the first call with a cache continues where this one ends."""
        return any(heads == shape.heads and run[0] - q_len == shape.q_len for (heads, q_len), run in self.runs.items())

    def _is_visual(self, shape: AttentionShape) -> bool:
        return any(shape.q_len in lengths for lengths in self.around.visual(shape.batch))

    def _exact(self, shape: AttentionShape) -> set[str]:
        """Roles whose equations hold for the length and the batch."""
        n = shape.q_len
        looked_up = any(n == length and _fits(shape, batch) for batch, length in self.around.tokens)
        found = {"self_attention"} if looked_up else set()
        for batch, *extents in self.around.grids:
            if len(extents) == 1:
                found |= {"self_attention"} if extents[0] == n and _fits(shape, batch) else set()
                continue
            *time, height, width = extents
            frames = batch * (time[0] if time else 1)
            if n == height * width and _fits(shape, frames):
                found.add("spatial_attention")
            elif self._is_temporal(shape, frames, height, width, time):
                found.add("temporal_attention")
            elif n % (height * width) == 0 and shape.heads is not None and n * shape.batch == frames * height * width:
                found |= {"spatiotemporal_attention"} if not time or n == time[0] * height * width else set()
        # A clip whose frames and positions are attended to apart as well, whichever is which.
        if found <= {"self_attention"} and any(n == time.q_len * space.q_len for time, space in self.pairs):
            found.add("spatiotemporal_attention")
        return found - {"self_attention"} if self.name == "vae" else found  # it takes no tokens

    def _is_temporal(self, shape: AttentionShape, frames: int, height: int, width: int, time: list[int]) -> bool:
        """Whether the tokens of a grid of `frames` are folded so that each position has a sequence of its own.

        Without the frames of one clip, a window or a row of a picture might have as many tokens: then another call has
        to take the same frames as pictures.
        """
        n, positions = shape.q_len, height * width
        clips, left = divmod(frames, n)
        if left or n < 2 or positions < 2 or not _fits(shape, clips * positions):
            return False
        if time:
            return n == time[0]
        side = isqrt(n)
        window = side * side == n and height % side == 0 and width % side == 0
        partner = any(
            each.q_len == each.kv_len and 0 <= each.q_len - positions <= MOST_EXTRA and _fits(each, frames)
            for each in self.calls
        )
        return shape.heads is not None and (partner or not (window or n in {height, width}))

    def _by_length(self, shape: AttentionShape) -> set[str]:
        """Roles whose equations hold for the length alone, of pictures and clips, packed or with a class token."""
        n = shape.q_len
        if n in self.text:
            return {"self_attention"}
        for packed in (False, True):
            pictures, clips = self.around.visual(shape.batch, packed=packed)
            if n in pictures or n in clips:
                return {"spatial_attention"} if n in pictures else {"spatiotemporal_attention"}
        pictures, _ = self.around.visual(shape.batch)
        extra = range(1, MOST_EXTRA + 1 if n > 64 else 2)
        if n > 16 and any(n - more in pictures for more in extra):
            # A picture with a class token: what encodes pictures, unless the component is known to be something else.
            return {"spatial_attention"} if self.name else set()
        return self._joint(shape, packed=True)

    def _joint(self, shape: AttentionShape, *, packed: bool) -> set[str]:
        """Whether the length is that of a picture and text: linear layers take them apart, or both are known."""
        n = shape.q_len
        apart = {length for batch, length in self.around.sequences if batch == shape.batch and length >= _LEAST_TEXT}
        visual = frozenset().union(*self.around.visual(shape.batch, packed=packed))
        sums = _sums(self.text)
        joint = any(n - length in apart for length in apart) or any(
            n - length in visual for length in sums if n - length >= _LEAST_PICTURE
        )
        return {"joint_attention"} if joint and n not in visual else set()


def _fits(shape: AttentionShape, batch: int) -> bool:
    """Whether a call has this batch; where heads are folded into its own, a multiple of it."""
    if shape.heads is None:
        return batch > 0 and shape.batch % batch == 0
    return shape.batch == batch


@cache
def _sums(text: frozenset[int]) -> frozenset[int]:
    """Lengths of up to three texts in one sequence."""
    lengths = sorted(length for length in text if length >= _LEAST_TEXT)[:_MOST_TEXTS]
    return frozenset(sum(chosen) for count in (1, 2, 3) for chosen in combinations(lengths, count))


def attention_roles(calls: pl.DataFrame, around: Surroundings) -> pl.DataFrame:
    """Decide the role of each distinct attention call.

    Args:
        calls: `ATTENTION_CALL_COLUMNS`, one row per distinct call, in any order; `heads` is null where heads are folded
            into the batch.
        around: What else the trace shows.

    Returns:
        The rows, with `role`: one of `annotate.labels.ATTENTION_ROLES`, or null where nothing tells.
    """
    rows = [
        (component, AttentionShape(batch or 0, heads, q_len, kv_len) if q_len and kv_len else None, number or 1)
        for component, batch, heads, q_len, kv_len, number in calls.select(ATTENTION_CALL_COLUMNS).iter_rows()
    ]
    shapes: dict[str | None, dict[AttentionShape, int]] = defaultdict(lambda: defaultdict(int))
    for component, shape, number in rows:
        if shape:
            shapes[component][shape] += number
    text = {length for _, length in around.tokens}
    text |= {each.q_len for each in shapes.get("text_encoder", ()) if each.q_len == each.kv_len}
    known = _judged(shapes, around, text)
    # What cross-attention attends to is text, and so is what joint attention has beside the picture.
    text |= {shape.kv_len for (_, shape), role in known.items() if role == "cross_attention" and shape.q_len > 1}
    for (_, shape), role in known.items():
        if role == "joint_attention" and shape.q_len == shape.kv_len:
            visual = frozenset().union(*around.visual(shape.batch))
            taken = {length for batch, length in around.sequences if batch == shape.batch}
            text |= {shape.q_len - length for length in visual if shape.q_len - length in taken}
    known = _judged(shapes, around, text)
    roles = [known.get((component, shape)) if shape else None for component, shape, _ in rows]
    return calls.with_columns(pl.Series("role", roles, pl.String))


def _judged(
    shapes: Mapping[str | None, Mapping[AttentionShape, int]], around: Surroundings, text: set[int]
) -> dict[tuple[str | None, AttentionShape], str | None]:
    components = [_Component(name, calls, around, frozenset(text)) for name, calls in shapes.items()]
    return {(each.name, shape): each.role(shape) for each in components for shape in each.calls}
