"""The analyses: by hand on a small trace, and their laws on every real capture."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import parsers
import ttinsys
from tests.build import TraceBuilder
from tests.shared import each_capture
from ttinsys.commands.questions import SHORT_NAMES
from ttinsys.runner.registry import analysis_names, find
from ttinsys.runner.run import analyse


def unet() -> TraceBuilder:
    """Two steps of a UNet; 500 ns in all: 10 outside every range, 40 launched before the capture."""
    t = TraceBuilder()
    main = t.thread()
    for step in range(2):
        at = 1000 * step
        t.range(main, "step", at, at + 900)
        t.range(main, "unet", at + 100, at + 800)
        t.range(main, "unet.conv", at + 200, at + 300)
        t.kernel(main, "cudnn_conv", launch=(at + 210, at + 220), gpu=(at + 400, at + 500))
        t.range(main, "unet.attn", at + 400, at + 500)
        t.kernel(main, "flash_fwd", launch=(at + 410, at + 420), gpu=(at + 500, at + 600))
        t.kernel(main, "add", launch=(at + 600, at + 610), gpu=(at + 600, at + 620))
        t.kernel(main, "euler", launch=(at + 850, at + 860), gpu=(at + 870, at + 875))
    t.kernel(main, "add", launch=(2500, 2510), gpu=(2600, 2610))
    t.kernel(main, "flash_fwd", api=None, gpu=(0, 40), correlation_id=0)
    return t


def result(name: str, folder: Path, **options: object) -> pl.DataFrame:
    return analyse(name, unet().load(folder), **options)


def test_kernels_add_up_by_name(tmp_path: Path) -> None:
    frame = result("kernels", tmp_path)
    columns = ["kernel", "instances", "sum_ns", "share", "mean_ns", "median_ns", "min_ns", "max_ns"]
    assert frame.select(columns).rows() == [
        ("flash_fwd", 3, 240, 0.48, 80.0, 100.0, 40, 100),
        ("cudnn_conv", 2, 200, 0.4, 100.0, 100.0, 100, 100),
        ("add", 3, 50, 0.1, 50 / 3, 20.0, 10, 20),
        ("euler", 2, 10, 0.02, 5.0, 5.0, 5, 5),
    ]


def test_layers_are_a_tree_with_the_rest_by_reason(tmp_path: Path) -> None:
    frame = result("layers", tmp_path)
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
    frame = result("layers", tmp_path, depth=0)
    assert frame.select("name", "total_ns").rows() == [
        ("step", 450),
        ("(launched_before_capture)", 40),
        ("(no_range_open)", 10),
    ]


def test_ranges_add_up_by_name(tmp_path: Path) -> None:
    frame = result("ranges_by_name", tmp_path)
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


def test_trace_without_gpu_work_still_shows_cpu_time_of_its_layers(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "unet", 0, 100)
    t.range(main, "conv", 10, 30)
    t.range(main, "open", 40, None)
    trace = t.load(tmp_path)
    layers = analyse("layers", trace)
    assert layers.select("path", "total_ns", "share", "cpu_ns").rows() == [
        ("unet", 0, None, 100),
        ("unet/conv", 0, None, 20),
        ("open", 0, None, None),
    ]
    ranges = analyse("ranges_by_name", trace)
    assert dict(ranges.select("range", "cpu_ns").iter_rows()) == {"unet": 100, "conv": 20, "open": None}


@each_capture
def test_sums_of_every_analysis_equal_the_sum_over_the_operations(capture: Path) -> None:
    trace = parsers.load(capture)
    ops = ttinsys.attribute(trace).select("duration_ns", "path").collect()
    whole = ops["duration_ns"].sum()
    kernels, layers, ranges = (analyse(name, trace) for name in ("kernels", "layers", "ranges_by_name"))
    assert kernels["sum_ns"].sum() == whole
    assert layers["self_ns"].sum() == whole
    assert layers.filter(pl.col("depth") == 0)["total_ns"].sum() == whole
    assert ranges["self_ns"].sum() == whole
    assert kernels["instances"].sum() == ops.height
    assert (layers["total_ns"] >= layers["self_ns"]).all()
    # By path, the tree says what grouping the operations says.
    own = ops.drop_nulls("path").group_by("path").agg(pl.col("duration_ns").sum().alias("expected"))
    joined = own.join(layers, on="path", how="left")
    assert joined["expected"].sum() == layers.drop_nulls("path")["self_ns"].sum()


@pytest.mark.parametrize("name", analysis_names())
def test_every_analysis_is_documented_with_an_example_described_columns_and_a_test(name: str) -> None:
    analysis = find(name)
    command = {analysis: short for short, analysis in SHORT_NAMES.items()}.get(name, name).replace("_", "-")
    assert f"\nttinsys {command} " in analysis.documentation
    assert analysis.function.__doc__
    assert analysis.returns.doc or analysis.function.__doc__
    for column in analysis.returns.columns:
        assert column.doc, column.name
        assert column.unit or not column.name.endswith(("_ns", "_bytes")), column.name
    for option in analysis.options:
        assert option.help, option.name
    own = Path(__file__).parent / "analyses" / f"test_{name}.py"
    assert own.exists() or f'result("{name}"' in Path(__file__).read_text()
