"""Real traces of the PyTorch profiler: sums, counts and stacks equal what Python's own JSON reader finds in them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

import parsers
from parsers.kineto import with_short_names
from tests.shared import TRACES, each_capture
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.nvtx import ranges
from ttinsys.cli import main

NAMES = ("timesformer-h100", "qwen1.5-h100", "torch-compile-triton", "sd3.5-compiled-mi300x")
REAL = [TRACES / "kineto" / f"{name}.json.gz" for name in NAMES]
QUICK = "torch-compile-triton"
each_real = pytest.mark.parametrize(
    "path", [pytest.param(path, id=name, marks=[] if name == QUICK else [pytest.mark.slow(2)])
             for path, name in zip(REAL, NAMES, strict=True)]
)  # fmt: skip


@pytest.fixture(autouse=True)
def _present(request: pytest.FixtureRequest) -> None:
    path = request.node.callspec.params.get("path") if hasattr(request.node, "callspec") else None
    if isinstance(path, Path) and not path.exists():
        pytest.skip("no real traces in ../shared/traces/kineto")


@cache
def events_of(path: Path) -> list[dict[str, Any]]:
    """Complete events as Python's own reader has them: the oracle of the real traces."""
    content: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return [one for one in content["traceEvents"] if one.get("ph") == "X"]


@cache
def opened(path: Path) -> parsers.Trace:
    return parsers.load(path)


def of_category(path: Path, *categories: str) -> list[dict[str, Any]]:
    return [one for one in events_of(path) if one["cat"] in categories]


@each_real
def test_counts_and_sums_are_those_of_the_file_to_the_nanosecond(path: Path) -> None:
    trace = opened(path)
    assert trace.format == "kineto"
    for table, categories in {
        "kernels": ("kernel",),
        "memcpys": ("gpu_memcpy",),
        "memsets": ("gpu_memset",),
        "api_calls": ("cuda_runtime", "cuda_driver"),
    }.items():
        rows, there = trace.frames[table].collect(), of_category(path, *categories)
        assert trace.has(table) == bool(there)
        assert rows.height == len(there)
        assert (rows["end_ns"] - rows["start_ns"]).sum() == sum(round(one["dur"] * 1000) for one in there)


@each_real
def test_calls_are_those_of_the_file_by_name(path: Path) -> None:
    trace = opened(path)
    strings = trace.strings.select(pl.col("id").alias("name_id"), "value")
    named = trace.api_calls.join(strings, on="name_id").collect()
    assert Counter(named["value"]) == Counter(one["name"] for one in of_category(path, "cuda_runtime", "cuda_driver"))


@each_real
def test_ranges_are_operators_modules_and_annotations(path: Path) -> None:
    # Ranges with negative IDs are ours.
    named = ranges(opened(path)).filter(pl.col("range_id") > 0).select("name", "domain").collect()
    expected = Counter(
        (one["name"], None if one["cat"] == "user_annotation" else "PyTorch")
        for one in of_category(path, "cpu_op", "python_function", "user_annotation")
    )
    assert Counter(named.iter_rows()) == expected


@each_real
def test_stack_of_a_kernel_equals_containment_worked_out_one_by_one(path: Path) -> None:
    launches: dict[int, dict[str, Any]] = {}
    for one in of_category(path, "cuda_runtime", "cuda_driver"):
        launches.setdefault(one["args"]["correlation"], one)
    around = of_category(path, "cpu_op", "python_function", "user_annotation")
    trace = opened(path)
    nested = ranges(trace).select("range_id", "index", "parent", "name").collect()
    holders = {row["index"]: row for row in nested.iter_rows(named=True)}
    index_of = dict(nested.select("range_id", "index").iter_rows())
    ops = attribute(trace).select("correlation_id", "range_id").collect()
    sample = ops.gather_every(max(ops.height // 300, 1))
    for correlation, range_id in sample.iter_rows():
        launch = launches.get(correlation)
        if launch is None:
            assert range_id is None
            continue
        stack, holder = [], holders.get(index_of.get(range_id))
        while holder:
            # Ranges with a negative ID are ours: they lie around what the program spelt out.
            stack += [holder["name"]] if holder["range_id"] > 0 else []
            holder = holders.get(holder["parent"])
        at = launch["ts"]
        open_then = [
            one for one in around if one["tid"] == launch["tid"] and one["ts"] <= at < round(one["ts"] + one["dur"], 3)
        ]
        outermost_first = sorted(open_then, key=lambda one: (one["ts"], -one["dur"]))
        assert stack[::-1] == [one["name"] for one in outermost_first]


@each_real
def test_structured_payload_is_spelt_as_the_file_spells_it(path: Path) -> None:
    trace = opened(path)
    texts = trace.strings.select(pl.col("id").alias("json_text_id"), "value")
    rows = trace.nvtx_events.join(texts, on="json_text_id").select("value").collect()["value"]
    wanted = ("Input Dims", "Input type", "Concrete Inputs", "Fwd thread id")
    there = [{name: one["args"][name] for name in wanted if name in one["args"]} for one in of_category(path, "cpu_op")]
    canonical = Counter(json.dumps(one, sort_keys=True) for one in there if one)
    assert Counter(json.dumps(json.loads(text), sort_keys=True) for text in rows) == canonical


@pytest.mark.slow(20)
@pytest.mark.parametrize("command", ["layers", "breakdown", "kernels", "info", "gaps", "report", "ranges"])
@each_real
def test_commands_answer(path: Path, command: str, tmp_path: Path) -> None:
    output = ["-o", str(tmp_path / "page.html")] if command == "report" else []
    done = CliRunner().invoke(main, [command, str(path), *output], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr


@pytest.mark.slow(5)
@pytest.mark.parametrize(
    "report", ["cuda_gpu_kern_sum", "nvtx_kern_sum", "nvtx_gpu_proj_trace", "cuda_kern_exec_trace"]
)
@each_real
def test_reports_of_nsys_are_printed(path: Path, report: str) -> None:
    done = CliRunner().invoke(main, ["stats", "-r", report, "--format", "csv", str(path)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("\n") > 2


def test_operations_before_the_window_of_the_profiler_say_so() -> None:
    path = TRACES / "kineto" / "qwen1.5-h100.json.gz"
    if not path.exists():
        pytest.skip("no real traces in ../shared/traces/kineto")
    reasons = attribute(opened(path)).select("attributed_by").collect()["attributed_by"]
    assert Counter(reasons) == {"launch": 1198, "launched_before_capture": 509}


def test_device_of_rocm_that_the_file_does_not_list_is_the_one_gpu_it_lists() -> None:
    path = TRACES / "kineto" / "torch-compile-triton.json.gz"
    if not path.exists():
        pytest.skip("no real traces in ../shared/traces/kineto")
    trace = opened(path)
    assert trace.kernels.select(pl.col("device_id", "stream_id").unique()).collect().row(0) == (2, 0)
    (gpu,) = trace.gpus.collect().to_dicts()
    assert (gpu["device_id"], gpu["id"], gpu["name"], gpu["sm_count"]) == (2, 0, "AMD Instinct MI300X", 304)


@each_capture
def test_short_names_of_kernels_are_those_that_nsys_gives(capture: Path) -> None:
    trace = parsers.load(capture)
    kernels = trace.kernels.select(pl.col("name_id").alias("demangledName"), "short_name_id").unique().collect()
    named, strings = with_short_names(kernels, trace.strings.collect())
    text = dict(strings.iter_rows())
    ours, theirs = ([text[id] for id in named[name]] for name in ("shortName", "short_name_id"))
    assert ours == theirs
