"""Fits: what made the points comes back, no term is negative, and curves meet where algebra says."""

from __future__ import annotations

import pytest

from ttinsys.measures.fitting import Fit, fit, overtakes, power, rms

SIZES = [256**2, 512**2, 768**2, 1024**2]


@pytest.mark.parametrize(
    ("constant", "linear", "quadratic"),
    [(5e5, 1.25, 2e-6), (5e5, 1.25, 0), (5e5, 0, 2e-6), (0, 1.25, 2e-6), (5e5, 0, 0), (0, 1.25, 0), (0, 0, 2e-6)],
)
@pytest.mark.parametrize("count", [3, 4])
def test_points_on_a_curve_give_its_coefficients_back(
    constant: float, linear: float, quadratic: float, count: int
) -> None:
    sizes = SIZES[:count]
    found = fit(sizes, [constant + linear * n + quadratic * n * n for n in sizes])
    assert found is not None
    assert (found.constant, found.linear, found.quadratic) == pytest.approx((constant, linear, quadratic), rel=1e-9)


def test_term_that_would_be_negative_is_0() -> None:
    # 10 N - N^2 goes through all of them.
    found = fit([1, 2, 3, 4], [9, 16, 21, 24])
    assert found is not None
    assert found.quadratic == 0
    assert min(found.constant, found.linear) >= 0


def test_time_that_falls_with_size_is_fitted_by_a_constant() -> None:
    # The least squares of relative errors of a constant: sum(1/t) / sum(1/t^2).
    found = fit([1, 2, 4], [8, 4, 2])
    weights = [1 / 8, 1 / 4, 1 / 2]
    assert found is not None
    assert found.constant == pytest.approx(sum(weights) / sum(w * w for w in weights))
    assert (found.linear, found.quadratic) == (0, 0)


def test_other_units_of_size_and_time_change_the_coefficients_alone() -> None:
    times = [3.0, 7.0, 20.0, 31.0]
    plain, scaled = fit([1, 2, 3, 4], times), fit([1000, 2000, 3000, 4000], [5 * t for t in times])
    assert plain is not None
    assert scaled is not None
    assert [scaled.at(1000 * n) for n in range(1, 5)] == pytest.approx([5 * plain.at(n) for n in range(1, 5)])


def test_two_sizes_have_no_fit_but_an_exponent_without_a_measure() -> None:
    assert fit([1, 2, 2], [1, 4, 4]) is None
    found = power([1, 2, 2], [3, 12, 12])
    assert found is not None
    assert (found.exponent, found.factor) == pytest.approx((2, 3))
    assert found.r2 is None
    assert power([2, 2], [1, 3]) is None


def test_exponent_of_a_power_is_its_own_and_explains_all() -> None:
    found = power(SIZES, [7 * n**1.5 for n in SIZES])
    assert found is not None
    assert (found.exponent, found.factor, found.r2) == pytest.approx((1.5, 7, 1))


def test_what_has_no_logarithm_is_left_out() -> None:
    assert power([1, 2, 4, 8], [0, 2, 4, 8]) == power([2, 4, 8], [2, 4, 8])


def test_exponent_explains_only_part_of_what_scatters() -> None:
    # Logarithms to base 2: sizes 0, 1, 2 and times 0, 2, 1: slope 1/2, and r^2 = 0.5 / 2.
    found = power([1, 2, 4], [1, 4, 2])
    assert found is not None
    assert (found.exponent, found.r2) == pytest.approx((0.5, 0.25))


def test_quadratic_overtakes_linear_where_they_are_equal() -> None:
    assert overtakes(Fit(0, 0, 1), Fit(0, 4, 0)) == pytest.approx(4)
    assert overtakes(Fit(0, 4, 0), Fit(0, 0, 1)) is None
    assert overtakes(Fit(1, 2, 0), Fit(7, 0, 0)) == pytest.approx(3)


def test_of_two_crossings_the_rising_one_counts() -> None:
    # 2 + N^2 - 3 N is 0 at 1 and 2: below between them.
    assert overtakes(Fit(2, 0, 1), Fit(0, 3, 0)) == pytest.approx(2)
    assert overtakes(Fit(0, 3, 0), Fit(2, 0, 1)) == pytest.approx(1)


def test_curves_that_do_not_meet_have_no_crossover() -> None:
    assert overtakes(Fit(5, 1, 1), Fit(1, 1, 1)) is None
    assert overtakes(Fit(1, 1, 1), Fit(5, 1, 1)) is None
    assert overtakes(Fit(1, 0, 1), Fit(0, 1, 0)) is None
    assert overtakes(Fit(1, 1, 1), Fit(1, 1, 1)) is None


def test_root_of_the_mean_square() -> None:
    assert rms([3, -4]) == pytest.approx(12.5**0.5)
