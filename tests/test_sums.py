"""Percentiles and sums, against brute force."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttinsys.measures.sums import exact_sum, percentile_95


def percentile(values: list[int | None]) -> int | None:
    found: int | None = pl.Series("x", values, dtype=pl.Int64).to_frame().select(percentile_95("x")).item()
    return found


@pytest.mark.parametrize(
    ("count", "expected"),
    # ceil(0.95 n): 0.95, 11.4, 18.05, 19, 19.95, 95 and 95.95.
    [(1, 1), (12, 12), (19, 19), (20, 19), (21, 20), (100, 95), (101, 96)],
)
def test_percentile_is_the_value_of_the_nearest_rank(count: int, expected: int) -> None:
    assert percentile(list(range(count, 0, -1))) == expected


def test_nearest_of_polars_is_another_percentile() -> None:
    twelve = pl.Series(range(1, 13))
    # 11 of 12 values, 91.7%, do not exceed 11.
    assert twelve.quantile(0.95, "nearest") == 11
    assert percentile(twelve.to_list()) == 12


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.none(), max_size=150))
def test_percentile_is_the_smallest_value_that_95_in_100_do_not_exceed(values: list[int | None]) -> None:
    known = [value for value in values if value is not None]
    enough = [value for value in known if 100 * sum(other <= value for other in known) >= 95 * len(known)]
    assert percentile(values) == min(enough, default=None)


def test_percentile_of_each_group_is_its_own() -> None:
    frame = pl.DataFrame({"group": ["a"] * 20 + ["b", "b", "c"], "x": [*range(1, 21), 7, None, None]})
    grouped = frame.group_by("group", maintain_order=True).agg(percentile_95("x"))
    assert grouped.rows() == [("a", 19), ("b", 7), ("c", None)]


@given(st.lists(st.floats(1e-12, 1e6), min_size=1, max_size=50))
def test_exact_sum_is_that_of_math_fsum_whatever_the_order(seconds: list[float]) -> None:
    sums = [
        pl.DataFrame({"seconds": each}).select(exact_sum(pl.col("seconds"))).item()
        for each in (seconds, seconds[::-1], sorted(seconds))
    ]
    assert sums == [sums[0]] * 3
    assert math.isclose(sums[0], math.fsum(seconds), rel_tol=1e-12)
