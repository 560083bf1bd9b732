"""The tree of layers: own and total times worked out by hand."""

from __future__ import annotations

from pathlib import Path

from tests.build import TraceBuilder
from tests.two_steps import two_steps
from ttinsys.runner.run import analyse


def test_layers_are_a_tree_with_the_rest_by_reason(tmp_path: Path) -> None:
    frame = analyse("layers", two_steps().load(tmp_path))
    assert frame.select("path", "name", "depth", "instances", "ops", "self_ns", "total_ns", "cpu_ns").rows() == [
        ("step", "step", 0, 2, 8, 10, 450, 1800),
        ("step/unet", "unet", 1, 2, 6, 40, 440, 1400),
        ("step/unet/attn", "attn", 2, 2, 2, 200, 200, 200),
        ("step/unet/conv", "conv", 2, 2, 2, 200, 200, 200),
        (None, "(launched_before_capture)", 0, None, 1, 40, 40, None),
        (None, "(no_range_open)", 0, None, 1, 10, 10, None),
    ]
    assert frame["share"].to_list() == [0.9, 0.88, 0.4, 0.4, 0.08, 0.02]


def test_layers_stop_at_the_depth_asked_for_and_keep_their_totals(tmp_path: Path) -> None:
    frame = analyse("layers", two_steps().load(tmp_path), depth=0)
    assert frame.select("name", "total_ns").rows() == [
        ("step", 450),
        ("(launched_before_capture)", 40),
        ("(no_range_open)", 10),
    ]


def test_trace_without_gpu_work_still_shows_cpu_time_of_its_layers(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "unet", 0, 100)
    t.range(main, "conv", 10, 30)
    t.range(main, "open", 40, None)
    layers = analyse("layers", t.load(tmp_path))
    assert layers.select("path", "total_ns", "share", "cpu_ns").rows() == [
        ("unet", 0, None, 100),
        ("unet/conv", 0, None, 20),
        ("open", 0, None, None),
    ]
