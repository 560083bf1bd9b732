"""Iterations, the blocks in them, and what lies before, between and after: parts of a sequence of kernels.

    parts(pl.Series(["embed", "norm", "mm", "norm", "mm", "head"] * 9))

`ttinsys.measures.repetition` finds a class of grams that cuts the sequence. Here the cuts move to where iterations begin
and end. Landmarks, grams that an iteration has once, each at its place, say where that is: the first ones vote for the
start, the last ones for the end. So an iteration may lack any of them, and hold more or fewer kernels than the others.
"""

from __future__ import annotations

import polars as pl

from ttinsys.measures.repetition import WIDTHS, Cuts, drift, search, segments, with_grams

PARTS = {
    "part": pl.String(), "number": pl.Int64(), "iteration": pl.Int64(), "depth": pl.Int64(),
    "first": pl.Int64(), "end": pl.Int64(),
}  # fmt: skip
"""Columns of `parts`."""

_STEADY_SHARE = 0.85
"""A landmark is in at least this share of the segments."""
_VOTES = 128
"""Landmarks that vote for starts, and as many for ends."""
_MAJORITY = 0.5
"""Share of the landmarks that have to agree on a start or an end."""
_TOUCHING = 1 / 20
"""Part of a period that is too short to lie between iterations, and belongs to the one before."""
_LEAST_OF_PARENT = 0.25
"""Share of an iteration that its blocks cover, if it has any."""
_VARIANTS = 4
"""Kinds of iterations whose blocks are looked for, as kernels may change midway."""


def parts(codes: pl.Series, lanes: pl.Series | None = None, composite: pl.Series | None = None) -> pl.DataFrame:
    """The parts of a sequence.

    Args:
        codes: What each operation is, such as the name of its kernel, in the order of the operations.
        lanes: The stream of each operation.
        composite: Whether an operation is a program of its own, such as a CUDA graph.

    Returns:
        `PARTS`. At depth 1 `prologue`, `iteration`, `between` and `epilogue` tile the sequence from `first` to `end`
        (exclusive), in order; `number` counts the iterations. At depth 2 follow blocks, with the row of their part as
        `iteration` and `number` counting in it. No row where nothing repeats.
    """
    grams = with_grams(codes, lanes, composite)
    spans = _repeats(grams)
    if spans is None:
        return pl.DataFrame(schema=PARTS)
    tiles = _tiled(spans, grams.height)
    return pl.concat([tiles, _blocks(grams, tiles)])


def _repeats(grams: pl.DataFrame) -> pl.DataFrame | None:
    """`first` and `end` of what repeats in a slice of a sequence, in order; None where nothing does."""
    cuts = search(grams)
    if cuts is None:
        return None
    landmarks = _rotated(grams, cuts, _landmarks(grams, cuts))
    whole = pl.DataFrame({"parent": [0], "from": [grams["pos"][0]], "to": [grams["pos"][0] + grams.height]})
    spans = _spans(grams, landmarks, cuts.period, whole)
    return spans.select("first", "end") if spans.height > 1 else None


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
    return (
        _long(symbols, "segment", "offset")
        .group_by("width", "gram")
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
        .sort("offset", "width", "gram")
        .select("width", "gram", "offset")
    )


def _rotated(grams: pl.DataFrame, cuts: Cuts, landmarks: pl.DataFrame) -> pl.DataFrame:
    """The landmarks with their offset from the start of an iteration, rather than from the cut in the midst of it.

    Those after the cut also follow the last cut; those before the cut also lie before the first one. Where the first
    ones end and the others begin, the iteration begins.
    """
    first, last, period = int(cuts.positions[0]), int(cuts.positions[-1]), cuts.period
    ahead = _met(grams, landmarks, first - period, period, first - int(1.25 * period), first)
    behind = _met(grams, landmarks, last, period, last, last + int(1.25 * period))
    sides = landmarks.with_columns(
        pl.Series("ahead", ahead), pl.Series("behind", behind), pl.int_range(pl.len()).alias("rank")
    )
    # Only what is found on a side tells; a class that two segments share by chance is found on none.
    sides = sides.filter(pl.col("ahead") | pl.col("behind"))
    if sides.is_empty():
        return landmarks
    wrong = (~pl.col("behind")).cum_sum() + (~pl.col("ahead")).sum() - (~pl.col("ahead")).cum_sum()
    turn = sides.select(wrong.cast(pl.Int64).arg_min()).item()
    begun = sides.slice(turn + 1).filter("ahead")
    start = begun["offset"][0] if begun.height else 0.0
    offset = pl.col("offset") - start
    return sides.select(
        "width", "gram", pl.when(offset < 0).then(offset + period).otherwise(offset).alias("offset")
    ).sort("offset", "width", "gram")


def _met(
    grams: pl.DataFrame, landmarks: pl.DataFrame, origin: float, period: float, first: int, end: int
) -> list[bool]:
    """Which landmarks lie at their offset from an origin, in a window."""
    inside = grams.filter(pl.col("pos").is_between(first, end, closed="left"))
    near = (pl.col("pos") - origin - pl.col("offset")).abs() <= 2 * drift(period)
    met = _long(inside, "pos").join(landmarks, on=["width", "gram"]).filter(near).select("width", "gram").unique()
    found = landmarks.join(
        met.with_columns(pl.lit(value=True).alias("met")), on=["width", "gram"], how="left", maintain_order="left"
    )
    return found["met"].fill_null(value=False).to_list()


def _spans(grams: pl.DataFrame, landmarks: pl.DataFrame, period: float, parents: pl.DataFrame) -> pl.DataFrame:
    """Where what the landmarks describe begins and ends.

    Args:
        grams: A slice of a sequence.
        landmarks: With their offsets from the start.
        period: Median distance of starts.
        parents: `parent`, `from` and `to`: spans in which to look, ascending.

    Returns:
        `parent`, `first` and `end`, in order.
    """
    half = (landmarks.height + 1) // 2
    early, late = landmarks.head(min(half, _VOTES)), landmarks.tail(min(half, _VOTES))
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
    ).group_by("parent", pl.col("start").alias("first")).agg(pl.col("end").max())  # fmt: skip
    touching = pl.col("following") - pl.col("end") <= max(2.0, length * _TOUCHING)
    open_ended = pl.col("following") == pl.col("to")
    end = pl.when(touching & ~open_ended).then("following").otherwise(pl.min_horizontal("end", "following"))
    spans = spans.join(latest, on=["parent", "first"], how="left", maintain_order="left")
    # An iteration without an end is one that the capture cut off, unless another one follows.
    complete = pl.col("end").is_not_null() | ~open_ended
    return spans.filter(complete).select("parent", "first", pl.coalesce(end, "following").alias("end"))


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
        .sort("pos", "width")
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
        .sort("parent", "at", "offset", "width")
    )
    # Strays are many where the same kernels also run elsewhere: a vote counts where about all agree.
    near, far = 2 * drift(period), (int(found["pos"].max() or 0) + 2 * period) * 2 + 1  # type: ignore[operator, arg-type]
    place = votes["parent"] * far + votes["at"]
    agreeing = place.search_sorted(place + near, "right") - place.search_sorted(place - near, "left")
    votes = votes.filter(agreeing > _MAJORITY * voters.height)
    apart = (pl.col("at") - pl.col("at").shift(1) > max(0.5, period / 4)) | (
        pl.col("parent") != pl.col("parent").shift(1)
    )
    decisive = pl.col("offset").arg_max() if last else pl.col("offset").arg_min()
    return (
        votes.with_columns(apart.fill_null(value=True).cum_sum().alias("cluster"))
        .group_by("cluster", maintain_order=True)
        .agg(
            pl.col("parent").first(),
            pl.struct("width", "gram").n_unique().alias("agreed"),
            pl.col("at").get(decisive),
            pl.col("pos").get(decisive).alias("midst"),
        )
        .filter(pl.col("agreed") > _MAJORITY * voters.height)
        .sort("parent", "midst")
    )


def _tiled(spans: pl.DataFrame, n: int) -> pl.DataFrame:
    """Iterations, and the rest of the sequence as prologue, between and epilogue."""
    iterations = spans.with_columns(pl.lit("iteration").alias("part"), pl.int_range(pl.len()).alias("number"))
    rest = pl.DataFrame(
        {
            "first": [0, *spans["end"]],
            "end": [*spans["first"], n],
            "part": ["prologue", *["between"] * (spans.height - 1), "epilogue"],
        }
    ).filter(pl.col("first") < pl.col("end"))
    return (
        pl.concat([iterations, rest], how="diagonal_relaxed")
        .sort("first")
        .select("part", pl.col("number").cast(pl.Int64), pl.lit(None, pl.Int64).alias("iteration"),
                pl.lit(1, pl.Int64).alias("depth"), "first", "end")
    )  # fmt: skip


def _blocks(grams: pl.DataFrame, tiles: pl.DataFrame) -> pl.DataFrame:
    """What repeats within each tile: in all iterations alike, and in each of the others by itself."""
    rows = tiles.with_row_index("parent").with_columns(pl.col("parent").cast(pl.Int64))
    found = [
        spans.select(pl.lit(parent, pl.Int64).alias("parent"), "first", "end")
        for parent, first, end in rows.filter(pl.col("part").is_in(["prologue", "epilogue"]))
        .select("parent", "first", "end")
        .iter_rows()
        if (spans := _repeats(grams.slice(first, end - first))) is not None
    ]
    left = rows.filter(pl.col("part") == "iteration").select(
        "parent", pl.col("first").alias("from"), pl.col("end").alias("to")
    )
    for _ in range(_VARIANTS):
        spans = _alike(grams, left)
        if spans is None:
            break
        found.append(spans)
        left = left.join(spans, on="parent", how="anti", maintain_order="left")
    if not found:
        return tiles.clear()
    return (
        pl.concat(found)
        .sort("first")
        .select(pl.lit("block").alias("part"), pl.int_range(pl.len()).over("parent").alias("number"),
                pl.col("parent").alias("iteration"), pl.lit(2, pl.Int64).alias("depth"), "first", "end")
    )  # fmt: skip


def _alike(grams: pl.DataFrame, iterations: pl.DataFrame) -> pl.DataFrame | None:
    """Blocks of the iterations that are like the one of median length, as `_spans` returns them."""
    if iterations.is_empty():
        return None
    length = pl.col("to") - pl.col("from")
    typical = iterations.sort((length - length.median()).abs(), maintain_order=True).row(0, named=True)
    one = grams.slice(typical["from"], typical["to"] - typical["from"])
    cuts = search(one)
    if cuts is None:
        return None
    landmarks = _rotated(one, cuts, _landmarks(one, cuts))
    spans = _spans(grams, landmarks, cuts.period, iterations)
    covered = (
        spans.group_by("parent").agg((pl.col("end") - pl.col("first")).sum().alias("covered"), pl.len().alias("count"))
        .join(iterations, on="parent")
        .filter(pl.col("count") > 1, pl.col("covered") >= _LEAST_OF_PARENT * length)
    )  # fmt: skip
    spans = spans.join(covered, on="parent", how="semi", maintain_order="left")
    return None if spans.is_empty() else spans
