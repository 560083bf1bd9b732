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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module

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
            `rest` (the four characters after the comma and its space).
        reads: columns of `READING` over these, and over `name` and `payload_json`.
        examples: real names, and what is read from each.
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


def add_dialect(dialect: Dialect) -> None:
    """Let a dialect claim before all others, for the rest of the process."""
    _added.append(dialect)


def dialects() -> tuple[Dialect, ...]:
    """All dialects, in the order in which they claim: those that were added, then those of this folder."""
    return (*_added, *known_dialects())


def read_names(names: pl.DataFrame, columns: Iterable[str] = tuple(READING)) -> pl.DataFrame:
    """Read the names of names.

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
    heads = keyed.unique(maintain_order=True).with_row_index("key")
    key = keyed.join(heads, on=keyed.columns, how="left", nulls_equal=True, maintain_order="left")["key"]
    used = dialects()
    claims = (pl.when(dialect.claims).then(pl.lit(number, pl.UInt16)) for number, dialect in enumerate(used))
    heads = heads.with_columns(pl.coalesce(*claims, pl.lit(None, pl.UInt16)).alias("dialect"))
    claimed_by = heads["dialect"].gather(key)
    result = pl.DataFrame(schema={name: READING[name] for name in wanted}).clear(names.height)
    for number in claimed_by.unique().drop_nulls().sort():
        rows = (claimed_by == number).arg_true()
        read = _read(used[number], names[rows], heads, key.gather(rows), wanted)
        if rows.len() == names.height:
            return read
        result = result.with_columns(result[name].scatter(rows, read[name]) for name in wanted)
    unclaimed = claimed_by.is_null().arg_true()
    if "group" in wanted and not unclaimed.is_empty():
        texts = names["name"].gather(unclaimed).cast(pl.Categorical)
        result = result.with_columns(result["group"].scatter(unclaimed, texts))
    return result


def _read(
    dialect: Dialect, names: pl.DataFrame, heads: pl.DataFrame, key: pl.Series, wanted: list[str]
) -> pl.DataFrame:
    """Columns that one dialect reads from the names that it has claimed."""
    reads = {**dialect.reads, "labelled_by": pl.lit(dialect.name)}
    of_head = [name for name in wanted if name in reads and _OF_HEAD.issuperset(reads[name].meta.root_names())]
    of_name = [name for name in wanted if name in reads and name not in of_head]
    # Only heads of this dialect: the expressions of one may fail on the names of another.
    own = heads.filter(pl.col("dialect").is_not_null() & pl.col("key").is_in(key.unique().implode()))
    read = own.select("key", *(reads[name].cast(READING[name]).alias(name) for name in of_head))
    columns = pl.DataFrame({"key": key}).join(read, on="key", how="left", maintain_order="left")
    if of_name:
        rows = names.hstack(heads.select("head", "rest")[key]).select(reads[name].alias(name) for name in of_name)
        columns = columns.hstack(rows)
    return columns.select(
        pl.col(name).cast(READING[name]) if name in columns.columns else pl.lit(None, READING[name]).alias(name)
        for name in wanted
    )
