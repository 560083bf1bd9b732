"""The captures of a folder, by the runs that they describe, and the selections that figures of the study need."""

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
"""Implementations of attention that do not write the matrix of scores to memory."""
BASELINE = "eager"
"""The implementation that does: the study's baseline."""

_SUFFIXES = ("*.sqlite", "*.nsys-rep")
_PROFILES = (".csv", ".ncu-rep")


@dataclass(frozen=True, slots=True)
class Captures:
    """The captures of a folder.

    Args:
        folder: path of the folder.
        traces: opened traces, by their paths relative to the folder.
        runs: `trace` and `RUNS`: one row per capture that describes its run.
        profiles: paths of Nsight Compute profiles, as CSV or as reports.
        failed: one line for each point of a sweep without a capture, and each file that could not be read, with the
            reason.
        memory: `trace` and `peak_bytes`: the greatest amount of memory that a run had allocated, null where no sweep
            reports it.
    """

    folder: Path
    traces: Mapping[str, Trace]
    runs: pl.DataFrame
    profiles: tuple[Path, ...]
    failed: tuple[str, ...]
    memory: pl.DataFrame

    def tables(self, names: Sequence[str]) -> dict[str, dict[str, pl.LazyFrame]]:
        """Tables of the named traces, by the name of the trace and of the table."""
        return {name: tables_of(self.traces[name]) for name in names}

    def model_of(self, name: str) -> str:
        """Name of the model that a trace is a capture of."""
        return str(self.runs.filter(pl.col("trace") == name)["model"][0])

    def models(self, attention: Sequence[str] = (BASELINE, *FUSED)) -> list[str]:
        """One capture of each model, of its default image size if there is one, in the order of `MODELS`.

        Args:
            attention: implementations of attention to choose from, the preferred one first.

        Returns:
            Names of traces.
        """
        # Models that are not ours come last.
        order = {name: number for number, name in enumerate(MODELS)}
        preferred = [
            self._preferred(runs.filter(pl.col("attention").is_in(attention)), attention)
            for _, runs in self.runs.filter(pl.col("size") == "full").group_by("model", maintain_order=True)
        ]
        in_order = sorted((row for row in preferred if row), key=lambda row: order.get(row["model"], len(order)))
        return [row["trace"] for row in in_order]

    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of captures that differ only in their attention, first unfused, then fused; one pair per model."""
        pairs = []
        for baseline in self.models((BASELINE,)):
            (row,) = self.runs.filter(pl.col("trace") == baseline).to_dicts()
            same = [pl.col(name).eq_missing(pl.lit(row[name])) for name in _SAME]
            fused = self.runs.filter(*same, pl.col("attention").is_in(FUSED))
            if fused.height:
                pairs.append((baseline, fused["trace"][0]))
        return pairs

    def sweep(self, name: str, axis: str) -> list[str]:
        """The captures of a model that differ only in one number and in their attention.

        Args:
            name: name of the model.
            axis: the number: `height` or `frames`.

        Returns:
            Names of traces, by attention and number; of several such series the longest; empty where the number does
            not vary.
        """
        runs = self.runs.filter(pl.col("model") == name, pl.col("size") == "full", pl.col(axis).is_not_null())
        fixed = [column for column in ("height", "frames", "steps", "batch") if column != axis]
        series = [part for _, part in runs.group_by(fixed, maintain_order=True) if part[axis].n_unique() > 1]
        longest = max(series, key=lambda part: int(part[axis].n_unique()), default=runs.clear())
        return longest.unique([axis, "attention"], maintain_order=True).sort("attention", axis)["trace"].to_list()

    def _preferred(self, runs: pl.DataFrame, attention: Sequence[str]) -> dict[str, str] | None:
        """Of the runs of one model, the one of the default size, then of the first attention; None if there is none."""
        if runs.is_empty():
            return None
        name = runs["model"][0]
        default = model(name).requests["full"] if name in MODELS else None
        usual = pl.all_horizontal(
            pl.col(axis).eq_missing(pl.lit(getattr(default, axis, None), pl.Int64)) for axis in ("height", "frames")
        )
        ranked = runs.with_columns(
            usual.alias("_usual"),
            pl.col("attention").replace_strict(list(attention), list(range(len(attention)))).alias("_rank"),
        ).sort("_usual", "_rank", descending=[True, False], maintain_order=True)
        row: dict[str, str] = ranked.row(0, named=True)
        return row


_SAME = ("model", "size", "height", "width", "frames", "steps", "tokens", "prompt_tokens", "batch", "dtype")
"""Columns that are equal in two runs that differ only in their attention."""


def captures_in(folder: Path, nsys: str | None = None) -> Captures:
    """Open all captures in a folder, at any depth: sweeps, single traces, and Nsight Compute profiles.

    Args:
        folder: the folder.
        nsys: the nsys program, which exports reports; None for the one on PATH.

    Raises:
        TraceError: the path is not a folder, or holds no capture.
    """
    if not folder.is_dir():
        raise TraceError(
            f"{folder} is not a folder: give the folder of a sweep, made with `python -m annotate.sweep -o FOLDER`"
        )
    traces, failed, memory = {}, [], []
    for path, error, peak_bytes in _paths(folder):
        name = str(path.relative_to(folder)) if path != folder else path.name
        if error is not None:
            failed.append(f"{name}: {error}")
            continue
        try:
            traces[name] = load(path, nsys=nsys)
        except TraceError as unreadable:
            failed.append(str(unreadable))
        else:
            memory.append((name, peak_bytes))
    profiles = tuple(path for inner in _folders(folder) for path in sorted(inner.iterdir()) if path.suffix in _PROFILES)
    if not traces and not profiles:
        reason = f": {failed[0]}" if failed else ""
        raise TraceError(f"{folder} holds no trace{reason}: make some with `python -m annotate.sweep -o {folder}`")
    # Of a capture of several runs, the first describes it.
    first_runs = [runs(trace).first().select(pl.lit(name).alias("trace"), pl.all()) for name, trace in traces.items()]
    empty = pl.LazyFrame(schema={"trace": pl.String(), **RUNS.schema})
    return Captures(
        folder,
        traces,
        pl.concat([empty, *first_runs]).collect(),
        profiles,
        tuple(failed),
        pl.DataFrame(memory, schema={"trace": pl.String(), "peak_bytes": pl.Int64()}, orient="row"),
    )


def _paths(folder: Path) -> Iterator[tuple[Path, str | None, int | None]]:
    """Path of each trace or failed point of a sweep; the error of a failed point; and the peak memory in bytes."""
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
        yield from _paths(child)


def _folders(folder: Path) -> Iterator[Path]:
    """A folder, and all folders in it."""
    yield folder
    for child in _inner(folder):
        yield from _folders(child)


def _inner(folder: Path) -> list[Path]:
    """The folders in a folder, without links to its parents, and without reproductions: their CSVs are no profiles."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path for path in inner if not (path.is_symlink() and _leads_up(path)) and not is_written(path)]


def _leads_up(link: Path) -> bool:
    """Whether a link leads to a folder that contains it, which would be searched forever."""
    return link.resolve() in [parent.resolve() for parent in link.absolute().parents]
