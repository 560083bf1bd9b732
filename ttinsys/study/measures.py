"""Measures: the values that captures have for the claims of the study.

Each function takes the tables of one figure or table, and yields the IDs of claims of `ttinsys.study.claims` with the
values measured for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl

from ttinsys.attribution.labels import FAMILIES
from ttinsys.study.captures import BASELINE

DIFFUSION = ("stable-diffusion", "imagen", "sdxl")
"""Text-to-image models of the study that are diffusion models."""
TRANSFORMERS = ("muse", "parti", "parti-3b")
"""Text-to-image models of the study that are transformers: they decode tokens one by one or in parallel."""

_MAKES = ("denoiser", "decoder")
"""Components that generate the image, step by step."""

Measured = Iterator[tuple[str, str]]
"""IDs of claims, and the value measured for each, as text with its unit."""

GroupTables = Mapping[str, pl.DataFrame]
"""Tables of one view of an item, by the label of their group: the name of the model where each model is a group."""


def table_2(speedups: GroupTables) -> Measured:
    """Speedups end to end from `SPEEDUP` of all pairs: by span, which contains idle time, and by busy time."""
    (frame,) = speedups.values()
    whole = frame.filter(pl.col("level") == "end_to_end", pl.col("part").is_in(["span", "busy"]))
    busy_speedups: dict[str, float] = {}
    for (name,), rows in whole.drop_nulls("model").group_by("model", maintain_order=True):
        speedup = dict(rows.select("part", "speedup").iter_rows())
        if speedup.get("span") is None or speedup.get("busy") is None:
            continue
        busy_speedups[str(name)] = speedup["busy"]
        text = f"{speedup['span']:.2f} (of busy time {speedup['busy']:.2f})"
        yield f"table-2/speedup/{name}", text
    diffusion, transformers = (
        [busy_speedups[name] for name in names if name in busy_speedups] for names in (DIFFUSION, TRANSFORMERS)
    )
    if diffusion and transformers:
        text = f"{min(diffusion) / max(transformers):.2f} to {max(diffusion) / min(transformers):.2f} times"
        yield "table-2/relative-speedup", text


def table_3(phases: GroupTables) -> Measured:
    """The kind of most attention calls of the denoiser or decoder, from `PHASES` of each model."""
    for name, frame in phases.items():
        steps = frame.filter(pl.col("component").is_in(_MAKES))
        if steps.height:
            # The first step of a decoder is a prefill of the prompt, so that the most frequent kind counts.
            kind = steps.group_by("kind").agg(pl.col("calls").sum()).sort("calls", descending=True)["kind"][0]
            queries = max(steps.filter(pl.col("kind") == kind)["queries_max"].to_list())
            yield f"table-3/phase/{name}", f"{str(kind).removesuffix('-like')} (up to {queries:,} queries)"


def figure_5(by_component: GroupTables, _: GroupTables) -> Measured:
    """Intensity, by least traffic, of the denoiser or decoder, from `ROOFLINE` by component of each model."""
    intensity = {
        name: value
        for name, frame in by_component.items()
        for value in frame.filter(pl.col("component").is_in(_MAKES))["intensity"].drop_nulls()
    }
    diffusion = [intensity[name] for name in DIFFUSION if name in intensity]
    parti = [intensity[name] for name in ("parti", "parti-3b") if name in intensity]
    if diffusion and parti:
        values = f"{max(diffusion):,.0f} against {min(parti):,.1f} FLOP/B"
        text = f"up to {max(diffusion) / min(parti):,.0f} times ({values})"
        yield "figure-5/relative-intensity", text


def figure_6(linear: GroupTables, attention: GroupTables) -> Measured:
    """Largest shares of roles with fused attention, from `BREAKDOWN` by role of each pair, with either projections."""
    convolution = _largest(linear, DIFFUSION, FAMILIES["convolution"])
    if convolution:
        yield "figure-6/convolution-share", convolution
    both = [_largest(breakdowns, TRANSFORMERS, FAMILIES["linear"]) for breakdowns in (linear, attention)]
    if all(both):
        text = f"{both[0]}; without the projections of attention, {both[1]}"
        yield "figure-6/linear-share", text


def _largest(breakdowns: GroupTables, models: tuple[str, ...], roles: tuple[str, ...]) -> str:
    """The largest share that roles have in the fused trace, the last one, of any of some models; empty if none has."""
    shares = {
        name: frame.filter(pl.col("trace") == frame["trace"][-1], pl.col("role").is_in(roles))["share"].sum()
        for name, frame in breakdowns.items()
        if name in models
    }
    if not shares:
        return ""
    name = max(shares, key=lambda each: shares[each])
    return f"{shares[name]:.0%} ({name})"


def figure_7(_: GroupTables, by_step: GroupTables) -> Measured:
    """Ratio of sequence lengths in the self-attention of one step of the denoiser, from `LENGTHS` by step."""
    for name, frame in by_step.items():
        steps = frame.filter(pl.col("component") == "denoiser", pl.col("adjacent").is_not_null())
        if steps.height:
            times, adjacent = max(steps["times"].to_list()), max(steps["adjacent"].to_list())
            text = f"{times:,.0f} times, and {adjacent:,.0f} from one level to the next"
            yield f"figure-7/length-ratio/{name}", text


def figure_9(growths: GroupTables) -> Measured:
    """Family whose time grows faster with the pixels, for unfused and fused attention, from `SCALING` by family."""
    (scaling,) = growths.values()
    for (series,), rows in scaling.group_by("series", maintain_order=True):
        exponents = {
            family: value
            for family, value in rows.select("family", "exponent").unique().iter_rows()
            if value is not None and family in {"attention", "convolution"}
        }
        if len(exponents) == len({"attention", "convolution"}):
            faster = max(exponents, key=lambda family: exponents[family])
            powers = ", ".join(f"{family} as pixels^{exponents[family]:.2f}" for family in sorted(exponents))
            attention = "eager" if BASELINE in str(series) else "fused"
            yield f"figure-9/faster-growing/{attention}", f"{faster} ({powers})"


def figure_11(attention: GroupTables) -> Measured:
    """Temporal against spatial attention of the denoiser, from `ATTENTION` of the text-to-video model."""
    (frame,) = attention.values()
    denoiser = frame.filter(pl.col("component") == "denoiser")
    temporal = denoiser.filter(pl.col("role") == "temporal_attention")
    spatial = denoiser.filter(pl.col("role") == "spatial_attention")
    if temporal.is_empty() or spatial.is_empty():
        return
    row = temporal.row(0, named=True)
    # The ratio of cores is null where no kernel of a spatial core is attributed.
    if row["time_ratio"] is not None and row["core_time_ratio"] is not None:
        text = f"{row['core_time_ratio']:.2f} in the core, {row['time_ratio']:.2f} with projections and copies"
        yield "figure-11/time-ratio", text
        total_ns = row["total_ns"] + spatial["total_ns"][0]
        core_ns = row["core_ns"] + spatial["core_ns"][0]
        core_share, share = row["core_ns"] / core_ns, row["total_ns"] / total_ns
        text = f"{core_share:.0%} of the cores, {share:.0%} with projections and copies"
        yield "figure-11/temporal-share", text
    if row["core_flops_ratio"]:
        text = f"{1 / row['core_flops_ratio']:.1f} in the core, {1 / row['flops_ratio']:.1f} with projections"
        yield "figure-11/flops-ratio", text


def figure_12(caches: GroupTables) -> Measured:
    """L1 hit rates of spatial and temporal attention, weighted by time, from `CACHE` of text-to-video models."""
    for frame in caches.values():
        rates = {
            role: frame.filter(pl.col("role") == f"{role}_attention", pl.col("l1_hit_ratio").is_not_null())
            for role in ("spatial", "temporal")
        }
        means = {
            role: rows.select((pl.col("l1_hit_ratio") * pl.col("sum_ns")).sum() / pl.col("sum_ns").sum()).item()
            for role, rows in rates.items()
            if rows.height
        }
        if len(means) == len(rates) and means["temporal"]:
            text = (
                f"{means['spatial'] / means['temporal']:.1f} ({means['spatial']:.0%} against {means['temporal']:.0%})"
            )
            yield "figure-12/l1-hit-ratio", text


def figure_13(growths: GroupTables) -> Measured:
    """Exponents with which annotated FLOPs grow with the number of frames, from `SCALING` by role."""
    (scaling,) = growths.values()
    for role in ("spatial", "temporal"):
        exponents = scaling.filter(pl.col("role") == f"{role}_attention")["flops_exponent"].drop_nulls()
        if exponents.len():
            yield f"figure-13/flops-exponent/{role}", f"{exponents[0]:.2f}"


MEASURES: Mapping[str, Callable[..., Measured]] = {
    "figure-5": figure_5,
    "figure-6": figure_6,
    "figure-7": figure_7,
    "figure-9": figure_9,
    "figure-11": figure_11,
    "figure-12": figure_12,
    "figure-13": figure_13,
    "table-2": table_2,
    "table-3": table_3,
}
"""Measures by the ID of their item; each takes the tables of the item's views, in order."""
