"""Findings: the headlines of a page, each one sentence with its numbers.

A finding is left out where the trace has no data for it: the page states nothing that was not measured.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.coverage import percent
from ttinsys.attribution.labels import FAMILIES
from ttinsys.measures.dimensions import family
from ttinsys.measures.intervals import gpu_label
from ttinsys.pages.gather import Gathered
from ttinsys.render.grid import brief
from ttinsys.render.names import ellipsized


def findings(gathered: Gathered, trace: str) -> list[str]:
    """What stands out in one trace.

    Args:
        gathered: the traces of the page.
        trace: name of the trace.

    Returns:
        Sentences, the most general first.
    """
    ops = gathered.tables[trace]["ops"].select("duration_ns").collect()
    if ops.is_empty():
        # Sequence lengths are annotated on the CPU, so they are known without a GPU.
        return ["No GPU activity: no operation was timed on a GPU.", *_lengths(gathered, trace, 0)]
    whole_ns = int(ops["duration_ns"].sum())
    rules = (
        _families,
        _components,
        _slowest_layer,
        _slowest_kernel,
        _attention,
        _communication,
        _lengths,
        _limits,
        _repeats,
        _idle,
    )
    return [sentence for rule in rules for sentence in rule(gathered, trace, whole_ns)]


def _families(gathered: Gathered, trace: str, whole_ns: int) -> Iterator[str]:
    """Convolution against attention against linear layers; by operator where no role is known."""
    roles = gathered.result("breakdown", [trace])
    # Values in parentheses are reasons, such as (no_range_open), not roles.
    if roles["role"].is_null().all() or roles["role"].str.starts_with("(").all():
        operators = gathered.result("breakdown", [trace], by=("operator",)).head(3)
        parts = [f"{name} {percent(ns, whole_ns)}" for name, ns in operators.select("operator", "sum_ns").iter_rows()]
        yield f"Most of the GPU time by operator: {_listed(parts)}. The roles of most time are unknown."
        return
    families = (
        roles.group_by(family(pl.col("role")).alias("family"))
        .agg(pl.col("sum_ns").sum())
        .sort("sum_ns", descending=True)
    )
    parts = [f"{name} {percent(ns, whole_ns)}" for name, ns in families.iter_rows()]
    without_projections, with_projections = (
        int(frame.filter(pl.col("role").is_in(FAMILIES["attention"]))["sum_ns"].sum())
        for frame in (roles, gathered.result("breakdown", [trace], projections="attention"))
    )
    yield f"GPU time by family of layers: {_listed(parts)}."
    if with_projections > without_projections:
        yield (
            f"Attention takes {percent(without_projections, whole_ns)} of the GPU time without its projections, "
            f"{percent(with_projections, whole_ns)} with them."
        )


def _components(gathered: Gathered, trace: str, whole_ns: int) -> Iterator[str]:
    """Time of the parts of the pipeline, where there are several."""
    components = gathered.result("breakdown", [trace], by=("component",))
    components = components.filter(~pl.col("component").str.starts_with("("))
    if components.height > 1:
        parts = [f"{name} {percent(ns, whole_ns)}" for name, ns in components.select("component", "sum_ns").iter_rows()]
        yield f"GPU time by component: {_listed(parts)}."


def _slowest_layer(gathered: Gathered, trace: str, whole_ns: int) -> Iterator[str]:
    """The range with the most GPU time of its own."""
    layers = gathered.result("layers", [trace]).drop_nulls("path").sort("self_ns", descending=True)
    if layers.height and layers["self_ns"][0] > 0:
        path, ns, instances = layers.select("path", "self_ns", "instances").row(0)
        calls = _counted(instances, "call")
        yield f"The slowest layer is {path}: {_ms(ns)} in {calls}, {percent(ns, whole_ns)} of the GPU time."


def _slowest_kernel(gathered: Gathered, trace: str, whole_ns: int) -> Iterator[str]:
    """The kernel name with the most GPU time."""
    kernel, instances, ns = gathered.result("kernels", [trace]).select("kernel", "instances", "sum_ns").row(0)
    name = ellipsized(brief(kernel or "(unnamed)"), _LONGEST)
    executions = _counted(instances, "execution")
    yield f"The slowest kernel is {name}: {_ms(ns)} in {executions}, {percent(ns, whole_ns)} of the GPU time."


def _attention(gathered: Gathered, trace: str, _: int) -> Iterator[str]:
    """Temporal against spatial attention, where a component has both."""
    if not gathered.has(trace, "attention"):
        return
    temporal = gathered.result("attention", [trace]).filter(
        pl.col("role") == "temporal_attention", pl.col("time_ratio").is_not_null()
    )
    for row in temporal.iter_rows(named=True):
        sentence = (
            f"Temporal attention of the {row['component'] or 'pipeline'} takes {row['time_ratio']:.2f} times as long "
            "as spatial attention, projections and copies included"
        )
        if row["core_time_ratio"] is not None:
            sentence += f", and {row['core_time_ratio']:.2f} times as long in the core"
            if row["core_flops_ratio"]:
                sentence += f", which has {1 / row['core_flops_ratio']:.1f} times fewer FLOPs"
        yield f"{sentence}."


def _communication(gathered: Gathered, trace: str, _: int) -> Iterator[str]:
    """Communication between GPUs, and how much of it nothing hides."""
    operators = gathered.result("breakdown", [trace], by=("operator",)).filter(pl.col("operator") == "nccl")
    for busy_ns, exposed_ns in operators.select("busy_ns", "exposed_ns").iter_rows():
        yield (
            f"GPUs communicate for {_ms(busy_ns)}, of which {_ms(exposed_ns)} ({percent(exposed_ns, busy_ns)}) are "
            "exposed: nothing else runs on the GPU meanwhile."
        )


def _lengths(gathered: Gathered, trace: str, _: int) -> Iterator[str]:
    """How far the sequence lengths of self-attention range within a step."""
    if not gathered.has(trace, "lengths"):
        return
    steps = gathered.result("lengths", [trace], by="step").filter(pl.col("times") > 1)
    widest = steps.sort("times", descending=True).unique("component", keep="first", maintain_order=True)
    for row in widest.iter_rows(named=True):
        within = "within a step" if row["step"] is not None else "within a run"
        yield (
            f"Sequence lengths of the {row['component'] or 'pipeline'} range from {row['smallest']:,} to "
            f"{row['largest']:,} {within}, a factor of {row['times']:.0f}, and by a factor of up to "
            f"{row['adjacent']:.0f} from one level to the next."
        )


def _limits(gathered: Gathered, trace: str, _: int) -> Iterator[str]:
    """How much of the GPU's peak arithmetic and bandwidth the annotated layers reach."""
    if not gathered.has(trace, "roofline"):
        return
    models = gathered.result("roofline", [trace], by="model").filter(pl.col("mfu").is_not_null())
    for row in models.iter_rows(named=True):
        sentence = (
            f"Layers whose FLOPs are known reach {row['flops_per_s'] / 1e12:,.1f} TFLOP/s, {row['mfu']:.1%} of the "
            "GPU's peak"
        )
        if row["bandwidth_share"] is not None:
            moved = f"{row['bytes_per_s'] / 1e9:,.0f} GB/s, {row['bandwidth_share']:.1%} of its bandwidth"
            sentence += f", and move at least {moved}"
        yield f"{sentence}."


def _repeats(gathered: Gathered, trace: str, _: int) -> Iterator[str]:
    """What repeats in the sequence of kernels, where no step is annotated."""
    if gathered.tables[trace]["ops"].select(pl.col("step").count()).collect().item():
        return
    frame = gathered.result("structure", [trace])
    for row in frame.filter(pl.col("part") == "iteration").iter_rows(named=True):
        outliers = f", {_counted(row['outliers'], 'outlier')}" if row["outliers"] else ""
        yield (
            f"No step is annotated, but {row['instances']:,} iterations of about {row['ops_each']:,.0f} operations "
            f"repeat on GPU {row['device']}: {_ms(row['median_ns'])} at the median, {_ms(row['min_ns'])} to "
            f"{_ms(row['max_ns'])}{outliers}."
        )


def _idle(gathered: Gathered, trace: str, _: int) -> Iterator[str]:
    """How long each device is idle, and the most frequent cause."""
    for row in (
        gathered.result("gaps", [trace], by="trace").with_columns(gpu_label().alias("_gpu")).iter_rows(named=True)
    ):
        idle_ns, span_ns = row["idle_ns"], row["span_ns"]
        if span_ns:
            cause = max(_CAUSES, key=lambda kind: row[f"{kind}_ns"])
            mostly = f", mostly {_CAUSES[cause]}" if idle_ns else ""
            span = f"the {_ms(span_ns)} from its first to its last operation"
            yield f"{row['_gpu']} is idle for {percent(idle_ns, span_ns)} of {span}{mostly}."


_CAUSES = {
    "cpu": "while the CPU had launched nothing and was in no CUDA call",
    "launch": "during CUDA calls, such as launches",
    "sync": "waiting for the return of a CUDA call that began while the GPU was busy",
    "latency": "although the next operation was already launched",
    "unknown": "before operations whose launch is not in the capture",
}
"""Causes of idle time, by the column of `GAPS` that holds it without its `_ns`; of equal ones the first counts."""


def comparison(gathered: Gathered) -> list[str]:
    """What changed from the first of several traces to each other one.

    Args:
        gathered: the traces of the page, the baseline first.
    """
    if not all(gathered.has(trace, "speedup") for trace in gathered.tables):
        return []
    frame = gathered.result("speedup", [*gathered.tables])
    return [sentence for _, rows in frame.group_by("trace", maintain_order=True) for sentence in _compared(rows)]


def _compared(rows: pl.DataFrame) -> Iterator[str]:
    """The speedup of one trace, and the roles that it comes from."""
    row = rows.row(0, named=True)
    trace, baseline = row["trace"], row["baseline"]
    if row["unfair"] is not None:
        yield f"{trace} is not comparable with {baseline}: {row['unfair']}."
        return
    speedups = dict(rows.filter(pl.col("level") == "end_to_end").select("part", "speedup").iter_rows())
    if speedups["span"] is not None and speedups["busy"] is not None:
        yield (
            f"{trace} is {speedups['span']:.2f} times as fast as {baseline} from the first operation to the last, and "
            f"{speedups['busy']:.2f} times by the time in which the GPU is busy."
        )
    roles = rows.filter(pl.col("level") == "role", pl.col("gain").abs() > _WORTH_TELLING).sort("gain", descending=True)
    parts = [f"{part} {gain:+z.1%}" for part, gain in roles.select("part", "gain").head(4).iter_rows()]
    if parts:
        yield f"GPU time saved by role, as a share of all GPU time of {baseline}: {_listed(parts)}."


_LONGEST = 90
"""Characters of a kernel's name in a sentence."""

_WORTH_TELLING = 0.005
"""A role whose time changes by less than this share of the baseline's GPU time is left out."""


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _ms(ns: float) -> str:
    return f"{ns / 1e6:z,.3f} ms"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
