"""Loading in the capture: copies from the host, modules and memory of the GPU, which later iterations do not repeat."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.coverage import percent
from ttinsys.checks import Finding, TraceTables, checking, milliseconds_of, sentence_of
from ttinsys.measures.sums import ratio

_COPIED = 0.2
"""Share of the GPU time in copies from the host that is worth telling."""
_EARLY, _MOST = 0.05, 0.5
"""Copies before this share of the kernels are early. Where most are, they load; others belong to each iteration."""
_LOADED = 0.01
"""Share of the time from the first to the last operation in calls that load or allocate."""
_LOADS = r"^(cuModuleLoad|cuLibraryLoad|cuLink|nvrtc|cudaMalloc|cuMemAlloc|cuMemCreate)"
"""Calls of CUDA that load code or allocate memory; cudaMallocAsync and its like take memory of a pool, and do not."""
_ASYNC = r"Async"
_FROM_HOST = "[CUDA memcpy Host-to-Device]"

_LATER = "capture after the model is loaded and warmed up: --capture-range=cudaProfilerApi, or --delay"


def _measure(tables: TraceTables) -> pl.LazyFrame:
    from_host = pl.col("kernel") == _FROM_HOST
    window = [pl.col("start_ns").min().alias("first_ns"), pl.col("end_ns").max().alias("last_ns")]
    kernels_ns = pl.col("start_ns").filter(pl.col("kind") == "kernel")
    early = from_host & (pl.col("start_ns") < kernels_ns.quantile(_EARLY, "lower"))
    ops = tables["ops"].select(
        pl.len().alias("ops"),
        from_host.sum().alias("copies"),
        ratio(pl.col("duration_ns").filter(from_host).sum(), pl.col("duration_ns").sum()).alias("share"),
        ratio(pl.col("duration_ns").filter(early).sum(), pl.col("duration_ns").filter(from_host).sum()).alias("early"),
        pl.col("size_bytes").filter(from_host).sum().alias("bytes"),
        *window,
    )
    loads = pl.col("api_name").str.contains(_LOADS) & ~pl.col("api_name").str.contains(_ASYNC)
    names = tables["strings"].select(pl.col("id").alias("api_name_id"), pl.col("value").alias("api_name"))
    within = (pl.col("api_start_ns") >= pl.col("first_ns")) & (pl.col("api_start_ns") < pl.col("last_ns"))
    calls = (
        tables["api_calls"]
        .join(names.filter(loads), on="api_name_id", how="inner")
        .join(tables["ops"].select(window), how="cross")
        .filter(within)
        .select(
            pl.len().alias("calls"),
            (pl.col("api_end_ns") - pl.col("api_start_ns")).sum().alias("calls_ns"),
            pl.col("api_name").str.replace(r"_v\d+$", "").mode().sort().first().alias("example"),
        )
    )
    return pl.concat([ops, calls], how="horizontal")


@checking(_measure)
def loading(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether copies from the host, or calls that load and allocate, take a part of the time that counts."""
    have = numbers.row(0, named=True)
    if not have["ops"]:
        return
    share, span_ns = have["share"] or 0.0, max(have["last_ns"] - have["first_ns"], 1)
    copied = (
        f"copies from the host ({have['copies']:,}, {have['bytes'] / 1e9:,.3f} GB) take {percent(share, 1)} of the GPU "
        "time"
    )
    loaded = (
        f"calls that load code or allocate memory ({have['calls']:,}) take {milliseconds_of(have['calls_ns'])}, "
        f"{percent(have['calls_ns'], span_ns)} of the time from the first operation to the last"
    )
    heavy_copies, heavy_calls = share >= _COPIED, have["calls_ns"] >= _LOADED * span_ns
    if heavy_copies and (have["early"] or 0) >= _MOST:
        yield Finding(
            "warning",
            f"The capture holds loading: {copied}, {percent(have['early'], 1)} of that before nearly all kernels.",
            ("breakdown", "kernels", "gaps"),
            _LATER,
            have["copies"],
            share,
        )
    elif heavy_copies:
        yield Finding(
            "note",
            sentence_of(f"{copied}, and run among the kernels, not before them"),
            ("breakdown", "gaps"),
            "pin the memory and copy while kernels run, or keep the data on the GPU",
            have["copies"],
            share,
        )
    if heavy_calls:
        yield Finding(
            "warning", sentence_of(f"{loaded}, mostly {have['example']}"), ("gaps", "layers"), _LATER, have["calls"]
        )
    if not heavy_copies and not heavy_calls:
        yield Finding("sound", sentence_of(copied, loaded), share=share)
