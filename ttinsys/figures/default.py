"""Bars of any table: the figure of an analysis that has no file of its own in this folder."""

from __future__ import annotations

from typing import NamedTuple

import altair as alt
import polars as pl

from parsers.schema import Column, Table
from ttinsys.figures.style import (
    WIDTH,
    NothingToDraw,
    Picture,
    configured,
    numbers_at_bars,
    picture_per_trace,
)
from ttinsys.render.grid import IDENTIFIERS, MOMENTS, cells, scale_of
from ttinsys.render.names import fit_names
from ttinsys.tables.registry import distinct_names

_MOST = 25
"""Bars of a picture; the rest of its rows is one more."""
_BAR = 18
"""Height of a bar and the gap below it, in pixels."""
_LONGEST = 54
"""Characters of a label."""
_COLOUR, _REST_COLOUR = "#0072b2", "#969696"
_UNITS = {"_ns": "ns", "_bytes": "B"}
"""Units of columns that no declaration describes, by the ends of their names."""
_ADDITIVE = ("sum_", "self_", "duration_", "size_", "bytes", "flops", "instances", "ops", "calls")
"""Beginnings of the names of columns whose values may be added up: means, busy times and nested totals may not."""


class _Measure(NamedTuple):
    """What bars show: a column, multiplied by a factor and printed with so many digits."""

    column: str
    heading: str
    factor: float
    digits: int
    doc: str


def default_figure(name: str, frame: pl.DataFrame, table: Table | None = None) -> alt.TopLevelMixin:
    """A bar per row for the first column with a unit, durations first; the longest bars first, the rest as one.

    Args:
        name: of the analysis.
        frame: its rows; of several traces, each has its own picture.
        table: the declaration of its columns, for units and meanings.

    Raises:
        NothingToDraw: no column has a number other than zero.
    """
    declared = table or _declaration(frame)
    measure = _measure(frame, declared)
    if measure is None:
        raise NothingToDraw(f"--plot: {name} has no number to draw")
    value = pl.col(measure.column).cast(pl.Float64) * measure.factor
    rows = frame.select(
        *(["trace"] if "trace" in frame.columns else []),
        pl.Series("label", _labels(frame, declared), dtype=pl.String),
        value.alias("value"),
    ).filter(pl.col("value").is_finite())
    title = alt.TitleParams(f"{name.replace('_', ' ').capitalize()}: {measure.heading}", subtitle=measure.doc)
    return configured(picture_per_trace(rows, lambda part: _bars(part, measure), title))


def _declaration(frame: pl.DataFrame) -> Table:
    """The columns of a frame with the units that their names tell."""
    units = {name: unit for name in frame.columns for end, unit in _UNITS.items() if name.endswith(end)}
    return Table("", *(Column(name, dtype, "", unit=units.get(name)) for name, dtype in frame.schema.items()))


def _measure(frame: pl.DataFrame, table: Table) -> _Measure | None:
    """The column that is drawn: durations before other units, these before plain numbers; None where all are zero."""
    declared = {column.name: column for column in table.columns}
    units = {name: column.unit for name, column in declared.items()}
    numbers = [
        column.name
        for column in frame
        if column.dtype.is_numeric()
        and column.name not in IDENTIFIERS
        and not column.name.endswith(MOMENTS)
        and column.cast(pl.Float64).is_finite().any()
        and column.ne(0).any()
    ]
    if not numbers:
        return None
    name = min(numbers, key=lambda name: (not name.endswith("_ns"), units.get(name) is None))
    heading = cells(frame.select(name), table)[0].heading
    doc = declared[name].doc if name in declared else ""
    scale = scale_of(frame.select(name), name, units)
    if scale is not None:
        return _Measure(name, heading, 1 / scale.divisor, scale.digits, doc)
    if units.get(name) == "ratio":
        return _Measure(name, heading, 100, 1, doc)
    return _Measure(name, heading, 1, 2 if frame[name].dtype.is_float() else 0, doc)


def _labels(frame: pl.DataFrame, table: Table) -> list[str]:
    """Names of the rows: what their texts say, or their integers without a unit, or their numbers.

    Columns that are the same in all rows are left out, unless all are.
    """
    units = {column.name: column.unit for column in table.columns}
    known = [column for column in frame if column.name != "trace" and column.null_count() < frame.height]
    texts = [column.name for column in known if isinstance(column.dtype, pl.String | pl.Enum | pl.Categorical)]
    integers = [column.name for column in known if column.dtype.is_integer() and units.get(column.name) is None]
    named = texts or integers
    varied = [name for name in named if frame[name].n_unique() > 1] or named
    if not varied:
        return [f"row {number}" for number in range(1, frame.height + 1)]
    columns = cells(frame.select(varied), table)
    words = [
        [text if column.name in texts or not text else f"{column.name} {text}" for text in column.texts]
        for column in columns
    ]
    return [" · ".join(filter(None, row)) or "(none)" for row in zip(*words, strict=True)]


def _bars(rows: pl.DataFrame, measure: _Measure) -> Picture:
    """The bars of one trace, with their numbers."""
    ranked = rows.sort(pl.col("value").abs(), descending=True, maintain_order=True)
    top, rest = ranked.head(_MOST), ranked.slice(_MOST)
    labels, values = distinct_names(fit_names(top["label"].to_list(), _LONGEST)), top["value"].to_list()
    if not rest.is_empty():
        additive = measure.column.startswith(_ADDITIVE)
        labels.append(f"{rest.height:,} others{'' if additive else ': at most'}")
        values.append(rest["value"].sum() if additive else rest["value"][0])
    data = pl.DataFrame({"label": labels, "value": values}).with_columns(
        pl.Series("shown", [f"{value:z,.{measure.digits}f}" for value in values]),
        (pl.int_range(pl.len()) >= _MOST).alias("rest"),
    )
    encoded = alt.Chart(data).encode(
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=400, labelFontSize=10)),
        x=alt.X("value:Q", title=measure.heading),
        tooltip=[alt.Tooltip("label:N"), alt.Tooltip("shown:N", title=measure.heading)],
    )
    bars = encoded.mark_bar().encode(color=alt.condition("datum.rest", alt.value(_REST_COLOUR), alt.value(_COLOUR)))
    numbers = numbers_at_bars(encoded, "value", alt.Text("shown:N"))
    return alt.layer(bars, *numbers).properties(width=WIDTH, height=_BAR * data.height)
