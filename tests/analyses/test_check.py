"""What a trace is fit for: each rule on a trace that has the fault and on one that has not, and on real captures."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import parsers
import ttinsys
from tests.build import Thread, TraceBuilder
from tests.labelled import Labelled
from tests.shared import TRACES, each_capture, needs_captures
from ttinsys.checks import EVERYTHING, SEVERITIES, checks
from ttinsys.cli import main
from ttinsys.runner.registry import analysis_names

US, MS = 1_000, 1_000_000


def sound(iterations: int = 4) -> tuple[TraceBuilder, Thread]:
    """Iterations of 10 ms, each with two kernels of 1 ms that start after their launch."""
    t = TraceBuilder()
    main_thread = t.thread()
    t.gpu(name="NVIDIA H200")
    for number in range(iterations):
        at = 10 * MS * number
        t.range(main_thread, f"iteration {number}", at, at + 9 * MS)
        t.kernel(main_thread, "sgemm", launch=(at + US, at + 2 * US), gpu=(at + 3 * US, at + 3 * US + MS))
        t.kernel(main_thread, "softmax", launch=(at + 4 * US, at + 5 * US), gpu=(at + 2 * MS, at + 3 * MS))
    return t, main_thread


def checked(t: TraceBuilder, folder: Path) -> pl.DataFrame:
    return ttinsys.check(t.load(folder))


def found(frame: pl.DataFrame, rule: str) -> list[tuple[str, str]]:
    return frame.filter(pl.col("rule") == rule).select("severity", "finding").rows()


def only(frame: pl.DataFrame, rule: str) -> tuple[str, str]:
    """Severity and text of the one finding of a rule."""
    (finding,) = found(frame, rule)
    return finding


def message(t: TraceBuilder, text: str, *, severity: int = 2, pid: int | None = 10) -> None:
    process = None if pid is None else Thread(pid, 0).global_pid
    t.row("DIAGNOSTIC_EVENT", timestamp=0, source=3, severity=severity, text=text, globalPid=process)


def test_sound_trace_says_what_was_checked_with_numbers(tmp_path: Path) -> None:
    frame = checked(sound()[0], tmp_path)
    assert set(frame.filter(pl.col("rule") != "fitness")["severity"]) == {"sound"}
    texts = dict(frame.filter(pl.col("rule") != "fitness").select("rule", "finding").iter_rows())
    assert texts == {
        "attributed": "8 GPU operations, 8.000 ms: 100.00% attributed to a range.",
        "autotuning": "No sign of autotuning: an operator runs in at most 1 variant in a row, or its variants run "
        "again.",
        "captured_tables": "The capture holds 8 GPU operations, 8 CUDA API calls, 4 NVTX ranges, 1 GPU description.",
        "clock_order": "None of 8 launched operations starts before its launch call, and none of 8 operations ends "
        "before it starts.",
        "gpu_identity": "8 operations ran on 1 known GPU.",
        "loading": "Copies from the host (0, 0.000 GB) take 0.00% of the GPU time; calls that load code or allocate "
        "memory (0) take 0.000 ms, 0.00% of the time from the first operation to the last.",
        "lost_events": "0 of 8 kernel launches have no kernel; the export holds no message of nsys.",
        "unclosed_ranges": "No range of 4 is open at the end of the capture.",
        "warm_up": "The first of 4 ranges 'iteration #' takes 9.000 ms, 1.00 times as long as the median of the 3 "
        "others.",
    }


@pytest.mark.slow(1)
def test_gravest_findings_come_first_and_strict_fails_for_problems(tmp_path: Path) -> None:
    t, main_thread = sound()
    message(t, "CUPTI dropped 12 records. Some CUPTI events might be missing.")
    t.range(main_thread, "unfinished", 50 * MS, None)
    path = str(t.write(tmp_path / "a.sqlite"))
    done = CliRunner().invoke(main, ["check", path, "--format", "json"])
    rows = json.loads(done.stdout)
    order = [[*SEVERITIES].index(row["severity"]) for row in rows]
    assert order == sorted(order)
    assert rows[0]["severity"] == "problem"
    assert done.exit_code == 0
    strict = CliRunner().invoke(main, ["check", path, "--strict"])
    assert strict.exit_code == 1
    assert 'FAILED: nsys says "CUPTI dropped 12 records. Some CUPTI events might be missing".' in strict.stderr
    fine = str(sound()[0].write(tmp_path / "b.sqlite"))
    assert CliRunner().invoke(main, ["check", fine, "--strict"]).exit_code == 0
    both = CliRunner().invoke(main, ["check", fine, path, "--strict"])
    assert both.exit_code == 1
    assert f"FAILED: {path}: nsys says" in both.stderr


@pytest.mark.parametrize(
    ("text", "pid", "severity"),
    [
        ("CUPTI dropped 12 records. Some CUPTI events might be missing.", 10, "problem"),
        ("Couldn't allocate CUPTI buffers 3 times.Some CUPTI events might be missing.", None, "problem"),
        ("Not all CUDA events might have been collected.", 10, "warning"),
        # A helper process that neither launched nor annotated.
        ("Not all NVTX events might have been collected.", 99, "note"),
        ("CPU scheduling data is unavailable.", 10, "note"),
    ],
)
def test_messages_of_nsys_count_by_what_they_say_and_of_whom(
    tmp_path: Path, text: str, pid: int | None, severity: str
) -> None:
    t, _ = sound()
    message(t, text, pid=pid)
    message(t, "Profiling has started.", severity=1)
    findings = found(checked(t, tmp_path), "lost_events")
    assert findings[0] == (severity, f'nsys says "{text.removesuffix(".")}".')
    assert (len(findings) == 2) == (severity == "note")


@pytest.mark.parametrize(("at", "where"), [(1, "8 of them launched before"), (500 * MS, "all launched after")])
def test_launches_without_a_kernel_are_counted(tmp_path: Path, at: int, where: str) -> None:
    t, main_thread = sound()
    for number in range(8):
        t.api(main_thread, "cudaLaunchKernel_v7000", at + 10 * number, at + 10 * number + 1)
    severity, text = only(checked(t, tmp_path), "lost_events")
    assert severity == "problem"
    assert text == (
        f"8 of 16 kernel launches (50.00%) have no kernel, {where} the launch of the last kernel that was captured."
    )


def test_time_outside_of_ranges_has_its_reason(tmp_path: Path) -> None:
    t, main_thread = sound()
    t.kernel(main_thread, "sgemm", launch=(90 * MS, 91 * MS), gpu=(92 * MS, 100 * MS))
    frame = checked(t, tmp_path)
    severity, text = only(frame, "attributed")
    assert severity == "warning"
    assert text == (
        "Only 50.00% of the GPU time is attributed to a range. The main reason is no_range_open, for 50.00% (1 "
        "operation): the launching thread had no range open."
    )


def test_pushes_without_pops_are_told_from_a_range_that_the_capture_cut(tmp_path: Path) -> None:
    t, main_thread = sound()
    t.range(main_thread, "epoch", 0, None)
    assert found(checked(t, tmp_path), "unclosed_ranges") == [
        ("note", "1 of 5 ranges never close, such as 'epoch': they count as open to the end of the capture.")
    ]
    for number in range(20):
        t.range(main_thread, "forward", 41 * MS + number, None)
    finding = only(checked(t, tmp_path), "unclosed_ranges")
    assert finding[0] == "problem"
    assert finding[1].startswith(
        "21 of 25 ranges never close, 20 of them named 'forward' on one thread, 21 levels deep"
    )


def test_clock_is_skewed_only_where_a_kernel_starts_before_its_call_begins(tmp_path: Path) -> None:
    t, main_thread = sound()
    # Before the call returns: normal.
    t.kernel(main_thread, "sgemm", launch=(80 * MS, 82 * MS), gpu=(81 * MS, 83 * MS))
    assert found(checked(t, tmp_path), "clock_order")[0][0] == "sound"
    t.kernel(main_thread, "sgemm", launch=(90 * MS, 91 * MS), gpu=(88 * MS, 89 * MS))
    severity, text = only(checked(t, tmp_path), "clock_order")
    assert severity == "problem"
    assert text == (
        "The clocks of CPU and GPU disagree: 1 of 10 operations start before their launch call begins, by up to "
        "2.000 ms."
    )


def test_operations_that_end_before_they_start_are_a_problem(tmp_path: Path) -> None:
    t, main_thread = sound()
    t.kernel(main_thread, "sgemm", launch=(80 * MS, 81 * MS), gpu=(83 * MS, 82 * MS))
    finding = only(checked(t, tmp_path), "clock_order")
    assert finding == ("problem", "1 of 9 operations end before they start: their durations mean nothing.")


def test_whole_graphs_hide_their_kernels(tmp_path: Path) -> None:
    t, main_thread = sound()
    t.graph(main_thread, 1, launch=(50 * MS, 51 * MS), gpu=(52 * MS, 84 * MS))
    frame = checked(t, tmp_path)
    # 32 of 40 ms.
    severity, text = only(frame, "whole_graphs")
    assert severity == "problem"
    assert text == (
        "CUDA graphs that were traced as a whole (1 launch) hold 80.00% of the GPU time: their kernels and layers are "
        "hidden."
    )
    assert "profile with --cuda-graph-trace=node" in frame["remedy"].to_list()


def test_graphs_traced_by_node_are_sound(tmp_path: Path) -> None:
    t, main_thread = sound()
    t.graph_node(main_thread, 7, 100)
    call = t.api(main_thread, "cudaGraphLaunch_v10000", 50 * MS, 51 * MS)
    t.kernel(main_thread, "sgemm", api=None, correlation_id=call, graph_node=7, gpu=(52 * MS, 53 * MS))
    frame = checked(t, tmp_path)
    assert found(frame, "whole_graphs") == [("sound", "CUDA graphs are traced by node: 1 operation.")]


def test_missing_tables_are_problems_of_what_needs_them(tmp_path: Path) -> None:
    t = TraceBuilder()
    main_thread = t.thread()
    t.api(main_thread, "cudaMalloc_v3020", 0, 10)
    frame = checked(t, tmp_path)
    assert found(frame, "captured_tables") == [
        ("problem", "No GPU activity was captured, although the program made 1 CUDA API call."),
        ("problem", "No NVTX range was captured, so no operation has a layer."),
    ]
    t.kernel(main_thread, "sgemm", api=None, gpu=(20, 30))
    assert found(checked(t, tmp_path), "captured_tables")[0] == (
        "warning", "No NVTX range was captured, so no operation has a layer."
    )  # fmt: skip


def test_first_iteration_that_takes_longer_is_a_warm_up(tmp_path: Path) -> None:
    t, main_thread = sound()
    first = t.range(main_thread, "iteration 9", -30 * MS, -3 * MS)
    t.kernel(main_thread, "sgemm", launch=(-29 * MS, -28 * MS), gpu=(-27 * MS, -26 * MS))
    assert first
    severity, text = only(checked(t, tmp_path), "warm_up")
    assert severity == "warning"
    assert text == (
        "The first of 5 ranges 'iteration #' takes 27.000 ms, 3.00 times as long as the median of the 4 others: "
        "the capture holds a warm-up."
    )


def test_prefill_is_no_warm_up_of_decoding(tmp_path: Path) -> None:
    t = Labelled()
    t.module("step", "other")
    for number, (phase, length) in enumerate([(0, 90), (1, 10), (1, 10), (1, 10)]):
        at = 100 * MS * number
        t.call("step", at, at + length * MS, step=number, phase=phase, gpu=[("sgemm", at + MS, at + 2 * MS)])
    severity, text = only(checked(t, tmp_path), "warm_up")
    assert (severity, text[:28]) == ("sound", "The first of 3 ranges 'step'")


def test_two_ranges_of_one_name_are_no_iterations(tmp_path: Path) -> None:
    assert found(checked(sound(2)[0], tmp_path), "warm_up") == [
        (
            "note",
            "No range that repeats 3 times holds half of the kernels, so a warm-up would not be noticed.",
        )
    ]


@pytest.mark.slow(1)
def test_copies_before_the_kernels_are_loading_and_those_among_them_are_not(tmp_path: Path) -> None:
    t, main_thread = sound()
    t.memcpy(main_thread, "HtoD", 10**9, launch=(-20 * MS, -19 * MS), gpu=(-18 * MS, -10 * MS))
    frame = checked(t, tmp_path)
    severity, text = only(frame, "loading")
    assert severity == "warning"
    assert text == (
        "The capture holds loading: copies from the host (1, 1.000 GB) take 50.00% of the GPU time, 100.00% of that "
        "before nearly all kernels."
    )
    t, main_thread = sound()
    t.memcpy(main_thread, "HtoD", 10**9, launch=(15 * MS, 16 * MS), gpu=(16 * MS, 24 * MS))
    assert found(checked(t, tmp_path), "loading")[0][0] == "note"


def test_calls_that_load_code_in_the_window_are_loading(tmp_path: Path) -> None:
    t, main_thread = sound()
    # From 3 us to 33 ms on the GPU; the first call is before that.
    t.api(main_thread, "cuLibraryLoadData", -9 * MS, -MS)
    assert found(checked(t, tmp_path), "loading")[0][0] == "sound"
    t.api(main_thread, "cuLibraryLoadData", 11 * MS, 14 * MS)
    t.api(main_thread, "cudaMallocAsync_v11020", 21 * MS, 24 * MS)
    severity, text = only(checked(t, tmp_path), "loading")
    assert severity == "warning"
    assert text.startswith("Calls that load code or allocate memory (1) take 3.000 ms, 9.09% of the time")


@pytest.mark.slow(1)
def test_time_that_nsys_took_counts_only_while_the_gpu_is_in_use(tmp_path: Path) -> None:
    t, main_thread = sound()

    def held(start: int, end: int) -> None:
        t.row("PROFILER_OVERHEAD", start=start, end=end, globalTid=main_thread.global_tid,
              nameId=t.string("CUPTI Buffer flush"))  # fmt: skip

    held(-100 * MS, -MS)
    assert found(checked(t, tmp_path), "profiler_time")[0][0] == "sound"
    held(30 * MS, 90 * MS)
    # The last operation ends at 33 ms.
    severity, text = only(checked(t, tmp_path), "profiler_time")
    assert severity == "warning"
    assert text.startswith("nsys held a thread of the program for 3.000 ms, 9.09%")
    assert text.endswith("mostly for CUPTI Buffer flush.")


@pytest.mark.parametrize(("gpus", "severity"), [(1, "sound"), (2, "warning")])
def test_processes_that_share_a_device_number_may_mean_several_gpus(tmp_path: Path, gpus: int, severity: str) -> None:
    t = TraceBuilder()
    for number in range(gpus):
        t.gpu(number)
    for pid in (10, 20):
        t.kernel(t.thread(pid, pid + 1), "sgemm", launch=(10, 11), gpu=(20, 30))
    told, text = only(checked(t, tmp_path), "gpu_identity")
    assert told == severity
    if severity == "warning":
        assert text == (
            "Which GPU 2 operations of 2 ran on is unknown: 2 processes with device 0, and 2 GPUs in the list."
        )


def tuned(candidates: int, *, rounds: int = 1, repeated: int = 10) -> TraceBuilder:
    """Candidates of one convolution with a fill before each, then iterations with the last of them."""
    t, main_thread = sound(0)
    at = 0
    names = [f"sm80_xmma_fprop_implicit_gemm_tile{size}_kernel" for size in range(candidates)]
    for name in [each for each in names for _ in range(rounds)]:
        t.memset(main_thread, 2**28, launch=(at, at + 1), gpu=(at + 10, at + 20))
        t.kernel(main_thread, name, launch=(at + 2, at + 3), gpu=(at + 30, at + 1_030))
        at += 2_000
    for _ in range(repeated):
        t.kernel(main_thread, names[-1], launch=(at, at + 1), gpu=(at + 10, at + 510))
        t.kernel(main_thread, "layer_norm_kernel", launch=(at + 2, at + 3), gpu=(at + 600, at + 700))
        at += 1_000
    return t


def test_candidates_that_never_run_again_are_autotuning(tmp_path: Path) -> None:
    severity, text = only(checked(tuned(12, rounds=3), tmp_path), "autotuning")
    assert severity == "warning"
    # 11 losers, three times 1 us each.
    assert text.startswith(
        "Autotuning ran in the capture: 11 kernel variants, mostly of conv, ran in 1 series and never"
    )
    assert "0.033 ms or" in text


@pytest.mark.slow(1)
def test_few_variants_or_variants_that_run_again_are_no_autotuning(tmp_path: Path) -> None:
    assert found(checked(tuned(3), tmp_path), "autotuning")[0][0] == "sound"
    t, main_thread = sound(0)
    # Two iterations of a network of twelve convolutions, each with its own kernel.
    for number in range(24):
        at = 2_000 * number
        name = f"sm80_xmma_fprop_implicit_gemm_tile{number % 12}_kernel"
        t.kernel(main_thread, name, launch=(at, at + 1), gpu=(at + 10, at + 1_010))
        if number == 11:
            t.kernel(main_thread, "softmax", launch=(at + 2, at + 3), gpu=(at + 1_020, at + 1_030))
    assert found(checked(t, tmp_path), "autotuning")[0][0] == "sound"
    # Nor is a part of the program that runs but once, such as an encoder.
    assert found(checked(tuned(12, repeated=0), tmp_path), "autotuning")[0][0] == "sound"


def test_settings_of_one_kernel_in_a_row_are_autotuning(tmp_path: Path) -> None:
    t, main_thread = sound(0)
    at = 0
    for warps in (1, 2, 4, 8, 16):
        for _ in range(5):
            t.kernel(main_thread, "_my_triton_kernel", launch=(at, at + 1), gpu=(at + 10, at + 110),
                     block=(32 * warps, 1, 1))  # fmt: skip
            at += 200
    for _ in range(10):
        t.kernel(main_thread, "softmax", launch=(at, at + 1), gpu=(at + 10, at + 20))
        t.kernel(main_thread, "_my_triton_kernel", launch=(at + 2, at + 3), gpu=(at + 30, at + 130), block=(128, 1, 1))
        at += 200
    severity, text = only(checked(t, tmp_path), "autotuning")
    assert severity == "warning"
    assert "4 kernel variants" in text


def test_each_analysis_is_told_as_able_or_as_lacking_something(tmp_path: Path) -> None:
    frame = checked(sound()[0], tmp_path).filter(pl.col("rule") == "fitness")
    able = frame.filter(pl.col("severity") == "sound")["finding"].item()
    lacking = ", ".join(frame.filter(pl.col("severity") == "note")["affects"])
    for name in set(analysis_names()) - {"check"}:
        assert (f"{name}," in able or f"{name}." in able) != (name in lacking.split(", ")), name
    assert frame.filter(pl.col("severity") == "note")["remedy"].null_count() == 0


def test_whatever_affects_is_an_analysis_and_has_a_remedy(tmp_path: Path) -> None:
    t, main_thread = sound()
    message(t, "Couldn't allocate CUPTI buffers 3 times.")
    t.range(main_thread, "open", 0, None)
    t.graph(main_thread, 1, launch=(50 * MS, 51 * MS), gpu=(52 * MS, 84 * MS))
    frame = checked(t, tmp_path)
    named = {name for text in frame["affects"].drop_nulls() for name in text.split(", ")}
    assert named <= {EVERYTHING, *analysis_names()}
    grave = frame.filter(pl.col("severity").is_in(["problem", "warning"]))
    assert grave["remedy"].null_count() == grave["affects"].null_count() == 0
    assert set(frame["rule"]) <= checks().keys()


@each_capture
def test_every_capture_has_findings_with_numbers(capture: Path) -> None:
    frame = ttinsys.check(parsers.load(capture))
    assert set(frame["severity"]) <= SEVERITIES.keys()
    assert frame.filter(pl.col("severity") == "sound").height >= 2
    assert frame["finding"].str.ends_with(".").all()


@pytest.mark.slow(1)
@needs_captures
def test_good_captures_raise_no_alarm_and_bad_ones_do() -> None:
    def grave(name: str) -> set[str]:
        frame = ttinsys.check(parsers.load(TRACES / name))
        return set(frame.filter(pl.col("severity").is_in(["problem", "warning"]))["rule"])

    assert grave("torch-mnist-aten-2023.4.sqlite") == set()
    assert grave("torch-nccl-2gpu-2026.2.sqlite") == set()
    assert grave("torch-cudagraph-2024.6.sqlite") == {"whole_graphs", "captured_tables"}
    assert grave("torch-trimmed-2gpu-2026.2.sqlite") == {"lost_events", "attributed"}
    assert grave("sd-controlnet-tensorrt-no-gpu-2023.4.sqlite") == {"captured_tables"}
