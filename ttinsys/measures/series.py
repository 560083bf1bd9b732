"""Traces as points of a sweep: the size of each, and which of them differ in nothing but that size.

    points(runs, "auto").collect()

Traces whose settings are alike but for the size and the number of steps are a series: backends are compared so.
"""

from __future__ import annotations

from functools import partial

import polars as pl

from parsers import TraceError

AXES = ("pixels", "frames", "batch", "tokens")
"""What a size may be."""

_SETTINGS = ("model", "size", "height", "width", "frames", "batch", "tokens", "prompt_tokens", "device", "dtype",
             "attention", "compile", "granularity", "weights", "simulated")  # fmt: skip
_POINTS = {"trace": pl.String(), "series": pl.String(), "over": pl.String(), "n": pl.Int64()}


class NotASweep(TraceError):
    """The traces are not points of a sweep."""


def points(runs: pl.LazyFrame, over: str) -> pl.LazyFrame:
    """The size and the series of each trace.

    Args:
        runs: `RUNS` of several traces.
        over: one of `AXES`; `auto`: the one that varies.

    Returns:
        `trace`, `series` (its settings that vary, besides the size), `over` and `n` (the size).

    Raises:
        NotASweep: once collected: no size varies, or several do.
    """
    schema = {**_POINTS, "trace": runs.collect_schema()["trace"]}
    return runs.map_batches(partial(_placed, over=over), schema=schema)


def _placed(runs: pl.DataFrame, *, over: str) -> pl.DataFrame:
    """The size and the series of each trace; none where one tells of no run, which `needs` says better."""
    runs = runs.unique(maintain_order=True).with_columns((pl.col("height") * pl.col("width")).alias("pixels"))
    traces = runs["trace"].dtype
    if isinstance(traces, pl.Enum) and runs["trace"].n_unique() < len(traces.categories):
        return pl.DataFrame(schema={**_POINTS, "trace": traces})
    twice = runs.filter(pl.col("trace").is_duplicated())["trace"]
    if len(twice):
        raise NotASweep(f"{twice[0]} tells of different runs: a point of a sweep is a capture of one")
    axis = _axis(runs, over)
    own = {"height", "width"} if axis == "pixels" else {axis}
    varying = [name for name in _SETTINGS if name not in own and runs[name].n_unique() > 1]
    said = [pl.format(f"{name}={{}}", pl.col(name).cast(pl.String).fill_null("none")) for name in varying]
    series = pl.concat_str(said, separator=", ") if said else pl.lit("all")
    placed = runs.select("trace", series.alias("series"), pl.lit(axis).alias("over"), pl.col(axis).alias("n"))
    if placed.group_by("series").agg(pl.col("n").n_unique())["n"].max() == 1:
        raise NotASweep(f"no two traces differ in {axis} alone: they differ in {', '.join(varying)}, too")
    return placed


def _axis(runs: pl.DataFrame, over: str) -> str:
    """The axis asked for, or the only one that varies."""
    vary = [axis for axis in AXES if runs[axis].n_unique() > 1]
    if over == "auto":
        if len(vary) == 1:
            axis = vary[0]
        elif vary:
            raise NotASweep(f"{' and '.join(vary)} vary: name one with --over, and the rest tell series apart")
        else:
            raise NotASweep(f"none of {', '.join(AXES)} varies: give traces of one model at several sizes")
    elif over not in vary:
        raise NotASweep(f"{over} do not vary ({' and '.join(vary) or 'nothing'} does): give traces of several {over}")
    else:
        axis = over
    if runs[axis].null_count():
        missing = runs.filter(pl.col(axis).is_null())["trace"][0]
        raise NotASweep(f"{missing} does not say its {axis}: leave it out, or choose another --over")
    return axis
