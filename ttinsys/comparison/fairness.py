"""Whether two traces show the same work: only then does a difference of their times mean a speedup.

Optimised runs launch other kernels, and compiled ones have other modules inside their blocks. Three things stay: how
often each part of the pipeline is called, how many steps there are, and what was requested. Parts are the annotated
components, or the outermost ranges where neither trace is annotated. Two traces without any range cannot be checked,
and are taken as comparable.

The verdict is symmetric: where A may not be compared with B, B may not be compared with A.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from ttinsys.attribution.identity import pid_of
from ttinsys.comparison.alignment import traces_of

ASKED = ("model", "size", "height", "width", "frames", "tokens", "prompt_tokens", "batch")
"""Columns of `RUNS` that must agree: they say what work is done, not how."""

_NOTICED = 0.01
"""A part with at least this share of one trace's GPU time must have GPU time in the other trace too."""
_LOOP = 0.1
"""Outermost ranges count as parts of the pipeline from this share of GPU time on: loops do, calls of libraries not."""

_LOST = 0.01
"""A trace is truncated where at least this share of its launches has no kernel, unless that is so in both traces:
then a filter selected a part of each."""

_FACTS = {"trace": pl.String(), "fact": pl.String(), "part": pl.String(), "value": pl.Int64(), "text": pl.String()}
_UNFAIR = {"trace": pl.String(), "unfair": pl.String()}

Facts = Mapping[tuple[str, str], int | str]
"""What is known of one trace: a number or text, by the name of the fact and the part (empty: the whole trace)."""


def unfair(
    ops: pl.LazyFrame,
    ranges: pl.LazyFrame,
    runs: pl.LazyFrame,
    api_calls: pl.LazyFrame,
    pairs: Mapping[str, str],
    *,
    per: str = "trace",
) -> pl.LazyFrame:
    """Reasons why the time of a trace is not comparable with its baseline's.

    Args:
        ops: `OPS` of several traces.
        ranges: their `RANGES`.
        runs: their `RUNS`.
        api_calls: their API calls.
        pairs: the baseline of each compared trace.
        per: `step` where times are of the mean step: then the numbers of steps may differ.

    Returns:
        `trace` (of the dtype of `ops`) and `unfair`, one row per compared trace: the reasons, joined by `; `; null
        where there is none.
    """

    def judged(rows: pl.DataFrame) -> pl.DataFrame:
        facts: dict[str, dict[tuple[str, str], int | str]] = {name: {} for name in {*pairs, *pairs.values()}}
        for trace, fact, part, value, text in rows.iter_rows():
            if trace in facts:
                facts[trace][fact, part or ""] = text if text is not None else value
        reasons = {trace: "; ".join(_reasons(facts[base], facts[trace], per)) for trace, base in pairs.items()}
        return pl.DataFrame([(trace, text or None) for trace, text in reasons.items()], schema=_UNFAIR, orient="row")

    columns = [pl.col(name).cast(dtype) for name, dtype in _FACTS.items()]
    sources = (_facts_of_ops(ops), _facts_of_ranges(ranges), _facts_of_launches(ops, api_calls), _facts_of_runs(runs))
    facts = pl.concat([frame.select(columns) for frame in sources])
    # A few dozen rows: a Python function may judge them, and the plan stays lazy until the edge.
    return facts.map_batches(judged, schema=_UNFAIR).with_columns(pl.col("trace").cast(pl.Enum(traces_of(ops))))


def _fact(
    frame: pl.LazyFrame, fact: str, *, part: str | None = None, value: str | None = None, text: str | None = None
) -> pl.LazyFrame:
    """Rows of one fact: the arguments after its name are the columns that hold its part, and its number or text."""
    return frame.select(
        "trace",
        pl.lit(fact).alias("fact"),
        (pl.col(part) if part else pl.lit("")).cast(pl.String).alias("part"),
        (pl.col(value) if value else pl.lit(None)).cast(pl.Int64).alias("value"),
        (pl.col(text) if text else pl.lit(None)).cast(pl.String).alias("text"),
    )


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
            *(_fact(wholes, name, value=name) for name in ("ns", "ops", "steps")),
            _fact(outermost, "outermost_ns", part="outermost", value="ns"),
            _fact(components, "component_ns", part="component", value="ns"),
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
            *(_fact(wholes, name, value=name) for name in ("annotated", "ranges", "open")),
            _fact(components, "component_calls", part="component", value="calls"),
            _fact(outermost, "outermost_calls", part="outermost", value="calls"),
        ]
    )


def _facts_of_launches(ops: pl.LazyFrame, api_calls: pl.LazyFrame) -> pl.LazyFrame:
    """`launches`: calls of the functions that launch kernels; and `lost`: those whose kernel is not in the trace.

    A trace with CUDA graphs has neither fact: a launch that is captured into a graph rightly has no kernel.
    """
    call = ["trace", "pid", "correlation_id"]
    graphs = ops.group_by("trace").agg(
        ((pl.col("kind") == "graph") | pl.col("graph_node_id").is_not_null()).any().alias("has_graphs")
    )
    calls = api_calls.select("trace", pid_of("global_tid").alias("pid"), "correlation_id", "api_name_id")
    launched = calls.join(ops.filter(pl.col("kind") == "kernel").select(call), on=call, how="semi")
    function = ["trace", "api_name_id"]
    # Functions that launch kernels are those of which at least one call has a kernel: names differ between versions.
    counted = (
        calls.group_by(function)
        .agg(pl.len().cast(pl.Int64).alias("launches"))
        .join(launched.group_by(function).agg(pl.len().cast(pl.Int64).alias("kernels")), on=function)
        .group_by("trace")
        .agg(pl.col("launches").sum(), (pl.col("launches") - pl.col("kernels")).sum().alias("lost"))
        .join(graphs.filter(~pl.col("has_graphs")), on="trace", how="semi")
    )
    return pl.concat([_fact(counted, name, value=name) for name in ("launches", "lost")])


def _facts_of_runs(runs: pl.LazyFrame) -> pl.LazyFrame:
    """`simulated` of the trace, and `asked` of each of `ASKED`: its values, where the runs of a trace say any."""
    requests = runs.group_by("trace").agg(
        pl.col(name).drop_nulls().cast(pl.String).unique().sort().str.join(", ") for name in ASKED
    )
    simulated = runs.group_by("trace").agg(pl.col("simulated").any())
    asked = [
        _fact(requests.filter(pl.col(name) != ""), "asked", text=name).with_columns(pl.lit(name).alias("part"))
        for name in ASKED
    ]
    return pl.concat([*asked, _fact(simulated, "simulated", value="simulated")])


def _reasons(before: Facts, after: Facts, per: str) -> Iterator[str]:
    """Each reason in one clause about the compared trace; what the baseline has instead is in parentheses."""
    for facts, no_activity, truncated in (
        (after, "no GPU activity", "truncated"),
        (before, "the baseline has no GPU activity", "the baseline is truncated"),
    ):
        if not _number(facts, "ops"):
            yield no_activity
        if count := _number(facts, "open"):
            yield f"{truncated}: {count} {'range' if count == 1 else 'ranges'} never closed"
    if not _number(before, "ops") or not _number(after, "ops"):
        return
    lost = [_number(facts, "lost") >= _LOST * max(_number(facts, "launches"), 1) for facts in (before, after)]
    if lost[0] != lost[1]:
        facts, truncated = (before, "the baseline is truncated") if lost[0] else (after, "truncated")
        yield f"{truncated}: {_number(facts, 'lost')} of {_number(facts, 'launches')} launches have no kernel"
    if _number(before, "simulated") != _number(after, "simulated"):
        yield "simulated (baseline: measured)" if _number(after, "simulated") else "measured (baseline: simulated)"
    for name in ASKED:
        was, is_ = before.get(("asked", name)), after.get(("asked", name))
        if was is not None and is_ is not None and was != is_:
            yield f"{name} {is_} (baseline: {was})"
    yield from _reasons_by_ranges(before, after, per)


def _reasons_by_ranges(before: Facts, after: Facts, per: str) -> Iterator[str]:
    """Differences in annotation, in the number of steps, and in the parts of the pipeline."""
    if _number(before, "annotated") != _number(after, "annotated"):
        yield "annotated (baseline: not)" if _number(after, "annotated") else "not annotated (baseline: annotated)"
        return
    steps = (_number(before, "steps"), _number(after, "steps"))
    if steps[0] != steps[1] and (per == "trace" or not all(steps)):
        yield f"{steps[1]} steps with GPU activity (baseline: {steps[0]})"
    # In a truncated trace, calls are missing for that reason, which is given already.
    if not _number(before, "open") and not _number(after, "open"):
        yield from _reasons_by_parts(before, after, steps, "component" if _number(before, "annotated") else "outermost")


def _reasons_by_parts(before: Facts, after: Facts, steps: tuple[int, int], kind: str) -> Iterator[str]:
    """Parts of the pipeline that only one trace has, that it calls more or less often, or that launch nothing."""
    names = sorted({part for facts in (before, after) for fact, part in facts if fact == f"{kind}_calls"})
    shares = {name: (_share(before, kind, name), _share(after, kind, name)) for name in names}
    counted = [name for name in names if kind == "component" or max(shares[name]) >= _LOOP]
    if counted and not _number(after, "ranges"):
        yield "no NVTX ranges to compare the work by"
        return
    if counted and not _number(before, "ranges"):
        yield "the baseline has no NVTX ranges to compare the work by"
        return
    for name in counted:
        was, is_ = (_number(facts, f"{kind}_calls", name) for facts in (before, after))
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
    total_ns = _number(facts, "ns")
    return _number(facts, f"{kind}_ns", part) / total_ns if total_ns else 0


def _number(facts: Facts, fact: str, part: str = "") -> int:
    """A fact that is a number; 0 where it is unknown."""
    return int(facts.get((fact, part), 0))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def remarks(compared: pl.DataFrame) -> list[str]:
    """One sentence for each trace that is not comparable with its baseline, with the reasons.

    Args:
        compared: a result with the columns `trace` and `unfair`.
    """
    reasons = compared.select("trace", "unfair").drop_nulls().unique(maintain_order=True)
    return [f"{trace} is not comparable with its baseline: {reason}" for trace, reason in reasons.iter_rows()]
