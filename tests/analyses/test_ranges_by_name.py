"""Ranges by name: times worked out by hand, and each counted once however ranges nest."""

from __future__ import annotations

from pathlib import Path

from tests.build import TraceBuilder
from tests.two_steps import two_steps
from ttinsys.runner.run import analyse


def test_ranges_add_up_by_name(tmp_path: Path) -> None:
    frame = analyse("ranges_by_name", two_steps().load(tmp_path))
    assert frame.select("range", "instances", "ops", "self_ns", "total_ns", "cpu_ns").rows() == [
        ("step", 2, 8, 10, 450, 1800),
        ("unet", 2, 6, 40, 440, 1400),
        ("unet.attn", 2, 2, 200, 200, 200),
        ("unet.conv", 2, 2, 200, 200, 200),
        ("(launched_before_capture)", None, 1, 40, 40, None),
        ("(no_range_open)", None, 1, 10, 10, None),
    ]


def test_range_inside_a_range_of_its_name_counts_its_time_once(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.domain(main.pid, 1, "lib", 0)
    t.range(main, "block", 0, 100)
    t.range(main, "block", 10, 90)
    t.range(main, "block", 20, 80, domain=1)
    t.kernel(main, "sgemm", launch=(30, 40), gpu=(100, 107))
    frame = analyse("ranges_by_name", t.load(tmp_path))
    assert frame.select("domain", "instances", "ops", "self_ns", "total_ns", "cpu_ns").rows() == [
        (None, 2, 1, 0, 7, 100),
        ("lib", 1, 1, 7, 7, 60),
    ]


def test_trace_without_gpu_work_still_shows_cpu_time_of_its_ranges(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "unet", 0, 100)
    t.range(main, "conv", 10, 30)
    t.range(main, "open", 40, None)
    ranges = analyse("ranges_by_name", t.load(tmp_path))
    assert dict(ranges.select("range", "cpu_ns").iter_rows()) == {"unet": 100, "conv": 20, "open": None}
