"""Attribution: which range a GPU operation belongs to, why it has none, and that none is lost."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parsers
import ttinsys
from parsers.tables import API_CALLS, TABLES
from tests.build import TraceBuilder
from tests.shared import TRACES, each_capture, examples, needs_captures, slow
from ttinsys.attribution.attribute import OPS, REASONS

OPERATIONS = ("kernels", "memcpys", "memsets", "graph_launches")


def attributed(t: TraceBuilder, folder: Path) -> pl.DataFrame:
    return ttinsys.attribute(t.load(folder)).collect()


def only(ops: pl.DataFrame, *columns: str) -> tuple[object, ...]:
    assert ops.height == 1
    return ops.select(columns).row(0)


def test_kernel_belongs_to_the_innermost_range_open_when_its_launch_began(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "unet", 0, 100)
    inner = t.range(main, "conv", 10, 20)
    # It runs long after both have closed, while a range that has nothing to do with it is open.
    t.kernel(main, "sgemm", launch=(12, 30), gpu=(500, 530))
    t.range(main, "later", 400, 600)
    ops = attributed(t, tmp_path)
    assert only(ops, "range", "path", "depth", "range_id") == ("conv", "unet/conv", 1, inner)
    assert only(ops, "attributed_by", "queue_ns", "duration_ns", "api_duration_ns") == ("launch", 470, 30, 18)


def test_kernel_launched_after_the_range_closed_is_unattributed(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "unet", 0, 100)
    t.kernel(main, "sgemm", launch=(100, 105), gpu=(120, 150))
    assert only(attributed(t, tmp_path), "range", "path", "depth", "range_id", "attributed_by") == (
        None,
        None,
        None,
        None,
        "no_range_open",
    )


def test_range_of_another_thread_does_not_count(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, other = t.thread(tid=11), t.thread(tid=12)
    t.range(other, "dataloader", 0, 100)
    t.kernel(main, "sgemm", launch=(10, 15), gpu=(20, 30))
    assert only(attributed(t, tmp_path), "range", "tid") == (None, 11)


def test_correlation_ids_that_repeat_across_processes_do_not_mix(tmp_path: Path) -> None:
    t = TraceBuilder()
    one, two = t.thread(pid=10, tid=10), t.thread(pid=20, tid=20)
    t.range(one, "rank 0", 0, 100)
    t.range(two, "rank 1", 0, 100)
    t.kernel(one, "a", launch=(10, 15), gpu=(20, 30), correlation_id=5)
    t.kernel(two, "b", launch=(11, 16), gpu=(20, 40), correlation_id=5)
    ops = attributed(t, tmp_path)
    assert ops.select("kernel", "pid", "range").rows() == [("a", 10, "rank 0"), ("b", 20, "rank 1")]


def test_launch_with_two_api_rows_counts_once_by_the_first_to_begin(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "outer", 0, 100)
    t.range(main, "wrapper", 12, 30)
    # The driver call inside the runtime call has the same correlation id, and comes first in the table.
    t.api(main, "cuLaunchKernel", 13, 14, correlation_id=9)
    t.api(main, "cudaLaunchKernel_v7000", 11, 15, correlation_id=9)
    t.kernel(main, "sgemm", api=None, gpu=(20, 50), correlation_id=9)
    assert only(attributed(t, tmp_path), "api", "range", "duration_ns") == ("cudaLaunchKernel", "outer", 30)


def test_operation_without_a_call_says_whether_it_was_launched_before_the_capture(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.api(main, "cudaMalloc", 0, 1, correlation_id=100)
    t.kernel(main, "early", api=None, gpu=(1, 2), correlation_id=99)
    t.kernel(main, "lost", api=None, gpu=(3, 4), correlation_id=101)
    ops = attributed(t, tmp_path)
    assert ops.select("kernel", "attributed_by", "tid", "api").rows() == [
        ("early", "launched_before_capture", None, None),
        ("lost", "no_api_call", None, None),
    ]


def test_every_kind_of_operation_has_one_row_with_its_own_columns(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "step", 0, 100)
    t.kernel(
        main, "void conv<float>(int)", short_name="conv", launch=(1, 2), gpu=(10, 20), grid=(4, 5, 6), static_shared=64
    )
    t.memcpy(main, "HtoD", 4096, launch=(3, 4), gpu=(20, 25))
    t.memset(main, 16, launch=(5, 6), gpu=(25, 26))
    t.graph(main, 3, launch=(7, 8), gpu=(30, 90))
    ops = attributed(t, tmp_path)
    assert ops.schema == OPS.schema
    assert ops.select("kind", "kernel", "kernel_short", "size_bytes", "graph_id", "grid_y", "range").rows() == [
        ("kernel", "void conv<float>(int)", "conv", None, None, 5, "step"),
        ("memcpy", "[CUDA memcpy Host-to-Device]", "[CUDA memcpy Host-to-Device]", 4096, None, None, "step"),
        ("memset", "[CUDA memset]", "[CUDA memset]", 16, None, None, "step"),
        ("graph", "[CUDA graph 3]", "[CUDA graph 3]", None, 3, None, "step"),
    ]
    assert ops["operator"].to_list()[1:] == ["memcpy", "memset", "graph"]
    assert ops.select("variant", "precision").rows() == [(None, "fp32"), *[(None, None)] * 3]


def test_replayed_graph_node_belongs_to_the_range_that_captured_it_through_two_clones(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "warmup", 0, 50)
    t.range(main, "attn", 10, 20)
    t.graph_node(main, node=1, at=12)
    t.graph_node(main, node=2, at=30, original=1)
    t.graph_node(main, node=3, at=60, original=2)
    t.range(main, "replay", 100, 200)
    t.kernel(main, "sgemm", launch=(110, 115), gpu=(120, 150), api="cudaGraphLaunch_v10000", graph_node=3)
    ops = attributed(t, tmp_path)
    assert only(ops, "range_id", "path", "attributed_by", "api") == (
        -1,
        "replay/attn",
        "graph_capture",
        "cudaGraphLaunch",
    )


def test_graph_node_captured_outside_every_range_belongs_to_the_range_of_its_replay(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.graph_node(main, node=1, at=12)
    t.range(main, "replay", 100, 200)
    t.kernel(main, "sgemm", launch=(110, 115), gpu=(120, 150), graph_node=1)
    assert only(attributed(t, tmp_path), "path", "attributed_by") == ("replay", "launch")


def test_graph_nodes_that_name_each_other_as_original_end(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "capture", 0, 50)
    t.graph_node(main, node=1, at=12, original=2)
    t.graph_node(main, node=2, at=13, original=1)
    t.kernel(main, "sgemm", launch=(110, 115), gpu=(120, 150), graph_node=1)
    assert only(attributed(t, tmp_path), "path", "attributed_by") == ("capture", "graph_capture")


def test_range_never_closed_holds_what_comes_after(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "serve", 5, None)
    t.range(main, "request", 10, 20)
    t.kernel(main, "sgemm", launch=(1000, 1001), gpu=(2000, 2001))
    assert only(attributed(t, tmp_path), "path") == ("serve",)


def test_trace_without_ranges_attributes_nothing_and_keeps_every_row(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.kernel(main, "sgemm", launch=(1, 2), gpu=(3, 9))
    t.memset(main, 1, launch=(3, 4), gpu=(9, 10))
    ops = attributed(t, tmp_path)
    assert ops["attributed_by"].to_list() == ["no_range_open", "no_range_open"]
    assert ops["duration_ns"].sum() == 7


@pytest.mark.slow(2)
@pytest.mark.parametrize("engine", ["in-memory", slow("streaming")])
def test_both_engines_answer_any_projection_and_filter_alike(tmp_path: Path, engine: str) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "unet", 0, 100)
    for number in range(6):
        t.kernel(main, f"k{number % 2}", launch=(number, number + 1), gpu=(10 * number, 10 * number + number))
    ops = ttinsys.attribute(t.load(tmp_path))
    whole = ops.collect()
    for column in OPS.schema.names():
        assert ops.select(column).collect(engine=engine).equals(whole.select(column)), column  # type: ignore[call-overload]
    long = ops.filter((pl.col("duration_ns") > 2) & (pl.col("path") == "unet")).select("kernel", "start_ns")
    assert long.collect(engine=engine).rows() == [("k1", 30), ("k0", 40), ("k1", 50)]  # type: ignore[call-overload]
    assert ops.head(2).collect(engine=engine).equals(whole.head(2))  # type: ignore[call-overload]


@each_capture
def test_no_operation_and_no_nanosecond_is_lost_on_real_captures(capture: Path) -> None:
    trace = parsers.load(capture)
    ops = ttinsys.attribute(trace).collect()
    raw = pl.concat([getattr(trace, name).select("start_ns", "end_ns") for name in OPERATIONS]).collect()
    assert ops.height == raw.height
    assert ops["duration_ns"].sum() == (raw["end_ns"] - raw["start_ns"]).sum()
    assert set(ops["attributed_by"]) <= REASONS.keys()
    named = ops["attributed_by"].is_in(["launch", "graph_capture"])
    assert (named == ops["range_id"].is_not_null()).all()
    assert (named == ops["path"].is_not_null()).all()


@pytest.mark.slow(1)
@needs_captures
def test_sqlite_and_parquet_of_one_capture_attribute_alike() -> None:
    name = "torch-mnist-aten-2023.4"
    one, two = (ttinsys.attribute(parsers.load(TRACES / f"{name}{kind}")).collect() for kind in (".sqlite", "_pqtdir"))
    assert one.equals(two)
    assert one.filter(pl.col("range_id").is_null()).is_empty()


@needs_captures
def test_trimmed_capture_says_that_1810_kernels_were_launched_before_it() -> None:
    ops = ttinsys.attribute(parsers.load(TRACES / "torch-trimmed-2gpu-2026.2.sqlite")).collect()
    early = ops.filter((pl.col("kind") == "kernel") & (pl.col("attributed_by") == "launched_before_capture"))
    assert early.height == 1810


@st.composite
def programs(draw: st.DrawFn) -> TraceBuilder:
    """Threads of two processes that open ranges in two domains and launch, with equal times everywhere."""
    t = TraceBuilder()
    threads = [t.thread(pid, tid) for pid, tid in ((10, 10), (10, 11), (20, 20))]
    for pid in (10, 20):
        t.domain(pid, 1, "library", 0)
    times = st.integers(0, 20)
    for number in range(draw(st.integers(0, 8))):
        start, end = sorted((draw(times), draw(times)))
        kind = draw(st.sampled_from(("push_pop", "start_end")))
        t.range(
            draw(st.sampled_from(threads)),
            f"r{number}",
            start,
            draw(st.sampled_from((end, None))),
            kind=kind,  # type: ignore[arg-type]
            domain=draw(st.sampled_from((0, 1))),
        )
    for number in range(draw(st.integers(0, 8))):
        launch, start, length = draw(times), draw(times), draw(st.integers(0, 5))
        t.kernel(
            draw(st.sampled_from(threads)),
            f"k{number}",
            launch=(launch, launch + draw(st.integers(0, 3))),
            api=draw(st.sampled_from(("cudaLaunchKernel_v7000", None))),
            gpu=(start, start + length),
            stream=draw(st.sampled_from((7, 8))),
        )
    return t


@examples(60)
@given(programs())
def test_attribution_equals_brute_force(tmp_path_factory: pytest.TempPathFactory, t: TraceBuilder) -> None:
    trace = t.load(tmp_path_factory.mktemp("trace"))
    nvtx = trace.nvtx_events.filter(pl.col("event_type").is_in([59, 60])).collect().rows(named=True)
    calls = trace.api_calls.collect().rows(named=True)
    expected = []
    for kernel in trace.kernels.collect().rows(named=True):
        made = [
            call
            for call in calls
            if call["correlation_id"] == kernel["correlation_id"]
            and call["global_tid"] >> 24 == kernel["global_pid"] >> 24
        ]
        is_open = [
            event
            for event in nvtx
            if made
            and event["global_tid"] == made[0]["global_tid"]
            and event["start_ns"] <= made[0]["start_ns"]
            and (event["end_ns"] is None or made[0]["start_ns"] < event["end_ns"])
        ]
        # The last to open; of those that open together, the shortest; of equals, the last in the export.
        innermost = max(
            is_open,
            key=lambda event: (
                event["start_ns"],
                -(2**62 if event["end_ns"] is None else event["end_ns"]),
                event["row_id"],
            ),
            default=None,
        )
        expected.append(innermost and innermost["row_id"])
    assert ttinsys.attribute(trace).collect()["range_id"].to_list() == expected


def test_every_column_of_ops_says_what_it_means_and_times_say_their_unit() -> None:
    for column in OPS.columns:
        assert column.doc, column.name
        assert column.unit == "ns" or not column.name.endswith("_ns"), column.name


def test_every_table_declares_its_source_and_documents_its_columns() -> None:
    for name, table in TABLES.items():
        assert table.name == name
        assert table.doc, name
        assert table.sources, name
        for column in table.columns:
            assert column.doc, (name, column.name)
            assert column.aliases, (name, column.name)
    assert API_CALLS.remedy
