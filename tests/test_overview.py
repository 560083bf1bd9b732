"""The overview: what a trace holds, and what its reader must know first."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import parsers
from tests.build import TraceBuilder
from tests.shared import TRACES, each_capture, needs_captures
from ttinsys import cli
from ttinsys.attribution.select import Selection
from ttinsys.tables.overview import overview

SAMPLE = Path(__file__).resolve().parents[1] / "sample_traces" / "synthetic-stable-diffusion.sqlite"


def test_overview_counts_and_names_what_there_is(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, other = t.thread(10, 10, "python3"), t.thread(10, 12)
    t.process(10, "python")
    t.gpu(0, "NVIDIA H200", smCount=132)
    t.domain(10, 1, "lib", 0)
    t.range(main, "step", 100, 900)
    t.range(main, "unet", 200, 300)
    t.range(other, "load", 0, 50, domain=1)
    t.kernel(main, "sgemm", launch=(210, 220), gpu=(1000, 1500))
    t.memcpy(other, "HtoD", 8, launch=(60, 70), gpu=(80, 100), stream=9)
    seen = overview(t.load(tmp_path))
    assert (seen.start_ns, seen.end_ns) == (0, 1500)
    assert seen.operations.rows() == [("kernel", 0, 0, 1, 1, 500), ("memcpy", 0, 0, 1, 1, 20)]
    assert seen.ranges.rows() == [(None, "push_pop", 2, 2, 1, 0), ("lib", "push_pop", 1, 1, 0, 0)]
    assert seen.threads.rows() == [(10, "python", 10, "python3", 1, 2), (10, "python", 12, None, 1, 1)]
    assert seen.coverage.rows() == [("launch", True, 1, 500), ("no_range_open", False, 1, 20)]
    assert seen.gpus["name"].to_list() == ["NVIDIA H200"]
    assert dict(seen.tables.select("table", "rows").iter_rows())["api_calls"] == 2


def note_of(t: TraceBuilder, folder: Path, word: str) -> str:
    """The one note that says `word`."""
    (found,) = [note for note in overview(t.load(folder)).notes if word in note]
    return found


def test_notes_say_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.api(t.thread(), "cudaMalloc", 0, 1)
    assert note_of(t, tmp_path, "No GPU activity").endswith("with --trace=cuda,nvtx.")
    assert note_of(t, tmp_path, "No NVTX ranges").endswith("profile with --trace=cuda,nvtx.")


def test_notes_say_that_a_graph_hides_its_kernels(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.graph(t.thread(), 1, launch=(0, 1), gpu=(2, 3))
    assert "--cuda-graph-trace=node" in note_of(t, tmp_path, "CUDA graphs")


@pytest.mark.slow(1)
def test_notes_say_what_is_odd_about_times(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, other = t.thread(tid=11), t.thread(tid=12)
    t.range(main, "open", 0, None)
    t.range(main, "elsewhere", 0, 10, kind="start_end", end_thread=other)
    t.kernel(main, "backwards", launch=(1, 2), gpu=(50, 40))
    t.kernel(main, "early", api=None, gpu=(1, 2), correlation_id=0)
    assert note_of(t, tmp_path, "never closed").startswith("1 ranges")
    assert note_of(t, tmp_path, "another thread").startswith("1 start/end ranges")
    assert note_of(t, tmp_path, "negative").startswith("1 operations")
    assert note_of(t, tmp_path, "before the capture").startswith("1 operations")


@pytest.mark.slow(1)
def test_filters_that_leave_nothing_are_noted_with_what_there_is(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "step", 0, 100)
    t.kernel(main, "sgemm", launch=(1, 2), gpu=(50, 70))
    trace = t.load(tmp_path)
    notes = overview(trace, selection=Selection(devices=(3,))).notes
    assert notes == ("No GPU operation is on device 3: there is device 0.",)
    notes = overview(trace, selection=Selection(range="steps")).notes
    assert notes == ("No range is named 'steps': did you mean 'step'?",)
    assert overview(trace, selection=Selection(devices=(0,))).notes == ()


def test_gpus_come_in_the_order_of_their_cuda_devices(tmp_path: Path) -> None:
    t = TraceBuilder()
    for id, device, name in ((0, 2, "third"), (1, None, "unseen b"), (2, 0, "first"), (0, None, "unseen a")):
        t.row("TARGET_INFO_GPU", id=id, cuDevice=device, name=name)
    seen = overview(t.load(tmp_path))
    assert seen.gpus["name"].to_list() == ["first", "third", "unseen a", "unseen b"]


def printed(t: TraceBuilder, folder: Path) -> str:
    """What `ttinsys info` prints of a trace."""
    path = t.write(folder / "t.sqlite")
    done = CliRunner().invoke(cli.main, ["info", str(path)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_gpu_of_which_nothing_is_known_is_counted(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.row("TARGET_INFO_GPU", id=0)
    t.row("TARGET_INFO_GPU", id=1)
    assert "\nGPUs\n2 without any value\n" in printed(t, tmp_path)


def test_each_note_is_printed_once(tmp_path: Path) -> None:
    t = TraceBuilder(SIMULATED="a model of a GPU", SYNTHETIC="a model of a GPU")
    t.api(t.thread(), "cudaMalloc", 0, 1)
    text = printed(t, tmp_path).lower()
    for note in ("no machine ran this: a model of a gpu", "no gpu activity", "no nvtx ranges"):
        assert text.count(note) == 1


@pytest.mark.parametrize(
    ("start", "line"),
    [
        (-400_000, "0.001 s, from 0.000 to 0.001 s"),
        (-600_000, "0.002 s, from -0.001 to 0.001 s"),
        (-2_000_000_000, "2.001 s, from -2.000 to 0.001 s"),
    ],
)
def test_moment_that_rounds_to_zero_has_no_sign(tmp_path: Path, start: int, line: str) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "step", start, 1_000_000)
    assert printed(t, tmp_path).splitlines()[1] == line


def test_synthetic_sample_says_first_that_no_machine_ran_it() -> None:
    assert overview(parsers.load(SAMPLE)).notes[0].startswith("No machine ran this")


def test_healthy_trace_has_no_note(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "step", 0, 100)
    t.kernel(main, "sgemm", launch=(1, 2), gpu=(50, 70))
    assert overview(t.load(tmp_path)).notes == ()


@each_capture
def test_overview_of_real_captures_agrees_with_their_export(capture: Path) -> None:
    trace = parsers.load(capture)
    seen = overview(trace)
    assert seen.export["EXPORT_SCHEMA_VERSION"].startswith(("2.", "3."))
    assert seen.coverage["sum_ns"].sum() == seen.operations["sum_ns"].sum()
    assert seen.coverage["ops"].sum() == seen.operations["ops"].sum()


@needs_captures
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("torch-cudagraph-2024.6.sqlite", "CUDA graphs are traced as a whole"),
        ("torch-trimmed-2gpu-2026.2.sqlite", "2,276 operations were launched before the capture"),
        ("sd-controlnet-tensorrt-no-gpu-2023.4.sqlite", "No GPU activity"),
        ("torch-cudagraph-2024.6.sqlite", "No NVTX ranges"),
    ],
)
def test_what_is_peculiar_to_a_real_capture_is_noted(name: str, word: str) -> None:
    assert any(note.startswith(word) for note in overview(parsers.load(TRACES / name)).notes)
