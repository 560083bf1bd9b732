"""The headlines of a page: what the tables of a trace say, in sentences with their numbers.

Each is left out where the trace cannot tell: a page says nothing that was not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from ttinsys.analysis import find
from ttinsys.coverage import share
from ttinsys.labels import FAMILIES
from ttinsys.render.grid import brief

Tables = Mapping[str, pl.LazyFrame]


def findings(tables: Tables) -> list[str]:
    """What stands out in one trace.

    Args:
        tables: of the trace, by name.
    """
    ops = tables["ops"].select("duration_ns").collect()
    if ops.is_empty():
        return ["No GPU activity: nothing here was timed on a GPU."]
    whole = int(ops["duration_ns"].sum())
    said = (_families, _components, _slowest_layer, _slowest_kernel)
    return [sentence for tell in said for sentence in tell(tables, whole)]


def _result(name: str, tables: Tables, **options: object) -> pl.DataFrame:
    return find(name).on(tables, **options).collect()


def _families(tables: Tables, whole: int) -> Iterator[str]:
    """Convolution, attention, linear: the study's question."""
    roles = _result("breakdown", tables)
    if roles["role"].str.starts_with("(").all():
        operators = _result("breakdown", tables, by=("operator",)).head(3)
        parts = [f"{name} {share(ns, whole)}" for name, ns in operators.select("operator", "sum_ns").iter_rows()]
        yield f"By operator, most of the GPU time is in {_listed(parts)}; roles are not known without annotation."
        return
    of_family = {role: family for family, members in FAMILIES.items() for role in members}
    grouped = (
        roles.with_columns(pl.col("role").replace_strict(of_family, default="everything else").alias("family"))
        .group_by("family")
        .agg(pl.col("sum_ns").sum())
        .sort("sum_ns", descending=True)
    )
    parts = [f"{family} {share(ns, whole)}" for family, ns in grouped.iter_rows()]
    both = roles.filter(pl.col("role").is_in([*FAMILIES["attention"]]))["sum_ns"].sum()
    with_projections = _result("breakdown", tables, projections="attention")
    all_of_it = with_projections.filter(pl.col("role").is_in([*FAMILIES["attention"]]))["sum_ns"].sum()
    yield f"Of the GPU time, {_listed(parts)}."
    if all_of_it > both:
        yield f"Attention is {share(both, whole)} without its projections, and {share(all_of_it, whole)} with them."


def _components(tables: Tables, whole: int) -> Iterator[str]:
    parts = _result("breakdown", tables, by=("component",)).filter(~pl.col("component").str.starts_with("("))
    if parts.height > 1:
        listed = [f"{name} {share(ns, whole)}" for name, ns in parts.select("component", "sum_ns").iter_rows()]
        yield f"By component: {_listed(listed)}."


def _slowest_layer(tables: Tables, whole: int) -> Iterator[str]:
    layers = _result("layers", tables).drop_nulls("path").sort("self_ns", descending=True)
    if layers.height and layers["self_ns"][0] > 0:
        path, ns, instances = layers.select("path", "self_ns", "instances").row(0)
        yield f"The slowest single layer is {path}: {_ms(ns)} in {instances:,} calls, {share(ns, whole)} of all."


def _slowest_kernel(tables: Tables, whole: int) -> Iterator[str]:
    kernel, instances, ns = _result("kernels", tables).select("kernel", "instances", "sum_ns").row(0)
    yield f"The slowest kernel is {brief(kernel)}: {_ms(ns)} in {instances:,} executions, {share(ns, whole)} of all."


def _ms(ns: float) -> str:
    return f"{ns / 1e6:,.3f} ms"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def comparison(tables: Mapping[str, Tables]) -> list[str]:
    """What changed from the first of several traces to each other.

    Args:
        tables: by the name of the trace and of the table.
    """
    return []
