"""Root-mean-square norms that are spelt out, found in the order of operations."""

from __future__ import annotations

import polars as pl
import pytest

from ttinsys.attribution.aten import spelt_norms

X, ROW = "[[2, 16, 64]]", "[[2, 16, 1]]"
NORM = [
    ("aten::pow", X),
    ("aten::mean", X),
    ("aten::add", ROW),
    ("aten::rsqrt", ROW),
    ("aten::mul", "[[2, 16, 64], [2, 16, 1]]"),
]
WEIGHT = ("aten::mul", "[[64], [2, 16, 64]]")
CAST = ("aten::to", X)


def norms(*calls: tuple[str, str | None] | tuple[str, str | None, int]) -> list[tuple[int, int]]:
    """First and last row of each norm."""
    rows = [(row, call[2] if len(call) > 2 else None, call[0], call[1]) for row, call in enumerate(calls)]
    columns = {"row": pl.Int64, "parent": pl.Int64, "operation": pl.String, "sizes": pl.String}
    found = spelt_norms(pl.DataFrame(rows, schema=columns, orient="row"))
    assert set(found["role"]) <= {"rms_norm"}
    return found.select("row", "last_row").rows()


def test_norm_with_casts_in_between_ends_with_the_product_by_its_weight() -> None:
    assert norms(CAST, *NORM, CAST, WEIGHT, ("aten::linear", X)) == [(1, 7)]
    assert norms(*NORM, ("aten::mul", "[[2, 16, 64], [2, 16, 64]]")) == [(0, 4)]


def test_norm_without_sizes_ends_with_its_own_product() -> None:
    assert norms(*((name, None) for name, _ in [*NORM, WEIGHT])) == [(0, 4)]


def test_norms_follow_each_other() -> None:
    assert norms(*NORM, WEIGHT, *NORM) == [(0, 5), (6, 10)]


@pytest.mark.parametrize("missing", range(5))
def test_norm_has_all_its_steps(missing: int) -> None:
    assert norms(*NORM[:missing], *NORM[missing + 1 :]) == []


def test_variance_around_a_mean_is_another_norm() -> None:
    assert norms(*NORM[:2], ("aten::sub", X), *NORM[2:]) == []


def test_steps_of_several_places_are_none_of_one_norm() -> None:
    assert norms(("encoder", None), *NORM[:3], *((*call, 0) for call in NORM[3:])) == []


def test_what_a_step_calls_does_not_matter() -> None:
    assert norms(NORM[0], NORM[1], ("aten::sum", X, 1), *NORM[2:]) == [(0, 5)]


def test_a_fused_norm_that_falls_back_to_the_steps_has_its_role_already() -> None:
    assert norms(("aten::rms_norm", X), *((*call, 0) for call in NORM)) == []


def test_normalize_is_a_norm() -> None:
    steps = [("aten::linalg_vector_norm", X), ("aten::clamp_min", ROW), ("aten::expand_as", ROW), ("aten::div", X)]
    assert norms(*steps, WEIGHT) == [(0, 4)]
