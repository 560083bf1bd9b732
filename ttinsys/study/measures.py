"""The numbers that the study's claims are about, taken from the tables of captures.

Each is told under the item and the subject of its claim in `ttinsys.study.claims`, as text with its unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import polars as pl

from ttinsys.attribution.labels import FAMILIES
from ttinsys.study.captures import BASELINE

DIFFUSION = ("stable-diffusion", "imagen", "sdxl")
"""Text-to-image models of the study that denoise."""
TRANSFORMERS = ("muse", "parti", "parti-3b")
"""Those that decode tokens, one by one or in parallel."""

_MAKES = ("denoiser", "decoder")
"""Components that make the picture, step by step."""

Measured = Iterator[tuple[str, str]]
"""The id of a claim, and the value measured for it, as text with its unit."""

GroupTables = Mapping[str, pl.DataFrame]
"""What one view of an item shows: a table by the label of its group, which is the model where each is apart."""


def table_2(speedups: GroupTables) -> Measured:
    """Of `SPEEDUP`, with the pairs of all models: end to end by span, which idle time is part of, and by busy time."""
    (frame,) = speedups.values()
    whole = frame.filter(pl.col("level") == "end_to_end", pl.col("part").is_in(["span", "busy"]))
    gained: dict[str, float] = {}
    for (name,), of in whole.drop_nulls("model").group_by("model", maintain_order=True):
        said = dict(of.select("part", "speedup").iter_rows())
        if said.get("span") is None or said.get("busy") is None:
            continue
        gained[str(name)] = said["busy"]
        text = f"{said['span']:.2f} (of busy time {said['busy']:.2f})"
        yield f"table-2/speedup/{name}", text
    ours, theirs = ([gained[name] for name in names if name in gained] for names in (DIFFUSION, TRANSFORMERS))
    if ours and theirs:
        text = f"{min(ours) / max(theirs):.2f} to {max(ours) / min(theirs):.2f} times"
        yield "table-2/relative-speedup", text


def table_3(phases: GroupTables) -> Measured:
    """Of `PHASES` by model: the kind that most of its denoiser's or decoder's steps have."""
    for name, frame in phases.items():
        steps = frame.filter(pl.col("component").is_in(_MAKES))
        if steps.height:
            # One step of a decoder reads the prompt; the others are what the run is made of.
            kind = steps.group_by("kind").agg(pl.col("calls").sum()).sort("calls", descending=True)["kind"][0]
            queries = max(steps.filter(pl.col("kind") == kind)["queries_max"].to_list())
            yield f"table-3/phase/{name}", f"{str(kind).removesuffix('-like')} (up to {queries:,} queries)"


def figure_5(by_component: GroupTables, _: GroupTables) -> Measured:
    """Of `ROOFLINE` by component, by model: intensity, by least traffic, of what denoises or decodes."""
    intensity = {
        name: value
        for name, frame in by_component.items()
        for value in frame.filter(pl.col("component").is_in(_MAKES))["intensity"].drop_nulls()
    }
    ours = [intensity[name] for name in DIFFUSION if name in intensity]
    theirs = [intensity[name] for name in ("parti", "parti-3b") if name in intensity]
    if ours and theirs:
        text = f"up to {max(ours) / min(theirs):,.0f} times ({max(ours):,.0f} against {min(theirs):,.1f} FLOP/B)"
        yield "figure-5/relative-intensity", text


def figure_6(linear: GroupTables, attention: GroupTables) -> Measured:
    """Of `BREAKDOWN` by role, by model, of the unfused and the fused trace; projections either way."""
    convolution = _largest(linear, DIFFUSION, FAMILIES["convolution"])
    if convolution:
        yield "figure-6/convolution-share", convolution
    both = [_largest(of, TRANSFORMERS, FAMILIES["linear"]) for of in (linear, attention)]
    if all(both):
        text = f"{both[0]}; without the projections of attention, {both[1]}"
        yield "figure-6/linear-share", text


def _largest(breakdowns: GroupTables, models: tuple[str, ...], roles: tuple[str, ...]) -> str:
    """The largest share of roles in the last trace of any of some models; empty where there is none."""
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
    """Of `LENGTHS` by step, by model: over the self-attention of one step of the denoiser."""
    for name, frame in by_step.items():
        steps = frame.filter(pl.col("component") == "denoiser", pl.col("adjacent").is_not_null())
        if steps.height:
            times, adjacent = max(steps["times"].to_list()), max(steps["adjacent"].to_list())
            text = f"{times:,.0f} times, and {adjacent:,.0f} from one level to the next"
            yield f"figure-7/length-ratio/{name}", text


def figure_9(growths: GroupTables) -> Measured:
    """Of `SCALING` by family, over pixels: exponents of time, for unfused and for fused attention."""
    (scaling,) = growths.values()
    for (series,), of in scaling.group_by("series", maintain_order=True):
        exponents = {
            family: value
            for family, value in of.select("family", "exponent").unique().iter_rows()
            if value is not None and family in {"attention", "convolution"}
        }
        if len(exponents) == len({"attention", "convolution"}):
            faster = max(exponents, key=lambda family: exponents[family])
            powers = ", ".join(f"{family} as pixels^{exponents[family]:.2f}" for family in sorted(exponents))
            attention = "eager" if BASELINE in str(series) else "fused"
            yield f"figure-9/faster-growing/{attention}", f"{faster} ({powers})"


def figure_11(attention: GroupTables) -> Measured:
    """Of `ATTENTION` of the text-to-video model: temporal against spatial attention of the denoiser."""
    (frame,) = attention.values()
    of = frame.filter(pl.col("component") == "denoiser")
    temporal = of.filter(pl.col("role") == "temporal_attention")
    spatial = of.filter(pl.col("role") == "spatial_attention")
    if temporal.is_empty() or spatial.is_empty():
        return
    row = temporal.row(0, named=True)
    # The ratio of cores is null where no kernel of a spatial core is attributed.
    if row["time_ratio"] is not None and row["core_time_ratio"] is not None:
        text = f"{row['core_time_ratio']:.2f} in the core, {row['time_ratio']:.2f} with projections and copies"
        yield "figure-11/time-ratio", text
        both = row["total_ns"] + spatial["total_ns"][0]
        core = row["core_ns"] + spatial["core_ns"][0]
        text = f"{row['core_ns'] / core:.0%} of the cores, {row['total_ns'] / both:.0%} with projections and copies"
        yield "figure-11/temporal-share", text
    if row["core_flops_ratio"]:
        text = f"{1 / row['core_flops_ratio']:.1f} in the core, {1 / row['flops_ratio']:.1f} with projections"
        yield "figure-11/flops-ratio", text


def figure_12(caches: GroupTables) -> Measured:
    """Of `CACHE` of text-to-video models: L1 hit rates of the softmax and products of both kinds of attention."""
    for frame in caches.values():
        rates = {
            role: frame.filter(pl.col("role") == f"{role}_attention", pl.col("l1_hit_ratio").is_not_null())
            for role in ("spatial", "temporal")
        }
        means = {
            role: of.select((pl.col("l1_hit_ratio") * pl.col("sum_ns")).sum() / pl.col("sum_ns").sum()).item()
            for role, of in rates.items()
            if of.height
        }
        if len(means) == len(rates) and means["temporal"]:
            text = (
                f"{means['spatial'] / means['temporal']:.1f} ({means['spatial']:.0%} against {means['temporal']:.0%})"
            )
            yield "figure-12/l1-hit-ratio", text


def figure_13(growths: GroupTables) -> Measured:
    """Of `SCALING` by role, over frames: exponents of annotated FLOPs."""
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
"""By item."""
