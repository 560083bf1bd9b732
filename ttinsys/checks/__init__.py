"""What a trace is fit for: a registry of rules, one file each, found by looking into this folder.

    @checking(measure)
    def attributed(numbers: pl.DataFrame) -> Iterator[Finding]:
        ...

A rule measures a trace lazily, in few rows, and judges the numbers: a finding for what a reader must know, with the
nsys option or the change to the program that mends it, or one of severity `sound` that says what was checked. A rule
yields nothing only where its question does not arise, such as that of CUDA graphs in a trace without any.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module

import polars as pl

SEVERITIES = {
    "problem": "answers of the named analyses would be wrong or are missing",
    "warning": "answers hold for a part of the trace, or with the stated reservation",
    "note": "something to know, which makes no answer wrong",
    "sound": "checked, and nothing found",
}
"""Meaning of each severity, the gravest first."""

EVERYTHING = "all"
"""What a finding affects where no analysis escapes."""

TraceTables = Mapping[str, pl.LazyFrame]
"""The tables of a trace, by name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found.

    Args:
        severity: a key of `SEVERITIES`.
        text: what was seen, with its numbers: one sentence.
        affects: analyses whose answers it affects; empty for a sound trace.
        remedy: the nsys option, or the change to the program, that mends it; empty where nothing is to be done.
        count: how many events the finding is about.
        share: share of the GPU time that it is about.
    """

    severity: str
    text: str
    affects: tuple[str, ...] = ()
    remedy: str = ""
    count: int | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A rule: one question to a trace.

    Args:
        name: name of the file and of the function.
        measure: the numbers that the rule judges, from the tables of a trace.
        judge: findings from these numbers.
    """

    name: str
    measure: Callable[[TraceTables], pl.LazyFrame]
    judge: Callable[[pl.DataFrame], Iterator[Finding]]

    def findings(self, tables: TraceTables) -> pl.LazyFrame:
        """The findings on a trace, as `FINDINGS_SCHEMA`."""

        def judged(numbers: pl.DataFrame) -> pl.DataFrame:
            rows = [
                (each.severity, each.text, each.remedy or None, ", ".join(each.affects) or None, self.name,
                 each.count, each.share)
                for each in self.judge(numbers)
            ]  # fmt: skip
            return pl.DataFrame(rows, schema=FINDINGS_SCHEMA, orient="row")

        # A few rows: a Python function may judge them, and the plan stays lazy until the edge.
        return self.measure(tables).map_batches(judged, schema=FINDINGS_SCHEMA, projection_pushdown=False)


FINDINGS_SCHEMA = {
    "severity": pl.String(),
    "finding": pl.String(),
    "remedy": pl.String(),
    "affects": pl.String(),
    "rule": pl.String(),
    "count": pl.Int64(),
    "share": pl.Float64(),
}
"""Columns of findings."""

_RULES: dict[str, Check] = {}


def checking(
    measure: Callable[[TraceTables], pl.LazyFrame],
) -> Callable[[Callable[[pl.DataFrame], Iterator[Finding]]], Callable[[pl.DataFrame], Iterator[Finding]]]:
    """Register the decorated function as a rule that judges what `measure` returns."""

    def register(judge: Callable[[pl.DataFrame], Iterator[Finding]]) -> Callable[[pl.DataFrame], Iterator[Finding]]:
        _RULES[judge.__name__] = Check(judge.__name__, measure, judge)
        return judge

    return register


def checks() -> dict[str, Check]:
    """Every rule by its name.

    Raises:
        TypeError: a file registers no rule of its name.
    """
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    for name in names:
        import_module(f"{__name__}.{name}")
        if name not in _RULES:
            raise TypeError(f"{__name__}.{name} registers no rule: call its function {name}")
    return {name: _RULES[name] for name in names}


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """`1 range`, `2 ranges`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def sentence_of(*clauses: str) -> str:
    """Clauses as one sentence."""
    text = "; ".join(clauses)
    return f"{text[:1].upper()}{text[1:]}."


def milliseconds_of(ns: float) -> str:
    """A time in a sentence."""
    return f"{ns / 1e6:z,.3f} ms"
