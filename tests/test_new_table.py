"""A new nsys table is one file: what is declared there is read, written, filtered and counted, with no other edit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shared import ROOT

SYNCHRONIZATIONS = '''
"""Waits for the GPU."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import CUDA_REMEDY, GPU_ACTIVITY

SYNCHRONIZATIONS = Table(
    "synchronizations",
    *GPU_ACTIVITY,
    Column("sync_type", pl.Int64, "Kind of wait.", aliases=("syncType",)),
    doc="one row per wait",
    sources=("CUPTI_ACTIVITY_KIND_SYNCHRONIZATION",),
    remedy=CUDA_REMEDY,
)
'''
OVERHEADS = '''
"""A table that parsers.nsys_schema does not know: on a device, and on no stream."""

import polars as pl

from parsers.schema import Column, Table
from parsers.tables.columns import END, START

OVERHEADS = Table(
    "overheads",
    START,
    END,
    Column("device_id", pl.Int64, "CUDA device.", aliases=("deviceId",)),
    Column("what", pl.String, "Kind of overhead.", aliases=("overheadKind",)),
    Column("ratio", pl.Float64, "Share.", aliases=("share",)),
    doc="one row per overhead",
    sources=("CUPTI_ACTIVITY_KIND_OVERHEAD",),
)
'''
BEFORE = """
import json, sys, tempfile
from pathlib import Path
import polars as pl
import parsers, parsers.tables
parsers.tables.__path__.append(sys.argv[1])
from tests.build import FORMATS, TraceBuilder
from ttinsys.attribution.select import Selection, apply_selection
from ttinsys.tables.overview import overview

folder = Path(tempfile.mkdtemp(dir=sys.argv[1]))
"""
# The first wait is called within `unet` of process 10, the second within `vae` of process 20.
TRACE = """
t = TraceBuilder()
threads = [t.thread(10, 11), t.thread(20, 21)]
t.range(threads[0], "unet", 0, 100)
t.range(threads[1], "vae", 0, 100)
for thread, start, device, stream in ((threads[0], 200, 0, 7), (threads[1], 300, 1, 8)):
    t.kernel(thread, "k", launch=(5, 6), gpu=(start - 100, start - 90), device=device, stream=stream)
    call = t.api(thread, "cudaStreamSynchronize", 10, 20)
    t.row("CUPTI_ACTIVITY_KIND_SYNCHRONIZATION", start=start, end=start + 10, deviceId=device, streamId=stream,
          correlationId=call, globalPid=thread.global_pid, syncType=3)
    t.row("CUPTI_ACTIVITY_KIND_OVERHEAD", start=start, end=start + 1_000, deviceId=device, overheadKind="x", share=0.5)
"""


def answer(folder: Path, code: str, **modules: str) -> Any:
    """What a program of its own prints, which finds `modules` among the tables."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-c", BEFORE + code, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    code = """
def starts(table, **filters):
    return apply_selection(trace, Selection(**filters)).frames[table].collect()["start_ns"].to_list()

answer = {}
for format in FORMATS:
    trace = t.load(folder, format)
    answer[format] = [trace.frames[name].collect().rows() for name in ("synchronizations", "overheads")]
filters = dict(
    device=dict(devices=(1,)), stream=dict(streams=(8,)), pid=dict(pids=(20,)), start=dict(start_ns=300),
    end=dict(end_ns=300), range=dict(range="vae"), all=dict(devices=(1,), range="unet"),
)
answer |= {name: [starts(table, **of) for table in ("synchronizations", "overheads")] for name, of in filters.items()}
whole = overview(trace)
answer["rows"] = dict(whole.tables.select("table", "rows").iter_rows())
answer["span"] = (whole.start_ns, whole.end_ns)
answer["part"] = dict(overview(trace, selection=Selection(devices=(1,))).tables.select("table", "rows").iter_rows())
answer["order"] = list(parsers.tables.TABLES)
answer["dir"] = "synchronizations" in dir(trace)
answer["attribute"] = trace.synchronizations.select(pl.len()).collect().item()
print(json.dumps(answer))
"""
    folder = tmp_path_factory.mktemp("tables")
    return answer(folder, TRACE + code, synchronizations=SYNCHRONIZATIONS, overheads=OVERHEADS)


@pytest.mark.slow(1)
@pytest.mark.parametrize("format", ["sqlite", "parquetdir", "arrowdir"])
def test_declared_table_is_written_and_read_in_every_format(seen: Any, format: str) -> None:
    process = [1 << 48 | pid << 24 for pid in (10, 20)]
    assert seen[format] == [
        [[200, 210, 0, 1, 7, 2, process[0], 3], [300, 310, 1, 1, 8, 2, process[1], 3]],
        [[200, 1_200, 0, "x", 0.5], [300, 1_300, 1, "x", 0.5]],
    ]


@pytest.mark.parametrize("name", ["device", "stream", "pid", "start", "range"])
def test_every_filter_applies_to_a_declared_table_of_gpu_activity(seen: Any, name: str) -> None:
    assert seen[name][0] == [300]


def test_window_ends_before_its_end_for_a_declared_table_too(seen: Any) -> None:
    assert seen["end"] == [[200], [200]]


def test_filters_of_a_declared_table_combine(seen: Any) -> None:
    assert seen["all"] == [[], []]


@pytest.mark.parametrize(("name", "left"), [("device", [300]), ("stream", []), ("pid", []), ("range", [])])
def test_table_without_the_column_that_a_filter_reads_keeps_no_row(seen: Any, name: str, left: list[int]) -> None:
    assert seen[name][1] == left


def test_declared_table_is_counted_in_the_overview_and_part_of_its_span(seen: Any) -> None:
    assert (seen["rows"]["synchronizations"], seen["rows"]["overheads"]) == (2, 2)
    assert (seen["part"]["synchronizations"], seen["part"]["overheads"]) == (1, 1)
    # The last kernel ends at 210 ns, the last overhead at 1,300.
    assert seen["span"] == [0, 1_300]


def test_declared_table_is_an_attribute_of_a_trace_and_follows_the_known_ones(seen: Any) -> None:
    assert seen["attribute"] == 2
    assert seen["dir"]
    assert seen["order"][:4] == ["kernels", "memcpys", "memsets", "graph_launches"]
    further = seen["order"][seen["order"].index("processes") + 1 :]
    assert further == sorted(further)
    assert {"export_info", "overheads", "synchronizations"} <= {*further}


@pytest.mark.parametrize(
    ("text", "others"),
    [(SYNCHRONIZATIONS, "synchronizations"), ("", "none"), ("from parsers.tables.kernels import KERNELS", "kernels")],
    ids=["another name", "no table", "a table of another file"],
)
def test_file_that_declares_no_table_of_its_own_name_is_one_line(tmp_path: Path, text: str, others: str) -> None:
    code = """
try: list(parsers.tables.TABLES)
except ImportError as error: print(json.dumps(str(error)))
"""
    assert answer(tmp_path, code, waits=text) == (
        f"{tmp_path}/waits.py needs a Table with sources named 'waits', as the file: it has {others}"
    )
