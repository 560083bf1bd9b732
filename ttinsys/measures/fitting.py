"""How time grows with size, from a few points: a quadratic without negative terms, an exponent, where two curves meet.

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
"""Distinct sizes that a fit takes at least: as many as it has coefficients."""

_ROUNDING = 1e-18
"""A relative square error per point that is none: a term must lower the error by more than this to be kept."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve constant + linear * N + quadratic * N^2, none of which is negative.

    Args:
        constant: what does not grow.
        linear: per unit of N.
        quadratic: per unit of N squared.
    """

    constant: float
    linear: float
    quadratic: float

    def at(self, size: float) -> float:
        """The curve's value at a size."""
        return self.constant + self.linear * size + self.quadratic * size**2


@dataclass(frozen=True, slots=True)
class Power:
    """A curve factor * N^exponent.

    Args:
        exponent: its power.
        factor: its value at 1.
        r2: share of the variance of logarithms that it explains; None of two sizes, through which it always goes, and
            where there is no variance.
    """

    exponent: float
    factor: float
    r2: float | None


def fit(sizes: Sequence[float], times: Sequence[float]) -> Fit | None:
    """The quadratic with coefficients of at least 0 that has the least sum of squared relative errors.

    Relative, so that small sizes count as much as large ones, whose times are a hundred times theirs. The optimum of
    non-negative least squares is the plain optimum over the terms that are not 0 (Lawson and Hanson, 1974, theorem
    23.4); of three terms there are seven such sets, and all are tried.

    Args:
        sizes: N of each point.
        times: its time, above 0.

    Returns:
        None of fewer than `FEWEST` distinct sizes: a quadratic would go through any such points.
    """
    if len(set(sizes)) < FEWEST:
        return None
    largest = max(sizes)
    rows = [[1 / t, n / largest / t, (n / largest) ** 2 / t] for n, t in zip(sizes, times, strict=True)]
    best, least = [0.0, 0.0, 0.0], float(len(rows))
    for count in range(1, 4):
        for terms in combinations(range(3), count):
            found = _solved(rows, terms)
            if found is None or min(found) < 0:
                continue
            coefficients = [0.0, 0.0, 0.0]
            for term, value in zip(terms, found, strict=True):
                coefficients[term] = value
            error = sum((sum(map(mul, row, coefficients)) - 1) ** 2 for row in rows)
            # What is as good with fewer terms is preferred: the rest is rounding.
            if error < least - _ROUNDING * len(rows) - 1e-9 * least:
                best, least = coefficients, error
    return Fit(best[0], best[1] / largest, best[2] / largest**2)


def power(sizes: Sequence[float], values: Sequence[float]) -> Power | None:
    """The power law with the least squared error of logarithms.

    Args:
        sizes: N of each point, above 0.
        values: of each point; those that are not above 0 have no logarithm and are left out.

    Returns:
        None of fewer than two distinct sizes.
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
    """Root of the mean square."""
    return sqrt(sum(ratio**2 for ratio in ratios) / len(ratios))


def overtakes(first: Fit, second: Fit) -> float | None:
    """The size above 0 from which the first curve is the greater, having been the lesser.

    Returns:
        None where there is none: one of them is the greater at every size, or becomes the lesser and stays so.
    """
    c, b, a = first.constant - second.constant, first.linear - second.linear, first.quadratic - second.quadratic
    if a == 0:
        return -c / b if b > 0 and c < 0 else None
    under = b**2 - 4 * a * c
    if under <= 0:
        return None
    # The difference rises through 0 at (-b + root) / 2a, whatever the sign of a; the form without cancellation.
    root = sqrt(under)
    rising = -2 * c / (b + root) if b > 0 else (root - b) / (2 * a)
    return rising if rising > 0 else None


def _solved(rows: Sequence[Sequence[float]], terms: Sequence[int]) -> list[float] | None:
    """Coefficients of some of the terms by least squares towards 1: Gram-Schmidt, which keeps the digits.

    None where the terms cannot be told apart.
    """
    columns = [[row[term] for row in rows] for term in terms]
    basis: list[list[float]] = []
    upper: list[list[float]] = []
    for column in columns:
        left, weights = list(column), []
        for done in basis:
            weight = _dot(done, left)
            left = [x - weight * y for x, y in zip(left, done, strict=True)]
            weights.append(weight)
        length = sqrt(_dot(left, left))
        if length <= 1e-9 * sqrt(_dot(column, column)):
            return None
        basis.append([x / length for x in left])
        upper.append([*weights, length])
    target = [1.0] * len(rows)
    projected = []
    for done in basis:
        weight = _dot(done, target)
        target = [x - weight * y for x, y in zip(target, done, strict=True)]
        projected.append(weight)
    found = [0.0] * len(terms)
    for n in reversed(range(len(terms))):
        known = sum(upper[m][n] * found[m] for m in range(n + 1, len(terms)))
        found[n] = (projected[n] - known) / upper[n][n]
    return found


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))
