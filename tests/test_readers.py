"""Four ways to read a capture, SQLite, Parquet, Arrow and the report itself, and all schemas: the same frames."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import parsers
from parsers import nsys_rep, sqlite
from parsers.directory import Directory
from parsers.tables import TABLES
from tests.build import FORMATS, Format, TraceBuilder
from tests.shared import NSYS, TRACES, needs_nsys
from ttinsys.attribution.attribute import attribute

KERNELS, CALLS, EVENTS = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"
each_table = pytest.mark.parametrize("table", TABLES)
each_format = pytest.mark.parametrize("format", FORMATS)


def table_of(path: Path, table: str) -> pl.DataFrame:
    frame = getattr(parsers.load(path), table).collect()
    assert isinstance(frame, pl.DataFrame)
    return frame


def small() -> TraceBuilder:
    """A kernel in a range in a range."""
    t = TraceBuilder()
    main = t.thread(10, 11, "main")
    t.range(main, "unet", 0, 900, registered=True)
    t.range(main, "conv", 10, 800)
    t.kernel(main, "void sgemm<4>()", short_name="sgemm", launch=(20, 30), gpu=(100, 150))
    return t


def whole() -> TraceBuilder:
    """A row at least of every table, with ids that need their 64th bit."""
    t = small()
    main = t.thread(10, 11)
    t.process(10, "python")
    t.gpu(0, "Synthetic GPU", smCount=132, totalMemory=150_000_000_000, memoryBandwidth=4_800_000_000_000)
    t.domain(10, 2**63 + 1, "lib", 0)
    t.category(10, 7, "forward", 0)
    t.range(main, "naïve 漢字\0", 30, None, category=7, domain=2**63 + 1, payload=2**64 - 1)
    t.range(main, None, 40, 41, payload=-1)
    t.mark(main, "half", 45, payload=0.5)
    t.kernel(main, "graph kernel", launch=(50, 60), gpu=(200, 201), graph_node=2**63 + 5)
    t.graph_node(main, 2**63 + 5, 12, original=2**63 + 4)
    t.graph(main, 3, launch=(70, 80), gpu=(300, 400))
    t.memcpy(main, "PtoP", 2**40, launch=(81, 82), gpu=(410, 420))
    t.memset(main, 16, launch=(83, 84), gpu=(430, 440))
    t.complete()
    return t


def edit(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


# The same frames


@each_format
@each_table
def test_every_format_has_the_declared_names_and_types(tmp_path: Path, table: str, format: Format) -> None:
    frame = table_of(whole().write(tmp_path / "t", format), table)
    assert frame.schema == TABLES[table].schema
    assert not frame.is_empty()


@each_table
def test_every_format_has_the_same_rows_in_the_same_order(tmp_path: Path, table: str) -> None:
    expected, *others = (table_of(whole().write(tmp_path / format, format), table) for format in FORMATS)
    for frame in others:
        assert_frame_equal(frame, expected)


@each_format
def test_ids_above_two_to_the_63_keep_their_bits(tmp_path: Path, format: Format) -> None:
    path = whole().write(tmp_path / "t", format)
    assert table_of(path, "graph_nodes").row(0) == (12, 1 << 48 | 10 << 24 | 11, -(2**63) + 5, -(2**63) + 4)
    assert table_of(path, "kernels")["graph_node_id"].to_list() == [None, -(2**63) + 5]
    events = table_of(path, "nvtx_events")
    assert events["domain_id"].to_list()[2:5] == [-(2**63) + 1, 0, -(2**63) + 1]
    assert events["payload_uint64"].max() == 2**64 - 1
    assert attribute(parsers.load(path)).select("attributed_by").collect().row(1) == ("graph_capture",)


@each_format
def test_every_format_attributes_alike(tmp_path: Path, format: Format) -> None:
    rows = attribute(parsers.load(whole().write(tmp_path / "t", format))).select("kind", "path", "attributed_by")
    # A range that is never closed is inside none that is.
    open_ = "naïve 漢字\0"
    assert rows.collect().rows() == [
        ("kernel", "unet/conv", "launch"),
        ("kernel", "unet/conv", "graph_capture"),
        ("memcpy", open_, "launch"),
        ("memset", open_, "launch"),
        ("graph", open_, "launch"),
    ]


@each_table
def test_a_real_capture_is_the_same_in_sqlite_and_parquet(table: str) -> None:
    sql, parquet = (TRACES / f"torch-mnist-aten-2023.4{end}" for end in (".sqlite", "_pqtdir"))
    if not (sql.exists() and parquet.exists()):
        pytest.skip("no real captures in ../shared/traces")
    # The copy that others published has had its host's names taken out, in one format.
    columns = [name for name in TABLES[table].schema if (table, name) not in {("gpus", "name"), ("processes", "name")}]
    assert_frame_equal(table_of(sql, table).select(columns), table_of(parquet, table).select(columns))


# SQLite, in parts


def numbered(path: Path, count: int) -> Path:
    """A trace of `count` marks at 1, 2, 3 ... ns."""
    t = TraceBuilder()
    main = t.thread()
    for number in range(1, count + 1):
        t.mark(main, f"m{number}", number)
    return t.write(path)


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (3, 1), (4, 2), (10, 4)])
def test_rows_and_their_numbers_keep_their_order_over_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, parts: int
) -> None:
    path = numbered(tmp_path / "t.sqlite", count)
    monkeypatch.setattr(sqlite, "ROWS_PER_PART", 3)
    queries = recorded(monkeypatch)
    events = parsers.load(path).nvtx_events.select("row_id", "start_ns", "text").collect()
    assert events.rows() == [(number, number, f"m{number}") for number in range(1, count + 1)]
    assert len(queries) == parts


def test_rows_keep_their_numbers_where_some_were_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = edit(numbered(tmp_path / "t.sqlite", 20), f"DELETE FROM {EVENTS} WHERE start BETWEEN 3 AND 16")
    monkeypatch.setattr(sqlite, "ROWS_PER_PART", 3)
    assert table_of(path, "nvtx_events")["row_id"].to_list() == [1, 2, 17, 18, 19, 20]


def test_parts_are_wider_where_there_would_be_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = numbered(tmp_path / "t.sqlite", 100)
    monkeypatch.setattr(sqlite, "ROWS_PER_PART", 3)
    monkeypatch.setattr(sqlite, "MAX_PARTS", 2)
    queries = recorded(monkeypatch)
    assert table_of(path, "nvtx_events")["start_ns"].to_list() == list(range(1, 101))
    assert len(queries) == 2
    # A part of 50 rows leaves the driver in batches of 4: the type of a column holds for all of them.
    edit(path, f"UPDATE {EVENTS} SET start = 'soon' WHERE rowid = 45")
    with pytest.raises(parsers.UnreadableTrace, match="Type mismatch in column"):
        table_of(path, "nvtx_events")


def test_first_rows_do_not_need_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = edit(numbered(tmp_path / "t.sqlite", 100), f"UPDATE {EVENTS} SET start = 'soon' WHERE rowid = 100")
    monkeypatch.setattr(sqlite, "ROWS_PER_PART", 3)
    events = parsers.load(path).nvtx_events.select("start_ns")
    assert events.head(2).collect()["start_ns"].to_list() == [1, 2]
    assert events.filter(pl.col("start_ns") > 1).head(1).collect()["start_ns"].to_list() == [2]


def test_column_that_begins_with_200_000_nulls_keeps_its_type(tmp_path: Path) -> None:
    path = edit(
        numbered(tmp_path / "t.sqlite", 1),
        f"UPDATE {EVENTS} SET text = NULL",
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n LIMIT 200000)"
        f" INSERT INTO {EVENTS} (start, eventType) SELECT i, 34 FROM n",
        f"UPDATE {EVENTS} SET text = 'last', doubleValue = 0.5, uint64Value = -1, end = 7 WHERE start = 200001",
    )
    columns = ["row_id", "text", "payload_double", "payload_uint64", "end_ns"]
    events = parsers.load(path).nvtx_events.select(columns).collect()
    assert events.height == 200_001
    assert events.row(-1) == (200_001, "last", 0.5, 2**64 - 1, 7)
    assert events.head(200_000).select(pl.col(columns[1:]).null_count()).row(0) == (200_000,) * 4


def test_table_without_rows_is_empty_and_typed(tmp_path: Path) -> None:
    path = edit(small().write(tmp_path / "t.sqlite"), f"DELETE FROM {KERNELS}")
    assert table_of(path, "kernels").schema == TABLES["kernels"].schema
    assert table_of(path, "kernels").is_empty()


# Projection


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries that SQLite is asked from now on."""
    queries: list[str] = []
    fetch = sqlite.SqliteExport._fetch

    def noting(self: sqlite.SqliteExport, source: str, schema: pl.Schema, query: str) -> pl.DataFrame:
        queries.append(query)
        return fetch(self, source, schema, query)

    monkeypatch.setattr(sqlite.SqliteExport, "_fetch", noting)
    return queries


def test_only_the_columns_of_the_query_are_read_from_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small().write(tmp_path / "t.sqlite")
    queries = recorded(monkeypatch)
    assert parsers.load(path).kernels.select("stream_id").collect().rows() == [(7,)]
    assert queries == [
        f'SELECT 0 AS "streamId" UNION ALL SELECT "streamId" FROM "{KERNELS}" WHERE rowid BETWEEN 1 AND 1'
    ]


def test_column_that_is_not_asked_for_may_hold_anything(tmp_path: Path) -> None:
    path = edit(small().write(tmp_path / "t.sqlite"), f"UPDATE {KERNELS} SET streamId = 'seven'")
    kernels = parsers.load(path).kernels
    assert kernels.select("start_ns").collect().rows() == [(100,)]
    assert kernels.filter(pl.col("end_ns") == 150).select(pl.len()).collect().item() == 1
    with pytest.raises(parsers.UnreadableTrace, match="streamId holds text where only integers belong"):
        kernels.filter(pl.col("stream_id") == 7).select("start_ns").collect()


@pytest.mark.parametrize("format", ["parquetdir", "arrowdir"])
def test_only_the_columns_of_the_query_are_read_from_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: Format
) -> None:
    path = small().write(tmp_path / "t", format)
    asked: list[Sequence[str]] = []
    read = Directory._read

    def noting(self: Directory, source: str, names: Sequence[str]) -> object:
        asked.append(names)
        return read(self, source, names)

    monkeypatch.setattr(Directory, "_read", noting)
    events = parsers.load(path).nvtx_events
    assert events.filter(pl.col("text") == "conv").select("row_id").collect().rows() == [(2,)]
    assert [sorted(names) for names in asked] == [["rowid", "text"]]


def test_nothing_is_read_before_a_query_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small().write(tmp_path / "t.sqlite")
    queries = recorded(monkeypatch)
    parsers.load(path).kernels.filter(pl.col("start_ns") > 0).select("end_ns").collect_schema()
    assert queries == []


# Schemas from 2022.1 to 2026


@pytest.mark.parametrize("name", ["META_DATA_EXPORT", "EXPORT_META_DATA"])
def test_version_is_found_under_the_old_and_the_new_name(tmp_path: Path, name: str) -> None:
    path = small().write(tmp_path / "t.sqlite")
    if name != "META_DATA_EXPORT":
        edit(path, f"ALTER TABLE META_DATA_EXPORT RENAME TO {name}")
    trace = parsers.load(path)
    assert trace.sources["export_info"] == name
    assert ("EXPORT_SCHEMA_VERSION", "3.7.2") in trace.export_info.collect().rows()


def test_message_is_found_in_the_row_or_in_the_strings(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "in the row", 0, 100)
    t.range(main, "in the strings", 10, 90, registered=True)
    t.kernel(main, "k", launch=(20, 30), gpu=(100, 150))
    path = t.write(tmp_path / "t.sqlite")
    # Before 2023, and for cuBLAS after, a row may have both.
    edit(path, f"UPDATE {EVENTS} SET text = 'old copy' WHERE textId IS NOT NULL")
    assert attribute(parsers.load(path)).collect()["path"].to_list() == ["in the row/in the strings"]


GRAPHS = "start INTEGER, end INTEGER, eventClass INTEGER, globalTid INTEGER, nameId INTEGER, graphId INTEGER"
NODES = "start INTEGER, end INTEGER, globalTid INTEGER, graphNodeId INTEGER, originalGraphNodeId INTEGER"


@pytest.mark.parametrize(
    ("tables", "source", "nodes"),
    [
        ({}, None, []),
        ({"CUDA_GRAPH_EVENTS": (NODES, "1, 1, 5, 77, NULL")}, "CUDA_GRAPH_EVENTS", [77]),
        ({"CUDA_GRAPH_EVENTS": (GRAPHS, "1, 1, 0, 5, 0, 9")}, None, []),
        (
            {
                "CUDA_GRAPH_EVENTS": (GRAPHS, "1, 1, 0, 5, 0, 9"),
                "CUDA_GRAPH_NODE_EVENTS": (NODES, "1, 1, 5, 78, 77"),
            },
            "CUDA_GRAPH_NODE_EVENTS",
            [78],
        ),
    ],
    ids=["no graphs", "nodes, until 2023.4", "graphs only", "both, since 2024"],
)
def test_graph_nodes_are_found_where_the_version_has_them(
    tmp_path: Path, tables: dict[str, tuple[str, str]], source: str | None, nodes: list[int]
) -> None:
    path = small().write(tmp_path / "t.sqlite")
    for name, (columns, values) in tables.items():
        edit(path, f"CREATE TABLE {name} ({columns})", f"INSERT INTO {name} VALUES ({values})")
    trace = parsers.load(path)
    assert trace.sources.get("graph_nodes") == source
    assert trace.graph_nodes.collect()["graph_node_id"].to_list() == nodes
    assert attribute(trace).collect()["path"].to_list() == ["unet/conv"]


def test_real_graph_events_of_2024_are_no_nodes() -> None:
    path = TRACES / "torch-cudagraph-2024.6.sqlite"
    if not path.exists():
        pytest.skip("no real captures in ../shared/traces")
    assert "CUDA_GRAPH_EVENTS" in parsers.load(path).nsys_tables
    assert not parsers.load(path).has("graph_nodes")


# Columns that were not there yet at 2.9, which is nsys 2022.1.
LATER = {
    KERNELS: ["greenContextId", "launchType", "graphNodeId", "sharedMemoryLimitConfig", "mangledName"],
    EVENTS: ["jsonTextId", "jsonText", "uint64Value", "category", "endGlobalTid"],
    CALLS: ["callchainId"],
}


def test_oldest_schema_reads_like_the_newest(tmp_path: Path) -> None:
    new = small().write(tmp_path / "new.sqlite")
    old = small().write(tmp_path / "old.sqlite")
    edit(old, *(f"ALTER TABLE {table} DROP COLUMN {name}" for table, names in LATER.items() for name in names))
    for table in ("kernels", "nvtx_events", "api_calls"):
        assert_frame_equal(table_of(old, table), table_of(new, table))


def test_columns_that_a_later_version_adds_are_ignored(tmp_path: Path) -> None:
    new = small().write(tmp_path / "new.sqlite")
    newer = small().write(tmp_path / "newer.sqlite")
    edit(newer, *(f"ALTER TABLE {table} ADD COLUMN later{n} BLOB" for table in LATER for n in range(3)))
    edit(newer, "CREATE TABLE A_TABLE_OF_2030 (start TEXT)")
    for table in TABLES:
        assert_frame_equal(table_of(newer, table), table_of(new, table))


def test_columns_may_come_in_any_order(tmp_path: Path) -> None:
    path = small().write(tmp_path / "t.sqlite")
    before = table_of(path, "kernels")
    edit(
        path,
        f"CREATE TABLE turned AS SELECT graphNodeId, shortName, demangledName, globalPid, correlationId, streamId,"
        f" contextId, deviceId, end, start, gridX, gridY, gridZ, blockX, blockY, blockZ, registersPerThread,"
        f" dynamicSharedMemory, staticSharedMemory FROM {KERNELS}",
        f"DROP TABLE {KERNELS}",
        f"ALTER TABLE turned RENAME TO {KERNELS}",
    )
    assert_frame_equal(table_of(path, "kernels"), before)


# Reports, through nsys


@pytest.fixture
def fake_nsys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """A program that stands for nsys: notes each call in `calls`, then does what the test says."""
    monkeypatch.setattr(nsys_rep, "cache_folder", lambda: tmp_path / "cache")
    small().write(tmp_path / "exported.sqlite")

    def make(then: str) -> str:
        program = tmp_path / "nsys"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{then}\n')
        program.chmod(0o755)
        return str(program)

    return make


def report(folder: Path, content: str = "a report") -> Path:
    path = folder / "run.nsys-rep"
    path.write_text(content)
    return path


def calls(folder: Path) -> list[str]:
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


def kept(folder: Path) -> list[str]:
    """Files in the cache, and half of files."""
    return [file.name for file in (folder / "cache").rglob("*")]


EXPORT = 'cp "$(dirname "$0")/exported.sqlite" "$5"'


def test_report_is_exported_once(tmp_path: Path, fake_nsys: Callable[[str], str]) -> None:
    nsys, path = fake_nsys(EXPORT), report(tmp_path)
    for _ in range(2):
        trace = parsers.load(path, nsys=nsys)
        assert trace.kernels.select("start_ns").collect().rows() == [(100,)]
        assert trace.path == path
    (call,) = calls(tmp_path)
    assert call.startswith("export --type sqlite --output ")
    assert call.endswith(str(path))
    (name,) = kept(tmp_path)
    assert name.startswith("run-")


@pytest.mark.parametrize("change", ["size", "time", "name"])
def test_report_is_exported_again_when_it_is_another(
    tmp_path: Path, fake_nsys: Callable[[str], str], change: str
) -> None:
    nsys, path = fake_nsys(EXPORT), report(tmp_path)
    parsers.load(path, nsys=nsys)
    before = path.stat()
    if change == "size":
        path.write_text("a longer report")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        path = path.rename(tmp_path / "run.qdrep")
    parsers.load(path, nsys=nsys)
    assert len(calls(tmp_path)) == 2


def test_nsys_that_fails_is_quoted_with_its_last_line(tmp_path: Path, fake_nsys: Callable[[str], str]) -> None:
    nsys = fake_nsys(r"printf 'Processing [=40%%]\rProcessing [=80%%]\nThe file is from a later version.\n'; exit 3")
    with pytest.raises(parsers.UnreadableTrace) as caught:
        parsers.load(report(tmp_path), nsys=nsys)
    assert str(caught.value) == (
        f"{tmp_path}/run.nsys-rep: `nsys export` ended with status 3: The file is from a later version.: "
        "export it with the nsys that captured it, or a newer one, and pass the .sqlite file"
    )
    assert kept(tmp_path) == []


def test_nsys_that_makes_no_file_is_an_error_whatever_its_status(
    tmp_path: Path, fake_nsys: Callable[[str], str]
) -> None:
    with pytest.raises(parsers.UnreadableTrace, match="`nsys export` ended with status 0: done"):
        parsers.load(report(tmp_path), nsys=fake_nsys("echo done"))


def test_export_that_breaks_off_leaves_nothing_in_the_cache(tmp_path: Path, fake_nsys: Callable[[str], str]) -> None:
    path = report(tmp_path)
    with pytest.raises(parsers.UnreadableTrace, match="ended with status -9"):
        parsers.load(path, nsys=fake_nsys('echo half > "$5"; kill -9 $$'))
    assert kept(tmp_path) == []
    assert parsers.load(path, nsys=fake_nsys(EXPORT)).has("kernels")


def test_interrupted_export_leaves_nothing_in_the_cache(
    tmp_path: Path, fake_nsys: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(program: str, path: Path, target: Path) -> None:
        target.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(nsys_rep, "_export", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parsers.load(report(tmp_path), nsys=fake_nsys(EXPORT))
    assert kept(tmp_path) == []


def test_nsys_that_is_not_there_says_what_to_do_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nsys_rep, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    path = report(tmp_path)
    remedy = "give --nsys PATH, or run `nsys export --type sqlite` where it was captured and pass the .sqlite file"
    for given, name in ((None, "nsys"), ("/no/such/nsys", "/no/such/nsys")):
        with pytest.raises(parsers.UnreadableTrace) as caught:
            parsers.load(path, nsys=given)
        assert str(caught.value) == f"{path}: a report is read through nsys, and {name} was not found: {remedy}"
    assert not (tmp_path / "cache").exists()


def test_cache_that_cannot_be_written_is_named(
    tmp_path: Path, fake_nsys: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(nsys_rep, "cache_folder", lambda: tmp_path / "file" / "cache")
    with pytest.raises(parsers.UnreadableTrace, match=r"run\.nsys-rep: Not a directory: .*file/cache: pass"):
        parsers.load(report(tmp_path), nsys=fake_nsys(EXPORT))


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report that nsys itself made of a program that does nothing."""
    folder = tmp_path_factory.mktemp("captured")
    options = ["-t", "nvtx", "-s", "none", "--cpuctxsw", "none", "-o", str(folder / "run")]
    command = [NSYS or "nsys", "profile", *options, sys.executable, "-c", "pass"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if not (folder / "run.nsys-rep").exists():
        pytest.skip(f"nsys cannot profile here: {(done.stdout + done.stderr).strip()[-200:]}")
    return folder / "run.nsys-rep"


@needs_nsys
@pytest.mark.nsys
def test_report_reads_like_each_of_its_exports(captured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nsys_rep, "cache_folder", lambda: tmp_path / "cache")
    trace = parsers.load(captured, nsys=NSYS)
    assert not trace.strings.collect().is_empty()
    for format in FORMATS:
        export = [NSYS or "nsys", "export", "--type", format, "--output", str(tmp_path / format), str(captured)]
        subprocess.run(export, capture_output=True, check=True)
        other = parsers.load(tmp_path / format)
        assert other.format == format
        assert other.sources == trace.sources
        for table in TABLES:
            # Where to and how fast each was exported is not the same.
            own = pl.col("name").str.contains("OUTUPT|TIME|DATE")
            told = ~own if table == "export_info" else pl.lit(value=True)
            frames = (getattr(one, table).filter(told).collect() for one in (other, trace))
            assert_frame_equal(*frames)


@needs_nsys
@pytest.mark.nsys
def test_nsys_itself_refuses_what_is_no_report_and_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nsys_rep, "cache_folder", lambda: tmp_path / "cache")
    with pytest.raises(parsers.UnreadableTrace) as caught:
        parsers.load(report(tmp_path, "no report at all\n" * 100), nsys=shutil.which(NSYS or "nsys"))
    assert "`nsys export` ended with status 1: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept(tmp_path) == []
