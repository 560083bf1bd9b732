"""Replays of CUDA graphs: the layer from the capture; the step, and all else around the graph, from the launch."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import parsers
import ttinsys
from annotate.labels import DTYPES
from tests.build import TraceBuilder
from tests.labelled import Labelled
from ttinsys.attribution.nvtx import ranges
from ttinsys.attribution.select import Selection, apply_selection
from ttinsys.stats import stats_report
from ttinsys.tables.registry import tables_of

LAUNCH = "cudaGraphLaunch_v10000"
HALF = DTYPES.index("float16")


def launch(t: TraceBuilder, at: int, gpu: int, *nodes: int, pid: int = 10, lasting: int = 10) -> None:
    """Launch a graph at `at` ns: its nodes run one after the other, `lasting` ns each, from `gpu` ns on."""
    thread = t.thread(pid, pid + 1)
    correlation = t.api(thread, LAUNCH, at, at + 1)
    for number, node in enumerate(nodes):
        begins = gpu + lasting * number
        t.kernel(
            thread, f"k{node}", api=None, gpu=(begins, begins + lasting), graph_node=node, correlation_id=correlation
        )


def two_layers() -> TraceBuilder:
    """A graph of two layers, captured and instantiated in `model`, and replayed in two steps; 20 ns each."""
    t = TraceBuilder()
    main = t.thread()
    for name, start, end in (("warmup", 0, 100), ("model", 10, 90), ("attn", 20, 40), ("mlp", 50, 70)):
        t.range(main, name, start, end)
    for node, at in ((1, 30), (2, 60)):
        t.graph_node(main, node, at)
        t.graph_node(main, 10 + node, 80, original=node)
    for step in (0, 1):
        t.range(main, f"step_{step}", 200 + 100 * step, 290 + 100 * step)
        launch(t, 210 + 100 * step, 1000 * (step + 1), 11, 12)
    return t


def by_path(trace: parsers.Trace) -> dict[str | None, int]:
    return dict(ttinsys.attribute(trace).group_by("path").agg(pl.col("duration_ns").sum()).collect().iter_rows())


def test_replayed_layers_are_in_the_step_that_launched_them(tmp_path: Path) -> None:
    trace = two_layers().load(tmp_path)
    # Both ranges around the capture were still open when the graph was instantiated, at 80.
    by_step = ttinsys.attribute(trace).select("step", "path", "duration_ns").collect()
    assert by_step.rows() == [(step, f"step_#/{layer}", 10) for step in (0, 1) for layer in ("attn", "mlp")]
    layers = ttinsys.layers(trace)
    assert layers["self_ns"].sum() == 40
    assert dict(layers.filter(depth=0).select("path", "total_ns").iter_rows()) == {"step_#": 40, "warmup": 0}


def test_ranges_around_launches_have_the_time_that_nsys_gives_them_once(tmp_path: Path) -> None:
    trace = two_layers().load(tmp_path)
    theirs = stats_report("nvtx_kern_sum").build(trace).group_by("NVTX Range").agg(pl.col("Total Time (ns)").sum())
    ours = dict(ttinsys.ranges_by_name(trace).select("range", "total_ns").iter_rows())
    assert dict(theirs.iter_rows()) == {"step_0": 20, "step_1": 20}
    assert ours == {"step_#": 40, "attn": 20, "mlp": 20, "warmup": 0, "model": 0}


def test_range_opened_after_the_capture_began_is_inside_the_graph(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    for name, start, end in (("warmup", 0, 100), ("unet", 20, 90), ("attn", 30, 40)):
        t.range(main, name, start, end)
    t.api(main, "cudaStreamBeginCapture_v10000", 10, 11)
    t.graph_node(main, 1, 35)
    t.api(main, "cudaStreamEndCapture_v10000", 95, 96)
    t.range(main, "step", 200, 300)
    launch(t, 210, 1000, 1)
    # A launch of its own outside the capture's thread time: nothing is open, and what was captured is all there is.
    launch(t, 400, 2000, 1)
    assert by_path(t.load(tmp_path)) == {"step/unet/attn": 10, "unet/attn": 10}


def test_capture_of_another_thread_begins_for_all_threads_of_its_process(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, backward = t.thread(10, 11), t.thread(10, 12)
    t.range(backward, "engine", 0, 100)
    t.range(backward, "linear", 20, 30)
    t.api(main, "cudaStreamBeginCapture_v10000", 10, 11)
    t.graph_node(backward, 1, 25)
    t.api(main, "cudaStreamEndCapture_v10000", 95, 96)
    t.range(main, "step", 200, 300)
    launch(t, 210, 1000, 1)
    assert by_path(t.load(tmp_path)) == {"step/linear": 10}


def test_node_that_was_added_after_a_capture_ended_is_of_no_capture(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.api(main, "cudaStreamBeginCapture_v10000", 0, 1)
    t.api(main, "cudaStreamEndCapture_v10000", 2, 3)
    t.range(main, "build", 10, 100)
    t.graph_node(main, 1, 20)
    t.range(main, "attn", 30, 40)
    t.graph_node(main, 2, 35)
    t.range(main, "step", 200, 300)
    launch(t, 210, 1000, 1, 2)
    # Had the first capture counted, nothing would change here; `build` holds a node of its own, so it says something.
    assert by_path(t.load(tmp_path)) == {"step/build": 10, "step/build/attn": 10}


def test_layer_that_is_open_around_the_launch_too_is_one_level(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.api(main, "cudaStreamBeginCapture_v10000", 0, 1)
    t.range(main, "unet", 10, 90)
    t.range(main, "attn", 20, 40)
    t.graph_node(main, 1, 30)
    t.api(main, "cudaStreamEndCapture_v10000", 95, 96)
    t.range(main, "step_2", 200, 300)
    t.range(main, "unet", 205, 290)
    launch(t, 210, 1000, 1)
    assert by_path(t.load(tmp_path)) == {"step_#/unet/attn": 10}


def test_graph_captured_and_replayed_in_one_open_range_keeps_it_once(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "generate", 0, 1000)
    t.range(main, "attn", 20, 40)
    t.graph_node(main, 1, 30)
    t.graph_node(main, 2, 50)
    launch(t, 210, 1000, 1, 2)
    trace = t.load(tmp_path)
    assert by_path(trace) == {"generate/attn": 10, "generate": 10}
    assert dict(ttinsys.ranges_by_name(trace).select("range", "total_ns").iter_rows()) == {"generate": 20, "attn": 10}


@pytest.mark.parametrize("turned", [False, True])
def test_several_graphs_in_two_processes_with_the_same_node_ids_in_any_order_of_rows(
    tmp_path: Path, turned: bool
) -> None:
    t = TraceBuilder()
    for pid, prefix in ((10, "a"), (20, "b")):
        thread = t.thread(pid, pid + 1)
        for graph in (0, 1):
            at = 100 * graph
            t.api(thread, "cudaStreamBeginCapture_v10000", at, at + 1)
            for number, layer in enumerate(("attn", "mlp")):
                t.range(thread, f"{prefix}.{layer}.{graph}", at + 10 + 20 * number, at + 20 + 20 * number)
                t.graph_node(thread, 10 * graph + number, at + 15 + 20 * number)
            t.api(thread, "cudaStreamEndCapture_v10000", at + 90, at + 91)
        t.range(thread, "step", 1000, 2000)
    # The graphs take turns, the second one first, and each node lasts as no other does.
    for pid in (20, 10):
        for graph in (1, 0):
            thread = t.thread(pid, pid + 1)
            correlation = t.api(thread, LAUNCH, 1100 + 10 * graph, 1101 + 10 * graph)
            for number in (1, 0):
                begins = 5000 + 100 * graph + 20 * number
                t.kernel(thread, "k", api=None, gpu=(begins, begins + pid // 10 + 2 * graph + 4 * number),
                         graph_node=10 * graph + number, correlation_id=correlation)  # fmt: skip
    expected = {
        f"step/{prefix}.{layer}.{graph}": process + 2 * graph + 4 * number
        for process, prefix in ((1, "a"), (2, "b"))
        for graph in (0, 1)
        for number, layer in enumerate(("attn", "mlp"))
    }
    trace = t.load(tmp_path)
    if turned:
        trace = trace.having(**{name: frame.reverse() for name, frame in trace.frames.items() if name != "nvtx_events"})
    assert by_path(trace) == expected
    # Each operation keeps its own row: duration and node belong together as in the export.
    ops = ttinsys.attribute(trace).select("start_ns", "path", "duration_ns").collect()
    raw = trace.kernels.select("start_ns", pl.col("end_ns") - pl.col("start_ns")).collect()
    assert ops["start_ns"].to_list() == raw["start_ns"].to_list()
    assert [expected[path] for path in ops["path"]] == ops["duration_ns"].to_list()


def annotated() -> Labelled:
    """Step 0 eager, step 1 captured and replayed, step 2 replayed: a linear layer of 1,000 FLOPs, 10 ns each time."""
    t = Labelled()
    t.module("pipeline", "other", component="denoiser")
    t.module("step", "other", component="denoiser")
    t.module("unet.linear", "linear")
    t.call("pipeline", 0, 10_000)
    for step in range(3):
        at = 1000 * step + 100
        t.call("step", at, at + 900, step=step)
        if step < 2:
            gpu = [("eager", 20_000, 20_010)] if step == 0 else []
            t.call("unet.linear", at + 100, at + 200, gpu=gpu, flops=1000, bytes=10, dtype=HALF)
        if step:
            launch(t, at + 500, 20_000 + 1000 * step, 1)
    t.graph_node(t.main, 1, 1250)
    return t


@pytest.mark.slow(1)
def test_steps_and_flops_are_those_of_the_replays(tmp_path: Path) -> None:
    trace = annotated().load(tmp_path)
    by_step = ttinsys.attribute(trace).group_by("step", "role").agg(pl.col("duration_ns").sum()).sort("step").collect()
    assert by_step.rows() == [(0, "linear", 10), (1, "linear", 10), (2, "linear", 10)]
    (row,) = ttinsys.roofline(trace, by="role", gpu="h100").filter(role="linear").iter_rows(named=True)
    assert (row["calls"], row["flops"], row["gpu_ns"]) == (3, 3000, 30)
    assert ttinsys.breakdown(trace, by="step").select("step", "sum_ns").rows() == [(0, 10), (1, 10), (2, 10)]


def test_what_was_captured_is_no_call_until_it_is_replayed(tmp_path: Path) -> None:
    calls = tables_of(annotated().load(tmp_path))["calls"].filter(role="linear").collect()
    assert calls.select("step", "executions", "gpu_ns", "cpu_ns").rows() == [
        (0, 1, 10, 100),
        (1, 1, 10, 0),
        (2, 1, 10, 0),
    ]


def test_replays_are_ranges_in_their_place_that_take_no_time_of_the_cpu(tmp_path: Path) -> None:
    nested = ranges(two_layers().load(tmp_path)).collect()
    assert nested["index"].to_list() == list(range(10))
    assert nested.select("path", "kind", "range_id", "captured_id", "parent", "depth", "start_ns", "end_ns").rows()[
        4:7
    ] == [
        ("step_#", "push_pop", 5, None, None, 0, 200, 290),
        ("step_#/attn", "graph_replay", -1, 3, 4, 1, 210, 210),
        ("step_#/mlp", "graph_replay", -2, 4, 4, 1, 210, 210),
    ]


@pytest.mark.slow(1)
@pytest.mark.parametrize("glob", ["attn", "step_1", "step_*"])
def test_selecting_a_range_of_replays_and_attributing_commute(tmp_path: Path, glob: str) -> None:
    trace = two_layers().load(tmp_path)
    columns = ("path", "step", "start_ns")
    whole = ttinsys.attribute(trace).select(columns).collect()
    part = ttinsys.attribute(apply_selection(trace, Selection(range=glob))).select(columns).collect()
    kept = {"attn": pl.col("path").str.ends_with("attn"), "step_1": pl.col("step") == 1, "step_*": pl.lit(value=True)}
    assert part.rows() == whole.filter(kept[glob]).rows()
    assert not part.is_empty()


def test_one_launch_more_moves_no_other_operation(tmp_path: Path) -> None:
    t = two_layers()
    before = ttinsys.attribute(t.load(tmp_path)).select("path", "start_ns").collect()
    t.range(t.thread(), "step_2", 400, 490)
    launch(t, 410, 3000, 11, 12)
    after = ttinsys.attribute(t.load(tmp_path)).select("path", "start_ns").collect()
    assert after.head(before.height).rows() == before.rows()
    assert after.tail(2)["path"].to_list() == ["step_#/attn", "step_#/mlp"]
