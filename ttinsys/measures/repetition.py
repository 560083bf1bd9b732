"""What repeats in a sequence: the search for a class of grams that cuts it into equal periods.

    codes = pl.Series([0, 1, 2, 9, 1, 2, 9, 1, 2, 9, 3])
    cuts = search(with_grams(codes))

A gram is a run of 1, 2, 4 or 8 symbols of one lane; equal grams are one class. The occurrences of a class cut the
sequence into segments. A class cuts it well if symbols come back at the same offset in most segments. Order counts; a
few symbols more or less do not, as the steps of a program are rarely equal. The search takes n log n, and is
deterministic.

Symbols count by their information, -log2 of their frequency: a run of one symbol tells nothing, wherever it is cut.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import polars as pl

WIDTHS = (1, 2, 4, 8)
"""Lengths of grams. Short ones bear noise, long ones tell apart the places at which a common symbol occurs."""

_COMPOSITE_BITS = 4.0
"""Information of a symbol that stands for a whole program, such as a CUDA graph: even a run of equal ones tells."""
_LEAST_BITS, _LEAST_SURPRISE = 24.0, 0.2
"""Information that has to come back beyond what chance brings, and its least share in all that comes back."""
_LEAST_QUALITY, _LEAST_OF_SHORT = 0.7, 0.9
"""Share of the information in the segments that has to come back at its offset; of periods below `_SHORT` more does."""
_SHORT = 4
_LEAST_COVERAGE = 0.1
"""Share of the information of a sequence that has to come back."""
_LEAST_REGULAR = 0.6
"""Share of neighbouring occurrences that have to be a period apart."""
_NEAR_BEST = 0.85
"""A coarser period is preferred to a finer one that covers up to this much less."""
_FINER = 1.6
"""Least quotient of two periods that are of two levels."""
_SAMPLE = 50_000
"""Symbols on which a candidate is judged: of more segments, evenly spaced ones count."""
_MANY = 200_000
"""Symbols of a sequence of which all classes of grams are candidates."""
_LEAST_SHARED = 0.6
"""Share of the segments that have a symbol which comes back; half of it where they are many and long, for kernels may
change midway."""
_LONG = 64
"""Least period of a long segment."""
_STEADY = 32
"""Part of a period by which an offset, or a period, may differ from the median."""
_PER_PERIOD = 2
"""Candidates of two kinds that are judged of each quarter of an octave of periods."""


class Cuts(NamedTuple):
    """A class of grams whose occurrences cut a sequence.

    Args:
        positions: Of the occurrences, ascending.
        period: Median distance of neighbours.
        width: Length of the gram.
        coverage: Share of the information of the sequence that comes back at its offset.
    """

    positions: pl.Series
    period: float
    width: int
    coverage: float


def drift(period: float) -> float:
    """How far the offset of a symbol may move from segment to segment."""
    return max(2.0, min(period / _STEADY, math.sqrt(period)))


def with_grams(codes: pl.Series, lanes: pl.Series | None = None, composite: pl.Series | None = None) -> pl.DataFrame:
    """The grams that begin at each symbol of a sequence.

    Args:
        codes: The symbols, of any type, in order.
        lanes: Which lane each symbol is of, such as its stream; a gram is of one lane, however lanes interleave.
        composite: Whether a symbol stands for a program of its own, such as a CUDA graph.

    Returns:
        `pos`, `composite`, `bits` (information of the symbol) and a column per width, `g1` to `g8`: the class of the
        gram; null where its lane ends.
    """
    whole = pl.repeat(value=False, n=len(codes), eager=True) if composite is None else composite
    frame = pl.DataFrame({"g1": codes.rank("dense").cast(pl.Int64), "composite": whole}).select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("pos"),
        "composite",
        ((pl.len() / pl.len().over("g1")).log(2) + _COMPOSITE_BITS * pl.col("composite")).alias("bits"),
        "g1",
    )
    several = lanes is not None and lanes.n_unique() > 1
    if several:
        frame = frame.with_columns(pl.Series("lane", lanes))
    for width in WIDTHS[:-1]:
        rest = pl.col(f"g{width}").shift(-width)
        pair = pl.col(f"g{width}") * (frame.height + 1) + (rest.over("lane") if several else rest)
        frame = frame.with_columns(pair.rank("dense").cast(pl.Int64).alias(f"g{2 * width}"))
    return frame.drop("lane", strict=False)


def search(grams: pl.DataFrame) -> Cuts | None:
    """The coarsest period that covers about as much of a sequence as any.

    Args:
        grams: A sequence, or a slice of one, as `with_grams` returns it.

    Returns:
        The cuts; None where nothing repeats.
    """
    if grams.height < 2:
        return None
    occurrences, candidates = _candidates(grams)
    judged = [
        cuts
        for run, width, period in candidates.select("run", "width", "period").iter_rows()
        if (cuts := _judged(grams, occurrences.filter(pl.col("run") == run)["pos"], period, width)) is not None
    ]
    best = max((cuts.coverage for cuts in judged), default=0)
    near = [cuts for cuts in judged if cuts.coverage >= _NEAR_BEST * best]
    for cuts in sorted(near, key=lambda cuts: (-cuts.period, -cuts.coverage, -len(cuts.positions))):
        if all(_exceeds(cuts, finer) for finer in near if finer.period * _FINER <= cuts.period):
            return _cleanest(cuts, judged)
    return None


def _cleanest(chosen: Cuts, judged: list[Cuts]) -> Cuts:
    """The cuts of the chosen period that are missing least, and are least often elsewhere too."""

    def regular(cuts: Cuts) -> int:
        steady = (cuts.positions.diff().drop_nulls() - chosen.period).abs() <= drift(chosen.period)
        return 2 * int(steady.sum()) - len(steady)

    alike = [cuts for cuts in judged if abs(cuts.period - chosen.period) <= drift(chosen.period)]
    return max(alike, key=lambda cuts: (regular(cuts), cuts.coverage, cuts.width, -int(cuts.positions[0])))


def _candidates(grams: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Runs of regular occurrences of classes, and the most regular and longest run of each range of periods.

    Returns:
        `pos` and `run` of the occurrences, and `run`, `width` and `period` of the candidates.
    """
    occurrences, gap = _in_runs(grams), pl.col("gap")
    regular = (gap - gap.median()).abs() <= pl.max_horizontal(pl.lit(2.0), gap.median() / _STEADY)
    runs = (
        occurrences.group_by("run", maintain_order=True)
        .agg(
            pl.col("width", "class").first(),
            pl.len().alias("count"),
            pl.col("pos").first().alias("first"),
            (gap.filter(regular).sum() + gap.median()).alias("reach"),
            gap.median().alias("period"),
            regular.mean().alias("regular"),
        )
        .filter(pl.col("count") > 1, pl.col("regular") >= _LEAST_REGULAR)
        .with_columns(
            pl.min_horizontal(pl.col("reach"), grams.height).alias("reach"),
            (pl.col("period").log(2) * 4).round().alias("octave"),
            pl.len().over("period", "count").alias("alike"),
        )
        .sort(_RANKED, descending=[True, True, True, False, False], maintain_order=True)
    )
    # A run reaches far by chance too, but few runs have one period by chance.
    shared = runs.sort("alike", descending=True, maintain_order=True).group_by("octave", maintain_order=True)
    longest = runs.group_by("octave", maintain_order=True).head(_PER_PERIOD)
    candidates = pl.concat([longest, shared.head(_PER_PERIOD)]).unique("run", maintain_order=True)
    return occurrences.select("pos", "run"), candidates


_RANKED = ["reach", "regular", "count", "first", "width"]


def _in_runs(grams: pl.DataFrame) -> pl.DataFrame:
    """Occurrences of each class of grams: `pos`, `width`, `class`, `run`, and `gap`, the distance within the run."""
    n = grams.height
    # Of a long sequence, some of the classes of longer grams do: each is whole, and there are many at every place.
    every = 1 + n // _MANY
    parts = [
        grams.select("pos", pl.col(f"g{width}").alias("gram"), pl.lit(width, pl.Int64).alias("width")).filter(
            (width == 1) | (pl.col("gram") % every == 0)
        )
        for width in WIDTHS
    ]
    gap, median = pl.col("gap"), pl.col("median")
    # Classes do not share a number: those of each width are counted on from those of the one before.
    occurrences = (
        pl.concat(parts)
        .drop_nulls()
        .select("pos", "width", (pl.col("gram") * (WIDTHS[-1] + 1) + pl.col("width")).alias("class"))
        .sort("class", "pos", maintain_order=True)
        .with_columns(
            pl.when(pl.col("class") == pl.col("class").shift(1))
            .then(pl.col("pos") - pl.col("pos").shift(1))
            .alias("gap")
        )
    )
    # A class that also occurs elsewhere, long before or after, repeats where its occurrences are close together.
    medians = occurrences.group_by("class", maintain_order=True).agg(gap.median().alias("median"))
    apart = gap.is_null() | (gap > 2.5 * median)
    return (
        occurrences.join(medians, on="class", how="left", maintain_order="left")
        .with_columns(apart.cum_sum().alias("run"), pl.when(~apart).then(gap).alias("gap"))
        .drop("median")
    )


def _judged(grams: pl.DataFrame, positions: pl.Series, period: float, width: int) -> Cuts | None:
    """Judge a candidate by what comes back; None where that is too little."""
    first, end = grams["pos"][0], grams["pos"][0] + grams.height
    # A run of one kernel is no period, but one of a CUDA graph is.
    if period < 2 and not grams["composite"][int(positions[0]) - first]:
        return None
    # Where a gram cuts, it is there by choice: only what follows is evidence. Of graphs, each tells by itself.
    own = 0 if grams["composite"][int(positions[0]) - first] else width
    if own >= period:
        return None
    gram = f"g{4 if period >= 16 else 2 if period >= 4 else 1}"
    symbols = (
        segments(grams, positions, period)
        .filter(pl.col("offset") >= own)
        .select("segment", "offset", "bits", pl.col(gram).alias("gram"))
    )
    back = _coming_back(symbols, period)
    whole, total = float(symbols["bits"].sum()), float(grams["bits"].sum())
    quality = float(back["bits"].sum()) / whole if whole else 0.0
    # The last segment reaches a period beyond its cut; what comes before the first one may be the end of a segment.
    reach = min(end, int(positions[-1] + period)) - int(positions[0])
    returned = quality * float(grams["bits"].slice(int(positions[0]) - first, reach).sum())
    before = grams.slice(max(0, int(positions[0] - period) - first), min(int(period), int(positions[0]) - first))
    returned += _as_expected(before, gram, back, positions[0] - period, period)
    # What first tells of a period is no evidence of it, nor is what chance would bring so near to its place.
    surprise = pl.col("bits") - (2 * (pl.col("offset") - pl.col("expected")).abs() + 1).log(2)
    bits = float(back.select(surprise.clip(0).sum()).item()) * (1 - 1 / len(positions))
    coverage = returned / total if total else 0.0
    least = _LEAST_QUALITY if period >= _SHORT else _LEAST_OF_SHORT
    if quality < least or bits < max(_LEAST_BITS, _LEAST_SURPRISE * float(back["bits"].sum())):
        return None
    if coverage < _LEAST_COVERAGE:
        return None
    return Cuts(positions, period, width, coverage)


def segments(grams: pl.DataFrame, positions: pl.Series, period: float) -> pl.DataFrame:
    """The symbols from each cut to the next, or to one and a half periods after it; of many segments, a sample.

    Args:
        grams: A slice of what `with_grams` returns.
        positions: Of the cuts, ascending.
        period: Median distance of neighbours.

    Returns:
        The columns of `grams` with `segment` (number of the cut) and `offset` (from the cut).
    """
    first, end = grams["pos"][0], grams["pos"][0] + grams.height
    every = max(1, int(len(positions) * period) // _SAMPLE)
    limit = pl.min_horizontal(pl.col("cut").shift(-1).fill_null(end), pl.col("cut") + int(1.5 * period) + 1, end)
    indices = (
        pl.DataFrame({"cut": positions.cast(pl.Int64)})
        .select("cut", limit.alias("limit"), pl.int_range(pl.len()).alias("segment"))
        .gather_every(every)
        .with_columns(pl.int_ranges("cut", "limit").alias("pos"))
        .explode("pos", empty_as_null=False)
    )
    symbols: pl.DataFrame = grams[indices["pos"] - first]
    return symbols.with_columns(indices["segment"], (indices["pos"] - indices["cut"]).alias("offset"))


def _coming_back(symbols: pl.DataFrame, period: float) -> pl.DataFrame:
    """The symbols that many segments have at about the same offset, with the median `expected` of these.

    The second symbol of a class in a segment is compared with the second ones of the others, and so on.
    """
    number = pl.int_range(pl.len()).over("segment", "gram")
    count = symbols["segment"].n_unique()
    fewer = _LEAST_SHARED / 2 * count + 3 if period >= _LONG else count
    least = max(2.0, min(_LEAST_SHARED * count, fewer))
    return (
        symbols.drop_nulls("gram")
        .with_columns(number.alias("number"))
        .with_columns(
            pl.col("offset").median().over("gram", "number").alias("expected"),
            pl.len().over("gram", "number").alias("count"),
        )
        .filter((pl.col("offset") - pl.col("expected")).abs() <= drift(period), pl.col("count") >= least)
    )


def _as_expected(before: pl.DataFrame, gram: str, back: pl.DataFrame, origin: float, period: float) -> float:
    """Information of the symbols before the first cut that lie where those of other segments do."""
    if before.is_empty() or back.is_empty():
        return 0.0
    expected = back.select("gram", "expected").unique(maintain_order=True).sort("expected", maintain_order=True)
    symbols = before.select("bits", pl.col(gram).alias("gram"), (pl.col("pos") - origin).alias("offset"))
    met = symbols.drop_nulls("gram").join_asof(
        expected, left_on="offset", right_on="expected", by="gram", strategy="nearest", tolerance=drift(period),
        coalesce=False, check_sortedness=False,
    )  # fmt: skip
    return float(met.drop_nulls("expected")["bits"].sum())


def _exceeds(coarse: Cuts, fine: Cuts) -> bool:
    """Whether the segments of a coarse period are more than a number of finer ones: whether it is a level of its own.

    Two denoising steps are no level above one; 32 layers and the head of a language model are.
    """
    gap = pl.col("pos").shift(-1) - pl.col("pos")
    steady = (gap - fine.period).abs() <= max(1.0, fine.period / 100)
    cuts = pl.DataFrame({"cut": coarse.positions[:-1]}).with_row_index("number")
    irregular = (
        pl.DataFrame({"pos": fine.positions})
        .with_columns(pl.when(steady).then(0).otherwise(gap).alias("irregular"))
        .join_asof(cuts, left_on="pos", right_on="cut", check_sortedness=False)
        .filter(pl.col("number").is_not_null(), pl.col("pos") < coarse.positions[-1])
        .group_by("number", maintain_order=True)
        .agg(pl.col("irregular").sum())
    )
    return irregular.is_empty() or bool(irregular["irregular"].median())
