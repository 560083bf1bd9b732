"""Kernels by name: times and shares worked out by hand."""

from __future__ import annotations

from pathlib import Path

from tests.two_steps import two_steps
from ttinsys.runner.run import analyse


def test_kernels_add_up_by_name(tmp_path: Path) -> None:
    frame = analyse("kernels", two_steps().load(tmp_path))
    columns = ["kernel", "instances", "sum_ns", "share", "mean_ns", "median_ns", "min_ns", "max_ns"]
    assert frame.select(columns).rows() == [
        ("flash_fwd", 3, 240, 0.48, 80.0, 100.0, 40, 100),
        ("cudnn_conv", 2, 200, 0.4, 100.0, 100.0, 100, 100),
        ("add", 3, 50, 0.1, 50 / 3, 20.0, 10, 20),
        ("euler", 2, 10, 0.02, 5.0, 5.0, 5, 5),
    ]
