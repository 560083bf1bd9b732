"""How much of the difference between two traces is noise: Welch's t-test over steps that do the same."""

from __future__ import annotations

from functools import cache
from math import cos, pi, sin, sqrt, tan

import polars as pl


def noise(confidence: float) -> pl.Expr:
    """Difference of two times below which nothing is known to have changed (Welch's t-test).

    t * sqrt(V1 + V2), where V of a trace is the variance of its sum: n * s**2 of n steps that are alike and whose
    times have variance s**2, added up over the kinds of steps (for the mean step, divided by the square of their
    number). t is the two-sided quantile of Student's distribution with the degrees of freedom of Welch and
    Satterthwaite, the square of the sum of all n * s**2 over the sum of (n * s**2)**2 / (n - 1), rounded down. What
    is not repeated, as time outside steps, adds nothing. Null where a trace has no two steps alike with the key.

    Args:
        confidence: between 0 and 1.
    """
    both = pl.col("variance") + pl.col("variance_after")
    freedom = both**2 / (pl.col("weight") + pl.col("weight_after"))

    def quantiles(values: pl.Series) -> pl.Series:
        known = {value: student(confidence, int(value)) for value in values.unique().drop_nulls()}
        return values.replace_strict(known, default=None, return_dtype=pl.Float64)

    t = freedom.fill_nan(1).floor().clip(1, _NORMAL).map_batches(quantiles, return_dtype=pl.Float64)
    # More than an integer holds is not known either.
    return (t * both.sqrt()).ceil().cast(pl.Int64, strict=False)


_NORMAL = 400
"""Degrees of freedom from which on Student's distribution is taken for the one with so many: t differs by 0.3%."""


@cache
def student(confidence: float, freedom: int) -> float:
    """The t that a variable of Student's distribution stays within, on both sides, with this probability.

    Solves A(t|n) = confidence by bisection (Abramowitz and Stegun, 26.7.3 and 26.7.4).

    Args:
        confidence: between 0 and 1.
        freedom: degrees of freedom, at least 1.
    """
    low, high = 0.0, pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        if _within_angle(angle, freedom) < confidence:
            low = angle
        else:
            high = angle
    return sqrt(freedom) * tan(low)


def _within_angle(angle: float, freedom: int) -> float:
    """A(t|n) for t = sqrt(n) * tan(angle)."""
    term = cos(angle) if freedom % 2 else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 if freedom % 2 else 1, freedom - 2, 2):
        term *= k / (k + 1) * cos(angle) ** 2
        total += term
    return 2 / pi * (angle + sin(angle) * total) if freedom % 2 else sin(angle) * total
