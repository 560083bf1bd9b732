"""Replays of CUDA graphs as ranges: what was captured, once more for each launch of the graph.

    nested = with_replays(trace, nest(ranges))

A graph is captured once and launched many times. The range in which a node was captured says which layer it is; the
ranges around the launch say in which step, or for which request, it runs. So the captured ranges inside the graph are
repeated under the range that is open at each launch: everything that adds up over ranges then counts each replay once,
in its layer and in its step, and a range around a launch has the time that nsys gives it.

A captured range is inside the graph unless it was open when the capture began, which the CUDA API calls tell. Where
these are missing, a range is outside if it was still open when the graph was instantiated, or if it holds all nodes of
the graph in ranges of its own, as that says nothing of any of them.
"""

from __future__ import annotations

import polars as pl

from parsers import Trace
from ttinsys.attribution.graphs import capture_sites, with_begins
from ttinsys.attribution.identity import pid_of, process_of, tid_of
from ttinsys.attribution.launches import IDENTITY, api_calls
from ttinsys.attribution.nesting import FOREVER, depths, extended, innermost

REPLAY = "graph_replay"
"""`kind` of a range that repeats a captured one."""

_LAUNCH = ["global_tid", "launch_ns"]


def with_replays(trace: Trace, nested: pl.DataFrame) -> pl.DataFrame:
    """Add a range for each launch of a CUDA graph and each captured range inside it.

    Args:
        trace: the trace of the ranges.
        nested: ranges as `nest` returns them, with `group` and `domain_id` where the trace has graph nodes.

    Returns:
        The same columns and `captured_id`, the `row_id` of the range that a row repeats; null for ranges that the
        program opened. Rows that repeat one are of no duration, at the time of the launch, and have negative IDs.
    """
    unchanged = nested.with_columns(pl.lit(None, pl.Int64).alias("captured_id"))
    if not trace.has("graph_nodes") or nested.is_empty():
        return unchanged
    nodes = _launched_nodes(trace, nested)
    if nodes.is_empty():
        return unchanged
    launches = nodes.group_by(*_LAUNCH, maintain_order=True).agg(pl.col("graph").first())
    around = innermost(nested, launches["global_tid"], launches["launch_ns"])
    launches = launches.with_row_index("launch").with_columns(around.alias("around"))
    grafts = _grafts(nested, launches, _inside(nested, nodes))
    grafts = _with_flat(grafts, nodes, launches)
    return _inserted(unchanged, grafts) if grafts.height else unchanged


def replay_ranges(nested: pl.DataFrame, launches: pl.DataFrame, around: pl.Series, captured: pl.Series) -> pl.Series:
    """The range of each operation of a trace with CUDA graphs.

    Args:
        nested: what `with_replays` returns.
        launches: `global_tid` and `api_start_ns` of the operations.
        around: positions of the ranges that were open at their launches; null where none was.
        captured: positions of the ranges in which their nodes were captured; null where there is none.

    Returns:
        Positions in `nested`: of the repeated range, or else of the range around the launch.
    """
    copies = nested.filter(pl.col("captured_id").is_not_null()).select(
        "global_tid", pl.col("start_ns").alias("api_start_ns"), "captured_id", pl.col("index").alias("copy")
    )
    wanted = launches.with_columns(
        extended(nested["range_id"], None).gather(captured.fill_null(nested.height)).alias("captured_id")
    )
    found = wanted.join(
        copies.unique(["global_tid", "api_start_ns", "captured_id"], keep="first"),
        on=["global_tid", "api_start_ns", "captured_id"],
        how="left",
        maintain_order="left",
    )["copy"]
    result = found.zip_with(found.is_not_null(), around)
    # Without a launch, the capture is all that is known; and a captured range that is open at the launch is kept where
    # the range around the launch crosses it.
    kept = _is_open(nested, captured, launches) & ~_encloses(nested, captured, around)
    kept = (launches["api_start_ns"].is_null() | kept) & captured.is_not_null() & found.is_null()
    return captured.zip_with(kept, result)


def _launched_nodes(trace: Trace, nested: pl.DataFrame) -> pl.DataFrame:
    """Nodes that ran, once for each launch.

    Returns:
        `global_tid` and `launch_ns` of the launch, `graph` (a number), `capture_tid`, `captured` (position of the range
        in which the node was captured, null where there is none), `begin_ns` (start of the capture) and
        `instantiated_ns`, both null where they are unknown.
    """
    columns = [*IDENTITY, "graph_node_id"]
    activity = pl.concat([frame.select(columns) for frame in (trace.kernels, trace.memcpys, trace.memsets)])
    ran = activity.filter(pl.col("graph_node_id").is_not_null()).unique()
    calls = api_calls(trace).with_columns(process_of("global_tid").alias("global_pid"))
    launched, nodes = pl.collect_all(
        [
            ran.join(calls, on=IDENTITY).select(*columns, "global_tid", pl.col("api_start_ns").alias("launch_ns")),
            trace.graph_nodes,
        ]
    )
    sites = with_begins(trace, capture_sites(nodes))
    sites = sites.with_columns(innermost(nested, sites["capture_tid"], sites["capture_ns"]).alias("captured"))
    # Of several calls with one correlation ID, the first counts, as for other operations.
    launched = launched.sort("launch_ns").unique(columns, keep="first")
    graph = pl.struct("global_pid", pl.col("graph_node_id").min().over(_LAUNCH)).rank("dense").alias("graph")
    joined = launched.join(sites, on=["global_pid", "graph_node_id"]).with_columns(graph)
    kept = [*_LAUNCH, "graph", "capture_tid", "captured", "begin_ns", "instantiated_ns"]
    return joined.select(kept).unique().sort(kept, nulls_last=True)


def _inside(nested: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """The captured ranges inside each graph: `graph` and `range`, their position."""
    held = nodes.drop(_LAUNCH).unique()
    site = ["graph", "capture_tid", "captured"]
    distinct = held.select(site).unique()
    totals = distinct.group_by("graph", "capture_tid").agg(pl.len().alias("sites"))
    parents = extended(nested["parent"], None)
    level = held.filter(pl.col("captured").is_not_null()).with_columns(pl.col("captured").alias("range"))
    levels = [level.clear()]
    while level.height:
        levels.append(level)
        level = level.with_columns(parents.gather(level["range"]).alias("range")).drop_nulls("range")
    chains = pl.concat(levels)
    holders = (
        distinct.select("graph", pl.col("captured").alias("range")).drop_nulls().with_columns(holds=pl.lit(value=True))
    )
    start, end = nested["start_ns"].gather(chains["range"]), _ends(nested).gather(chains["range"])
    return (
        chains.with_columns(start.alias("start_ns"), end.alias("end_ns"))
        .join(totals, on=["graph", "capture_tid"])
        .join(holders, on=["graph", "range"], how="left")
        .group_by("graph", "range")
        .agg(
            (pl.col("start_ns") <= pl.col("begin_ns")).any().alias("before"),
            pl.col("begin_ns").is_null().any().alias("guess"),
            (pl.col("end_ns") > pl.col("instantiated_ns")).any().alias("after"),
            (pl.col("captured").n_unique() == pl.col("sites").first()).alias("around"),
            pl.col("holds").any(),
        )
        .filter(~(pl.col("before") | (pl.col("guess") & (pl.col("after") | (pl.col("around") & ~pl.col("holds"))))))
        .select("graph", "range")
    )


def _grafts(nested: pl.DataFrame, launches: pl.DataFrame, inside: pl.DataFrame) -> pl.DataFrame:
    """Ranges to repeat: `launch`, `range`, `global_tid`, `launch_ns` and `around` of the launch."""
    grafts = launches.join(inside, on="graph").drop("graph")
    open_at_launch = _is_open(nested, grafts["range"], grafts.rename({"launch_ns": "api_start_ns"}))
    grafts = grafts.filter(~open_at_launch)
    # A range inside that is named as the one around the launch, but for numbers, is that layer: it is there already.
    folded = nested.select(
        pl.struct(pl.col("group").cast(pl.String).str.replace_all(r"\d+", "#"), "domain_id").alias("fold")
    )["fold"]
    none = nested.height
    alike = pl.DataFrame(
        {
            "one": folded.gather(grafts["range"]),
            "other": extended(folded, None).gather(grafts["around"].fill_null(none)),
        }
    ).select((pl.col("one") == pl.col("other")) & grafts["around"].is_not_null())
    return grafts.filter(~(alike.to_series() & _is_top(nested, grafts)).fill_null(value=False))


def _with_flat(grafts: pl.DataFrame, nodes: pl.DataFrame, launches: pl.DataFrame) -> pl.DataFrame:
    """Repeat the range of a node alone where neither the graph nor the launch has a range of its own."""
    bare = nodes.drop_nulls("captured").join(launches.filter(pl.col("around").is_null()), on=[*_LAUNCH, "graph"])
    flat = bare.select("launch", *_LAUNCH, "around", pl.col("captured").alias("range")).unique()
    flat = flat.join(grafts, on=["launch", "range"], how="anti")
    return pl.concat([grafts, flat.select(grafts.columns)]).sort("launch", "range")


def _is_top(nested: pl.DataFrame, grafts: pl.DataFrame) -> pl.Series:
    """Whether the parent of each range to repeat is not repeated at the same launch."""
    parents = pl.DataFrame({"launch": grafts["launch"], "range": nested["parent"].gather(grafts["range"])})
    repeated = grafts.select("launch", "range", pl.lit(value=True).alias("repeated"))
    return parents.join(repeated, on=["launch", "range"], how="left", maintain_order="left")["repeated"].is_null()


def _inserted(nested: pl.DataFrame, grafts: pl.DataFrame) -> pl.DataFrame:
    """Put the repeated ranges behind the ranges that were open at their launches, and renumber."""
    count = nested.height
    ids = pl.int_range(count, count + grafts.height, dtype=pl.UInt32, eager=True)
    known = grafts.select("launch", "range").with_columns(ids.alias("id"))
    above = pl.DataFrame({"launch": grafts["launch"], "range": nested["parent"].gather(grafts["range"])})
    within = above.join(known, on=["launch", "range"], how="left", maintain_order="left")["id"]
    number = pl.int_range(-1, -1 - grafts.height, -1, dtype=pl.Int64, eager=True)
    copies = nested[grafts["range"]].with_columns(
        nested["row_id"].gather(grafts["range"]).alias("captured_id"),
        grafts["global_tid"],
        grafts["launch_ns"].alias("start_ns"),
        grafts["launch_ns"].alias("end_ns"),
        within.zip_with(within.is_not_null(), grafts["around"]).alias("parent"),
        number.alias("row_id"),
        *([number.alias("range_id")] if "range_id" in nested.columns else []),
        *([pl.lit(REPLAY).alias("kind")] if "kind" in nested.columns else []),
    )
    copies = copies.with_columns(
        expression.alias(name)
        for name, expression in (("pid", pid_of("global_tid")), ("tid", tid_of("global_tid")))
        if name in nested.columns
    )
    # Originals come in the order that they have, and copies after those that open at the same time, by launch.
    keys = pl.concat([pl.DataFrame({"launch": nested["index"], "copy": False}, schema_overrides={"launch": pl.UInt32}),
                      grafts.select("launch", pl.lit(value=True).alias("copy"))])  # fmt: skip
    whole = pl.concat([nested, copies]).hstack(keys).with_row_index("id")
    whole = whole.sort("global_tid", "start_ns", "copy", "launch", "id", nulls_last=True)
    place = pl.int_range(whole.height, dtype=pl.UInt32, eager=True)
    places = pl.zeros(whole.height, dtype=pl.UInt32, eager=True).scatter(whole["id"], place)
    parent = extended(places, whole.height).gather(whole["parent"].fill_null(whole.height))
    return whole.with_columns(
        place.alias("index"), parent.replace(whole.height, None).alias("parent"), depths(parent).alias("depth")
    ).select(nested.columns)


def _ends(nested: pl.DataFrame) -> pl.Series:
    return nested["end_ns"].fill_null(FOREVER)


def _is_open(nested: pl.DataFrame, positions: pl.Series, launches: pl.DataFrame) -> pl.Series:
    """Whether each range is open when each launch begins, on its thread."""
    at = positions.fill_null(nested.height)
    moments, threads = launches["api_start_ns"], launches["global_tid"]
    opened = extended(nested["start_ns"], None).gather(at) <= moments
    closed = extended(_ends(nested), None).gather(at) <= moments
    return (opened & ~closed & (extended(nested["global_tid"], None).gather(at) == threads)).fill_null(value=False)


def _encloses(nested: pl.DataFrame, outer: pl.Series, inner: pl.Series) -> pl.Series:
    """Whether each range is another, or around it; false where either is null."""
    none = nested.height
    parents = extended(nested["parent"].fill_null(none), none)
    wanted, current = outer.fill_null(none), inner.fill_null(none)
    encloses = (current == wanted) & (current != none)
    while (current != none).any():
        current = parents.gather(current)
        encloses = encloses | ((current == wanted) & (current != none))
    return encloses
