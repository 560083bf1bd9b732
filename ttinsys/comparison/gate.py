"""Gates: the slowdown that is allowed against the baseline, and a budget of limits in a TOML file.

[total]
sum = "120 ms"
slowdown = "3%"
[role.spatial_attention]
sum = "30 ms"

Both judge the table of `ttinsys diff`. A limit fails where its time was not measured, so that a missing part of the
trace cannot pass.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ttinsys.comparison.alignment import ALL, KEYS, TOTAL

LIMITS = {
    "sum": "30 ms",
    "step": "9 ms",
    "slowdown": "3%",
}
"""Kinds of limits, each with an example of its value: GPU time of the trace, GPU time of its mean step, and the
increase of GPU time relative to the baseline."""

LISTED = 0.01
"""Rows with a smaller share of the time of both traces cannot fail `--fail-over` by themselves."""

# ns by the unit of a limit.
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


class BudgetError(ValueError):
    """A budget file cannot be read, or holds an unknown name or a value that is not a limit."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Args:
        by: the key that rows are aligned by, one of `ttinsys.comparison.alignment.KEYS`, or `total`.
        key: the row, a value of that key.
        kind: one of `LIMITS`.
        most: the greatest value allowed: ns, or a ratio for `slowdown`.
    """

    by: str
    key: str
    kind: str
    most: float

    def __str__(self) -> str:
        return TOTAL if self.by == TOTAL else f"{self.by} {self.key}"


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a file.

    Args:
        path: path of the file, for messages.
        limits: its limits, in the order of the file.
    """

    path: str
    limits: tuple[Limit, ...]


def read_budget(path: str | Path) -> Budget:
    """Read the budget in a TOML file.

    Raises:
        BudgetError: the file cannot be read, or has an unknown table or key, or a value that is not a limit.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BudgetError(f"{path}: {reason}: name a TOML file with limits") from error
    except tomllib.TOMLDecodeError as error:
        raise BudgetError(f"{path}: not TOML: {' '.join(str(error).split())}") from error
    limits = [limit for name, table in tables.items() for limit in _limits(path, name, table)]
    if not limits:
        raise BudgetError(f'{path}: no limit: give at least one, such as [total] with slowdown = "3%"')
    return Budget(str(path), tuple(limits))


def _limits(path: str | Path, name: str, table: Any) -> Iterator[Limit]:
    """The limits of one top-level table, checked."""
    if name not in (TOTAL, *KEYS):
        raise BudgetError(f"{path}: {name}: unknown: give {', '.join([TOTAL, *KEYS])}")
    rows = {ALL: table} if name == TOTAL else table
    if not isinstance(rows, dict):
        raise BudgetError(f"{path}: {name}: not a table: give [{name}.NAME]")
    for key, limits in rows.items():
        where = name if name == TOTAL else f"{name}.{key}"
        if not isinstance(limits, dict) or not limits:
            raise BudgetError(f"{path}: {where}: no limit: give [{where}] with {', '.join(LIMITS)}")
        for kind, value in limits.items():
            # TOML reads [layer.unet.conv] as a table `conv` in `unet`.
            if isinstance(value, dict):
                raise BudgetError(f'{path}: {where}.{kind}: quote names with dots, as [{name}."{key}.{kind}"]')
            if kind not in LIMITS:
                raise BudgetError(f"{path}: {where}.{kind}: unknown: give {', '.join(LIMITS)}")
            most = parse_ratio(value) if kind == "slowdown" else _time(value)
            if most is None:
                expected = "a ratio" if kind == "slowdown" else "a time"
                raise BudgetError(
                    f"{path}: {where}.{kind}: {value!r} is not {expected}: give {LIMITS[kind]} or the like"
                )
            yield Limit(name, key, kind, most)


def parse_ratio(value: object) -> float | None:
    """`3%`, `0.03` (text) or 0.03 (a number) as 0.03; None where the value is none of them.

    Without the percent sign a ratio is at most 1, so that 3, meant as 3%, is not taken for 300%.
    """
    if isinstance(value, int | float):
        # In Python True is an int; inf and nan fail the comparison.
        return float(value) if not isinstance(value, bool) and 0 <= value <= 1 else None
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", str(value))
    if match is None:
        return None
    number, sign = float(match[1]), match[2]
    if sign:
        return number / 100
    return number if number <= 1 else None


def parse_percent(value: object) -> float:
    """A ratio, from text such as `3%` or `0.03`, or from a number up to 1.

    Raises:
        ValueError: the value is not a ratio; the message is one line.
    """
    ratio = parse_ratio(value)
    if ratio is None:
        raise ValueError(f"{value!r} is not a percentage: give 3% or 0.03")
    return ratio


def parse_confidence(value: object) -> float:
    """A confidence level between 50% and 100%, both excluded, written as `parse_percent` reads it.

    Raises:
        ValueError: the value is not a ratio, or out of range; the message is one line.
    """
    level = parse_percent(value)
    # At 50% or less the noise band tells nothing; at 100% it is infinitely wide.
    if not 0.5 < level < 1:
        raise ValueError(f"{value!r} is not between 50% and 100%: give 95% or 0.99")
    return level


def parse_budget(value: str | Path | Budget) -> Budget:
    """A budget, from the path of a TOML file or as it is.

    Raises:
        BudgetError: a ValueError; the file cannot be read, or is not a budget.
    """
    return value if isinstance(value, Budget) else read_budget(value)


def _time(text: object) -> float | None:
    """`30 ms` as ns; None where the text is not a number with a unit."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|ms|s)\s*", str(text))
    return float(match[1]) * _UNITS[match[2]] if match else None


def slower(result: pl.DataFrame, allowed: float) -> list[str]:
    """One sentence for each row that is slower than allowed, and by more than its noise band.

    Args:
        result: `DIFF`.
        allowed: slowdown that is allowed, as a ratio of the baseline's time.
    """
    wholes = pl.col("before_ns", "after_ns").filter(pl.col("by") == TOTAL).first().over("trace")
    large = result.select(pl.col("before_ns", "after_ns") >= LISTED * wholes).select(pl.any_horizontal(pl.all()))
    rows = result.filter((pl.col("by") == TOTAL) | large.to_series())
    return [
        f"{row['trace']}: {'GPU time' if row['by'] == TOTAL else row['by'] + ' ' + row['key']} is {excess}"
        for row in rows.iter_rows(named=True)
        # A new kernel usually replaces another one, so only the total tells whether the trace got slower.
        if (row["by"] == TOTAL or row["change"] != "new") and (excess := _excess(row, allowed))
    ]


def _excess(row: dict[str, Any], allowed: float) -> str | None:
    """By how much a row is slower, where that is more than allowed and more than its noise band; else None."""
    before, delta = row["before_ns"], row["delta_ns"]
    # An unknown noise band excuses no slowdown.
    if delta <= (row["noise_ns"] or 0) or delta <= allowed * before:
        return None
    slower_by = f"slower by {100 * delta / before:.1f}%" if before else "slower"
    return f"{slower_by} ({_time_of(before)} to {_time_of(row['after_ns'])}), {100 * allowed:g}% is allowed"


def exceeded(result: pl.DataFrame, budget: Budget) -> list[str]:
    """One sentence for each limit that is exceeded, or whose time was not measured.

    Args:
        result: `DIFF`.
        budget: the limits.
    """
    rows = {(row["trace"], row["by"], row["key"]): row for row in result.iter_rows(named=True)}
    compared_by = {TOTAL, *result["by"].drop_nulls()}
    sentences = []
    for trace in result["trace"].unique(maintain_order=True):
        for limit in budget.limits:
            failure = _failure(limit, rows.get((trace, limit.by, limit.key)), compared_by)
            if failure:
                sentences.append(f"{trace}: {budget.path}: {limit}: {failure}")
    return sentences


def _failure(limit: Limit, row: dict[str, Any] | None, compared_by: set[str]) -> str | None:
    """Why a row fails its limit; None where it keeps it."""
    if limit.by not in compared_by:
        return f"not compared: give --by {limit.by}"
    if row is None or not row["after_ops"]:
        return "no GPU operation was measured"
    if limit.kind == "slowdown":
        return _excess(row, limit.most) if row["before_ops"] else "not in the baseline, so its slowdown is unknown"
    if limit.kind != (row["per"] or "sum"):
        return f"{limit.kind} was not measured: give --per {'step' if limit.kind == 'step' else 'trace'}"
    if row["after_ns"] > limit.most:
        return f"{limit.kind} is {_time_of(row['after_ns'])}, {_time_of(limit.most)} is allowed"
    return None


def _time_of(ns: float) -> str:
    """A time as text, in us below 1 ms and in ms above."""
    name, factor = ("us", 10**3) if ns < 10**6 else ("ms", 10**6)
    return f"{ns / factor:,.3f} {name}"
