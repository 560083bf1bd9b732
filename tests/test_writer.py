"""What is written is read back equal, from every format, and has the schema that real exports have."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import parsers
from parsers.nsys_schema import NSYS_TABLES, enumerations, export_info
from parsers.tables import COPY_KINDS, TABLES
from parsers.writer import ROWS_PER_INSERT, write_arrowdir, write_parquetdir, write_sqlite
from tests.build import FORMATS, Format, TraceBuilder

TRACES = Path(__file__).parents[1] / "../shared/traces"
Write = Callable[[str | Path, Mapping[str, pl.DataFrame]], None]
WRITERS: dict[str, Write] = {"sqlite": write_sqlite, "parquetdir": write_parquetdir, "arrowdir": write_arrowdir}


def everything() -> TraceBuilder:
    """One row at least of every table that has a reader."""
    t = TraceBuilder(SYNTHETIC="tests")
    main = t.thread(pid=10, tid=11, name="main")
    other = t.thread(pid=20, tid=21)
    t.process(10, "python")
    t.gpu(0, smCount=108, totalMemory=85_198_045_184, isDiscrete=True)
    t.domain(10, 3, "NCCL", -50, destroyed=5_000)
    t.category(10, 4, "forward", -40)
    t.range(main, "unet", 0, 100, payload=-7)
    t.range(main, "näme\nof two lines", 10, 90, registered=True, category=4, payload=2**64 - 1)
    t.range(main, None, 20, None, kind="start_end", end_thread=other, domain=3, payload=0.5)
    t.mark(main, "here", 25)
    t.kernel(main, "void sgemm<float>(T1)", launch=(30, 35), gpu=(200, 250), short_name="sgemm", grid=(4, 3, 2))
    t.kernel(other, "sgemm", gpu=(210, 220), graph_node=2**40 + 1)
    t.memcpy(main, "HtoD", 4096, launch=(40, 41), gpu=(260, 270), stream=13)
    t.memset(main, 128, launch=(42, 43), gpu=(270, 280))
    t.graph(main, 5, launch=(50, 55), gpu=(300, 400))
    t.graph_node(main, 2**40 + 1, at=-10, original=2**40)
    t.complete()
    return t


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_back(tmp_path: Path, format: Format) -> None:
    trace = everything().load(tmp_path, format)
    thread = 1 << 48 | 10 << 24 | 11

    assert trace.format == format
    assert [name for name in TABLES if not trace.has(name)] == []
    assert trace.kernels.collect().rows(named=True)[0] == {
        "start_ns": 200,
        "end_ns": 250,
        "device_id": 0,
        "context_id": 1,
        "stream_id": 7,
        "correlation_id": 1,
        "global_pid": 1 << 48 | 10 << 24,
        "name_id": 4,
        "short_name_id": 5,
        "grid_x": 4,
        "grid_y": 3,
        "grid_z": 2,
        "block_x": 128,
        "block_y": 1,
        "block_z": 1,
        "registers_per_thread": 32,
        "static_shared_bytes": 0,
        "dynamic_shared_bytes": 0,
        "graph_node_id": None,
    }
    assert trace.api_calls.select("start_ns", "end_ns", "correlation_id").collect().rows() == [
        (30, 35, 1),
        (40, 41, 2),
        (42, 43, 3),
        (50, 55, 4),
    ]
    events = trace.nvtx_events.select("row_id", "start_ns", "end_ns", "event_type", "global_tid", "text", "text_id")
    assert events.collect().rows()[3:6] == [
        (4, 0, 100, 59, thread, "unet", None),
        (5, 10, 90, 59, thread, None, 2),
        (6, 20, None, 60, thread, None, None),
    ]
    payloads = trace.nvtx_events.select("payload_int64", "payload_uint64", "payload_double").collect()
    assert payloads.rows()[3:6] == [(-7, None, None), (None, 2**64 - 1, None), (None, None, 0.5)]
    assert dict(trace.strings.collect().iter_rows())[2] == "näme\nof two lines"
    assert trace.graph_nodes.collect().rows() == [(-10, thread, 2**40 + 1, 2**40)]
    assert ("SYNTHETIC", "tests") in trace.export_info.collect().rows()
    assert trace.gpus.select("name", "sm_count", "memory_bytes").collect().rows() == [
        ("Synthetic GPU", 108, 85_198_045_184)
    ]


@pytest.mark.parametrize("table", TABLES)
def test_every_format_reads_the_same(tmp_path: Path, table: str) -> None:
    t = everything()
    expected, *others = [getattr(t.load(tmp_path, kind), table).collect() for kind in FORMATS]
    for frame in others:
        assert_frame_equal(frame, expected)


def table_info(path: Path, table: str) -> list[tuple[str, str, int, int]]:
    """Name, type, NOT NULL and place in the primary key of each column."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        rows = connection.execute("SELECT name, type, [notnull], pk FROM pragma_table_info(?)", (table,))
        return [tuple(row) for row in rows]


REAL = {
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": "torch-cudagraph-2024.6.sqlite",
    "PROCESSES": None,
    "CUDA_GRAPH_EVENTS": None,
    "DIAGNOSTIC_EVENT": None,
    "CUDA_GRAPH_NODE_EVENTS": None,
}
"""Tables whose real example is not in the first trace: where it is, if anywhere."""


@pytest.mark.parametrize("table", [table for table in NSYS_TABLES if REAL.get(table, "") is not None])
def test_tables_are_declared_as_in_a_real_export(tmp_path: Path, table: str) -> None:
    real = TRACES / (REAL.get(table) or "torch-mnist-aten-2023.4.sqlite")
    if not real.exists():
        pytest.skip(f"{real.name} is not here")
    row = {c.name: [0 if c.sqlite_type == "INTEGER" else "x"] for c in NSYS_TABLES[table] if not c.nullable}
    write_sqlite(tmp_path / "one.sqlite", {table: pl.DataFrame(row)})

    assert table_info(tmp_path / "one.sqlite", table) == table_info(real, table) != []


@pytest.mark.parametrize("table", [table for table in NSYS_TABLES if table not in REAL])
def test_parquet_types_are_those_of_a_real_export(tmp_path: Path, table: str) -> None:
    real = TRACES / "torch-mnist-aten-2023.4_pqtdir" / f"{table}.parquet"
    if not real.exists():
        pytest.skip(f"{real.name} is not here")
    row = {c.name: [0 if c.sqlite_type == "INTEGER" else "x"] for c in NSYS_TABLES[table] if not c.nullable}
    write_parquetdir(tmp_path / "one", {table: pl.DataFrame(row)})

    assert pl.read_parquet_schema(tmp_path / "one" / f"{table}.parquet") == pl.read_parquet_schema(real)


def test_enumerations_agree_with_a_real_export() -> None:
    real = TRACES / "torch-mnist-aten-2023.4_pqtdir"
    if not real.exists():
        pytest.skip(f"{real.name} is not here")
    for table, rows in enumerations().items():
        known = pl.read_parquet(real / f"{table}.parquet")
        assert rows.join(known, on=["id", "name", "label"], how="anti").is_empty(), table


def test_copy_kinds_are_those_that_the_reader_knows() -> None:
    assert dict(enumerations()["ENUM_CUDA_MEMCPY_OPER"].select("id", "label").iter_rows()) == COPY_KINDS


SPANS = pl.DataFrame({"start": [1, 2], "end": [3, 4], "nameId": [5, 6]})


@pytest.mark.parametrize("format", FORMATS)
def test_columns_left_out_are_null_or_the_declared_default(tmp_path: Path, format: Format) -> None:
    kernels = SPANS.rename({"nameId": "shortName"}).with_columns(demangledName=9)
    WRITERS[format](tmp_path / "t", {"CUPTI_ACTIVITY_KIND_KERNEL": kernels})

    columns = ["start_ns", "stream_id", "context_id", "grid_z", "registers_per_thread", "correlation_id"]
    assert parsers.load(tmp_path / "t").kernels.select(columns).collect().rows() == [
        (1, 7, 1, 1, 0, None),
        (2, 7, 1, 1, 0, None),
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_ids_of_64_bits_may_be_signed(tmp_path: Path, format: Format) -> None:
    calls = SPANS.with_columns(globalTid=pl.Series([-1, -(2**63)]))
    WRITERS[format](tmp_path / "t", {"CUPTI_ACTIVITY_KIND_RUNTIME": calls})

    assert parsers.load(tmp_path / "t").api_calls.collect()["global_tid"].to_list() == [-1, -(2**63)]


@pytest.mark.parametrize("format", FORMATS)
def test_tables_without_rows_are_not_created(tmp_path: Path, format: Format) -> None:
    WRITERS[format](tmp_path / "t", {"CUPTI_ACTIVITY_KIND_RUNTIME": SPANS.clear(), "META_DATA_EXPORT": export_info()})

    assert parsers.load(tmp_path / "t").nsys_tables == ("META_DATA_EXPORT",)


def test_more_rows_than_one_insert_takes_keep_their_order(tmp_path: Path) -> None:
    count = ROWS_PER_INSERT + 1
    calls = pl.select(start=pl.int_range(count), end=pl.int_range(count), nameId=1)
    write_sqlite(tmp_path / "t.sqlite", {"CUPTI_ACTIVITY_KIND_RUNTIME": calls})

    starts = parsers.load(tmp_path / "t.sqlite").api_calls.select("start_ns").collect()
    assert starts.equals(calls.select(start_ns="start"))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("table", "frame", "message"),
    [
        ("KERNELS", SPANS, "KERNELS is no table of nsys"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", SPANS.with_columns(tid=1), "RUNTIME has no column tid: it has start, end, e"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", SPANS.drop("end"), "RUNTIME needs a column end"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", SPANS.with_columns(nameId=None), "column nameId may not be null"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", SPANS.with_columns(start=0.5), "column start is Int64, not Float64"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", SPANS.with_columns(nameId=pl.lit("x")), "column nameId is UInt64, not String"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", SPANS.with_columns(returnValue=2**40), "RUNTIME: conversion"),
    ],
)
def test_what_nsys_could_not_have_written_is_an_error_in_one_line(
    tmp_path: Path, format: Format, table: str, frame: pl.DataFrame, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        WRITERS[format](tmp_path / "t", {"META_DATA_EXPORT": export_info(), table: frame})

    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_two_strings_of_one_id_are_an_error_and_leave_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    write_sqlite(path, {"META_DATA_EXPORT": export_info()})
    before = path.read_bytes()

    with pytest.raises(ValueError, match=r"StringIds: UNIQUE constraint failed: StringIds\.id"):
        write_sqlite(path, {"StringIds": pl.DataFrame({"id": [1, 1], "value": ["a", "b"]})})

    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["t.sqlite"]


@pytest.mark.parametrize("write", [write_parquetdir, write_arrowdir])
def test_a_directory_that_holds_something_is_left_alone(tmp_path: Path, write: Write) -> None:
    (tmp_path / "mine.txt").write_text("x")

    with pytest.raises(FileExistsError, match="not an empty directory"):
        write(tmp_path, {"META_DATA_EXPORT": export_info()})

    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    write_parquetdir(tmp_path / "new", {"META_DATA_EXPORT": export_info()})

    assert parsers.load(tmp_path / "new").has("export_info")


@pytest.mark.nsys
def test_nsys_itself_reads_what_is_written(tmp_path: Path) -> None:
    nsys = shutil.which(os.environ.get("NSYS", "nsys"))
    if nsys is None:
        pytest.skip("nsys is not here")
    t = TraceBuilder()
    main = t.thread(pid=10, tid=11)
    t.domain(10, 3, "model", -5)
    t.range(main, "unet", 0, 100, domain=3)
    t.kernel(main, "sgemm", launch=(30, 35), gpu=(200, 250))
    write_sqlite(tmp_path / "t.sqlite", t.tables() | enumerations())

    command = [nsys, "stats", "-r", "nvtx_kern_sum", "-f", "csv", str(tmp_path / "t.sqlite")]
    said = subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    assert "model:unet,PushPop,10,11,1,1,50,50.0,50.0,50,50,0.0,sgemm" in said.splitlines()


def test_correlation_ids_are_counted_per_process() -> None:
    t = TraceBuilder()
    one, two = t.thread(pid=1, tid=1), t.thread(pid=2, tid=2)

    assert [t.api(one, "a", 0, 1), t.api(two, "a", 0, 1), t.api(one, "a", 2, 3)] == [1, 1, 2]
    assert t.kernel(one, "k", gpu=(5, 6), correlation_id=9) == 9
    assert t.api(one, "a", 7, 8) == 10


def test_a_range_may_be_closed_later() -> None:
    t = TraceBuilder()
    main = t.thread()
    outer = t.range(main, "outer", 0, None)
    t.range(main, "inner", 1, 2)
    t.close(outer, 3)

    assert t.tables()["NVTX_EVENTS"].select("start", "end").rows() == [(0, 3), (1, 2)]
