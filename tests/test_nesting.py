"""Intervals: enclosing, innermost, containing; against brute force on everything that makes them hard."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tests.shared import examples
from ttinsys.attribution.nesting import FOREVER, calls_inside, innermost, lift, nest, sink

Range = tuple[int, int, int | None]
"""Thread, start, end; None: never closed."""

ranges_of_any_kind = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 12), st.none() | st.integers(0, 14)).map(
        lambda drawn: (drawn[0], drawn[1], None if drawn[2] is None else max(drawn[1], drawn[2]))
    ),
    max_size=14,
)
moments_of_any_kind = st.lists(st.tuples(st.none() | st.integers(0, 4), st.none() | st.integers(-1, 16)), max_size=12)


def frame(ranges: Sequence[Range]) -> pl.DataFrame:
    return pl.DataFrame(
        [(*one, number) for number, one in enumerate(ranges)],
        schema={"global_tid": pl.Int64, "start_ns": pl.Int64, "end_ns": pl.Int64, "row_id": pl.Int64},
        orient="row",
    )


def in_order(ranges: list[Range]) -> list[Range]:
    """Sorted by thread and start, longer first, else as they came."""
    return sorted(ranges, key=lambda one: (one[0], one[1], -(FOREVER if one[2] is None else one[2])))


def end_of(one: Range) -> int:
    return FOREVER if one[2] is None else one[2]


def brute_parent(ordered: list[Range], child: int) -> int | None:
    """The last one before it, on its thread, that ends no earlier."""
    for candidate in range(child - 1, -1, -1):
        if ordered[candidate][0] == ordered[child][0] and end_of(ordered[candidate]) >= end_of(ordered[child]):
            return candidate
    return None


def brute_innermost(ordered: list[Range], thread: int | None, moment: int | None) -> int | None:
    """The last to open on the thread of those that are open."""
    if thread is None or moment is None:
        return None
    is_open = [index for index, one in enumerate(ordered) if one[0] == thread and one[1] <= moment < end_of(one)]
    return max(is_open, default=None)


@given(ranges_of_any_kind)
def test_parent_is_the_nearest_earlier_range_that_ends_no_earlier(ranges: list[Range]) -> None:
    ordered = in_order(ranges)
    nested = nest(frame(ranges))
    assert nested["start_ns"].to_list() == [one[1] for one in ordered]
    assert nested["parent"].to_list() == [brute_parent(ordered, child) for child in range(len(ordered))]


@given(ranges_of_any_kind)
def test_depth_counts_the_ancestors(ranges: list[Range]) -> None:
    nested = nest(frame(ranges))
    parents = nested["parent"].to_list()

    def depth(index: int) -> int:
        return 0 if parents[index] is None else 1 + depth(parents[index])

    assert nested["depth"].to_list() == [depth(index) for index in range(nested.height)]


@given(ranges_of_any_kind, moments_of_any_kind)
def test_innermost_is_the_last_to_open_of_those_open(
    ranges: list[Range], asked: list[tuple[int | None, int | None]]
) -> None:
    ordered = in_order(ranges)
    threads = pl.Series([thread for thread, _ in asked], dtype=pl.Int64)
    moments = pl.Series([moment for _, moment in asked], dtype=pl.Int64)
    found = innermost(nest(frame(ranges)), threads, moments)
    assert found.to_list() == [brute_innermost(ordered, *one) for one in asked]


@given(
    ranges_of_any_kind,
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 14), st.integers(0, 5)), max_size=14),
)
def test_calls_inside_are_all_pairs_of_containment(ranges: list[Range], drawn: list[tuple[int, int, int]]) -> None:
    closed = [(thread, start, 15 if end is None else end) for thread, start, end in ranges]
    calls = sorted((thread, start, start + length) for thread, start, length in drawn)
    table = pl.DataFrame(
        calls, schema={"global_tid": pl.Int64, "api_start_ns": pl.Int64, "api_end_ns": pl.Int64}, orient="row"
    )
    expected = {
        (r, c)
        for (r, one), (c, call) in product(enumerate(closed), enumerate(calls))
        if one[0] == call[0] and one[1] <= call[1] and call[2] <= one[2]
    }
    found = calls_inside(frame(closed).drop("row_id"), table).rows()
    assert len(found) == len(set(found))
    assert set(found) == expected


@given(ranges_of_any_kind, st.data())
def test_lift_sums_over_subtrees_and_sink_reaches_all_descendants(ranges: list[Range], data: st.DataObject) -> None:
    nested = nest(frame(ranges))
    values = data.draw(st.lists(st.integers(0, 9), min_size=nested.height, max_size=nested.height))
    parents = nested["parent"].to_list()

    def line(index: int | None) -> list[int]:
        return [] if index is None else [index, *line(parents[index])]

    lifted = lift(nested, pl.Series(values, dtype=pl.Int64)).to_list()
    sunk = sink(nested, pl.Series([value > 6 for value in values], dtype=pl.Boolean)).to_list()
    for index in range(nested.height):
        below = [other for other in range(nested.height) if index in line(other)]
        assert lifted[index] == sum(values[other] for other in below)
        assert sunk[index] == any(values[other] > 6 for other in line(index))


def test_siblings_by_the_thousand_and_deep_stacks_take_few_rounds() -> None:
    # A stack 300 deep, then 5,000 siblings in it, then a staircase of 5,000 that overlap without nesting.
    deep: list[Range] = [(1, level, 10**6 - level) for level in range(300)]
    siblings: list[Range] = [(1, 1000 + 10 * number, 1005 + 10 * number) for number in range(5000)]
    stairs: list[Range] = [(1, 100_000 + number, 200_000 + number) for number in range(5000)]
    nested = nest(frame(deep + siblings + stairs))
    assert nested["depth"].value_counts().sort("depth").tail(1).rows() == [(300, 10_000)]
    assert nested.filter(pl.col("depth") == 300)["parent"].unique().to_list() == [299]


@examples(20)
@given(ranges_of_any_kind)
def test_nesting_keeps_every_row_and_does_not_change_its_argument(ranges: list[Range]) -> None:
    given_ = frame(ranges)
    before = given_.clone()
    nested = nest(given_)
    innermost(nested, given_["global_tid"], given_["start_ns"])
    assert given_.equals(before)
    assert nested.select(given_.columns).sort("row_id").equals(given_)
