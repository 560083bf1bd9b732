"""From what dialects read of names to labels: roles, attention, steps and costs of a stranger's ranges.

Of nested operations the outermost counts: `aten::linear` is one linear layer, and `aten::addmm` in it a detail. An
operation that only moves or changes elements belongs to the module around it where that module does something specific.
What sizes tell comes before what names tell.
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.aten import Surroundings, role_of_operation, surroundings
from ttinsys.attribution.aten.names import ATTENTION_FAMILY
from ttinsys.attribution.cores import axes_of_attention, spelt_ranges, traffic_of_core
from ttinsys.attribution.dialects import read_names
from ttinsys.attribution.dialects.pytorch import PROFILER_DOMAIN
from ttinsys.attribution.gradients import of_forward
from ttinsys.attribution.labels import ATTENTION_ROLES, FAMILIES, LABELS, labels_of_marks
from ttinsys.attribution.nesting import extended, inherited, inside, nest, of_parent, sink
from ttinsys.attribution.sizes import SIZED, prices

OF_NAMES = ("group", "operation", "role", "component", "class", "is_module", "direction", "step", "phase",
            "labelled_by")  # fmt: skip
"""What is read from every name. Sizes are read from the names of operations that have a formula alone."""

_OPERATION, _ROLE, _IS_MODULE = pl.col("operation"), pl.col("role"), pl.col("is_module")
_STRONG = (*(role for roles in FAMILIES.values() for role in roles), "communication", "scheduler")
"""Roles that an operation has whatever module it is in."""

_CONVOLUTIONS = {"aten::conv3d": "spatiotemporal_conv"}


def with_readings(
    nested: pl.DataFrame, names: pl.DataFrame, *, sized: bool
) -> tuple[pl.DataFrame, pl.DataFrame, Surroundings | None]:
    """Read the names of ranges, and add a range around what is spelt out: an attention, a root-mean-square norm.

    Args:
        nested: ranges as `nest` returns them, with `name_key` and `LABEL_SOURCES`.
        names: distinct names, by `name_key`: `domain`, `name` and `payload_json`.
        sized: whether to read what labels need, with what sizes tell; else groups, and what is spelt out, alone.

    Returns:
        The ranges, with `OF_NAMES`, `seq` and `SIZED`, or with `group` and `labelled_by` where only our annotation
        named ranges; the names, with null ones for ranges that were added; and what tells the axes of attention, None
        where nothing was sized.
    """
    read = read_names(names, OF_NAMES if sized else ("group", "operation", "is_module", "direction", "labelled_by"))
    if read["labelled_by"].unique().drop_nulls().is_in(["ttinsys"]).all():
        return nested.hstack(read.select("group", "labelled_by")[nested["name_key"]]), names, None
    added = spelt_ranges(nested, names.hstack(read.select("operation", "is_module", "direction")))
    if not sized:
        read, names, nested = _with_added(read, names, nested, added)
        return nested.hstack(read[nested["name_key"]]), names, None
    if (read["direction"] == "backward").any():
        # The PyTorch profiler's numbers are payloads. The engine's own frame around a backward has the number of what
        # is in it, and is no operation.
        of_profiler = (names["domain"] == PROFILER_DOMAIN) & read["operation"].is_not_null()
        read = read.with_columns(read_names(names, ("seq",))["seq"], of_profiler.alias("_of_profiler"))
    price, table = prices(nested, names.with_columns(read["operation"]))
    around = surroundings(table)
    table = table.rename({"role": "sized_role"}).select(pl.col(name).cast(dtype) for name, dtype in SIZED.items())
    read = read.with_columns(price)
    if added.height:
        dtype = extended(table["dtype"], None).gather(price.gather(added["first_key"]).fill_null(table.height))
        costs = pl.concat([pl.DataFrame(schema=SIZED), added.with_columns(dtype)], how="diagonal_relaxed")
        costs = costs.with_columns(traffic_of_core().alias("bytes")).select(SIZED.names())
        added = added.with_columns(pl.int_range(pl.len(), dtype=pl.UInt32).alias("price") + table.height)
        table = pl.concat([table, costs])
    read, names, nested = _with_added(read, names, nested, added)
    return _sized(nested.hstack(read[nested["name_key"]]), table), names, around


def _with_added(
    read: pl.DataFrame, names: pl.DataFrame, nested: pl.DataFrame, added: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Readings, names and ranges with those that are added; each of them has a null name of its own."""
    if added.is_empty():
        return read, names, nested
    key = pl.int_range(added.height, dtype=pl.UInt32, eager=True) + names.height
    said = [name for name in ("group", "operation", "price") if name in added.columns]
    theirs = added.select(said).with_columns(pl.lit("pytorch", pl.Categorical).alias("labelled_by"))
    slim = nested.drop("index", "parent", "depth")
    rows = added.with_columns(key.alias("name_key")).select(
        name for name in (*added.columns, "name_key") if name in slim.columns
    )
    return (
        pl.concat([read, theirs], how="diagonal"),
        pl.concat([names, names.clear(added.height)]),
        nest(pl.concat([slim, rows], how="diagonal")),
    )


def _sized(nested: pl.DataFrame, table: pl.DataFrame) -> pl.DataFrame:
    """Add `SIZED` and `seq` to ranges, from the row of the table that is their `price`."""
    if "seq" in nested.columns:
        seq = pl.coalesce("seq", pl.when("_of_profiler").then("payload_int64"))
        nested = nested.with_columns(seq.alias("seq")).drop("_of_profiler")
    known = [name for name in SIZED if table[name].null_count() < table.height]
    at = nested["price"].fill_null(table.height)
    return nested.drop("price").with_columns(
        extended(table[name], None).gather(at).alias(name) if name in known else pl.lit(None, dtype).alias(name)
        for name, dtype in SIZED.items()
    )


def with_labels(
    trace: Trace | None, nested: pl.DataFrame, names: pl.DataFrame, around: Surroundings | None
) -> pl.DataFrame:
    """Add the columns `LABELS`: those that our annotation wrote, then those that a dialect tells.

    Args:
        trace: the trace of the ranges; None where it has no mark, and so no annotation.
        nested: ranges, as `with_readings` returns them.
        names: distinct names, by `name_key`.
        around: what tells the axes of attention, as `with_readings` returns it.
    """
    named = nested.with_columns(names["name"].gather(nested["name_key"]).alias("name")) if trace is not None else nested
    labels = labels_of_marks(trace, named)
    annotated = labels["role"].is_not_null()
    if annotated.any():
        ours = pl.Series(["ttinsys"], dtype=pl.Categorical)
        nested = nested.with_columns(
            named["name"].cast(pl.Categorical).zip_with(annotated, nested["group"]).alias("group"),
            ours.zip_with(annotated, nested["labelled_by"]).alias("labelled_by"),
        )
    if around is not None:
        told = _told(nested, annotated, around)
        labels = told.with_columns(
            pl.coalesce(labels[name], pl.col(name).cast(labels[name].dtype)).alias(name)
            if name in told.columns
            else labels[name]
            for name in labels.columns
        )
        nested = nested.drop([*OF_NAMES[1:-1], "seq", *SIZED], strict=False)
    return nested.with_columns(
        labels[column.name] if column.name in labels.columns else pl.lit(None, column.dtype).alias(column.name)
        for column in LABELS
        if column.name != "labelled_by"
    )


def _told(nested: pl.DataFrame, ours: pl.Series, around: Surroundings) -> pl.DataFrame:
    """Labels of ranges whose names dialects have read.

    Args:
        nested: ranges with `OF_NAMES` and `SIZED`.
        ours: whether each range has labels of our own annotation; operations inside such a range belong to it.
        around: what else the trace shows.
    """
    labelled = nested.with_columns(_roles(nested, ours))
    labelled = labelled.with_columns(inherited(nested, labelled["component"]).alias("component"))
    labelled = labelled.with_columns(_attention(labelled, around))
    labelled = labelled.with_columns(
        inherited(nested, labelled["attention"]).alias("attention"),
        *_steps(labelled),
    )
    labelled = labelled.with_columns(of_forward(nested, labelled))
    labelled = labelled.with_columns(_totals(labelled))
    called = _ROLE.is_not_null()
    return labelled.with_columns(pl.when(called).then(name).alias(name) for name in _OF_CALLS)


_OF_CALLS = ("class", "component", "attention", "q_len", "kv_len", "heads", "dtype", "flops", "bytes")
"""Labels that only a range with a role has."""


def _roles(nested: pl.DataFrame, ours: pl.Series) -> list[pl.Series]:
    """`role` of modules and of the outermost operations; `attention` where its axis is not known yet.

    `is_call` tells operations from modules among those that have a role.
    """
    names = nested["operation"].drop_nulls().unique()
    known = {name: role for name in names if (role := role_of_operation(name)) is not None}
    # Without sizes a convolution's axes are those of its name, and a picture's where it has none.
    known = {
        name: _CONVOLUTIONS.get(name, "spatial_conv") if role == "convolution" else role for name, role in known.items()
    }
    by_name = _OPERATION.replace_strict(known, default=None, return_dtype=pl.Categorical)
    by_size = pl.when(pl.col("sized_role") != "convolution").then("sized_role")
    is_operation = _OPERATION.is_not_null() & ~_IS_MODULE.fill_null(value=False)
    split = nested.select(
        pl.when(is_operation).then(pl.coalesce(by_size, by_name, _ROLE)).alias("operation"),
        pl.when(~is_operation).then(pl.coalesce(_ROLE, "sized_role")).alias("module"),
    )
    split = split.with_columns(
        ours.alias("ours"),
        inside(nested, split["operation"].is_not_null() | ours).alias("within"),
        of_parent(nested, inherited(nested, split["module"])).alias("around"),
    )
    specific = (pl.col("around") != "other").fill_null(value=False)
    detail = pl.col("within") | (specific & ~pl.col("operation").is_in([*_STRONG, ATTENTION_FAMILY]))
    told_role = pl.coalesce(pl.when(~detail).then("operation"), pl.when(~pl.col("within")).then("module"))
    told = split.select(
        pl.when(~pl.col("ours")).then(told_role).alias("role"),
        (pl.col("operation").is_not_null() & ~detail & ~pl.col("ours")).alias("is_call"),
    )
    return _with_others(nested, told, ours).get_columns()


def _with_others(nested: pl.DataFrame, told: pl.DataFrame, ours: pl.Series) -> pl.DataFrame:
    """Give the role `other` to the outermost operations that have none; those in them keep what they have."""
    unknown = nested["operation"].is_not_null() & ~sink(nested, told["role"].is_not_null() | ours)
    unknown &= ~inside(nested, unknown)
    other = pl.Series(["other"], dtype=pl.Categorical)
    return told.with_columns(other.zip_with(unknown, told["role"]).alias("role"), told["is_call"] | unknown)


def _attention(labelled: pl.DataFrame, around: Surroundings) -> list[pl.Series]:
    """`role`, where what runs in a module tells the axes of its attention or convolution, and `attention`."""
    attends = labelled["role"].is_in([ATTENTION_FAMILY, *ATTENTION_ROLES]).fill_null(value=False)
    nothing = pl.Series([None], dtype=pl.Categorical)
    if not attends.any():
        roles = _observed(labelled, labelled["role"], FAMILIES["convolution"])
        return [roles.alias("role"), nothing.new_from_index(0, labelled.height).alias("attention")]
    owner = inherited(labelled, _positions(attends & ~labelled["is_call"]))
    named = extended(labelled["role"], None).gather(owner.fill_null(labelled.height)).alias("named")
    cores = attends & (labelled["is_call"] | labelled["q_len"].is_not_null())
    axes = axes_of_attention(labelled.with_columns(named), cores, around)
    roles = axes.zip_with(cores, labelled["role"]).replace(ATTENTION_FAMILY, "self_attention")
    for family in (ATTENTION_ROLES, FAMILIES["convolution"]):
        roles = _observed(labelled, roles, family)
    return [roles.alias("role"), roles.zip_with(attends, nothing).alias("attention")]


def _observed(labelled: pl.DataFrame, roles: pl.Series, family: tuple[str, ...]) -> pl.Series:
    """Give the modules of a family the role of the calls of this family in them, where they have one alone."""
    of_family = roles.is_in(family).fill_null(value=False)
    if not of_family.any():
        return roles
    is_module = of_family & ~labelled["is_call"]
    owner = inherited(labelled, _positions(is_module))
    above = extended(of_parent(labelled, owner), None)
    calls = pl.DataFrame({"owner": owner, "role": roles}).filter(of_family & labelled["is_call"]).drop_nulls()
    levels: list[pl.DataFrame] = []
    # Modules of attention hold each other: the outer ones hold what is in the inner ones.
    while calls.height and len(levels) < _MOST_NESTED:
        calls = calls.unique(maintain_order=True)
        levels.append(calls)
        calls = calls.with_columns(above.gather(calls["owner"]).alias("owner")).drop_nulls()
    if not levels:
        return roles
    single = pl.concat(levels).group_by("owner").agg(pl.col("role").unique()).filter(pl.col("role").list.len() == 1)
    return roles.scatter(single["owner"], single["role"].list.first())


_MOST_NESTED = 8
"""Most modules of attention that hold each other."""


def _positions(flags: pl.Series) -> pl.Series:
    """The position of each flagged row; null for others."""
    position = pl.int_range(flags.len(), dtype=pl.UInt32, eager=True)
    return position.zip_with(flags, pl.Series([None], dtype=pl.UInt32))


def _steps(labelled: pl.DataFrame) -> list[pl.Series]:
    """`step`, `step_id` and `phase`: a step's range has them, and the ranges in it inherit them."""
    step_id = labelled.select(pl.when(pl.col("step").is_not_null()).then("range_id").alias("step_id")).to_series()
    return [inherited(labelled, values) for values in (labelled["step"], step_id, labelled["phase"])]


def _totals(labelled: pl.DataFrame) -> list[pl.Series]:
    """`flops` and `bytes` of the outermost operations that have a price, added up at the call that they belong to."""
    priced = labelled["flops"].is_not_null()
    holder = inherited(labelled, _positions(labelled["role"].is_not_null()))
    sums = (
        labelled.select("flops", "bytes", holder.alias("holder"))
        .filter(priced & ~inside(labelled, priced) & holder.is_not_null())
        .group_by("holder")
        .agg(pl.col("flops").sum(), pl.when(pl.col("bytes").null_count() == 0).then(pl.col("bytes").sum()))
    )
    nothing = pl.repeat(None, labelled.height, dtype=pl.Int64, eager=True)
    return [nothing.scatter(sums["holder"], sums[name]).alias(name) for name in ("flops", "bytes")]
