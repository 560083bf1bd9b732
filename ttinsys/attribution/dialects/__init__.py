"""Dialects: what the names of NVTX ranges say, by the tool that made them.

    read_names(pl.DataFrame({"domain": [None], "name": ["aten::mm, seq = 7"], "payload_json": [None]}))

One file of this folder is one dialect: it declares a `Dialect` called `DIALECT`. A dialect claims names and reads a
stable group name from them, and where they say so, role, component, step, direction, sequence number and sizes. The
analyses work from these columns and do not know who made the ranges.

Names may be unique to each call: 3 million in a capture under emit_nvtx. So claims are decided on the heads of names,
the part before the first comma, which are few; and what depends on the head alone is read once for each head.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import polars as pl

READING = pl.Schema(
    {
        "group": pl.Categorical(),  # stable name: the same for all calls of a layer or operation
        "operation": pl.Categorical(),  # PyTorch operation, such as aten::addmm; null for modules and other ranges
        "role": pl.Categorical(),
        "component": pl.Categorical(),
        "class": pl.Categorical(),
        "is_module": pl.Boolean(),  # whether the range is a call of a module
        "direction": pl.Categorical(),
        "step": pl.Int64(),
        "phase": pl.Categorical(),
        "seq": pl.Int64(),  # sequence number, which links a backward operation to its forward
        "sizes": pl.String(),  # sizes of the inputs, as JSON
        "types": pl.String(),
        "values": pl.String(),
        "op_id": pl.Int64(),
        "inputs": pl.String(),  # op_id and output number of each input, as JSON
        "labelled_by": pl.Categorical(),
    }
)
"""What dialects read from names; null where a name does not say. What few values make is categorical."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one tool writes into the names of ranges.

    Attributes:
        name: name of the dialect, as `labelled_by` shows it.
        doc: the tool, and what it writes.
        source: where the examples come from.
        claims: whether a name is of this dialect: a Boolean over `domain`, `head` (the name up to its first comma) and
            `rest` (the four characters after the comma and its space). Over `name` it costs more where names are many.
        reads: columns of `READING` over these, and over `name` and `payload_json`.
        examples: real names, and what is read from each; `domain` and `payload_json` are those of the range.
        rank: dialects of lower ranks claim first.
    """

    name: str
    doc: str
    source: str
    claims: pl.Expr
    reads: Mapping[str, pl.Expr]
    examples: Mapping[str, Mapping[str, object]]
    rank: int = 0


_OF_HEAD = frozenset({"domain", "head", "rest"})
_added: list[Dialect] = []


@cache
def known_dialects() -> tuple[Dialect, ...]:
    """The dialects of this folder, in the order in which they claim."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    found = [module.DIALECT for module in modules if hasattr(module, "DIALECT")]
    return tuple(sorted(found, key=lambda dialect: (dialect.rank, dialect.name)))


def add_dialect(dialect: Dialect | str | Path) -> None:
    """Let a dialect claim before all others, for the rest of the process.

    Args:
        dialect: a dialect, or a TOML file of patterns (see `ttinsys.attribution.dialects.files`).

    Raises:
        DialectError: The file cannot be used.
    """
    if not isinstance(dialect, Dialect):
        from ttinsys.attribution.dialects.files import load_dialect

        dialect = load_dialect(dialect)
    _added.append(dialect)


@contextmanager
def added_dialects(dialects: Iterable[Dialect]) -> Iterator[None]:
    """Let dialects claim before all others, in their order, while the context lasts."""
    before = [*_added]
    _added.extend(dialects)
    try:
        yield
    finally:
        _added[:] = before


def dialects() -> tuple[Dialect, ...]:
    """All dialects, in the order in which they claim: those that were added, then those of this folder."""
    return (*_added, *known_dialects())


def read_names(names: pl.DataFrame, columns: Iterable[str] = tuple(READING)) -> pl.DataFrame:
    """Read the names of ranges.

    Args:
        names: `domain`, `name` and `payload_json` (String), one row per distinct name.
        columns: columns of `READING` to read.

    Returns:
        These columns, in the order of the names; `group` is the name itself where no dialect claims it.
    """
    wanted = [name for name in READING if name in {*columns}]
    comma = pl.col("name").str.find(", ", literal=True)
    keyed = names.select(
        "domain",
        # A null length takes the whole name.
        pl.col("name").str.slice(0, comma).alias("head"),
        pl.when(comma.is_not_null()).then(pl.col("name").str.slice(comma + 2, 4)).alias("rest"),
    )
    used = dialects()
    if any("name" in dialect.claims.meta.root_names() for dialect in used):
        keyed = keyed.with_columns(names["name"])
    heads = keyed.unique(maintain_order=True).with_row_index("key")
    key = keyed.join(heads, on=keyed.columns, how="left", nulls_equal=True, maintain_order="left")["key"]
    claims = (pl.when(dialect.claims).then(pl.lit(number, pl.UInt16)) for number, dialect in enumerate(used))
    # Lazy frames compute what several expressions share once; others do not.
    heads = heads.lazy().with_columns(pl.coalesce(*claims, pl.lit(None, pl.UInt16)).alias("dialect")).collect()
    claimed_by = heads["dialect"].gather(key)
    unclaimed = claimed_by.is_null().arg_true()
    unread = pl.DataFrame(schema={name: READING[name] for name in wanted}).clear(unclaimed.len())
    if "group" in wanted:
        unread = unread.with_columns(names["name"].gather(unclaimed).cast(pl.Categorical).alias("group"))
    parts, places = [unread], [unclaimed]
    for number in claimed_by.unique().drop_nulls():
        rows = (claimed_by == number).arg_true()
        parts.append(_read(used[number], names[rows], heads, key.gather(rows), wanted))
        places.append(rows)
    if unclaimed.is_empty() and len(parts) == 2:
        return parts[1]
    # Put together, then in order: writing into columns would copy each of them once per dialect.
    return pl.concat(parts)[pl.concat(places).arg_sort()]


def _read(
    dialect: Dialect, names: pl.DataFrame, heads: pl.DataFrame, key: pl.Series, wanted: list[str]
) -> pl.DataFrame:
    """Columns that one dialect reads from the names that it has claimed."""
    reads = {**dialect.reads, "labelled_by": pl.lit(dialect.name)}
    of_head = [name for name in wanted if name in reads and _OF_HEAD.issuperset(reads[name].meta.root_names())]
    of_name = [name for name in wanted if name in reads and name not in of_head]
    # Only heads of this dialect: the expressions of one may fail on the names of another.
    own = heads.lazy().filter(pl.col("dialect").is_not_null() & pl.col("key").is_in(key.unique().implode()))
    read = own.select("key", *(reads[name].cast(READING[name]).alias(name) for name in of_head)).collect()
    columns = pl.DataFrame({"key": key}).join(read, on="key", how="left", maintain_order="left")
    if of_name:
        rows = names.hstack(heads.select("head", "rest")[key])
        columns = columns.hstack(_once(rows, {name: reads[name] for name in of_name}))
    return columns.with_columns(
        pl.col(name).cast(READING[name]) if name in columns.columns else pl.lit(None, READING[name]).alias(name)
        for name in wanted
    ).select(wanted)


def _once(rows: pl.DataFrame, expressions: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """Evaluate expressions, once for rows that agree in all that these depend on where many do."""
    wanted = [expression.alias(name) for name, expression in expressions.items()]
    used = sorted({root for expression in expressions.values() for root in expression.meta.root_names()})
    values = rows.select(used)
    if rows.select(pl.col("name").approx_n_unique()).item() > rows.height / 2:
        return values.lazy().select(wanted).collect()
    distinct = values.unique(maintain_order=True)
    table = distinct.hstack(distinct.lazy().select(wanted).collect())
    return values.join(table, on=used, how="left", nulls_equal=True, maintain_order="left").select(expressions.keys())
