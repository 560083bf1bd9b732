"""The reports of `nsys stats`: equal to what NVIDIA's own program printed, and to what it prints now."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
from collections import Counter
from fractions import Fraction
from math import floor
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parsers
from tests.build import TraceBuilder
from tests.shared import CAPTURES, NSYS, ORACLES, TRACES, needs_captures, needs_nsys, of_capture
from ttinsys.stats import REPORT_NAMES, stats_report
from ttinsys.stats.summary import rounded


def rows(text: str) -> list[tuple[str, ...]]:
    """Rows of a CSV, the header first; nsys ends with an empty line, and says what it does before the header."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("Processing [")]
    return [tuple(row) for row in csv.reader(io.StringIO("".join(lines))) if row]


def ours(name: str, path: Path) -> list[tuple[str, ...]]:
    chosen = stats_report(name)
    trace = parsers.load(path)
    return [] if chosen.missing(trace) else rows(chosen.build(trace).write_csv())


def assert_same(found: list[tuple[str, ...]], expected: list[tuple[str, ...]]) -> None:
    """Same header and rows, in the same order."""
    assert Counter(found) == Counter(expected)
    assert found == expected


def by_nsys(name: str, sqlite: Path, folder: Path) -> list[tuple[str, ...]]:
    """What the real `nsys stats` prints, for a copy of the file: nsys writes beside what it reads."""
    copy = folder / sqlite.name
    copy.write_bytes(sqlite.read_bytes())
    command = [NSYS or "nsys", "stats", "-r", name, "-f", "csv", "--force-export=false", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    printed = rows(done.stdout)
    return [] if any("SKIPPED" in field for row in printed for field in row) else printed


@needs_captures
@pytest.mark.parametrize("oracle", [of_capture(path) for path in ORACLES])
def test_report_equals_what_nvidia_printed_for_the_capture(oracle: Path) -> None:
    capture, name = oracle.name.removesuffix(".csv.gz").rsplit(".", 1)
    expected = rows(gzip.decompress(oracle.read_bytes()).decode())
    assert_same(ours(name, TRACES / f"{capture}.sqlite"), expected)
    parquet = TRACES / f"{capture}_pqtdir"
    if parquet.exists():
        assert_same(ours(name, parquet), expected)


@needs_captures
@needs_nsys
@pytest.mark.nsys
@pytest.mark.parametrize("name", REPORT_NAMES)
@pytest.mark.parametrize("capture", [of_capture(path, path.stem) for path in CAPTURES if path.suffix == ".sqlite"])
def test_report_equals_what_nsys_prints_for_every_capture(name: str, capture: Path, tmp_path: Path) -> None:
    assert_same(ours(name, capture), by_nsys(name, capture, tmp_path))


def hard_cases() -> TraceBuilder:
    """What real captures rarely have: a launch with two rows, ranges in ranges of their name, two domains, two threads,
    ranges that cross, a range never closed, one without text, ties in every average."""
    t = TraceBuilder()
    main, other, rank = t.thread(10, 10), t.thread(10, 11), t.thread(20, 20)
    t.domain(10, 1, "cuBLAS", 0)
    t.range(main, "step", 100, 900)
    t.range(main, "block", 110, 500)
    t.range(main, "block", 120, 300)
    t.range(main, "gemm", 150, 250, domain=1, registered=True)
    t.range(main, "crossing", 240, 600, kind="start_end")
    t.range(other, None, 0, 1000)
    t.range(rank, "serve", 50, None)
    t.range(rank, "end of all", 60, 2000)
    clock = 1000
    for number, thread in enumerate([main, other, rank, main] * 12):
        launch = 100 + 17 * number
        t.kernel(
            thread, f"kernel<{number % 3}>", launch=(launch, launch + 9), gpu=(clock, clock + 5 * number + number % 4)
        )
        clock += 300
    t.memcpy(main, "DtoH", 64, launch=(850, 860), gpu=(clock, clock + 3))
    t.memset(other, 64, launch=(850, 860), gpu=(clock + 5, clock + 6))
    t.api(main, "cuLaunchKernel", 131, 139, correlation_id=500)
    t.kernel(main, "twice", launch=(130, 140), gpu=(clock, clock + 1), correlation_id=500)
    t.kernel(main, "without a call", api=None, gpu=(clock, clock + 2), correlation_id=900)
    return t


@needs_nsys
@pytest.mark.nsys
@pytest.mark.parametrize("name", REPORT_NAMES)
def test_report_equals_what_nsys_prints_for_a_trace_of_hard_cases(name: str, tmp_path: Path) -> None:
    path = hard_cases().write(tmp_path / "hard.sqlite")
    folder = tmp_path / "nsys"
    folder.mkdir()
    expected = by_nsys(name, path, folder)
    assert len(expected) > 3
    assert_same(ours(name, path), expected)


@needs_nsys
@pytest.mark.nsys
def test_json_is_nsys_json(tmp_path: Path) -> None:
    from ttinsys.render.nsys import NSYS_TEXTS

    path = hard_cases().write(tmp_path / "hard.sqlite")
    chosen = stats_report("nvtx_kern_sum")
    command = [NSYS or "nsys", "stats", "-r", chosen.name, "-f", "json", "--force-export=false", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = json.loads(printed[printed.index("[\n") :])
    found = json.loads(NSYS_TEXTS["json"](chosen, chosen.build(parsers.load(path))))
    assert found == expected


def test_kernel_in_a_range_inside_a_range_of_its_name_counts_one_kernel_and_two_durations(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "block", 0, 100)
    t.range(main, "block", 10, 90)
    t.kernel(main, "sgemm", launch=(20, 30), gpu=(40, 47))
    frame = stats_report("nvtx_kern_sum").build(t.load(tmp_path))
    assert frame.select("NVTX Range", "NVTX Inst", "Kern Inst", "Total Time (ns)").rows() == [("block", 2, 1, 14)]


@pytest.mark.parametrize("name", REPORT_NAMES)
def test_trace_with_marks_and_no_ranges_and_kernels_of_no_time_is_reported(name: str, tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.mark(main, "here", 0)
    t.kernel(main, "instant", launch=(2, 3), gpu=(5, 5))
    frame = stats_report(name).build(t.load(tmp_path))
    # A summary of ranges has no row; the others have one, of no time and no range.
    assert frame.height == (0 if name == "nvtx_gpu_proj_sum" else 1)


@needs_nsys
@pytest.mark.nsys
def test_share_of_no_time_is_empty_as_nsys_has_it(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.kernel(t.thread(), "instant", launch=(2, 3), gpu=(5, 5))
    path = t.write(tmp_path / "instant.sqlite")
    folder = tmp_path / "nsys"
    folder.mkdir()
    assert_same(ours("cuda_gpu_kern_sum", path), by_nsys("cuda_gpu_kern_sum", path, folder))


def test_report_names_what_the_trace_lacks_and_how_to_get_it(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.range(t.thread(), "step", 0, 10)
    missing = stats_report("nvtx_kern_sum").missing(t.load(tmp_path))
    assert missing is not None
    assert missing.endswith("has no CUPTI_ACTIVITY_KIND_KERNEL: profile on a machine with a GPU with --trace=cuda,nvtx")


def test_ties_are_rounded_upward_even_where_the_float_is_below_the_tie() -> None:
    values = [0.25, 0.75, 0.15, 0.349, 0.45, 2.25, 1933965.15, 12735.05, 0.94, 7.0, 0.0]
    expected = [0.3, 0.8, 0.2, 0.3, 0.5, 2.3, 1933965.2, 12735.1, 0.9, 7.0, 0.0]
    frame = pl.DataFrame({"x": values}).select(rounded("x"))
    assert frame["x"].to_list() == expected


@given(st.integers(0, 10**13), st.integers(1, 10**4))
def test_mean_is_rounded_as_the_fraction_that_it_stands_for(total: int, count: int) -> None:
    tenths = floor(Fraction(total, count) * 10 + Fraction(1, 2))
    assert pl.DataFrame({"x": [total / count]}).select(rounded("x")).item() == float(f"{tenths // 10}.{tenths % 10}")


@given(st.integers(0, 10**9), st.sampled_from((4, 8, 20, 40, 60, 200)))
def test_mean_that_may_be_a_tie_is_rounded_as_the_fraction(total: int, count: int) -> None:
    tenths = floor(Fraction(total, count) * 10 + Fraction(1, 2))
    assert pl.DataFrame({"x": [total / count]}).select(rounded("x")).item() == float(f"{tenths // 10}.{tenths % 10}")
