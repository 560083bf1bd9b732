"""Check what a trace is fit for, and what would mend what it lacks.

ttinsys check run.sqlite
ttinsys check run.sqlite --strict
ttinsys check run.sqlite --format json

Rules look for events that were lost, ranges that never close, tables that are missing, clocks that disagree, CUDA
graphs whose kernels are hidden, autotuning, warm-up, loading, and time that nsys itself took. Each finding has its
numbers, the analyses that it affects, and the nsys option or the change to the program that mends it. What was checked
and found sound is listed, too.

Gate: --strict exits with status 1 where a finding is a problem.
"""

from __future__ import annotations

import polars as pl

from parsers.schema import Column, Table
from ttinsys.checks import FINDINGS_SCHEMA, SEVERITIES, checks
from ttinsys.measures.options import Option
from ttinsys.runner.registry import analysis

CHECK = Table(
    "check",
    Column("severity", pl.String, f"Gravity of the finding: `{'`, `'.join(SEVERITIES)}`."),
    Column("finding", pl.String, "What was seen, with its numbers.", prose=True),
    Column("remedy", pl.String, "Option of nsys, or change to the program, that mends it; null where the trace is "
           "sound.", prose=True),
    Column("affects", pl.String, "Analyses whose answers it affects; `all` where none escapes.", prose=True),
    Column("rule", pl.String, "Name of the rule: a file of `ttinsys/checks`."),
    Column("count", pl.Int64, "Number of events that the finding is about; null where it is about the whole trace."),
    Column("share", pl.Float64, "Share of the GPU time that the finding is about; for `attributed` that is sound, the "
           "attributed share.", unit="ratio"),
    doc="one row per finding, the gravest first",
)  # fmt: skip


def judge_fitness(result: pl.DataFrame, *, strict: bool = False) -> list[str]:
    """Sentences for which `--strict` fails: the problems.

    Args:
        result: `CHECK`.
        strict: Whether a problem fails.
    """
    problems = result.filter(pl.col("severity") == "problem") if strict else result.clear()
    named = "trace" in result.columns
    return [f"{row['trace']}: {row['finding']}" if named else row["finding"] for row in problems.iter_rows(named=True)]


def summary(result: pl.DataFrame) -> list[str]:
    """How many findings of each severity each trace has.

    Args:
        result: `CHECK`.
    """
    traces = result.partition_by("trace", maintain_order=True) if "trace" in result.columns else [result]
    sentences = []
    for rows in traces:
        counts = dict(rows.group_by("severity").len().iter_rows())
        listed = [f"{counts[severity]} {_NOUNS[severity][counts[severity] != 1]}" for severity in SEVERITIES
                  if counts.get(severity)]  # fmt: skip
        name = f"{rows['trace'][0]}: " if "trace" in result.columns else ""
        sentences.append(f"{name}{', '.join(listed)}")
    return sentences


_NOUNS = {
    "problem": ("problem", "problems"),
    "warning": ("warning", "warnings"),
    "note": ("note", "notes"),
    "sound": ("check found nothing", "checks found nothing"),
}
"""How a severity is counted: one, and several."""


@analysis(
    returns=CHECK,
    remarks=summary,
    verdict=judge_fitness,
    judged_by=(Option("strict", "Exit with status 1 where a finding is a problem."),),
)
def check(
    ops: pl.LazyFrame,
    ranges: pl.LazyFrame,
    calls: pl.LazyFrame,
    runs: pl.LazyFrame,
    gpus: pl.LazyFrame,
    api_calls: pl.LazyFrame,
    strings: pl.LazyFrame,
    diagnostics: pl.LazyFrame,
    overheads: pl.LazyFrame,
    sources: pl.LazyFrame,
    export_info: pl.LazyFrame,
) -> pl.LazyFrame:
    """Check what a trace is fit for.

    Args:
        ops: `OPS`, one row per GPU operation.
        ranges: `RANGES`, one row per NVTX range.
        calls: `CALLS`, one row per call of an annotated module.
        runs: `RUNS`, one row per annotated run.
        gpus: GPUs of the machine.
        api_calls: CUDA API calls.
        strings: Texts by their IDs.
        diagnostics: Messages of nsys.
        overheads: Time that nsys took.
        sources: Tables that the export has, under nsys's names.
        export_info: What the export states of itself.

    Returns:
        `CHECK`: at least one row.
    """
    tables = {
        "ops": ops,
        "ranges": ranges,
        "calls": calls,
        "runs": runs,
        "gpus": gpus,
        "api_calls": api_calls,
        "strings": strings,
        "diagnostics": diagnostics,
        "overheads": overheads,
        "sources": sources,
        "export_info": export_info,
    }
    found = pl.concat([rule.findings(tables) for rule in checks().values()])
    return (
        found.with_columns(pl.col("severity").cast(pl.Enum([*SEVERITIES])))
        .sort("severity", maintain_order=True)
        .select(pl.col("severity").cast(pl.String), pl.exclude("severity"))
        .select(*FINDINGS_SCHEMA)
    )
