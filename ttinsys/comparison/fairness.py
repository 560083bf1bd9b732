"""Whether two traces show the same work, so that the faster one has won: an empty or truncated one never does.

Optimised runs have other kernels, and compiled ones have other modules inside their blocks; what stays is how often
each part of the pipeline is called, how many steps there are, and what was asked for. Without annotation the
outermost ranges stand for the parts. What neither says (a trace without any range), cannot be checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from ttinsys.attribution.identity import pid_of
from ttinsys.comparison.alignment import traces_of

ASKED = ("model", "size", "height", "width", "frames", "tokens", "prompt_tokens", "batch")
"""What of `RUNS` must be the same: the work, not how it is done."""

_NOTICED = 0.01
"""Share of the baseline's time from which on a part that now launches nothing is missed."""
_LOOP = 0.1
"""The same for how often an outermost range opens, without annotation: loops, and not each call of a library."""

_LOST = 0.01
"""Share of launches from which on kernels that are not in the trace are missed; in both, they were not selected."""

_FACTS = {"trace": pl.String(), "fact": pl.String(), "of": pl.String(), "value": pl.Int64(), "text": pl.String()}
_UNFAIR = {"trace": pl.String(), "unfair": pl.String()}

Facts = Mapping[tuple[str, str], int | str]
"""Of one trace: what each fact is, by its name and by what it is of."""


def unfair(
    ops: pl.LazyFrame,
    ranges: pl.LazyFrame,
    runs: pl.LazyFrame,
    api_calls: pl.LazyFrame,
    pairs: Mapping[str, str],
    *,
    per: str = "trace",
) -> pl.LazyFrame:
    """Why the time of a trace may not be compared with its baseline's.

    Args:
        ops: `OPS` of several traces.
        ranges: their `RANGES`.
        runs: their `RUNS`.
        api_calls: their API calls.
        pairs: the baseline of each trace that is compared.
        per: `step` where times are of the mean step: then the numbers of steps may differ.

    Returns:
        `trace` (of the dtype of `ops`) and `unfair`, a row per trace that is compared: the reasons, joined by `; `;
        null where there is none.
    """

    def judged(told: pl.DataFrame) -> pl.DataFrame:
        facts: dict[str, dict[tuple[str, str], int | str]] = {name: {} for name in {*pairs, *pairs.values()}}
        for trace, fact, of, value, text in told.iter_rows():
            if trace in facts:
                facts[trace][fact, of or ""] = text if text is not None else value
        said = {trace: "; ".join(_reasons(facts[base], facts[trace], per)) for trace, base in pairs.items()}
        return pl.DataFrame([(trace, text or None) for trace, text in said.items()], schema=_UNFAIR, orient="row")

    columns = [pl.col(name).cast(dtype) for name, dtype in _FACTS.items()]
    facts = pl.concat(
        [
            part.select(columns)
            for part in (_of_ops(ops), _of_ranges(ranges), _of_launches(ops, api_calls), _of_runs(runs))
        ]
    )
    return facts.map_batches(judged, schema=_UNFAIR).with_columns(pl.col("trace").cast(pl.Enum(traces_of(ops))))


def _told(frame: pl.LazyFrame, fact: str, of: str | None, value: str | None, text: str | None = None) -> pl.LazyFrame:
    return frame.select(
        "trace",
        pl.lit(fact).alias("fact"),
        (pl.col(of) if of else pl.lit("")).cast(pl.String).alias("of"),
        (pl.col(value) if value else pl.lit(None)).cast(pl.Int64).alias("value"),
        (pl.col(text) if text else pl.lit(None)).cast(pl.String).alias("text"),
    )


_OUTERMOST = pl.col("path").str.split("/").list.first().alias("outermost")


def _of_ops(ops: pl.LazyFrame) -> pl.LazyFrame:
    time = pl.col("duration_ns").sum().alias("ns")
    whole = ops.group_by("trace").agg(time, pl.len().alias("ops"), pl.col("step_id").n_unique().alias("steps"),
                                      pl.col("step_id").has_nulls().alias("none"))  # fmt: skip
    whole = whole.with_columns(pl.col("steps") - pl.col("none").cast(pl.UInt32))
    paths = ops.filter(pl.col("path").is_not_null()).group_by("trace", "path").agg(time)
    parts = ops.filter(pl.col("component").is_not_null()).group_by("trace", "component").agg(time)
    return pl.concat(
        [
            *(_told(whole, name, None, name) for name in ("ns", "ops", "steps")),
            _told(paths.group_by("trace", _OUTERMOST).agg(pl.col("ns").sum()), "outermost_ns", "outermost", "ns"),
            _told(parts, "component_ns", "component", "ns"),
        ]
    )


def _of_ranges(ranges: pl.LazyFrame) -> pl.LazyFrame:
    annotated, open_ = pl.col("role").is_not_null(), pl.col("end_ns").is_null()
    whole = ranges.group_by("trace").agg(
        annotated.any().alias("annotated"),
        pl.when(annotated.any()).then((open_ & annotated).sum()).otherwise(open_.sum()).alias("open"),
    )
    until = pl.col("end_ns").fill_null(pl.col("start_ns")).cum_max().shift(1)
    # A call of a component is a range of it that no other of its ranges encloses: they nest within a thread.
    entered = (
        ranges.filter(pl.col("component").is_not_null() & annotated)
        .select("trace", "global_tid", "component", "start_ns", "end_ns")
        .sort("start_ns", pl.col("end_ns").neg())
        .group_by("trace", "global_tid", "component", maintain_order=True)
        .agg((until.is_null() | (pl.col("start_ns") >= until)).sum().alias("calls"))
        .group_by("trace", "component")
        .agg(pl.col("calls").sum())
    )
    outermost = ranges.filter(pl.col("depth") == 0).group_by("trace", _OUTERMOST).agg(pl.len().alias("calls"))
    return pl.concat(
        [
            *(_told(whole, name, None, name) for name in ("annotated", "open")),
            _told(entered, "component_calls", "component", "calls"),
            _told(outermost, "outermost_calls", "outermost", "calls"),
        ]
    )


def _of_launches(ops: pl.LazyFrame, api_calls: pl.LazyFrame) -> pl.LazyFrame:
    """Calls of the functions that launch kernels, and those whose kernel is not in the trace.

    Where CUDA graphs are, launches that were captured have none: then nothing is told.
    """
    call = ["trace", "pid", "correlation_id"]
    graphs = ops.group_by("trace").agg(((pl.col("kind") == "graph") | pl.col("graph_node_id").is_not_null()).any())
    calls = api_calls.select("trace", pid_of("global_tid").alias("pid"), "correlation_id", "api_name_id")
    launched = calls.join(ops.filter(pl.col("kind") == "kernel").select(call), on=call, how="semi")
    function = ["trace", "api_name_id"]
    counted = (
        calls.group_by(function)
        .agg(pl.len().cast(pl.Int64).alias("launches"))
        .join(launched.group_by(function).agg(pl.len().cast(pl.Int64).alias("kernels")), on=function)
        .group_by("trace")
        .agg(pl.col("launches").sum(), (pl.col("launches") - pl.col("kernels")).sum().alias("lost"))
        .join(graphs.filter(~pl.col("kind")), on="trace", how="semi")
    )
    return pl.concat([_told(counted, name, None, name) for name in ("launches", "lost")])


def _of_runs(runs: pl.LazyFrame) -> pl.LazyFrame:
    said = runs.group_by("trace").agg(
        pl.col(name).drop_nulls().cast(pl.String).unique().sort().str.join(", ") for name in ASKED
    )
    simulated = runs.group_by("trace").agg(pl.col("simulated").any())
    asked = [
        _told(said.filter(pl.col(name) != ""), "asked", None, None, name).with_columns(pl.lit(name).alias("of"))
        for name in ASKED
    ]
    return pl.concat([*asked, _told(simulated, "simulated", None, "simulated")])


def _reasons(before: Facts, after: Facts, per: str) -> Iterator[str]:
    """Each reason in one clause, about the trace that is compared: what it is, and what it is `not` is the baseline."""
    for facts, whose in ((after, ""), (before, "the baseline: ")):
        if not facts.get(("ops", "")):
            yield f"{whose}no GPU activity"
        if count := facts.get(("open", "")):
            yield f"{whose}truncated: {count} {'range' if count == 1 else 'ranges'} never closed"
    if not before.get(("ops", "")) or not after.get(("ops", "")):
        return
    lost = [_number(facts, "lost") >= _LOST * max(_number(facts, "launches"), 1) for facts in (before, after)]
    if lost[0] != lost[1]:
        whose, facts = ("the baseline: ", before) if lost[0] else ("", after)
        yield f"{whose}truncated: {_number(facts, 'lost')} of {_number(facts, 'launches')} launches have no kernel"
    if bool(before.get(("simulated", ""))) != bool(after.get(("simulated", ""))):
        yield "simulated, the baseline is not" if after.get(("simulated", "")) else "not simulated, the baseline is"
    for name in ASKED:
        was, is_ = before.get(("asked", name)), after.get(("asked", name))
        if was is not None and is_ is not None and was != is_:
            yield f"{name} {is_}, not {was}"
    if bool(before.get(("annotated", ""))) != bool(after.get(("annotated", ""))):
        yield "annotated, the baseline not" if after.get(("annotated", "")) else "not annotated, the baseline is"
        return
    steps = tuple(_number(facts, "steps") for facts in (before, after))
    if steps[0] != steps[1] and (per == "trace" or not all(steps)):
        yield f"{steps[1]} steps with GPU activity, not {steps[0]}"
    if not before.get(("open", "")) and not after.get(("open", "")):
        yield from _parts(before, after, steps, "component" if before.get(("annotated", "")) else "outermost")


def _parts(before: Facts, after: Facts, steps: tuple[int, ...], kind: str) -> Iterator[str]:
    """What of the pipeline is missing, or is called more or less often."""
    whole = _number(before, "ns")
    for name in sorted(of for fact, of in before if fact == f"{kind}_calls"):
        share = _number(before, f"{kind}_ns", name) / whole if whole else 0
        was, is_ = (_number(facts, f"{kind}_calls", name) for facts in (before, after))
        if kind == "outermost" and share < _LOOP:
            continue
        if not is_:
            yield f"{name} is missing"
        # What is called in every step is told by the number of steps.
        elif was != is_ and not (all(steps) and was * steps[1] == is_ * steps[0]):
            yield f"{name} called {_times(is_)}, not {_times(was)}"
        elif share >= _NOTICED and not _number(after, f"{kind}_ns", name):
            yield f"{name} launched nothing on the GPU"


def _number(facts: Facts, fact: str, of: str = "") -> int:
    return int(facts.get((fact, of), 0))


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def remarks(compared: pl.DataFrame) -> list[str]:
    """Why traces of a result may not be compared with their baselines: a sentence for each that may not.

    Args:
        compared: a result with the columns `trace` and `unfair`.
    """
    said = compared.select("trace", "unfair").drop_nulls().unique(maintain_order=True)
    return [f"{trace} may not be compared with its baseline: {reason}" for trace, reason in said.iter_rows()]
