"""Where what repeats in a sequence begins and ends, told by landmarks.

    spans_of(grams, described(grams, search(grams)), period, parents)

Landmarks are grams that an iteration has once, each at its place. The first ones vote for the start, the last ones for
the end. So an iteration may lack any of them, and hold more or fewer kernels than others.
"""

from __future__ import annotations

import polars as pl

from ttinsys.measures.repetition import WIDTHS, Cuts, drift, segments

_STEADY_SHARE = 0.85
"""A landmark is in at least this share of the segments."""
_VOTES = 128
"""Landmarks that vote for starts, and as many for ends."""
_MAJORITY, _MINORITY = 0.5, 0.25
"""Shares of the landmarks that have to agree on a start and on an end: a last layer often lacks some kernels."""
_TOUCHING = 1 / 20
"""Part of a period that is too short to lie between iterations, and belongs to the one before."""
_CUT_OFF = 0.75
"""Part of the median length that the last one has at least, unless its end is found."""
_ENOUGH = 12
"""Landmarks of some width that make shorter ones dispensable."""
_MOVED = 64
"""Symbols by which a start is moved at most, once it is known roughly."""


def described(grams: pl.DataFrame, cuts: Cuts) -> pl.DataFrame:
    """The landmarks of what repeats, with their offsets from its start."""
    landmarks = _rotated(grams, cuts, _landmarks(grams, cuts))
    whole = pl.DataFrame({"parent": [0], "from": [grams["pos"][0]], "to": [grams["pos"][0] + grams.height]})
    spans = spans_of(grams, landmarks, cuts.period, whole)
    if spans.height < 2:
        return landmarks
    offset = pl.col("offset") - _moved(grams, spans)
    wrapped = pl.when(offset < 0).then(offset + cuts.period).when(offset >= cuts.period).then(offset - cuts.period)
    moved = landmarks.with_columns(wrapped.otherwise(offset).alias("offset")).sort(
        "offset", "width", "gram", maintain_order=True
    )
    # Landmarks that would all reach from one iteration into the next could tell neither start nor end.
    return moved if 4 * _within(moved, cuts.period).height >= landmarks.height else landmarks


def _long(grams: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """`width` and `gram` of all grams, below each other, with some more columns."""
    widths = [grams.select(*columns, pl.lit(w, pl.Int64).alias("width"), pl.col(f"g{w}").alias("gram")) for w in WIDTHS]
    return pl.concat(widths).drop_nulls("gram")


def _landmarks(grams: pl.DataFrame, cuts: Cuts) -> pl.DataFrame:
    """Grams that most segments have once, at a steady `offset` from the cut, in the order of the offsets."""
    symbols = segments(grams, cuts.positions, cuts.period)
    # The last segment has no end, and what follows the last iteration is of no interest.
    symbols = symbols.filter(pl.col("segment") < len(cuts.positions) - 1)
    held = symbols["segment"].n_unique()
    offset = pl.col("offset")
    found = (
        _long(symbols, "segment", "offset")
        .group_by("width", "gram", maintain_order=True)
        .agg(
            pl.len().alias("count"),
            pl.col("segment").n_unique().alias("segments"),
            offset.median(),
            (offset - offset.median()).abs().median().alias("deviation"),
        )
        .filter(
            pl.col("count") == pl.col("segments"),
            pl.col("segments") >= _STEADY_SHARE * held,
            pl.col("deviation") <= drift(cuts.period),
            offset < cuts.period,
        )
        .sort("offset", "width", "gram", maintain_order=True)
        .select("width", "gram", "offset")
    )
    # Long grams are met elsewhere by chance more rarely than short ones, and serve where they are many.
    for width in (4, 2):
        long = found.filter(pl.col("width") >= width)
        if long.height >= _ENOUGH:
            return long
    return found


def _rotated(grams: pl.DataFrame, cuts: Cuts, landmarks: pl.DataFrame) -> pl.DataFrame:
    """The landmarks with their offset from the start of an iteration, rather than from the cut in the midst of it.

    Those after the cut also follow the last cut; those before the cut also lie before the first one. Where the first
    ones end and the others begin, the iteration begins.
    """
    first, last, period = int(cuts.positions[0]), int(cuts.positions[-1]), cuts.period
    if len(cuts.positions) > 3:
        # What cuts may also occur, by chance, where an iteration before the first one or after the last one would be.
        following = _met(grams, landmarks, first, period, first, first + int(1.25 * period))
        leading = _met(grams, landmarks, last - period, period, last - int(1.25 * period), last)
        first = first if sum(following) > _MAJORITY * landmarks.height else int(cuts.positions[1])
        last = last if sum(leading) > _MAJORITY * landmarks.height else int(cuts.positions[-2])
    ahead = _met(grams, landmarks, first - period, period, first - int(1.25 * period), first)
    behind = _met(grams, landmarks, last, period, last, last + int(1.25 * period))
    sides = landmarks.with_columns(
        pl.Series("ahead", ahead), pl.Series("behind", behind), pl.int_range(pl.len()).alias("rank")
    )
    if len(cuts.positions) == 2:
        # A single segment between two cuts shows what it has once, not what comes back.
        sides = sides.filter(pl.col("ahead") | pl.col("behind"))
    if sides.is_empty():
        return landmarks
    # A long gram is met by chance more rarely than a short one.
    missing_behind, missing_ahead = (~pl.col("behind")) * pl.col("width"), (~pl.col("ahead")) * pl.col("width")
    wrong = missing_behind.cum_sum() + missing_ahead.sum() - missing_ahead.cum_sum()
    turn = sides.select(wrong.cast(pl.Int64).arg_min()).item()
    begun = sides.slice(turn + 1).filter("ahead")
    start = begun["offset"][0] if begun.height else 0.0
    offset = pl.col("offset") - start
    return sides.select(
        "width", "gram", pl.when(offset < 0).then(offset + period).otherwise(offset).alias("offset")
    ).sort("offset", "width", "gram", maintain_order=True)


def _met(
    grams: pl.DataFrame, landmarks: pl.DataFrame, origin: float, period: float, first: int, end: int
) -> list[bool]:
    """Which landmarks lie at their offset from an origin, in a window."""
    inside = grams.filter(pl.col("pos").is_between(first, end, closed="left"))
    near = (pl.col("pos") - origin - pl.col("offset")).abs() <= 2 * drift(period)
    met = (
        _long(inside, "pos")
        .join(landmarks, on=["width", "gram"], maintain_order="left")
        .filter(near)
        .select("width", "gram")
        .unique(maintain_order=True)
    )
    found = landmarks.join(
        met.with_columns(pl.lit(value=True).alias("met")), on=["width", "gram"], how="left", maintain_order="left"
    )
    return found["met"].fill_null(value=False).to_list()


def _moved(grams: pl.DataFrame, spans: pl.DataFrame) -> int:
    """How far the starts are to be moved so that all iterations, the first and the last too, hold the same symbols.

    Grams tell where an iteration begins to a few symbols, as they reach into the next one.
    """
    origin, symbols = grams["pos"][0], grams["g1"]
    starts, length = spans["first"], round(spans["first"].diff().median() or 1)  # type: ignore[arg-type]
    width = max(1, min(_MOVED, length // 4))
    offsets = pl.int_range(-2 * width, 2 * width, eager=True)

    def at(start: int) -> pl.Series:
        places = offsets + (start - origin)
        return symbols.gather(places.clip(0, len(symbols) - 1)).set(~places.is_between(0, len(symbols) - 1), None)

    inner = starts[1:].gather_every(max(1, len(starts) // 32))
    usual = pl.DataFrame([at(start).alias(str(start)) for start in inner]).transpose()
    # Of symbols that are as frequent, any serves, but always the same one: modes come in any order.
    mode = usual.select(pl.all().mode().min()).row(0) if usual.height > 1 else usual.row(0)
    expected = pl.Series(mode, dtype=pl.Int64)

    def agrees(start: int) -> pl.Series:
        return (at(start) == expected).fill_null(value=False)

    first, last = int(starts[0]), int(spans["end"][-1])
    # Where starts are misplaced, the first or the last one may have been taken for something else.
    if agrees(first - length)[2 * width :].mean() > _MAJORITY:  # type: ignore[operator]
        first -= length
    if agrees(last + length)[: 2 * width].mean() > _MAJORITY:  # type: ignore[operator]
        last += length
    before, after = ~agrees(first), ~agrees(last)
    wrong = before.cast(pl.Int64).cum_sum(reverse=True) + after.cast(pl.Int64).cum_sum() - after.cast(pl.Int64)
    moves = pl.DataFrame({"wrong": wrong, "move": offsets}).filter(pl.col("move").abs() <= width)
    # What is gained by a single symbol may be chance.
    moves = moves.with_columns((pl.col("wrong") + pl.when(pl.col("move") != 0).then(1).otherwise(0)).alias("wrong"))
    return int(moves.sort("wrong", pl.col("move").abs(), "move")["move"][0])


def _within(landmarks: pl.DataFrame, period: float) -> pl.DataFrame:
    """The landmarks that do not reach into the next iteration, which are missing at the end of the last."""
    return landmarks.filter(pl.col("offset") + pl.col("width") <= period)


def spans_of(grams: pl.DataFrame, landmarks: pl.DataFrame, period: float, parents: pl.DataFrame) -> pl.DataFrame:
    """Where what the landmarks describe begins and ends.

    Args:
        grams: A slice of a sequence.
        landmarks: With their offsets from the start.
        period: Median distance of starts.
        parents: `parent`, `from` and `to`: spans in which to look, ascending.

    Returns:
        `parent`, `first` and `end`, in order.
    """
    within = _within(landmarks, period)
    half = min((within.height + 1) // 2, _VOTES)
    early, late = within.head(half), within.tail(half)
    found = _occurrences(grams, pl.concat([early, late]).unique(maintain_order=True), parents)
    starts = _voted(found, early, period, last=False)
    length = float(starts.select(pl.col("at").diff().over("parent").median()).item() or period)
    ends = _voted(found, late, period, last=True).with_columns((pl.col("at") + round(length)).alias("end"))
    following = pl.col("first").shift(-1).over("parent").fill_null(pl.col("to"))
    spans = (
        starts.select("parent", pl.col("at").alias("first"))
        .join(parents, on="parent", maintain_order="left")
        .with_columns(pl.max_horizontal("first", "from").alias("first"))
        .unique(["parent", "first"], maintain_order=True)
        .with_columns(following.alias("following"))
    )
    # The end that belongs to a start is the last one before the next start.
    latest = ends.join_asof(
        spans.select("parent", "first", pl.col("first").alias("start")),
        left_on="midst", right_on="first", by="parent", check_sortedness=False,
    ).group_by("parent", pl.col("start").alias("first"), maintain_order=True).agg(pl.col("end").max())  # fmt: skip
    spans = spans.join(latest, on=["parent", "first"], how="left", maintain_order="left")
    is_last = pl.col("following") == pl.col("to")
    # One without an end is a kind of its own, such as a last layer that lacks its last kernels, or it is cut off.
    complete = pl.col("end").is_not_null() | ~is_last | (pl.col("to") - pl.col("first") >= _CUT_OFF * length)
    end = pl.min_horizontal(pl.col("end").fill_null(pl.col("first") + round(length)), "following")
    touching = (pl.col("following") - end <= max(2.0, length * _TOUCHING)) & ~is_last
    return spans.filter(complete).select(
        "parent", "first", pl.when(touching).then("following").otherwise(end).alias("end")
    )


def _occurrences(grams: pl.DataFrame, landmarks: pl.DataFrame, parents: pl.DataFrame) -> pl.DataFrame:
    """`pos`, `width`, `gram`, `offset` and `parent` of all landmarks, by position."""
    parts = [
        grams.select("pos", pl.lit(width, pl.Int64).alias("width"), pl.col(f"g{width}").alias("gram")).join(
            landmarks.filter(pl.col("width") == width), on=["width", "gram"]
        )
        for width in WIDTHS
    ]
    return (
        pl.concat(parts)
        .sort("pos", "width", maintain_order=True)
        .join_asof(parents, left_on="pos", right_on="from", check_sortedness=False)
        .filter(pl.col("pos") + pl.col("width") <= pl.col("to"))
    )


def _voted(found: pl.DataFrame, voters: pl.DataFrame, period: float, *, last: bool) -> pl.DataFrame:
    """Starts that most of some landmarks agree on.

    Args:
        found: Occurrences of landmarks.
        voters: Landmarks.
        period: Median distance of starts.
        last: Whether the last of the landmarks that agree decides, rather than the first.

    Returns:
        `parent`, `at` (the start, according to the landmark that decides) and `midst` (the place of the landmark).
    """
    votes = (
        found.join(voters.select("width", "gram"), on=["width", "gram"], how="semi")
        .with_columns((pl.col("pos") - pl.col("offset").round().cast(pl.Int64)).alias("at"))
        .sort("parent", "at", "offset", "width", maintain_order=True)
    )
    # Strays are many where the same kernels also run elsewhere: a vote counts where about all agree.
    near, far = 2 * drift(period), (int(found["pos"].max() or 0) + 2 * period) * 2 + 1  # type: ignore[arg-type]
    place = votes["parent"] * far + votes["at"]
    agreeing = place.search_sorted(place + near, "right") - place.search_sorted(place - near, "left")
    least = (_MINORITY if last else _MAJORITY) * voters.height
    votes = votes.filter(agreeing > least)
    apart = (pl.col("at") - pl.col("at").shift(1) > max(0.5, min(near, period / 4))) | (
        pl.col("parent") != pl.col("parent").shift(1)
    )
    # A stray may lie before all that belongs together: the landmark that decides agrees with the others.
    astray = (pl.col("at") - pl.col("at").median().over("cluster")).abs() > max(1.0, near / 8)
    decisive = pl.col("offset").arg_max() if last else pl.col("offset").arg_min()
    return (
        votes.with_columns(apart.fill_null(value=True).cum_sum().alias("cluster"))
        .filter(~astray)
        .group_by("cluster", maintain_order=True)
        .agg(
            pl.col("parent").first(),
            pl.struct("width", "gram").n_unique().alias("agreed"),
            pl.col("at").get(decisive),
            pl.col("pos").get(decisive).alias("midst"),
        )
        .filter(pl.col("agreed") > least)
        .sort("parent", "midst", maintain_order=True)
    )
