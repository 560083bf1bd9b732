"""The headlines of a page: what the tables of a trace say, in sentences with their numbers.

Each is left out where the trace cannot tell: a page says nothing that was not measured.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.coverage import percent
from ttinsys.attribution.labels import FAMILIES
from ttinsys.measures.dimensions import family
from ttinsys.pages.gather import Gathered
from ttinsys.render.grid import brief


def findings(of: Gathered, trace: str) -> list[str]:
    """What stands out in one trace.

    Args:
        of: the traces of a page.
        trace: name of this one.
    """
    ops = of.tables[trace]["ops"].select("duration_ns").collect()
    if ops.is_empty():
        return ["No GPU activity: nothing here was timed on a GPU.", *_lengths(of, trace, 0)]
    whole = int(ops["duration_ns"].sum())
    said = (_families, _components, _slowest_layer, _slowest_kernel, _attention, _lengths, _limits, _idle)
    return [sentence for tell in said for sentence in tell(of, trace, whole)]


def _families(of: Gathered, trace: str, whole: int) -> Iterator[str]:
    """Convolution, attention, linear: the study's question."""
    roles = of.result("breakdown", [trace])
    if roles["role"].str.starts_with("(").all():
        operators = of.result("breakdown", [trace], by=("operator",)).head(3)
        parts = [f"{name} {percent(ns, whole)}" for name, ns in operators.select("operator", "sum_ns").iter_rows()]
        yield f"By operator, most of the GPU time is in {_listed(parts)}; roles are not known without annotation."
        return
    grouped = (
        roles.group_by(family(pl.col("role")).alias("family"))
        .agg(pl.col("sum_ns").sum())
        .sort("sum_ns", descending=True)
    )
    parts = [f"{name} {percent(ns, whole)}" for name, ns in grouped.iter_rows()]
    own, all_of_it = (
        int(frame.filter(pl.col("role").is_in(FAMILIES["attention"]))["sum_ns"].sum())
        for frame in (roles, of.result("breakdown", [trace], projections="attention"))
    )
    yield f"Of the GPU time, {_listed(parts)}."
    if all_of_it > own:
        yield f"Attention is {percent(own, whole)} without its projections, and {percent(all_of_it, whole)} with them."


def _components(of: Gathered, trace: str, whole: int) -> Iterator[str]:
    parts = of.result("breakdown", [trace], by=("component",)).filter(~pl.col("component").str.starts_with("("))
    if parts.height > 1:
        listed = [f"{name} {percent(ns, whole)}" for name, ns in parts.select("component", "sum_ns").iter_rows()]
        yield f"By component: {_listed(listed)}."


def _slowest_layer(of: Gathered, trace: str, whole: int) -> Iterator[str]:
    layers = of.result("layers", [trace]).drop_nulls("path").sort("self_ns", descending=True)
    if layers.height and layers["self_ns"][0] > 0:
        path, ns, instances = layers.select("path", "self_ns", "instances").row(0)
        yield f"The slowest layer is {path}: {_ms(ns)} in {_counted(instances, 'call')}, {percent(ns, whole)} of all."


def _slowest_kernel(of: Gathered, trace: str, whole: int) -> Iterator[str]:
    kernel, instances, ns = of.result("kernels", [trace]).select("kernel", "instances", "sum_ns").row(0)
    name = brief(kernel or "(unnamed)")
    name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    yield f"The slowest kernel is {name}: {_ms(ns)} in {_counted(instances, 'execution')}, {percent(ns, whole)} of all."


def _attention(of: Gathered, trace: str, _: int) -> Iterator[str]:
    """Temporal against spatial, where a model has both."""
    if not of.has(trace, "attention"):
        return
    temporal = of.result("attention", [trace]).filter(
        pl.col("role") == "temporal_attention", pl.col("time_ratio").is_not_null()
    )
    for row in temporal.iter_rows(named=True):
        sentence = (
            f"Temporal attention of the {row['component']} takes {row['time_ratio']:.2f} times the time of spatial "
            "attention with its projections and copies"
        )
        if row["core_time_ratio"] is not None:
            sentence += f", and {row['core_time_ratio']:.2f} times in the core"
            if row["core_flops_ratio"]:
                sentence += f", which has {1 / row['core_flops_ratio']:.1f} times fewer FLOPs"
        yield f"{sentence}."


def _lengths(of: Gathered, trace: str, _: int) -> Iterator[str]:
    """How far lengths of self-attention range within a step."""
    if not of.has(trace, "lengths"):
        return
    steps = of.result("lengths", [trace], by="step").filter(pl.col("times") > 1)
    widest = steps.sort("times", descending=True).unique("component", keep="first", maintain_order=True)
    for row in widest.iter_rows(named=True):
        where = "within a step" if row["step"] is not None else "within a run"
        yield (
            f"Sequence lengths of the {row['component'] or 'pipeline'} go from {row['smallest']:,} to "
            f"{row['largest']:,} {where}: {row['times']:.0f} times, and up to {row['adjacent']:.0f} times from one "
            "level to the next."
        )


def _limits(of: Gathered, trace: str, _: int) -> Iterator[str]:
    """What the arithmetic units achieved, and what most of the time is bound by."""
    if not of.has(trace, "roofline"):
        return
    for row in of.result("roofline", [trace], by="model").filter(pl.col("mfu").is_not_null()).iter_rows(named=True):
        yield (
            f"Annotated layers reach {row['flops_per_s'] / 1e12:,.1f} TFLOP/s, {row['mfu']:.1%} of the GPU's peak, and "
            f"move at least {row['bytes_per_s'] / 1e9:,.0f} GB/s, {row['bandwidth_share']:.1%} of its bandwidth."
        )


def _idle(of: Gathered, trace: str, _: int) -> Iterator[str]:
    """How long each device idles, and what for."""
    for row in of.result("gaps", [trace], by="trace").iter_rows(named=True):
        idle, span = row["idle_ns"], row["span_ns"]
        if span:
            why = max(("cpu", "launch", "sync", "latency", "unknown"), key=lambda kind: row[f"{kind}_ns"])
            most = f", most of it {_WAITS[why]}" if idle else ""
            between = f"the {_ms(span)} from its first to its last operation"
            yield f"GPU {row['device']} idles {percent(idle, span)} of {between}{most}."


_WAITS = {
    "cpu": "because the CPU had nothing launched and was in no CUDA call",
    "launch": "during CUDA calls, launches above all",
    "sync": "until a CUDA call returned that had begun while the GPU was at work",
    "latency": "although the next operation had been launched",
    "unknown": "before operations whose launch is not in the capture",
}


def comparison(of: Gathered) -> list[str]:
    """What changed from the first of several traces to each other.

    Args:
        of: the traces of a page.
    """
    if not all(of.has(trace, "speedup") for trace in of.tables):
        return []
    frame = of.result("speedup", [*of.tables])
    return [sentence for _, rows in frame.group_by("trace", maintain_order=True) for sentence in _compared(rows)]


def _compared(of: pl.DataFrame) -> Iterator[str]:
    """The speedup of one trace, and where its gain came from."""
    row = of.row(0, named=True)
    trace, baseline = row["trace"], row["baseline"]
    if row["unfair"] is not None:
        yield f"{trace} cannot be compared with {baseline}: {row['unfair']}."
        return
    speedups = dict(of.filter(pl.col("level") == "end_to_end").select("part", "speedup").iter_rows())
    if speedups["span"] is not None and speedups["busy"] is not None:
        yield (
            f"{trace} is {speedups['span']:.2f} times as fast as {baseline} from the first operation to the last, "
            f"{speedups['busy']:.2f} times in the time that the GPU is busy."
        )
    roles = of.filter(pl.col("level") == "role", pl.col("gain").abs() > _WORTH_TELLING).sort("gain", descending=True)
    parts = [f"{part} {gain:+.1%}" for part, gain in roles.select("part", "gain").head(4).iter_rows()]
    if parts:
        yield f"Saved of the GPU time of {baseline}: {_listed(parts)}."


_LONGEST = 90
"""Characters of a kernel's name in a sentence."""

_WORTH_TELLING = 0.005
"""Share of the baseline's time below which a change of a role is not told."""


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _ms(ns: float) -> str:
    return f"{ns / 1e6:,.3f} ms"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
