"""The captures of a folder, by what they say of their runs, and the ones that a figure of the study needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from parsers import Trace, TraceError, load
from ttinsys.published.sheets import MODELS, model
from ttinsys.render.folder import is_written
from ttinsys.tables.registry import tables_of
from ttinsys.tables.runs import RUNS, runs
from ttinsys.tables.sweeps import is_sweep, points_of

FUSED = ("sdpa", "flash", "cudnn")
"""Kinds of attention that do not write their matrix of scores to memory."""
BASELINE = "eager"
"""The kind that does: the study's baseline."""

_SUFFIXES = ("*.sqlite", "*.nsys-rep")
_PROFILES = (".csv", ".ncu-rep")


@dataclass(frozen=True, slots=True)
class Captures:
    """What a folder holds.

    Args:
        folder: which it is.
        traces: opened, by their names within the folder.
        runs: `trace` and `RUNS`: one row per capture that says what was run.
        profiles: Nsight Compute's, as CSV or as reports.
        failed: points of sweeps without a capture, and files that could not be read: what, and why.
        memory: `trace`, `peak_bytes`: the most memory that a run had allocated, where a sweep says it.
    """

    folder: Path
    traces: Mapping[str, Trace]
    runs: pl.DataFrame
    profiles: tuple[Path, ...]
    failed: tuple[str, ...]
    memory: pl.DataFrame

    def tables(self, names: Sequence[str]) -> dict[str, dict[str, pl.LazyFrame]]:
        """The tables of some of the traces, by the name of the trace and of the table."""
        return {name: tables_of(self.traces[name]) for name in names}

    def model_of(self, name: str) -> str:
        """The model that a trace is of."""
        return str(self.runs.filter(pl.col("trace") == name)["model"][0])

    def models(self, attention: Sequence[str] = (BASELINE, *FUSED)) -> list[str]:
        """One capture of each model, at its default size where there is one, in the order of the study's eight.

        Args:
            attention: kinds, the one that is preferred first.
        """
        order = {name: number for number, name in enumerate(MODELS)}
        picked = [
            self._preferred(of.filter(pl.col("attention").is_in(attention)), attention)
            for _, of in self.runs.filter(pl.col("size") == "full").group_by("model", maintain_order=True)
        ]
        named = sorted((row for row in picked if row), key=lambda row: order.get(row["model"], len(order)))
        return [row["trace"] for row in named]

    def pairs(self) -> list[tuple[str, str]]:
        """Captures that differ in their attention alone: the baseline, and a fused one; one pair per model."""
        pairs = []
        for baseline in self.models((BASELINE,)):
            (row,) = self.runs.filter(pl.col("trace") == baseline).to_dicts()
            same = [pl.col(name).eq_missing(pl.lit(row[name])) for name in _SAME]
            fused = self.runs.filter(*same, pl.col("attention").is_in(FUSED))
            if fused.height:
                pairs.append((baseline, fused["trace"][0]))
        return pairs

    def sweep(self, name: str, axis: str) -> list[str]:
        """The captures of a model that differ in one number and in their attention; none where fewer than two do.

        Args:
            name: of the model.
            axis: the number: `height` or `frames`.
        """
        of = self.runs.filter(pl.col("model") == name, pl.col("size") == "full", pl.col(axis).is_not_null())
        fixed = [column for column in ("height", "frames", "steps", "batch") if column != axis]
        series = [found for _, found in of.group_by(fixed, maintain_order=True) if found[axis].n_unique() > 1]
        longest = max(series, key=lambda found: int(found[axis].n_unique()), default=of.clear())
        return longest.unique([axis, "attention"], maintain_order=True).sort("attention", axis)["trace"].to_list()

    def _preferred(self, of: pl.DataFrame, attention: Sequence[str]) -> dict[str, str] | None:
        if of.is_empty():
            return None
        name = of["model"][0]
        default = model(name).requests["full"] if name in MODELS else None
        usual = pl.all_horizontal(
            pl.col(axis).eq_missing(pl.lit(getattr(default, axis, None), pl.Int64)) for axis in ("height", "frames")
        )
        ranked = of.with_columns(
            usual.alias("_usual"),
            pl.col("attention").replace_strict(list(attention), list(range(len(attention)))).alias("_rank"),
        ).sort("_usual", "_rank", descending=[True, False], maintain_order=True)
        row: dict[str, str] = ranked.row(0, named=True)
        return row


_SAME = ("model", "size", "height", "width", "frames", "steps", "tokens", "prompt_tokens", "batch", "dtype")
"""What two runs share that differ in their attention alone."""


def captures_in(folder: Path, nsys: str | None = None) -> Captures:
    """Open all that a folder holds: sweeps, traces on their own, and Nsight Compute's profiles, at any depth.

    Args:
        folder: where to look.
        nsys: the program that exports reports; None: the one on PATH.

    Raises:
        TraceError: there is nothing in it.
    """
    if not folder.is_dir():
        raise TraceError(f"{folder} is not a folder: give the one that annotate.sweep made")
    traces, failed, memory = {}, [], []
    for path, why, peak in _found(folder):
        name = str(path.relative_to(folder)) if path != folder else path.name
        if why is not None:
            failed.append(f"{name}: {why}")
            continue
        try:
            traces[name] = load(path, nsys=nsys)
        except TraceError as error:
            failed.append(str(error))
        else:
            memory.append((name, peak))
    profiles = tuple(path for inner in _folders(folder) for path in sorted(inner.iterdir()) if path.suffix in _PROFILES)
    if not traces and not profiles:
        said = f": {failed[0]}" if failed else ""
        raise TraceError(f"{folder} holds no trace{said}: make some with `python -m annotate.sweep -o {folder}`")
    told = [runs(trace).first().select(pl.lit(name).alias("trace"), pl.all()) for name, trace in traces.items()]
    empty = pl.LazyFrame(schema={"trace": pl.String(), **RUNS.schema})
    return Captures(
        folder,
        traces,
        pl.concat([empty, *told]).collect(),
        profiles,
        tuple(failed),
        pl.DataFrame(memory, schema={"trace": pl.String(), "peak_bytes": pl.Int64()}, orient="row"),
    )


def _found(folder: Path) -> Iterator[tuple[Path, str | None, int | None]]:
    """Paths of traces, or of what a sweep could not capture with the reason, and the peak of memory of each."""
    if is_sweep(folder):
        for point in points_of(folder):
            if point.trace is None:
                yield folder / " ".join(point.options.values()), point.error or "not captured", None
            else:
                yield point.trace, None, max(point.peak_bytes, default=None)
        return
    if any(folder.glob("*.parquet")) or any(folder.glob("*.arrow")):
        yield folder, None, None
        return
    yield from ((path, None, None) for pattern in _SUFFIXES for path in sorted(folder.glob(pattern)))
    for child in _inner(folder):
        yield from _found(child)


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and all in it."""
    yield folder
    for child in _inner(folder):
        yield from _folders(child)


def _inner(folder: Path) -> list[Path]:
    """The folders in a folder, but no link that leads back, and no reproduction, whose tables are not profiles."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in inner if not (path.is_symlink() and _leads_up(path)) and not is_written(path)]


def _leads_up(link: Path) -> bool:
    return link.resolve() in [parent.resolve() for parent in link.absolute().parents]
