"""Noise bands: differences of two traces within which nothing has changed, by Welch's t-test over like steps."""

from __future__ import annotations

from functools import cache
from math import cos, pi, sin, sqrt, tan

import polars as pl


def noise(confidence: float) -> pl.Expr:
    """Noise band: the difference of two times below which no change is significant (Welch's t-test).

    The band is t * sqrt(V1 + V2). V is the variance of a trace's time: n * s**2 for n like steps whose times have the
    sample variance s**2, added up over the kinds of steps (for the mean step, divided by the square of the number of
    steps). t is the two-sided quantile of Student's distribution with the Welch-Satterthwaite degrees of freedom: the
    square of the sum of all n * s**2, divided by the sum of all (n * s**2)**2 / (n - 1), rounded down. Time that is
    not repeated, such as time outside steps, adds no variance.

    Args:
        confidence: confidence level, between 0 and 1.

    Returns:
        An expression over `variance`, `weight` and the same with `_after`: ns (Int64), null where a trace has no two
        like steps with the key.
    """
    both = pl.col("variance") + pl.col("variance_after")
    freedom = both**2 / (pl.col("weight") + pl.col("weight_after"))

    def quantiles(values: pl.Series) -> pl.Series:
        # Few distinct degrees of freedom occur, so that a Python function may compute their quantiles.
        by_freedom = {value: student(confidence, int(value)) for value in values.unique().drop_nulls()}
        return values.replace_strict(by_freedom, default=None, return_dtype=pl.Float64)

    # 0 / 0 where no time varies: the band is 0 with any t. The least degree of freedom that a t exists for is 1.
    t = freedom.fill_nan(1).floor().clip(1, _NORMAL).map_batches(quantiles, return_dtype=pl.Float64)
    # A band that exceeds an Int64 is null, as if it were unknown.
    return (t * both.sqrt()).ceil().cast(pl.Int64, strict=False)


_NORMAL = 400
"""Degrees of freedom above which t is taken as at this number: it is within 0.3% of its limit, the normal quantile."""


@cache
def student(confidence: float, freedom: int) -> float:
    """Two-sided quantile of Student's distribution: a variable lies between -t and t with this probability.

    Solves A(t|n) = confidence by bisection (Abramowitz and Stegun, 26.7.3 and 26.7.4), which spares a dependency on
    scipy.

    Args:
        confidence: probability, between 0 and 1.
        freedom: degrees of freedom, at least 1.
    """
    # t = sqrt(n) * tan(angle) maps all t to a finite interval.
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
