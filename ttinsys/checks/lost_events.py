"""Events that nsys or CUPTI lost: what nsys says of it, and launches whose kernel is missing."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.attribution.coverage import percent
from ttinsys.attribution.identity import pid_of
from ttinsys.checks import EVERYTHING, Finding, TraceTables, checking, counted, sentence_of
from ttinsys.tables.lost_launches import lost_launches

_LOST = r"(?i)dropped|(might|may) be missing|overflow|couldn't allocate|could not allocate|out of memory|\blost\b"
"""Messages that state a loss. nsys 2023.4: "CUPTI dropped %llu records. Some CUPTI events might be missing.",
"Couldn't allocate CUPTI buffers %d times."."""
_PERHAPS = r"(?i)not all .* (might|may) have been collected"
"""nsys says so, too, of processes that it could not wait for, and often nothing is missing."""
_WARNING = 2
"""Severity from which on nsys itself warns."""
_FEW, _MANY = 0.01, 0.1
"""Shares of launches without a kernel that make a warning, and a problem."""
_SHOWN = 3
"""Messages that are shown."""

_FLUSH = (
    "let the program end by itself, synchronize before the capture stops, or flush more often: "
    "--cuda-flush-interval=100, --flush-on-cudaprofilerstop=true"
)
_SHORTER = "capture a shorter part, with --capture-range or --duration, and trace less"


def _measure(tables: TraceTables) -> pl.LazyFrame:
    at_work = pl.concat([tables[name].select(pid_of("global_tid").alias("pid")) for name in ("api_calls", "ranges")])
    messages = (
        tables["diagnostics"]
        .drop_nulls("text")
        .select(
            "text",
            pl.col("severity").fill_null(0),
            pid_of("global_pid").alias("pid"),
            pl.lit(None, pl.Int64).alias("launches"),
            pl.lit(None, pl.Int64).alias("lost"),
            pl.lit(None, pl.Int64).alias("lost_inside"),
        )
    )
    known = at_work.unique().with_columns(pl.lit(value=True).alias("at_work"))
    one = pl.lit("").alias("trace")
    lost = lost_launches(tables["ops"].with_columns(one), tables["api_calls"].with_columns(one))
    return pl.concat([messages.join(known, on="pid", how="left"), lost.drop("trace")], how="diagonal")


@checking(_measure)
def lost_events(numbers: pl.DataFrame) -> Iterator[Finding]:
    """Whether events are missing from the capture, as said and as counted."""
    messages = numbers.drop_nulls("text")
    found = [*_messages(messages), *_counted(numbers.drop_nulls("launches"))]
    yield from found
    if not any(finding.severity in ("problem", "warning") for finding in found):
        said = (
            f"{counted(messages.height, 'message')} of nsys state no loss" if messages.height
            else "the export holds no message of nsys"
        )  # fmt: skip
        of_launches = [
            f"{lost:,} of {counted(launches, 'kernel launch', 'kernel launches')} have no kernel"
            for launches, lost in numbers.drop_nulls("launches").select("launches", "lost").iter_rows()
        ]
        yield Finding("sound", sentence_of(*of_launches, said))


def _messages(messages: pl.DataFrame) -> Iterator[Finding]:
    """Messages of a loss, and others from warnings on; of processes that did nothing else they are notes."""
    text = pl.col("text")
    # A message that names no process, or one that launched or annotated, is about the traced program.
    ours = pl.col("pid").is_null() | (pl.col("pid") == 0) | pl.col("at_work").fill_null(value=False)
    ranked = messages.with_columns(
        pl.when(text.str.contains(_LOST)).then(pl.lit("problem"))
        .when(text.str.contains(_PERHAPS)).then(pl.lit("warning"))
        .when(pl.col("severity") > _WARNING).then(pl.lit("warning"))
        .when(pl.col("severity") == _WARNING).then(pl.lit("note"))
        .alias("rank")
    ).drop_nulls("rank")  # fmt: skip
    ranked = ranked.with_columns(pl.when(ours).then("rank").otherwise(pl.lit("note")).alias("rank"))
    for rank in ("problem", "warning", "note"):
        texts = ranked.filter(pl.col("rank") == rank)["text"].unique(maintain_order=True).to_list()
        if texts:
            more = f" and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
            quoted = ", ".join(f'"{_one_line(each)}"' for each in texts[:_SHOWN])
            remedy = {"problem": _SHORTER, "warning": _FLUSH, "note": ""}[rank]
            affects = () if rank == "note" else (EVERYTHING,)
            yield Finding(rank, f"nsys says {quoted}{more}.", affects, remedy, len(texts))


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _counted(launches: pl.DataFrame) -> Iterator[Finding]:
    for whole, lost, inside in launches.select("launches", "lost", "lost_inside").iter_rows():
        if lost < max(_FEW * whole, 1):
            continue
        launched = f"{inside:,} of them launched before" if inside else "all launched after"
        yield Finding(
            "problem" if lost >= _MANY * whole else "warning",
            f"{lost:,} of {whole:,} kernel launches ({percent(lost, whole)}) have no kernel, {launched} the launch of "
            "the last kernel that was captured.",
            (EVERYTHING,),
            _SHORTER + "; " + _FLUSH if inside else _FLUSH,
            lost,
        )
