"""Tables of the study that take more than analyses of traces: memory, quality, taxonomy and caches."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from parsers import TraceError, ncu
from ttinsys.analyses.pareto import PARETO, with_memory
from ttinsys.measures.counters import CACHE, counters
from ttinsys.pages.gather import Shown
from ttinsys.published.taxonomy import TAXONOMY, taxonomy
from ttinsys.runner.registry import find
from ttinsys.runner.run import run_analysis
from ttinsys.study.captures import BASELINE, FUSED, Captures

_MEMORY_COLUMNS = (
    "trace",
    "model",
    "stands_for",
    "peak_bytes",
    "peak_bytes_per_parameter",
    "weight_bytes",
    "parameters",
    "attention",
    "device",
)


def costs(captures: Captures) -> Iterator[tuple[str, Shown]]:
    """`PARETO` of one capture of each model, with the memory from the manifests of sweeps."""
    names = captures.models((*FUSED, BASELINE))
    if names:
        frame = run_analysis(find("pareto"), captures.tables(names)).frame
        peaks = dict(captures.memory.drop_nulls().iter_rows())
        yield "", Shown("pareto", PARETO, None, with_memory(frame, peaks))


def memory(captures: Captures) -> Iterator[tuple[str, Shown]]:
    """The columns of `costs` on memory, for the models whose peak is known."""
    for label, shown in costs(captures):
        known = shown.frame.filter(pl.col("peak_bytes").is_not_null()).select(_MEMORY_COLUMNS)
        yield label, Shown(shown.name, shown.returns, None, known)


def models(captures: Captures) -> Iterator[tuple[str, Shown]]:
    """`TAXONOMY` of the captured models."""
    names = [captures.model_of(name) for name in captures.models((*FUSED, BASELINE))]
    if names:
        yield "", Shown("taxonomy", TAXONOMY, None, taxonomy(names))


def caches(captures: Captures) -> Iterator[tuple[str, Shown]]:
    """`CACHE` of each Nsight Compute profile; roles come from the trace whose name starts like the profile's."""
    for path in captures.profiles:
        trace = next((name for name in captures.traces if name.startswith(path.stem)), None)
        tables = captures.tables([trace])[trace] if trace is not None else None
        try:
            shown = Shown("cache", CACHE, None, counters(ncu.load(path), tables))
        except TraceError as error:
            shown = Shown("cache", CACHE, None, pl.DataFrame(schema=CACHE.schema), (str(error),))
        yield path.name, shown
