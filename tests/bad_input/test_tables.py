"""Tables and columns that are missing or of another kind: what is needed is named, and the rest reads as null."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import parsers
from tests.bad_input.shared import (
    CALLS,
    COMMANDS,
    COPIES,
    EVENTS,
    FILLS,
    KERNELS,
    SUFFIX,
    answered,
    attributed,
    builder,
    each_directory,
    every_command,
    refused,
    run,
    without_constraints,
)
from tests.build import Format
from tests.shared import slow


@each_directory
@pytest.mark.parametrize("dtype", [pl.String, pl.Float64, pl.Datetime("ns"), pl.Binary], ids=str)
def test_column_of_another_type_is_named_with_its_type(tmp_path: Path, format: Format, dtype: pl.DataType) -> None:
    path = builder().write(tmp_path / "d", format)
    table = path / f"{KERNELS}{SUFFIX[format]}"
    if format == "parquetdir":
        pl.read_parquet(table).with_columns(pl.col("start").cast(dtype)).write_parquet(table)
    else:
        pl.read_ipc_stream(table).with_columns(pl.col("start").cast(dtype)).write_ipc_stream(table)
    assert f"{table}: column start is {dtype}, not Int64: export" in refused(["layers"], path)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("'soon'", "text"),
        slow("1.5", "real numbers"),
        slow("x'0102'", "bytes"),
        slow("9223372036854775808", "real numbers"),
    ],
    ids=["text", "real", "blob", "too big"],
)
def test_cell_of_another_type_is_an_error_that_names_its_column(
    trace: Callable[..., Path], value: str, kind: str
) -> None:
    path = trace(f"UPDATE {KERNELS} SET start = {value}")
    problem = f"{path}: table {KERNELS}: column start holds {kind} where only integers belong: export"
    for command in COMMANDS.values():
        if command[0] != "stats":
            assert problem in refused(command, path)
    assert problem in refused(["stats", "--report", "cuda_gpu_kern_sum"], path)


@pytest.mark.parametrize(
    ("value", "shown"), [("x'ff6b'", "\ufffdk"), ("CAST(x'c328' AS TEXT)", "\ufffd("), ("77", "77"), ("1.5", "1.5")]
)
def test_text_of_any_bytes_is_a_name(trace: Callable[..., Path], value: str, shown: str) -> None:
    path = trace(f"UPDATE StringIds SET value = {value}", f"UPDATE {EVENTS} SET text = {value}")
    (kernel, *_) = attributed(path)
    assert (kernel["kernel"], kernel["range"], kernel["path"]) == (shown, shown, f"{shown}/{shown}")


def test_view_is_not_a_table_and_is_never_run(trace: Callable[..., Path]) -> None:
    endless = "WITH RECURSIVE n(start) AS (SELECT 1 UNION ALL SELECT start + 1 FROM n)"
    path = trace(
        f"DROP TABLE {EVENTS}",
        f"CREATE VIEW {EVENTS} AS {endless} SELECT start, start + 1 AS end, 59 AS eventType FROM n",
    )
    assert not parsers.load(path).has("nvtx_events")
    assert [row["attributed_by"] for row in attributed(path)] == ["no_range_open"] * 3


def test_virtual_table_is_not_a_table(trace: Callable[..., Path]) -> None:
    try:
        path = trace("DROP TABLE StringIds", "CREATE VIRTUAL TABLE StringIds USING rtree(id, low, high)")
    except sqlite3.OperationalError as error:
        pytest.skip(str(error))
    assert not parsers.load(path).has("strings")


@every_command
def test_table_without_row_numbers_is_refused(trace: Callable[..., Path], command: list[str]) -> None:
    columns = "start INTEGER PRIMARY KEY, end, eventType, globalTid, text"
    path = trace(
        f"DROP TABLE {EVENTS}",
        f"CREATE TABLE {EVENTS} ({columns}) WITHOUT ROWID",
        f"INSERT INTO {EVENTS} VALUES (1, 2, 59, 3, 'x')",
    )
    assert f"table {EVENTS}: no such column: rowid" in refused(command, path)


@every_command
def test_column_that_poses_as_the_row_number_is_refused(trace: Callable[..., Path], command: list[str]) -> None:
    path = trace(f"ALTER TABLE {EVENTS} ADD COLUMN RowId TEXT")
    assert f"table {EVENTS} has a column of its own called rowid" in refused(command, path)


@pytest.mark.slow(1)
@pytest.mark.parametrize("numbers", [(-5, 2**62), slow((-(2**63), 2**63 - 1)), slow((1, 10**12))])
def test_row_numbers_far_apart_are_read_in_a_bounded_number_of_parts(
    trace: Callable[..., Path], numbers: tuple[int, int]
) -> None:
    path = trace(*(f"UPDATE {EVENTS} SET rowid = {new} WHERE rowid = {old}" for old, new in enumerate(numbers, 1)))
    started = time.monotonic()
    events = parsers.load(path).nvtx_events.select("row_id", "start_ns").collect()
    assert time.monotonic() - started < 20
    assert events.rows() == [(numbers[0], 0), (numbers[1], 10)]


@every_command
@pytest.mark.parametrize(
    ("table", "column"), [(KERNELS, "start"), (KERNELS, "demangledName"), (EVENTS, "eventType"), (CALLS, "end")]
)
def test_missing_column_is_named_with_those_there_are(
    trace: Callable[..., Path], command: list[str], table: str, column: str
) -> None:
    path = trace(*without_constraints(table), f"ALTER TABLE {table} DROP COLUMN {column}")
    line = refused(command, path)
    assert f"{path}: table {table} has no column {column}: it has rowid, " in line
    assert line.endswith("; export the report again with nsys 2022.1 or newer")


@pytest.mark.slow(1)
def test_columns_that_are_optional_read_as_null(trace: Callable[..., Path]) -> None:
    gone = {
        KERNELS: ["gridX", "shortName", "streamId", "registersPerThread"],
        EVENTS: ["domainId", "textId", "category"],
    }
    path = trace(*(f"ALTER TABLE {table} DROP COLUMN {name}" for table in gone for name in gone[table]))
    (kernel, *_) = attributed(path)
    assert (kernel["grid_x"], kernel["stream"], kernel["registers_per_thread"]) == ("", "", "")
    assert (kernel["kernel_short"], kernel["path"]) == ("sgemm", "(unnamed)/conv")
    for command in COMMANDS.values():
        answered(command, path)


def test_trace_without_ranges_attributes_nothing_and_says_how_to_get_them(trace: Callable[..., Path]) -> None:
    path = trace(f"DROP TABLE {EVENTS}")
    assert "No NVTX ranges: annotate the program and profile with --trace=cuda,nvtx." in answered(["info"], path)
    assert [row["attributed_by"] for row in attributed(path)] == ["no_range_open"] * 3
    done = run(["layers"], path)
    assert (done.exit_code, done.stderr.count("\n")) == (0, 1)
    assert "0.00% attributed to a range; no_range_open 100.00% (3 operations)" in done.stderr
    done = run(COMMANDS["stats"], path)
    assert (done.exit_code, done.stdout) == (0, "")
    remedy = "annotate the program and profile with --trace=cuda,nvtx"
    assert done.stderr == f"{path}: nvtx_kern_sum has nothing to say: {path} has no {EVENTS}: {remedy}\n"


@pytest.mark.slow(1)
def test_trace_without_cuda_has_no_gpu_activity_and_says_how_to_get_it(trace: Callable[..., Path]) -> None:
    path = trace(*(f"DROP TABLE {table}" for table in (KERNELS, CALLS, COPIES, FILLS)))
    remedy = "profile on a machine with a GPU with --trace=cuda,nvtx"
    assert f"No GPU activity: {remedy}." in answered(["info"], path)
    assert attributed(path) == []
    done = run(["layers"], path)
    assert (done.exit_code, done.stderr) == (0, f"{path}: no GPU activity: {remedy}\n")
    assert "unet" in done.stdout
    done = run(COMMANDS["stats"], path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.endswith(f"{path} has no {KERNELS}: {remedy}\n")


def test_trace_with_calls_and_no_gpu_activity_is_told_from_one_without_cuda(trace: Callable[..., Path]) -> None:
    path = trace(*(f"DROP TABLE {table}" for table in (KERNELS, COPIES, FILLS)))
    seen = json.loads(answered(["info", "--format", "json"], path))[0]
    assert {row["table"]: row["rows"] for row in seen["tables"]}["api_calls"] == 3
    assert any("No GPU activity" in note for note in seen["notes"])


@every_command
@pytest.mark.parametrize("table", ["StringIds", "ThreadNames", "PROCESSES", "TARGET_INFO_GPU", "META_DATA_EXPORT"])
def test_names_that_are_missing_are_no_reason_to_fail(
    trace: Callable[..., Path], command: list[str], table: str
) -> None:
    answered(command, trace(f"DROP TABLE {table}"))


def test_missing_table_names_the_trace_the_table_and_the_remedy(trace: Callable[..., Path]) -> None:
    path = trace("DROP TABLE StringIds")
    with pytest.raises(parsers.MissingTable) as caught:
        parsers.load(path).require(["strings"])
    assert str(caught.value) == f"{path} has no StringIds: export the report again with `nsys export`"
    with pytest.raises(parsers.MissingTable, match="has no CUDA_GRAPH_NODE_EVENTS or CUDA_GRAPH_EVENTS: profile with"):
        parsers.load(path).require(["graph_nodes"])


@pytest.mark.parametrize("command", [COMMANDS[name] for name in ("info", "attribute", "layers")], ids=" ".join)
def test_events_that_are_no_ranges_hold_nothing(trace: Callable[..., Path], command: list[str]) -> None:
    path = trace(
        f"UPDATE {EVENTS} SET eventType = 34 WHERE rowid = 1", f"UPDATE {EVENTS} SET eventType = 9999 WHERE rowid = 2"
    )
    answered(command, path)
    assert {row["range"] for row in attributed(path)} == {""}
