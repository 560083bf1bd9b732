"""Whether two traces show the same work: only then does a difference of their times mean a speedup.

Optimised runs launch other kernels, and compiled ones have other modules inside their blocks. Three things stay: how
often each part of the pipeline is called, how many steps there are, and what was requested. Parts are the annotated
components, or the outermost ranges where neither trace is annotated. Where these agree, `ttinsys.comparison.work`
compares the numbers of operations by operator and by layer.

The verdict is symmetric: where A may not be compared with B, B may not be compared with A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from ttinsys.comparison.alignment import traces_of
from ttinsys.comparison.facts import FACT_SCHEMA, Facts, fact_rows, known_number, parts_with
from ttinsys.comparison.work import facts_of_work, reasons_by_work, uniform_change
from ttinsys.tables.lost_launches import lost_launches

ASKED = ("model", "size", "height", "width", "frames", "tokens", "prompt_tokens", "batch")
"""Columns of `RUNS` that must agree: they say what work is done, not how."""

_NOTICED = 0.01
"""A part with at least this share of one trace's GPU time must have GPU time in the other trace too."""
_LOOP = 0.1
"""Outermost ranges count as parts of the pipeline from this share of GPU time on: loops do, calls of libraries not."""

_LOST = 0.01
"""A trace is truncated where at least this share of its launches has no kernel, unless that is so in both traces:
then a filter selected a part of each."""

_UNFAIR = {"trace": pl.String(), "unfair": pl.String(), "caveat": pl.String()}


def unfair(
    ops: pl.LazyFrame,
    ranges: pl.LazyFrame,
    calls: pl.LazyFrame,
    runs: pl.LazyFrame,
    gpus: pl.LazyFrame,
    api_calls: pl.LazyFrame,
    pairs: Mapping[str, str],
    *,
    per: str = "trace",
) -> pl.LazyFrame:
    """Reasons why the time of a trace is not comparable with its baseline's, and what a reader must know if it is.

    Args:
        ops: `OPS` of several traces.
        ranges: their `RANGES`.
        calls: their `CALLS`.
        runs: their `RUNS`.
        gpus: their GPUs.
        api_calls: their API calls.
        pairs: the baseline of each compared trace.
        per: `step` where times are of the mean step: then the numbers of steps may differ.

    Returns:
        `trace` (of the dtype of `ops`), `unfair` and `caveat`, one row per compared trace: the reasons and the caveats,
        joined by `; `; null where there is none.
    """

    def judged(rows: pl.DataFrame) -> pl.DataFrame:
        facts: dict[str, dict[tuple[str, str], int | str]] = {name: {} for name in {*pairs, *pairs.values()}}
        for trace, fact, part, value, text in rows.iter_rows():
            if trace in facts:
                facts[trace][fact, part or ""] = text if text is not None else value
        return pl.DataFrame(
            [
                (trace, *("; ".join(texts) or None for texts in _judged(facts[base], facts[trace], per)))
                for trace, base in pairs.items()
            ],
            schema=_UNFAIR,
            orient="row",
        )

    sources = [
        _facts_of_ops(ops),
        _facts_of_ranges(ranges),
        _facts_of_launches(ops, api_calls),
        _facts_of_runs(runs),
        _facts_of_gpus(gpus),
        *facts_of_work(ops, ranges, calls, per=per),
    ]
    facts = pl.concat([frame.select(*FACT_SCHEMA) for frame in sources])
    # A few hundred rows: a Python function may judge them, and the plan stays lazy until the edge.
    return facts.map_batches(judged, schema=_UNFAIR).with_columns(pl.col("trace").cast(pl.Enum(traces_of(ops))))


def _judged(before: Facts, after: Facts, per: str) -> tuple[list[str], list[str]]:
    """The reasons against a comparison, and the caveats of one."""
    # Another number of steps, say, changes the number of every operation: one reason is enough.
    reasons = list(_reasons(before, after, per)) or list(reasons_by_work(before, after, per))
    return reasons, list(_caveats(before, after))


_OUTERMOST = pl.col("path").str.split("/").list.first().alias("outermost")


def _facts_of_ops(ops: pl.LazyFrame) -> pl.LazyFrame:
    """`ns`, `ops` and `steps` of the trace, and `outermost_ns` and `component_ns` of each part."""
    time = pl.col("duration_ns").sum().alias("ns")
    wholes = ops.group_by("trace").agg(
        time, pl.len().alias("ops"), pl.col("step_id").drop_nulls().n_unique().alias("steps")
    )
    # By path first: far fewer paths than operations have to be split.
    paths = ops.filter(pl.col("path").is_not_null()).group_by("trace", "path").agg(time)
    outermost = paths.group_by("trace", _OUTERMOST).agg(pl.col("ns").sum())
    components = ops.filter(pl.col("component").is_not_null()).group_by("trace", "component").agg(time)
    return pl.concat(
        [
            *(fact_rows(wholes, name, value=name) for name in ("ns", "ops", "steps")),
            fact_rows(outermost, "outermost_ns", part="outermost", value="ns"),
            fact_rows(components, "component_ns", part="component", value="ns"),
        ]
    )


def _facts_of_ranges(ranges: pl.LazyFrame) -> pl.LazyFrame:
    """`annotated`, `ranges` and `open` of the trace, and `outermost_calls` and `component_calls` of each part.

    `open` counts the ranges that never closed; in an annotated trace only annotated ones, as libraries leave theirs
    open.
    """
    annotated, open_ = pl.col("role").is_not_null(), pl.col("end_ns").is_null()
    wholes = ranges.group_by("trace").agg(
        annotated.any().alias("annotated"),
        pl.len().alias("ranges"),
        pl.when(annotated.any()).then((open_ & annotated).sum()).otherwise(open_.sum()).alias("open"),
    )
    last_end = pl.col("end_ns").fill_null(pl.col("start_ns")).cum_max().shift(1)
    # A call of a component is a range of it that no other of its ranges encloses: they nest within a thread.
    components = (
        ranges.filter(pl.col("component").is_not_null() & annotated)
        .select("trace", "global_tid", "component", "start_ns", "end_ns")
        .sort("start_ns", pl.col("end_ns").neg())
        .group_by("trace", "global_tid", "component", maintain_order=True)
        .agg((last_end.is_null() | (pl.col("start_ns") >= last_end)).sum().alias("calls"))
        .group_by("trace", "component")
        .agg(pl.col("calls").sum())
    )
    outermost = ranges.filter(pl.col("depth") == 0).group_by("trace", _OUTERMOST).agg(pl.len().alias("calls"))
    return pl.concat(
        [
            *(fact_rows(wholes, name, value=name) for name in ("annotated", "ranges", "open")),
            fact_rows(components, "component_calls", part="component", value="calls"),
            fact_rows(outermost, "outermost_calls", part="outermost", value="calls"),
        ]
    )


def _facts_of_launches(ops: pl.LazyFrame, api_calls: pl.LazyFrame) -> pl.LazyFrame:
    """`launches`: calls of the functions that launch kernels; and `lost`: those whose kernel is not in the trace."""
    counts = lost_launches(ops, api_calls)
    return pl.concat([fact_rows(counts, name, value=name) for name in ("launches", "lost")])


def _facts_of_runs(runs: pl.LazyFrame) -> pl.LazyFrame:
    """`simulated` of the trace, and `asked` of each of `ASKED`: its values, where the runs of a trace say any."""
    requests = runs.group_by("trace").agg(
        pl.col(name).drop_nulls().cast(pl.String).unique().sort().str.join(", ") for name in ASKED
    )
    simulated = runs.group_by("trace").agg(pl.col("simulated").any())
    asked = [
        fact_rows(requests.filter(pl.col(name) != ""), "asked", text=name).with_columns(pl.lit(name).alias("part"))
        for name in ASKED
    ]
    return pl.concat([*asked, fact_rows(simulated, "simulated", value="simulated")])


def _facts_of_gpus(gpus: pl.LazyFrame) -> pl.LazyFrame:
    """`gpu` of the trace: the name of its GPUs, where all have the same."""
    names = gpus.drop_nulls("name").group_by("trace").agg(pl.col("name").unique())
    return fact_rows(names.filter(pl.col("name").list.len() == 1).explode("name"), "gpu", text="name")


def _caveats(before: Facts, after: Facts) -> Iterator[str]:
    """What sets traces apart beside the program."""
    was, is_ = before.get(("gpu", "")), after.get(("gpu", ""))
    if was is not None and is_ is not None and was != is_:
        yield f"on {is_} (baseline: {was})"
    elif (change := uniform_change(before, after)) is not None:
        yield change


def _reasons(before: Facts, after: Facts, per: str) -> Iterator[str]:
    """Each reason in one clause about the compared trace; what the baseline has instead is in parentheses."""
    for facts, no_activity, truncated in (
        (after, "no GPU activity", "truncated"),
        (before, "the baseline has no GPU activity", "the baseline is truncated"),
    ):
        if not known_number(facts, "ops"):
            yield no_activity
        if count := known_number(facts, "open"):
            yield f"{truncated}: {count} {'range' if count == 1 else 'ranges'} never closed"
    if not known_number(before, "ops") or not known_number(after, "ops"):
        return
    lost = [known_number(facts, "lost") >= _LOST * max(known_number(facts, "launches"), 1) for facts in (before, after)]
    if lost[0] != lost[1]:
        facts, truncated = (before, "the baseline is truncated") if lost[0] else (after, "truncated")
        yield f"{truncated}: {known_number(facts, 'lost')} of {known_number(facts, 'launches')} launches have no kernel"
    if known_number(before, "simulated") != known_number(after, "simulated"):
        yield "simulated (baseline: measured)" if known_number(after, "simulated") else "measured (baseline: simulated)"
    for name in ASKED:
        was, is_ = before.get(("asked", name)), after.get(("asked", name))
        if was is not None and is_ is not None and was != is_:
            yield f"{name} {is_} (baseline: {was})"
    yield from _reasons_by_ranges(before, after, per)


def _reasons_by_ranges(before: Facts, after: Facts, per: str) -> Iterator[str]:
    """Differences in annotation, in the number of steps, and in the parts of the pipeline."""
    if known_number(before, "annotated") != known_number(after, "annotated"):
        yield "annotated (baseline: not)" if known_number(after, "annotated") else "not annotated (baseline: annotated)"
        return
    steps = (known_number(before, "steps"), known_number(after, "steps"))
    if steps[0] != steps[1] and (per == "trace" or not all(steps)):
        yield f"{steps[1]} steps with GPU activity (baseline: {steps[0]})"
    # In a truncated trace, calls are missing for that reason, which is given already.
    if not known_number(before, "open") and not known_number(after, "open"):
        yield from _reasons_by_parts(
            before, after, steps, "component" if known_number(before, "annotated") else "outermost"
        )


def _reasons_by_parts(before: Facts, after: Facts, steps: tuple[int, int], kind: str) -> Iterator[str]:
    """Parts of the pipeline that only one trace has, that it calls more or less often, or that launch nothing."""
    names = parts_with(f"{kind}_calls", before, after)
    shares = {name: (_share(before, kind, name), _share(after, kind, name)) for name in names}
    counted = [name for name in names if kind == "component" or max(shares[name]) >= _LOOP]
    if counted and not known_number(after, "ranges"):
        yield "no NVTX ranges to compare the work by"
        return
    if counted and not known_number(before, "ranges"):
        yield "the baseline has no NVTX ranges to compare the work by"
        return
    for name in counted:
        was, is_ = (known_number(facts, f"{kind}_calls", name) for facts in (before, after))
        share_before, share_after = shares[name]
        if not is_:
            yield f"{name} is missing"
        elif not was:
            yield f"{name} is missing from the baseline"
        # What is called in every step varies with the number of steps, which has a reason of its own.
        elif was != is_ and not (all(steps) and was * steps[1] == is_ * steps[0]):
            yield f"{name} called {_times(is_)} (baseline: {_times(was)})"
        elif share_before >= _NOTICED and not share_after:
            yield f"{name} launched nothing on the GPU"
        elif share_after >= _NOTICED and not share_before:
            yield f"{name} launched nothing on the GPU in the baseline"


def _share(facts: Facts, kind: str, part: str) -> float:
    """Share of a trace's GPU time that a part has."""
    total_ns = known_number(facts, "ns")
    return known_number(facts, f"{kind}_ns", part) / total_ns if total_ns else 0


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
