"""Growth of time with size, from a few points: a quadratic without negative terms, a power law, a crossover.

curve = fit([1, 2, 3, 4], [11, 18, 29, 44])     # 8 + N + 2 N^2
power([256, 512, 1024], [1.0, 2.0, 4.0]).exponent    # 1.0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp, log, sqrt
from operator import mul

FEWEST = 3
"""Least number of distinct sizes for a fit, which has as many coefficients."""

_ROUNDING = 1e-18
"""Squared relative error per point that is rounding: a term is kept only if it lowers the error by more."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The curve constant + linear * N + quadratic * N^2, whose coefficients are not negative.

    Args:
        constant: the part that does not grow.
        linear: coefficient of N.
        quadratic: coefficient of N squared.
    """

    constant: float
    linear: float
    quadratic: float

    def at(self, size: float) -> float:
        """The curve's value at a size."""
        return self.constant + self.linear * size + self.quadratic * size**2


@dataclass(frozen=True, slots=True)
class Power:
    """The curve factor * N^exponent.

    Args:
        exponent: power of N.
        factor: value at N = 1.
        r2: share of the variance of logarithms that the curve explains; None for two sizes, through which it always
            goes, and where there is no variance.
    """

    exponent: float
    factor: float
    r2: float | None


def fit(sizes: Sequence[float], times: Sequence[float]) -> Fit | None:
    """The quadratic without negative coefficients that has the least sum of squared relative errors.

    Errors are relative, so that small sizes count as much as large ones. The optimum of non-negative least squares is
    the unconstrained optimum over the terms that are not 0 (Lawson and Hanson, 1974, theorem 23.4). Three terms have
    seven such sets, and all are tried.

    Args:
        sizes: N of each point.
        times: time of each point, above 0.

    Returns:
        None for fewer than `FEWEST` distinct sizes, through which some quadratic always goes.
    """
    if len(set(sizes)) < FEWEST:
        return None
    largest = max(sizes)
    rows = [[1 / t, n / largest / t, (n / largest) ** 2 / t] for n, t in zip(sizes, times, strict=True)]
    best, least = [0.0, 0.0, 0.0], float(len(rows))
    for count in range(1, 4):
        for terms in combinations(range(3), count):
            solution = _least_squares(rows, terms)
            if solution is None or min(solution) < 0:
                continue
            coefficients = [0.0, 0.0, 0.0]
            for term, value in zip(terms, solution, strict=True):
                coefficients[term] = value
            error = sum((sum(map(mul, row, coefficients)) - 1) ** 2 for row in rows)
            # Fewer terms come first: more of them must gain more than rounding.
            if error < least - _ROUNDING * len(rows) - 1e-9 * least:
                best, least = coefficients, error
    return Fit(best[0], best[1] / largest, best[2] / largest**2)


def power(sizes: Sequence[float], values: Sequence[float]) -> Power | None:
    """The power law with the least squared error of logarithms.

    Args:
        sizes: N of each point, above 0.
        values: value of each point; those that are not above 0 have no logarithm and are left out.

    Returns:
        None for fewer than two distinct sizes.
    """
    points = [(log(n), log(value)) for n, value in zip(sizes, values, strict=True) if value > 0]
    distinct = {x for x, _ in points}
    if len(distinct) <= 1:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    exponent = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    start = mean_y - exponent * mean_x
    variance = sum((y - mean_y) ** 2 for _, y in points)
    error = sum((y - start - exponent * x) ** 2 for x, y in points)
    r2 = 1 - error / variance if variance > 0 and len(distinct) >= FEWEST else None
    return Power(exponent, exp(start), r2)


def rms(ratios: Sequence[float]) -> float:
    """Root mean square."""
    return sqrt(sum(ratio**2 for ratio in ratios) / len(ratios))


def overtakes(first: Fit, second: Fit) -> float | None:
    """The size above 0 at which the first curve rises above the second.

    Returns:
        None where it never does: it is above at every size, below at every size, or falls below and stays there.
    """
    c, b, a = first.constant - second.constant, first.linear - second.linear, first.quadratic - second.quadratic
    if a == 0:
        return -c / b if b > 0 and c < 0 else None
    discriminant = b**2 - 4 * a * c
    if discriminant <= 0:
        return None
    # The difference rises through 0 at (-b + root) / 2a, whatever the sign of a. This form avoids cancellation.
    root = sqrt(discriminant)
    rising = -2 * c / (b + root) if b > 0 else (root - b) / (2 * a)
    return rising if rising > 0 else None


def _least_squares(rows: Sequence[Sequence[float]], terms: Sequence[int]) -> list[float] | None:
    """Coefficients of some of the terms by least squares, with 1 as the value of every row.

    Solved by modified Gram-Schmidt, which loses fewer digits than the normal equations.

    Returns:
        None where the columns of the terms depend on each other.
    """
    columns = [[row[term] for row in rows] for term in terms]
    basis: list[list[float]] = []
    upper: list[list[float]] = []
    for column in columns:
        rest, weights = list(column), []
        for direction in basis:
            weight = _dot(direction, rest)
            rest = [x - weight * y for x, y in zip(rest, direction, strict=True)]
            weights.append(weight)
        length = sqrt(_dot(rest, rest))
        if length <= 1e-9 * sqrt(_dot(column, column)):
            return None
        basis.append([x / length for x in rest])
        upper.append([*weights, length])
    target = [1.0] * len(rows)
    projected = []
    for direction in basis:
        weight = _dot(direction, target)
        target = [x - weight * y for x, y in zip(target, direction, strict=True)]
        projected.append(weight)
    solution = [0.0] * len(terms)
    for n in reversed(range(len(terms))):
        known = sum(upper[m][n] * solution[m] for m in range(n + 1, len(terms)))
        solution[n] = (projected[n] - known) / upper[n][n]
    return solution


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))
