"""Run analyses: check options, traces and needs; return the table with coverage, remarks and failures.

    result = run_analysis(find("breakdown"), {"run.sqlite": tables_of(trace)}, {"by": "role"})
    result.frame

The command line, the Python API, the report and the study all run analyses through this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from parsers import Trace
from ttinsys.attribution.coverage import coverage
from ttinsys.runner.registry import Analysis, find
from ttinsys.tables.needs import Lacking, lacking_sentence, present
from ttinsys.tables.registry import distinct_names, tables_of
from ttinsys.tables.structure import STEPS_FROM

Tables = Mapping[str, pl.LazyFrame]
"""The tables of one trace, by name."""

Collect = Callable[[Sequence[pl.LazyFrame]], list[pl.DataFrame]]


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """The result of an analysis.

    Args:
        analysis: The analysis that ran.
        frame: Its table.
        coverage: GPU operations of each trace by how they were attributed, see `ttinsys.attribution.coverage`.
        remarks: Sentences that a reader needs before trusting the table.
        failures: Sentences for which a gate fails; empty where there is no gate, or all limits are kept.
    """

    analysis: Analysis
    frame: pl.DataFrame
    coverage: Mapping[str, pl.DataFrame]
    remarks: tuple[str, ...]
    failures: tuple[str, ...]


def run_analysis(
    analysis: Analysis,
    tables: Mapping[str, Tables],
    options: Mapping[str, Any] | None = None,
    *,
    collect: Collect = pl.collect_all,
    why_empty: Callable[[str], str] | None = None,
) -> AnalysisResult:
    """Run an analysis on the tables of one trace or several.

    Args:
        analysis: The analysis to run.
        tables: By the name of the trace, then of the table; the first trace is the baseline.
        options: Options of the analysis and of its verdict, by name.
        collect: Collects several plans in one pass, so that each table is read once.
        why_empty: For filtered traces: maps the name of a trace to the reason why no operation is left.

    Raises:
        OptionError: An option is unknown, or has a value that it does not take.
        TooFewTraces: There are fewer traces than the analysis compares.
        Lacking: A trace lacks what the analysis needs; the message says how to capture one that has it.
    """
    options = options or {}
    names = list(tables)
    needs = [(name, need) for name in names for need in analysis.needs]
    # Only a question about steps makes it worth reading whether there are any.
    stepless = names if _asks_for_steps(analysis, options) else []
    frame, *rest = collect(
        [
            analysis.plan(tables, **options),
            *(coverage(tables[name]["ops"]) for name in names),
            *(present(need, tables[name]) for name, need in needs),
            *(tables[name]["ops"].select(pl.col("step").count()) for name in stepless),
        ]
    )
    counts = dict(zip(names, rest, strict=False))
    answers, steps = rest[len(names) : len(names) + len(needs)], rest[len(names) + len(needs) :]
    for (name, need), answer in zip(needs, answers, strict=True):
        if not answer.item():
            if why_empty is not None and counts[name].is_empty():
                raise Lacking(why_empty(name))
            raise Lacking(f"{name} {lacking_sentence(need, tables[name])}")
    remarks = analysis.remarks(frame) if analysis.remarks is not None else []
    remarks += [_STEPLESS.format(name) for name, found in zip(stepless, steps, strict=True) if not found.item()]
    failures: list[str] = []
    if analysis.verdict is not None:
        values = analysis.checked_options(options)
        failures = analysis.verdict(frame, **{name: values[name] for name in analysis.verdict_settings})
    return AnalysisResult(analysis, frame, counts, tuple(remarks), tuple(failures))


_STEPLESS = "{} has no annotated step: --steps-from structure takes the iterations found in its kernels"


def _asks_for_steps(analysis: Analysis, options: Mapping[str, Any]) -> bool:
    """Whether rows are to be divided by steps, which come from the annotation."""
    values = analysis.checked_options(options)
    grouping = (values.get("by"), values.get("per"))
    return values.get(STEPS_FROM.name) == "annotation" and any(
        "step" in (value if isinstance(value, tuple) else (value,)) for value in grouping
    )


def analyse(name: str, *traces: Trace, **options: Any) -> pl.DataFrame:
    """The table of an analysis of opened traces; options and errors are those of `run_analysis`.

    Raises:
        UnknownAnalysis: No analysis has this name.
        TypeError: An argument is not a trace.
    """
    for trace in traces:
        if not isinstance(trace, Trace):
            raise TypeError(f"{name} takes traces, as ttinsys.load(path) opens them, not {type(trace).__name__}")
    names = distinct_names([str(trace.path) for trace in traces])
    tables = {label: tables_of(trace) for label, trace in zip(names, traces, strict=True)}
    return run_analysis(find(name), tables, options).frame


def lacking(analysis: Analysis, tables: Mapping[str, Tables]) -> dict[str, str]:
    """What each trace lacks for an analysis, in a sentence; traces that lack nothing are left out.

    Args:
        analysis: The analysis to run.
        tables: By the name of the trace, then of the table.
    """
    missing = {}
    for name, of_trace in tables.items():
        answers = pl.collect_all([present(need, of_trace) for need in analysis.needs])
        needed = [need for need, answer in zip(analysis.needs, answers, strict=True) if not answer.item()]
        if needed:
            missing[name] = f"{name} {lacking_sentence(needed[0], of_trace)}"
    return missing
