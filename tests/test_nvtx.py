"""NVTX ranges: named, in their domain and category, nested per thread."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

import parsers
import ttinsys
from tests.build import FORMATS, Format, TraceBuilder
from tests.shared import TRACES, each_capture, needs_captures
from ttinsys.attribution.nvtx import RANGES, all_ranges, crossing
from ttinsys.tables.overview import overview


def found(t: TraceBuilder, folder: Path) -> pl.DataFrame:
    return ttinsys.ranges(t.load(folder)).collect()


@pytest.mark.parametrize("format", FORMATS)
def test_text_is_found_whether_registered_or_not(tmp_path: Path, format: Format) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "plain", 0, 10)
    t.range(main, "registered", 20, 30, registered=True)
    t.range(main, None, 40, 50)
    nested = ttinsys.ranges(t.load(tmp_path, format)).collect()
    assert nested.schema == RANGES.schema
    assert nested["name"].to_list() == ["plain", "registered", None]
    assert nested["path"].to_list() == ["plain", "registered", "(unnamed)"]


def test_domain_id_destroyed_and_created_again_names_another_domain(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, other = t.thread(10, 10), t.thread(20, 20)
    t.domain(10, 1, "first", 5, destroyed=20)
    t.domain(10, 1, "second", 30)
    t.domain(20, 1, "elsewhere", 0)
    t.range(main, "a", 10, 12, domain=1)
    t.range(main, "b", 40, 42, domain=1)
    t.range(main, "c", 50, 52)
    t.range(other, "d", 10, 12, domain=1)
    # Before any creation: a trimmed report has lost it.
    t.range(main, "e", 1, 2, domain=1)
    nested = found(t, tmp_path)
    assert dict(nested.select("name", "domain").iter_rows()) == {
        "a": "first",
        "b": "second",
        "c": None,
        "d": "elsewhere",
        "e": "first",
    }


def test_category_is_named_per_domain(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.domain(main.pid, 1, "lib", 0)
    t.category(main.pid, 4, "attention", 0)
    t.category(main.pid, 4, "other", 0, domain=1)
    t.range(main, "a", 10, 20, category=4)
    t.range(main, "b", 30, 40, category=4, domain=1)
    t.range(main, "c", 50, 60, category=5)
    assert found(t, tmp_path).select("name", "category").rows() == [("a", "attention"), ("b", "other"), ("c", None)]


def test_ranges_of_two_domains_enclose_each_other_where_they_nest_and_not_where_they_cross(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.domain(main.pid, 1, "lib", 0)
    t.range(main, "model", 0, 100)
    t.range(main, "gemm", 10, 20, domain=1)
    t.range(main, "crosses", 90, 110, domain=1)
    assert found(t, tmp_path).select("path", "depth").rows() == [("model", 0), ("model/gemm", 1), ("crosses", 0)]


def test_range_that_closes_on_another_thread_is_apart(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, other = t.thread(tid=11), t.thread(tid=12)
    t.range(main, "request", 0, 100, kind="start_end", end_thread=other)
    t.range(main, "inner", 10, 20)
    trace = t.load(tmp_path)
    assert ttinsys.ranges(trace).collect()["path"].to_list() == ["inner"]
    apart = crossing(trace).collect()
    assert apart.select("name", "kind", "tid", "start_ns", "end_ns").rows() == [("request", "start_end", 11, 0, 100)]


def test_payloads_survive_with_all_their_bits(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "a", 0, 1, payload=-5)
    t.range(main, "b", 2, 3, payload=2**63 + 1)
    t.range(main, "c", 4, 5, payload=0.5)
    columns = ["payload_int64", "payload_uint64", "payload_double"]
    expected = [(-5, None, None), (None, 2**63 + 1, None), (None, None, 0.5)]
    for kind in FORMATS:
        assert ttinsys.ranges(t.load(tmp_path, kind)).select(columns).collect().rows() == expected


def test_marks_and_namings_are_not_ranges(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.domain(main.pid, 1, "lib", 0)
    t.category(main.pid, 1, "cat", 0)
    t.mark(main, "here", 5)
    t.range(main, "a", 10, 20)
    assert found(t, tmp_path)["name"].to_list() == ["a"]


@each_capture
def test_ranges_of_real_captures_nest_and_name_themselves(capture: Path) -> None:
    trace = parsers.load(capture)
    nested = ttinsys.ranges(trace).collect()
    raw = trace.nvtx_events.filter(pl.col("event_type").is_in([59, 60])).collect()
    # Ranges with negative IDs are ours: they lie around what is spelt out in operations.
    assert (nested["range_id"] > 0).sum() + crossing(trace).collect().height == raw.height
    above = nested.select(pl.col("index").alias("parent"), pl.exclude("index").name.suffix("_above"))
    inner = nested.join(above, on="parent")
    assert (inner["start_ns"] >= inner["start_ns_above"]).all()
    assert (inner["end_ns"] <= inner["end_ns_above"]).all()
    assert (inner["depth"] == inner["depth_above"] + 1).all()
    assert (inner["path"] == inner["path_above"] + "/" + inner["group"]).all()


@needs_captures
def test_tensorrt_capture_keeps_its_domains_though_one_id_is_made_45_times() -> None:
    trace = parsers.load(TRACES / "sd-controlnet-tensorrt-no-gpu-2023.4.sqlite")
    counts = ttinsys.ranges(trace).group_by("domain").agg(pl.len()).collect()
    # As SQLite counts them: by domainId 0, 1 and 2, of which 2 is created and destroyed again and again.
    assert dict(counts.iter_rows()) == {None: 90, "TensorRT": 870, "myelin-exec": 791}


def test_filter_on_ranges_does_not_reach_below_the_nesting(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "outer", 0, 100)
    t.range(main, "inner", 10, 20)
    lazy = ttinsys.ranges(t.load(tmp_path))
    assert lazy.filter(pl.col("start_ns") >= 10).select("path", "depth").collect().rows() == [("outer/inner", 1)]
    assert lazy.tail(1).select("path").collect().rows() == [("outer/inner",)]


def test_range_that_closes_on_another_thread_is_listed_beside_those_that_nest(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, other = t.thread(tid=11), t.thread(tid=12)
    t.range(main, "request", 0, 50, kind="start_end")
    t.range(main, "request", 60, 100, kind="start_end", end_thread=other)
    t.kernel(main, "k", launch=(10, 11), gpu=(20, 25))
    t.kernel(main, "k", launch=(70, 71), gpu=(80, 90))
    trace = t.load(tmp_path)
    columns = ("index", "path", "kind", "depth", "parent", "role", "end_ns")
    assert all_ranges(trace).select(columns).collect().rows() == [
        (0, "request", "start_end", 0, None, None, 50),
        (1, "request (closes on another thread)", "cross_thread", 0, None, None, 100),
    ]
    # It is open on no thread's stack: what is launched meanwhile is in no range, as in nsys's reports.
    assert ttinsys.layers(trace).select("path", "instances", "ops", "total_ns", "cpu_ns").rows() == [
        ("request", 1, 1, 5, 50),
        ("request (closes on another thread)", 1, 0, 0, 40),
        (None, None, 1, 10, None),
    ]
    by_name = ttinsys.ranges_by_name(trace).select("range", "instances", "cpu_ns").rows()
    assert by_name == [
        ("(no_range_open)", None, None),
        ("request", 1, 50),
        ("request (closes on another thread)", 1, 40),
    ]
    assert all_ranges(trace).select(pl.len()).collect().item() == 2


@pytest.mark.slow(1)
@pytest.mark.parametrize("names", [["step"], ["step_{}"], ["step", "forward"]])
def test_pushes_without_pops_are_folded_and_said(tmp_path: Path, names: list[str]) -> None:
    t = TraceBuilder()
    main = t.thread(tid=11)
    pushes = 1000
    for number in range(pushes):
        t.range(main, names[number % len(names)].format(number), 10 * number, None)
        t.range(main, "layer", 10 * number + 1, 10 * number + 5)
        t.kernel(main, "k", launch=(10 * number + 2, 10 * number + 3), gpu=(20 * number, 20 * number + 7))
    trace = t.load(tmp_path)
    nested = ttinsys.ranges(trace).collect()
    opened = nested.filter(pl.col("end_ns").is_null())
    # One level for each name, and the layers below the last.
    assert opened["depth"].to_list() == [number % len(names) for number in range(pushes)]
    assert nested.filter(name="layer")["depth"].to_list() == [number % len(names) + 1 for number in range(pushes)]
    assert nested["path"].str.count_matches("/").max() == len(names)
    ops = ttinsys.attribute(trace).select("path", "depth", "duration_ns").collect()
    assert (ops["depth"].max(), ops["duration_ns"].sum()) == (len(names), 7 * pushes)
    layers = ttinsys.layers(trace)
    assert layers.filter(depth=0)["total_ns"].sum() == 7 * pushes
    assert layers["self_ns"].sum() == 7 * pushes
    (note,) = (note for note in overview(trace).notes if "never popped" in note)
    name = re.sub("[0-9]+", "#", names[0].format(0))
    assert note.startswith(
        f"{pushes // len(names):,} ranges such as '{name}' were pushed on thread 11 and never popped"
    )


def test_open_stack_of_a_program_that_was_cut_off_stays_a_stack(tmp_path: Path) -> None:
    # Every layer calls `forward`: 20 levels deep when the capture ended.
    t = TraceBuilder()
    for level in range(20):
        t.range(t.thread(), "forward", level, None)
    trace = t.load(tmp_path)
    assert ttinsys.ranges(trace).collect()["depth"].to_list() == [*range(20)]
    assert not [note for note in overview(trace).notes if "never popped" in note]
