"""Gates: how much slower a trace may be than its baseline, and limits from a file.

[total]
sum = "120 ms"
slowdown = "3%"
[role.spatial_attention]
sum = "30 ms"

Both read the table of `ttinsys diff`. What was not measured never passes.
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
    "sum": "GPU time of the trace, as `30 ms`",
    "step": "GPU time of the mean step, as `9 ms`",
    "slowdown": "what is lost against the baseline, as `3%`",
}
"""What a budget may limit."""

LISTED = 0.01
"""Share of the time of either trace from which on a row by itself can fail `--fail-over`."""

_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9}


class BudgetError(ValueError):
    """A budget file cannot be read, or holds an unknown name or a value that is not a limit."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Args:
        by: what the row is a value of, or `total`.
        key: the row.
        kind: one of `LIMITS`.
        most: ns, or a ratio for `slowdown`.
    """

    by: str
    key: str
    kind: str
    most: float

    def __str__(self) -> str:
        return "the whole" if self.by == TOTAL else f"{self.by} {self.key}"


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a file, in its order."""

    path: str
    limits: tuple[Limit, ...]


def read_budget(path: str | Path) -> Budget:
    """The budget in a TOML file.

    Raises:
        BudgetError: it cannot be read, or has a table, key or value that means nothing.
    """
    try:
        said = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise BudgetError(f"{path}: {reason}: name a TOML file with limits") from error
    except tomllib.TOMLDecodeError as error:
        raise BudgetError(f"{path}: not TOML: {' '.join(str(error).split())}") from error
    limits = [limit for name, table in said.items() for limit in _limits(path, name, table)]
    if not limits:
        raise BudgetError(f'{path}: no limit: give at least one, as [total] with slowdown = "3%"')
    return Budget(str(path), tuple(limits))


def _limits(path: str | Path, name: str, table: Any) -> Iterator[Limit]:
    if name not in (TOTAL, *KEYS):
        raise BudgetError(f"{path}: {name}: not known: give {', '.join([TOTAL, *KEYS])}")
    rows = {ALL: table} if name == TOTAL else table
    if not isinstance(rows, dict):
        raise BudgetError(f"{path}: {name}: not a table: give [{name}.NAME]")
    for key, limits in rows.items():
        where = name if name == TOTAL else f"{name}.{key}"
        if not isinstance(limits, dict) or not limits:
            raise BudgetError(f"{path}: {where}: no limit: give [{where}] with {', '.join(LIMITS)}")
        for kind, value in limits.items():
            if isinstance(value, dict):
                raise BudgetError(f'{path}: {where}.{kind}: quote names with dots, as [{name}."{key}.{kind}"]')
            if kind not in LIMITS:
                raise BudgetError(f"{path}: {where}.{kind}: not known: give {', '.join(LIMITS)}")
            most = parse_ratio(value) if kind == "slowdown" else _time(value)
            if most is None:
                raise BudgetError(
                    f"{path}: {where}.{kind}: {value!r} is not {LIMITS[kind].partition(' as ')[2]} or the like"
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
    """A budget: the one in a TOML file, or one that is read already.

    Raises:
        BudgetError: a ValueError; the file cannot be read, or is not a budget.
    """
    return value if isinstance(value, Budget) else read_budget(value)


def _time(text: object) -> float | None:
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|ms|s)\s*", str(text))
    return float(match[1]) * _UNITS[match[2]] if match else None


def slower(result: pl.DataFrame, allowed: float) -> list[str]:
    """Sentences on what is slower than allowed, and by more than the noise.

    Args:
        result: `DIFF`.
        allowed: as a ratio of the baseline's time.
    """
    whole = pl.col("before_ns", "after_ns").filter(pl.col("by") == TOTAL).first().over("trace")
    least = result.select(pl.col("before_ns", "after_ns") >= LISTED * whole).select(pl.any_horizontal(pl.all()))
    rows = result.filter((pl.col("by") == TOTAL) | least.to_series())
    return [
        f"{row['trace']}: {'GPU time' if row['by'] == TOTAL else row['by'] + ' ' + row['key']} is {what}"
        for row in rows.iter_rows(named=True)
        # A new kernel replaces others: the whole tells what came of it.
        if (row["by"] == TOTAL or row["change"] != "new") and (what := _slower(row, allowed))
    ]


def _slower(row: dict[str, Any], allowed: float) -> str | None:
    """What is wrong with a row that is slower than allowed, and by more than the noise; None where it is not."""
    before, delta = row["before_ns"], row["delta_ns"]
    if delta <= (row["noise_ns"] or 0) or delta <= allowed * before:
        return None
    by_how_much = f"by {100 * delta / before:.1f}%" if before else "than nothing"
    return (
        f"slower {by_how_much} ({_time_of(before)} to {_time_of(row['after_ns'])}), and {100 * allowed:g}% is allowed"
    )


def exceeded(result: pl.DataFrame, budget: Budget) -> list[str]:
    """Sentences on limits that are exceeded, or that nothing was measured for.

    Args:
        result: `DIFF`.
        budget: the limits.
    """
    rows = {(row["trace"], row["by"], row["key"]): row for row in result.iter_rows(named=True)}
    listed = {TOTAL, *result["by"].drop_nulls()}
    found = []
    for trace in result["trace"].unique(maintain_order=True):
        for limit in budget.limits:
            what = _exceeds(limit, rows.get((trace, limit.by, limit.key)), listed)
            if what:
                found.append(f"{trace}: {budget.path}: {limit}: {what}")
    return found


def _exceeds(limit: Limit, row: dict[str, Any] | None, listed: set[str]) -> str | None:
    """What is wrong by a limit; None where it is kept."""
    if limit.by not in listed:
        return f"not looked at: give --by {limit.by}"
    if row is None or not row["after_ops"]:
        return "nothing was measured"
    if limit.kind == "slowdown":
        return _slower(row, limit.most) if row["before_ops"] else "not in the baseline, so its slowdown is not known"
    if limit.kind != (row["per"] or "sum"):
        return f"{limit.kind} was not measured: give --per {'step' if limit.kind == 'step' else 'trace'}"
    if row["after_ns"] > limit.most:
        return f"{limit.kind} {_time_of(row['after_ns'])}, and {_time_of(limit.most)} is allowed"
    return None


def _time_of(ns: float) -> str:
    """A time for people, in the unit that suits it."""
    name, factor = ("us", 10**3) if ns < 10**6 else ("ms", 10**6)
    return f"{ns / factor:,.3f} {name}"
