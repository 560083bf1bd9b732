"""Traces as points of a sweep: the size of each, and the series that it belongs to.

    points(runs, "auto").collect()

Traces that share all settings but the size and the number of steps are one series, so that backends are compared.
"""

from __future__ import annotations

from functools import partial

import polars as pl

from parsers import TraceError

AXES = ("pixels", "frames", "batch", "tokens")
"""Sizes that a sweep may vary."""

_SETTINGS = ("model", "size", "height", "width", "frames", "batch", "tokens", "prompt_tokens", "device", "dtype",
             "attention", "compile", "granularity", "weights", "simulated")  # fmt: skip
_POINTS = {"trace": pl.String(), "series": pl.String(), "over": pl.String(), "n": pl.Int64()}


class NotASweep(TraceError):
    """The traces are not points of a sweep."""


def points(runs: pl.LazyFrame, over: str) -> pl.LazyFrame:
    """The size and the series of each trace.

    Args:
        runs: `RUNS` of several traces.
        over: one of `AXES`, or `auto` for the one that varies.

    Returns:
        `trace`, `series` (the settings that vary beside the size), `over` and `n` (the size).

    Raises:
        NotASweep: no size varies, or several do; raised when the frame is collected.
    """
    schema = {**_POINTS, "trace": runs.collect_schema()["trace"]}
    return runs.map_batches(partial(_placed, over=over), schema=schema)


def _placed(runs: pl.DataFrame, *, over: str) -> pl.DataFrame:
    """The size and the series of each trace; no rows where a trace describes no run, which `needs` reports."""
    runs = runs.unique(maintain_order=True).with_columns((pl.col("height") * pl.col("width")).alias("pixels"))
    traces = runs["trace"].dtype
    if isinstance(traces, pl.Enum) and runs["trace"].n_unique() < len(traces.categories):
        return pl.DataFrame(schema={**_POINTS, "trace": traces})
    twice = runs.filter(pl.col("trace").is_duplicated())["trace"]
    if len(twice):
        raise NotASweep(f"{twice[0]} describes several runs: give traces of one run each")
    axis = _axis(runs, over)
    sizes = {"height", "width"} if axis == "pixels" else {axis}
    varying = [name for name in _SETTINGS if name not in sizes and runs[name].n_unique() > 1]
    settings = [pl.format(f"{name}={{}}", pl.col(name).cast(pl.String).fill_null("none")) for name in varying]
    series = pl.concat_str(settings, separator=", ") if settings else pl.lit("all")
    placed = runs.select("trace", series.alias("series"), pl.lit(axis).alias("over"), pl.col(axis).alias("n"))
    if placed.group_by("series").agg(pl.col("n").n_unique())["n"].max() == 1:
        raise NotASweep(f"no two traces differ in {axis} alone: they also differ in {', '.join(varying)}")
    return placed


def _axis(runs: pl.DataFrame, over: str) -> str:
    """The requested axis, or the only one that varies."""
    vary = [axis for axis in AXES if runs[axis].n_unique() > 1]
    if over == "auto":
        if len(vary) == 1:
            axis = vary[0]
        elif vary:
            raise NotASweep(f"{' and '.join(vary)} vary: name one with --over; the others then tell series apart")
        else:
            raise NotASweep(f"none of {', '.join(AXES)} varies: give traces of one model at several sizes")
    elif over not in vary:
        others = f"{' and '.join(vary)} do" if vary else "nothing does"
        raise NotASweep(f"{over} do not vary, {others}: give traces of several {over}")
    else:
        axis = over
    if runs[axis].null_count():
        missing = runs.filter(pl.col(axis).is_null())["trace"][0]
        raise NotASweep(f"{missing} does not give its {axis}: leave it out, or choose another --over")
    return axis
