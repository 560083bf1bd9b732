"""Traces for other viewers: what they need holds, times are exact, and no time is lost."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import parsers
import ttinsys
from tests.build import TraceBuilder
from tests.shared import each_capture
from ttinsys.cli import main
from ttinsys.exports import EXPORTS, captured, collapsed
from ttinsys.exports.lanes import lanes, nesting

SAMPLES = Path(__file__).resolve().parents[1] / "sample_traces"
SAMPLE = SAMPLES / "synthetic-stable-diffusion.sqlite"
SIMULATED = SAMPLES / "simulated-stable-diffusion-h200_pqtdir"
HOSTILE = ['a"b\\c', "\x00\x1b[31m\n\r\t", "</script>", "\u2028漢字;x", "  ", '"role":null,']
Event = dict[str, Any]


def export(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(main, ["export", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def timeline(*arguments: str | Path) -> list[Event]:
    """The trace events of an export to Perfetto, times in ns."""
    done = export(*arguments, "--to", "perfetto")
    assert done.exit_code == 0, done.stderr
    events: list[Event] = json.loads(done.stdout)["traceEvents"]
    for event in events:
        for name in ("ts", "dur"):
            if name in event:
                event[name] = round(event[name] * 1000)
    return events


def rows(events: list[Event]) -> dict[str, list[tuple[str, int, int]]]:
    """Name, start and end of the slices of each row, by the names of its process and its own."""
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    threads = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    found = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            place = f"{processes[event['pid']]}/{threads[event['tid']]}"
            found[place].append((event["name"], event["ts"], event["ts"] + event["dur"]))
    return found


def check_nesting(events: list[Event]) -> None:
    """No slice begins inside another of its row and ends outside it."""
    for slices in rows(events).values():
        open_until: list[int] = []
        for _, start, end in sorted(slices, key=lambda of: (of[1], -of[2])):
            while open_until and open_until[-1] <= start:
                open_until.pop()
            assert not open_until or end <= open_until[-1]
            open_until.append(end)


def check_refused(path: Path, to: str, *arguments: str | Path) -> None:
    """A trace without GPU operations is refused in one line, and nothing is written."""
    done = export(path, "--to", to, *arguments)
    assert (done.exit_code, done.stdout) == (3, "")
    remedy = "profile on a machine with a GPU with --trace=cuda,nvtx"
    assert done.stderr == f"Error: {path}: no GPU activity: {remedy}\n"


def two_layers() -> TraceBuilder:
    """A step with two layers that launch three kernels, of which the last two overlap; and one of no layer."""
    t = TraceBuilder()
    main_thread = t.thread(10, 11, "python")
    t.gpu(0, "H200")
    t.process(10, "generate")
    t.range(main_thread, "unet", 0, 1000)
    t.range(main_thread, "unet.attn", 100, 300)
    t.kernel(main_thread, "void flash(int)", launch=(110, 120), gpu=(1000, 1301))
    t.kernel(main_thread, "gemm", launch=(130, 140), gpu=(1400, 1700))
    t.range(main_thread, "unet.conv", 400, 500)
    t.kernel(main_thread, "conv", launch=(410, 420), gpu=(1650, 1900))
    t.kernel(main_thread, "add", launch=(2000, 2010), gpu=(3000, 3005), stream=9)
    return t


# Perfetto


def test_operations_are_on_the_row_of_their_stream_and_layers_above_them(tmp_path: Path) -> None:
    path = two_layers().write(tmp_path / "t.sqlite")
    assert rows(timeline(path)) == {
        # The attention ends where the convolution begins on the GPU: only one runs there, as far as layers go.
        "GPU 0: H200/stream 7, layers": [("unet", 1000, 1900), ("attn", 1000, 1650), ("conv", 1650, 1900)],
        "GPU 0: H200/stream 7": [("flash(int)", 1000, 1301), ("gemm", 1400, 1700)],
        "GPU 0: H200/stream 7, overlapping": [("conv", 1650, 1900)],
        "GPU 0: H200/stream 9": [("add", 3000, 3005)],
        "generate (10)/python (11)": [
            ("unet", 0, 1000),
            ("unet.attn", 100, 300),
            ("cudaLaunchKernel", 110, 120),
            ("cudaLaunchKernel", 130, 140),
            ("unet.conv", 400, 500),
            ("cudaLaunchKernel", 410, 420),
            ("cudaLaunchKernel", 2000, 2010),
        ],
    }


def test_slices_say_what_is_known_and_nothing_else(tmp_path: Path) -> None:
    events = timeline(two_layers().write(tmp_path / "t.sqlite"))
    (attn,) = (event for event in events if event["name"] == "attn")
    assert attn["args"] == {"range": "unet.attn", "role": "self_attention", "ops": 2, "sum_ns": 601}
    (flash,) = (event for event in events if event["name"] == "flash(int)")
    assert flash["cat"] == "kernel"
    assert flash["args"]["path"] == "unet/attn"
    assert flash["args"]["grid"] == "1x1x1"
    assert None not in flash["args"].values()


def test_times_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.kernel(t.thread(), "k", launch=(1, 2), gpu=(86_400_000_000_001, 86_400_000_001_002))
    text = export(t.write(tmp_path / "t.sqlite"), "--to", "perfetto").stdout
    assert '"ts":86400000000.001,"dur":1.001,' in text


@pytest.mark.slow(1)
def test_flows_lead_from_each_launch_to_what_it_launched(tmp_path: Path) -> None:
    path = two_layers().write(tmp_path / "t.sqlite")
    events = timeline(path, "--flows")
    starts = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert sorted((starts[id]["ts"], ends[id]["ts"], ends[id]["bp"]) for id in starts) == [
        (110, 1000, "e"), (130, 1400, "e"), (410, 1650, "e"), (2000, 3000, "e"),
    ]  # fmt: skip
    for event in [*starts.values(), *ends.values()]:
        assert any(
            slice["ph"] == "X" and slice["tid"] == event["tid"] and slice["ts"] == event["ts"] for slice in events
        )
    assert not [event for event in timeline(path) if event["ph"] in "sf"]


def test_ranges_that_cross_are_on_a_row_of_their_own(tmp_path: Path) -> None:
    t = TraceBuilder()
    main_thread = t.thread(10, 11)
    t.range(main_thread, "a", 0, 100)
    t.range(main_thread, "b", 50, 150, kind="start_end")
    t.range(main_thread, "inside b", 120, 130)
    t.range(main_thread, "never closed", 200, None)
    t.kernel(main_thread, "k", launch=(210, 220), gpu=(300, 400))
    assert rows(timeline(t.write(tmp_path / "t.sqlite")))["process (10)/thread (11), crossing"] == [("b", 50, 150)]


def test_streams_of_one_number_in_two_processes_are_two_rows(tmp_path: Path) -> None:
    t = TraceBuilder()
    for pid in (10, 20):
        t.kernel(t.thread(pid, pid), f"of {pid}", launch=(1, 2), gpu=(10, 20))
    found = rows(timeline(t.write(tmp_path / "t.sqlite")))
    assert found["GPU 0: GPU/stream 7 of process 10, context 1"] == [("of 10", 10, 20)]
    assert found["GPU 0: GPU/stream 7 of process 20, context 1"] == [("of 20", 10, 20)]


@pytest.mark.slow(1)
def test_numbers_of_rows_are_each_used_once() -> None:
    named = [event["tid"] for event in timeline(SAMPLE, SAMPLE) if event["name"] in ("process_name", "thread_name")]
    assert len(named) == len(set(named)) > 4


def test_event_before_the_capture_is_at_zero(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "early", -500, 100)
    t.kernel(t.thread(), "k", launch=(0, 10), gpu=(20, 30))
    events = timeline(t.write(tmp_path / "t.sqlite"))
    assert {event["name"]: event["ts"] for event in events if event["ph"] == "X"} == {
        "early": 0, "cudaLaunchKernel": 500, "k": 520,
    }  # fmt: skip


@pytest.mark.slow(1)
def test_filters_leave_what_goes_on_on_the_cpu_meanwhile(tmp_path: Path) -> None:
    path = two_layers().write(tmp_path / "t.sqlite")
    found = rows(timeline(path, "--range", "unet.conv"))
    assert found["GPU 0: H200/stream 7"] == [("conv", 1650, 1900)]
    # From the launch at 410 to the end at 1900: the attention is over, and the last launch not yet there.
    assert [name for name, *_ in found["generate (10)/python (11)"]] == ["unet", "unet.conv", "cudaLaunchKernel"]


@each_capture
def test_real_captures_nest_and_hold_every_operation(capture: Path) -> None:
    ops = ttinsys.attribute(ttinsys.load(capture)).select("duration_ns").collect()
    if ops.is_empty():
        check_refused(capture, "perfetto")
        return
    events = timeline(capture)
    check_nesting(events)
    drawn = [event for event in events if event.get("cat") in ("kernel", "memcpy", "memset", "graph")]
    assert len(drawn) == ops.height
    assert sum(event["dur"] for event in drawn) == ops["duration_ns"].clip(lower_bound=0).sum()


# Rows

intervals = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 15)), max_size=25)


@given(intervals)
def test_lanes_keep_apart_what_overlaps_and_are_no_more_than_needed(drawn: list[tuple[int, int, int]]) -> None:
    schema = {"row": pl.Int64, "start_ns": pl.Int64, "end_ns": pl.Int64}
    frame = pl.DataFrame([(row, at, at + took) for row, at, took in sorted(drawn)], schema=schema, orient="row")
    dealt = frame.with_columns(lanes(frame).alias("lane"))
    for (_, _), lane in dealt.group_by("row", "lane"):
        sorted_lane = lane.sort("start_ns", "end_ns")
        starts, ends = sorted_lane["start_ns"].to_list(), sorted_lane["end_ns"].to_list()
        assert all(end <= start for end, start in zip(ends[:-1], starts[1:], strict=True))
    for (_,), row in dealt.group_by("row"):
        spans = [(start, max(end, start + 1)) for start, end in row.select("start_ns", "end_ns").iter_rows()]
        most = max(sum(start <= at < end for start, end in spans) for at, _ in spans)
        assert row["lane"].max() == most - 1


@given(intervals)
def test_intervals_that_are_said_to_nest_do(drawn: list[tuple[int, int, int]]) -> None:
    schema = {"row_id": pl.UInt32, "global_tid": pl.Int64, "start_ns": pl.Int64, "end_ns": pl.Int64}
    numbered = [(number, row, at, at + took) for number, (row, at, took) in enumerate(drawn)]
    kept, apart = nesting(pl.DataFrame(numbered, schema=schema, orient="row"), rounds=2)
    assert sorted([*kept["row_id"], *apart["row_id"]]) == list(range(len(drawn)))
    for (_,), thread in kept.group_by("global_tid"):
        spans = thread.select("start_ns", "end_ns").rows()
        assert not [(a, b) for a in spans for b in spans if a[0] < b[0] < a[1] < b[1]]


# Stacks

SPEEDSCOPE = {
    "type": "object",
    "required": ["$schema", "shared", "profiles"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "name": {"type": "string"},
        "exporter": {"type": "string"},
        "activeProfileIndex": {"type": "number"},
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "file": {"type": "string"},
                            "line": {"type": "number"},
                            "col": {"type": "number"},
                        },
                    },
                }
            },
        },
        "profiles": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "name", "unit", "startValue", "endValue", "samples", "weights"],
                "properties": {
                    "type": {"const": "sampled"},
                    "name": {"type": "string"},
                    "unit": {"enum": ["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"]},
                    "startValue": {"type": "number"},
                    "endValue": {"type": "number"},
                    "samples": {
                        "type": "array",
                        "items": {"type": "array", "items": {"type": "integer", "minimum": 0}},
                    },
                    "weights": {"type": "array", "items": {"type": "number", "minimum": 0}},
                },
            },
        },
    },
}
"""Written after speedscope's own description of its format, as far as sampled profiles go."""


def weighed(text: str) -> list[dict[tuple[str, ...], int]]:
    """Time by stack of each profile of a speedscope file."""
    file = json.loads(text)
    jsonschema.validate(file, SPEEDSCOPE)
    frames = [frame["name"] for frame in file["shared"]["frames"]]
    assert len(frames) == len(set(frames))
    found = []
    for profile in file["profiles"]:
        assert profile["endValue"] == sum(profile["weights"])
        pairs = zip(profile["samples"], profile["weights"], strict=True)
        found.append({tuple(frames[number] for number in sample): weight for sample, weight in pairs})
    return found


BY_HAND = {
    ("unet", "attn", "flash(int)"): 301,
    ("unet", "attn", "gemm"): 300,
    ("unet", "conv", "conv"): 250,
    ("(no_range_open)", "add"): 5,
}


def test_stacks_are_the_ranges_around_the_launch_and_the_operation(tmp_path: Path) -> None:
    path = two_layers().write(tmp_path / "t.sqlite")
    assert weighed(export(path, "--to", "speedscope").stdout) == [BY_HAND]
    lines = dict(line.rsplit(" ", 1) for line in export(path, "--to", "collapsed").stdout.splitlines())
    assert lines == {";".join(stack): str(weight) for stack, weight in BY_HAND.items()}


@pytest.mark.slow(1)
def test_two_traces_are_two_profiles_and_two_roots(tmp_path: Path) -> None:
    one, two = (two_layers().write(tmp_path / name) for name in ("one.sqlite", "two.sqlite"))
    assert weighed(export(one, two, "--to", "speedscope").stdout) == [BY_HAND, BY_HAND]
    lines = export(one, two, "--to", "collapsed").stdout.splitlines()
    assert [line.startswith(f"{one};") for line in lines] == [True] * 4 + [False] * 4


def test_operation_that_ends_before_it_starts_weighs_nothing_and_is_told(tmp_path: Path) -> None:
    t = TraceBuilder()
    main_thread = t.thread()
    t.kernel(main_thread, "k", launch=(1, 2), gpu=(100, 110))
    t.kernel(main_thread, "k", launch=(3, 4), gpu=(200, 193))
    done = export(t.write(tmp_path / "t.sqlite"), "--to", "collapsed")
    assert done.stdout == "(no_range_open);k 10\n"
    assert "1 operations end before they start: exported with 0 ns, not -7 ns" in done.stderr


@pytest.mark.parametrize("to", EXPORTS)
def test_names_of_strangers_are_kept_and_break_nothing(to: str, tmp_path: Path) -> None:
    t = TraceBuilder()
    main_thread = t.thread(10, 11, HOSTILE[0])
    for number, name in enumerate(HOSTILE):
        at = 100 * number
        t.range(main_thread, name, at, at + 50)
        t.kernel(main_thread, name, launch=(at + 1, at + 2), gpu=(at + 10, at + 20))
    text = export(t.write(tmp_path / "t.sqlite"), "--to", to).stdout_bytes.decode()
    if to == "perfetto":
        assert set(HOSTILE) <= {event["name"] for event in json.loads(text)["traceEvents"]}
    elif to == "speedscope":
        (found,) = weighed(text)
        assert set(found) == {(name, name) for name in HOSTILE}
    else:
        lines = text.split("\n")
        assert (len(lines), lines[-1]) == (len(HOSTILE) + 1, "")
        assert all(line.count(";") == 1 and line.endswith(" 10") for line in lines[:-1])


@each_capture
def test_stacks_of_real_captures_add_up_to_all_gpu_time(capture: Path) -> None:
    ops = ttinsys.attribute(parsers.load(capture)).select(pl.col("duration_ns").clip(lower_bound=0)).collect()
    if ops.is_empty():
        check_refused(capture, "collapsed")
        check_refused(capture, "speedscope")
        return
    whole = ops.sum().item()
    text = export(capture, "--to", "collapsed").stdout
    assert sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines()) == whole
    (profile,) = weighed(export(capture, "--to", "speedscope").stdout)
    assert sum(profile.values()) == whole


# The command


@pytest.mark.slow(1)
@pytest.mark.parametrize("to", EXPORTS)
def test_file_and_standard_output_hold_the_same(to: str, tmp_path: Path) -> None:
    path = tmp_path / "o.json"
    assert export(SAMPLE, "--to", to, "-o", path).stdout == ""
    assert path.read_bytes() == export(SAMPLE, "--format", to).stdout_bytes
    refused = export(SAMPLE, "--to", to, "-o", path)
    assert refused.exit_code == 2
    assert f"{path} exists: give --force" in refused.stderr
    assert export(SAMPLE, "--to", to, "-o", path, "--force").exit_code == 0


@pytest.mark.parametrize("to", EXPORTS)
def test_trace_without_gpu_work_is_refused_in_one_line(to: str, tmp_path: Path) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "step", 0, 10)
    out = tmp_path / "out"
    check_refused(t.write(tmp_path / "t.sqlite"), to, "-o", out)
    assert not out.exists()


def test_filters_that_leave_no_operation_are_named_by_the_refusal() -> None:
    done = export(SAMPLE, "--to", "collapsed", "--stream", "99")
    assert done.exit_code == 3
    assert done.stderr == f"Error: {SAMPLE}: no GPU operation is on stream 99: there are streams 7 and 13\n"


@pytest.mark.slow(1)
def test_idle_rank_beside_a_busy_one_is_exported_with_it(tmp_path: Path) -> None:
    idle = TraceBuilder()
    idle.range(idle.thread(), "step", 0, 10)
    paths = [two_layers().write(tmp_path / "busy.sqlite"), idle.write(tmp_path / "idle.sqlite")]
    assert rows(timeline(*paths))[f"{paths[1]}: process (10)/thread (11)"] == [("step", 0, 10)]
    assert f"{paths[1]}: no GPU activity" in export(*paths, "--to", "perfetto").stderr


def test_arrows_are_perfettos() -> None:
    done = export(SAMPLE, "--to", "collapsed", "--flows")
    assert (done.exit_code, "--flows: collapsed has no arrows" in done.stderr) == (2, True)


@pytest.mark.slow(1)
def test_what_no_machine_ran_says_so_in_the_file() -> None:
    assert "No machine ran this" in export(SIMULATED, "--to", "speedscope").stdout
    assert "No machine ran this" in export(SIMULATED, "--to", "perfetto").stdout


@pytest.mark.slow(1)
def test_library_writes_what_the_command_does(tmp_path: Path) -> None:
    capture = captured("x", ttinsys.load(SAMPLE), collapsed.COLUMNS)
    with (tmp_path / "o.txt").open("wb") as file:
        collapsed.writer([capture])(file)
    assert (tmp_path / "o.txt").read_text() == export(SAMPLE, "--to", "collapsed").stdout
