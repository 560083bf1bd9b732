"""Whatever file a person passes: one line with what, where and what to do, the right status, nothing half written."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

import click.testing
import polars as pl
import pytest
from click.testing import CliRunner

import parsers
from parsers.directory import ParquetDirectory
from tests.build import FORMATS, Format, TraceBuilder
from ttinsys.cli import main

SAMPLE = Path(__file__).resolve().parents[1] / "sample_traces" / "synthetic-stable-diffusion.sqlite"
PAGE = 4096
KERNELS, CALLS, EVENTS = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"
COPIES, FILLS = "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET"
SUFFIX = {"parquetdir": ".parquet", "arrowdir": ".arrow"}
COMMANDS = {
    "info": ["info"],
    "attribute": ["attribute", "--format", "csv"],
    "layers": ["layers"],
    "stats": ["stats", "--report", "nvtx_kern_sum"],
}
every_command = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
each_directory = pytest.mark.parametrize("format", SUFFIX)
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


def run(command: Sequence[str], *more: str | Path) -> click.testing.Result:
    """Run in this process; what is neither an answer nor an exit status is raised here."""
    done = CliRunner().invoke(main, [*command, *map(str, more)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def refused(command: Sequence[str], path: Path, *more: str) -> str:
    """The one line that a person gets for a trace that cannot serve."""
    done = run(command, path, *more)
    assert (done.exit_code, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {path}")
    return line


def answered(command: Sequence[str], *paths: Path) -> str:
    """What a command prints for traces that are odd, and serve."""
    done = run(command, *paths)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def attributed(path: Path) -> list[dict[str, str]]:
    """Rows of the attribution table."""
    return list(csv.DictReader(io.StringIO(answered(COMMANDS["attribute"], path))))


def process(
    *arguments: str | Path,
    stdout: IO[str] | int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
    before: str = "true",
) -> subprocess.CompletedProcess[str]:
    """Run as a person does, in a process of its own, to which the shell did `before` first."""
    command = ["sh", "-c", f'{before}; exec "$@"', "sh", sys.executable, "-m", "ttinsys.cli", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=stderr, text=True, timeout=60, check=False)


def script(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def builder() -> TraceBuilder:
    """A range in a range around a kernel of 50 ns, a copy of 10 and a fill of 10: one each of what commands read."""
    t = TraceBuilder()
    thread = t.thread(10, 11, "main")
    t.process(10, "python")
    t.gpu()
    t.range(thread, "unet", 0, 900, registered=True)
    t.range(thread, "conv", 10, 800)
    t.kernel(thread, "sgemm", launch=(20, 30), gpu=(100, 150))
    t.memcpy(thread, "HtoD", 40, launch=(40, 50), gpu=(160, 170))
    t.memset(thread, 40, launch=(60, 65), gpu=(180, 190))
    return t


@pytest.fixture
def trace(tmp_path: Path) -> Callable[..., Path]:
    """Write a small trace, then change it by SQL."""

    def make(*statements: str, **values: str | int) -> Path:
        path = builder().write(tmp_path / "t.sqlite")
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(
                    statement, {name: value for name, value in values.items() if f":{name}" in statement}
                )
        return path

    return make


def loosely(table: str) -> tuple[str, ...]:
    """SQL that takes the constraints off a table's columns."""
    return f"CREATE TABLE copy AS SELECT * FROM {table}", f"DROP TABLE {table}", f"ALTER TABLE copy RENAME TO {table}"


# Files that are no traces


@every_command
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "an empty file"),
        (b"start,end\n1,2\n", "not an nsys SQLite export"),
        (b"\x89PNG\r\n\x1a\n" + bytes(5000), "not an nsys SQLite export"),
        (b"SQLite format 3\x00", "not a database"),
        (b"SQLite format 3\x00" + bytes(10_000), "not a database"),
    ],
)
def test_file_that_is_no_database_is_named_with_what_would_be_one(
    tmp_path: Path, command: list[str], content: bytes, problem: str
) -> None:
    path = tmp_path / "run.sqlite"
    path.write_bytes(content)
    assert problem in refused(command, path)


@every_command
def test_database_of_another_program_has_no_table_of_nsys(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "a database without any table of Nsight Systems: pass a .sqlite" in refused(command, path)


@every_command
def test_directory_without_tables_says_so(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._NVTX_EVENTS.parquet").write_text("what macOS leaves beside the file that it unpacks")
    assert "a directory without .parquet or .arrow files" in refused(command, tmp_path)


@every_command
def test_directory_of_other_tables_has_no_table_of_nsys(tmp_path: Path, command: list[str]) -> None:
    pl.DataFrame({"url": ["x"]}).write_parquet(tmp_path / "bookmarks.parquet")
    assert "a directory without any table of Nsight Systems" in refused(command, tmp_path)


@every_command
def test_path_that_does_not_exist_is_named(tmp_path: Path, command: list[str]) -> None:
    assert "No such file or directory" in refused(command, tmp_path / "no.sqlite")


def test_path_below_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in refused(["info"], tmp_path / "file" / "run.sqlite")


def test_name_longer_than_names_may_be_is_an_error(tmp_path: Path) -> None:
    assert "File name too long" in refused(["info"], tmp_path / ("x" * 300))


def test_file_that_may_not_be_read_says_so(trace: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = trace()

    def denied(self: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    # Tests may run as root, who may read everything.
    monkeypatch.setattr(Path, "open", denied)
    assert f"{path}: Permission denied: pass" in refused(["info"], path)


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.sqlite")
    done = process("info", tmp_path / "pipe.sqlite")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {tmp_path}/pipe.sqlite: neither a file nor a directory: pass")


@each_directory
def test_pipe_in_a_directory_is_not_waited_for(tmp_path: Path, format: Format) -> None:
    path = builder().write(tmp_path / "d", format)
    os.mkfifo(path / f"ENUM_OPENMP_WORK{SUFFIX[format]}")
    assert "not a file" in refused(["info"], path)


def test_device_and_socket_are_no_traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The name of a socket is short, wherever the folder of the test lies.
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.sqlite")
        for path in (Path("/dev/null"), Path("socket.sqlite")):
            assert "neither a file nor a directory" in refused(["info"], path)


# Files that are damaged


def cuts() -> dict[str, int]:
    size = SAMPLE.stat().st_size
    return {
        "in the header": 50,
        "after the header": 100,
        "after the first page": PAGE,
        "in a page": 5 * PAGE + 1000,
        "in the middle": size // 2,
        "before the last page": size - PAGE,
        "in the last page": size - 100,
        "by a byte": size - 1,
    }


@every_command
@pytest.mark.parametrize("length", cuts().values(), ids=cuts())
def test_database_that_was_cut_short_is_an_error(tmp_path: Path, command: list[str], length: int) -> None:
    path = tmp_path / "cut.sqlite"
    path.write_bytes(SAMPLE.read_bytes()[:length])
    line = refused(command, path)
    assert "malformed" in line or "not a database" in line or f"cut short, {length:,} of 163,840 bytes" in line
    assert line.endswith("export the report again with `nsys export --type sqlite`")


def without_page(table: str, path: Path) -> Path:
    """The sample with the first page of a table overwritten."""
    with closing(sqlite3.connect(f"file:{SAMPLE}?mode=ro&immutable=1", uri=True)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    content = bytearray(SAMPLE.read_bytes())
    content[PAGE * (page - 1) : PAGE * page] = b"\xff" * PAGE
    path.write_bytes(content)
    return path


@every_command
@pytest.mark.parametrize("table", [KERNELS, CALLS, EVENTS])
def test_damaged_page_is_an_error_that_names_its_table(tmp_path: Path, command: list[str], table: str) -> None:
    path = without_page(table, tmp_path / "damaged.sqlite")
    assert f"{path}: table {table}: database disk image is malformed" in refused(command, path)


def test_damage_met_while_reading_ends_the_process_in_order_every_time(tmp_path: Path) -> None:
    # The streaming engine of Polars leaves threads behind that abort one process in five, or hang.
    path = without_page(CALLS, tmp_path / "damaged.sqlite")
    for command in [*COMMANDS.values()] * 2:
        done = process(*command, path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits_give_an_answer_or_one_line(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(SAMPLE.read_bytes())
    start = chance.choice([0, 100, PAGE])
    for _ in range(chance.choice([1, 5, 50])):
        content[chance.randrange(start, chance.choice([start + 3000, len(content)]))] ^= 1 << chance.randrange(8)
    path = tmp_path / "flipped.sqlite"
    path.write_bytes(content)
    done = run(list(COMMANDS.values())[seed % 4], path)
    assert done.exit_code == 0 or (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)


def test_name_in_the_schema_that_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    path.write_bytes(SAMPLE.read_bytes().replace(b'CREATE TABLE "NVTX_EVENTS"', b'CREATE TABLE "NVTX_EV\xc5NTS"'))
    refused(["info"], path)


def test_text_in_utf16_is_refused_rather_than_read_as_something_else(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE StringIds (id INTEGER, value TEXT)")
    assert "its text is in UTF-16le" in refused(["info"], path)


@each_directory
@every_command
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"garbage" * 30,
        lambda content: bytes(len(content)),
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    ],
    ids=["empty", "garbage", "zeros", "half", "a byte less", "half zeros"],
)
def test_damaged_table_of_a_directory_is_named(
    tmp_path: Path, command: list[str], format: Format, damage: Callable[[bytes], bytes]
) -> None:
    path = builder().write(tmp_path / "d", format)
    table = path / f"{KERNELS}{SUFFIX[format]}"
    table.write_bytes(damage(table.read_bytes()))
    done = run(command, path)
    # What an arrow stream lacks at its very end is only the mark of the end.
    if (format, done.exit_code) != ("arrowdir", 0):
        assert refused(command, table.parent).startswith(f"Error: {table}: ")


def test_damaged_data_page_is_one_line_and_names_its_file(tmp_path: Path) -> None:
    path = builder().write(tmp_path / "d", "parquetdir")
    table = path / f"{KERNELS}.parquet"
    content = table.read_bytes()
    table.write_bytes(content[:4] + b"\xff" * 400 + content[404:])
    done = process("layers", path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith(f"Error: {table}: ")


def test_panic_of_a_decoder_is_one_line_and_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = builder().write(tmp_path / "d", "parquetdir")

    def panic(*_: object) -> None:
        raise pl.exceptions.PanicException("assertion failed: offset + length <= self.length")

    monkeypatch.setattr(ParquetDirectory, "_open", panic)
    assert "assertion failed: offset + length" in refused(["layers"], path)


def test_what_threads_of_polars_write_to_standard_error_is_not_shown(tmp_path: Path) -> None:
    code = """if True:
        import os, sys, polars, parsers, ttinsys.cli
        def panic(*_, **__):
            os.write(2, b"thread panicked at crates/polars-stream")
            raise polars.exceptions.PanicException("called unwrap\\non an Err")
        parsers.load = panic
        ttinsys.cli.main(["info", "x"])
    """
    done = script(code)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "called unwrap: export the report again" in done.stderr


def test_our_own_mistakes_still_have_a_traceback() -> None:
    code = "import ttinsys.cli, parsers; parsers.load = None; ttinsys.cli.main(['info', 'x'])"
    done = script(code)
    assert done.returncode == 1
    assert done.stderr.endswith("TypeError: 'NoneType' object is not callable\n")


# Tables that are not what they should be


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
    [("'soon'", "text"), ("1.5", "real numbers"), ("x'0102'", "bytes"), ("9223372036854775808", "real numbers")],
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


@pytest.mark.parametrize("numbers", [(-5, 2**62), (-(2**63), 2**63 - 1), (1, 10**12)])
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
    path = trace(*loosely(table), f"ALTER TABLE {table} DROP COLUMN {column}")
    line = refused(command, path)
    assert f"{path}: table {table} has no column {column}: it has rowid, " in line
    assert line.endswith("; export the report again with nsys 2022.1 or newer")


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


# Traces that lack something


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


# Values that cannot be


def test_operation_that_ends_before_it_starts_counts_as_it_is_and_is_noted(trace: Callable[..., Path]) -> None:
    path = trace(f"UPDATE {KERNELS} SET end = 40")
    (kernel, *_) = attributed(path)
    assert kernel["duration_ns"] == "-60"
    assert "1 operations end before they start: their negative durations" in answered(["info"], path)
    for command in COMMANDS.values():
        answered(command, path)


def test_range_that_ends_before_it_starts_holds_nothing(trace: Callable[..., Path]) -> None:
    path = trace(f"UPDATE {EVENTS} SET end = 5 WHERE text = 'conv'")
    assert {row["range"] for row in attributed(path)} == {"unet"}
    for command in COMMANDS.values():
        answered(command, path)


@every_command
@pytest.mark.parametrize("table", [KERNELS, CALLS, EVENTS])
@pytest.mark.parametrize("span", [(-(2**62), 2**62), (-(2**63), 2**63 - 1), (2**63 - 1, -(2**63))], ids=str)
def test_absurd_times_lose_no_operation(
    trace: Callable[..., Path], command: list[str], table: str, span: tuple[int, int]
) -> None:
    path = trace(f"UPDATE {table} SET start = {span[0]}, end = {span[1]}")
    done = run(command, path)
    assert done.exit_code == 0
    if command[0] == "attribute":
        assert len(done.stdout.splitlines()) == 4
    if command[0] in {"attribute", "layers"}:
        assert done.stderr.startswith(f"{path}: 3 GPU operations, ")


@pytest.mark.parametrize("correlation_id", ["NULL", "-1", str(2**63 - 1), str(-(2**63))])
def test_correlation_ids_that_cannot_be_lose_no_operation(trace: Callable[..., Path], correlation_id: str) -> None:
    path = trace(f"UPDATE {KERNELS} SET correlationId = {correlation_id}")
    for command in COMMANDS.values():
        answered(command, path)
    found = {row["kind"]: row["attributed_by"] for row in attributed(path)}
    assert found["memcpy"] == found["memset"] == "launch"
    assert found["kernel"] in {"no_api_call", "launched_before_capture"}


def test_launch_with_a_correlation_id_far_from_the_others_is_found(trace: Callable[..., Path]) -> None:
    path = trace(*(f"UPDATE {table} SET correlationId = {2**63 - 1} WHERE rowid = 1" for table in (KERNELS, CALLS)))
    assert [row["path"] for row in attributed(path)] == ["unet/conv"] * 3
    assert "unet" in answered(COMMANDS["stats"], path)


@pytest.mark.parametrize("value", ["NULL", "-1", "-globalTid", str(-(2**63)), str(2**63 - 1)])
@pytest.mark.parametrize("table", [CALLS, EVENTS])
def test_threads_that_cannot_be_open_no_range_for_others(trace: Callable[..., Path], table: str, value: str) -> None:
    path = trace(f"UPDATE {table} SET globalTid = {value}")
    assert [row["range"] for row in attributed(path)] == ["", "", ""]
    for command in ("info", "stats"):
        answered(COMMANDS[command], path)


@pytest.mark.parametrize("value", ["NULL", "-5", str(-(2**63))])
def test_processes_that_cannot_be_launch_nothing(trace: Callable[..., Path], value: str) -> None:
    path = trace(f"UPDATE {KERNELS} SET globalPid = {value}")
    assert [row["attributed_by"] for row in attributed(path)] == ["no_api_call", "launch", "launch"]
    for command in COMMANDS.values():
        answered(command, path)


def test_nulls_where_nsys_has_none_are_read(trace: Callable[..., Path]) -> None:
    path = trace(*loosely(KERNELS), f"UPDATE {KERNELS} SET start = NULL, end = NULL, demangledName = NULL")
    (kernel, *_) = attributed(path)
    assert (kernel["start_ns"], kernel["duration_ns"], kernel["kernel"], kernel["path"]) == ("", "", "", "unet/conv")
    for command in COMMANDS.values():
        answered(command, path)


HOSTILE = "a\0b\x1b[31mc\nd\re\tf\x9b2Jg\x7fh\u202ei\x1b]0;title\x07"


@pytest.mark.parametrize(
    "command",
    [["info"], ["attribute"], ["layers"], ["kernels"], ["ranges"]]
    + [["stats", "--report", name] for name in ("cuda_gpu_kern_sum", "nvtx_kern_sum", "nvtx_gpu_proj_trace")],
    ids=" ".join,
)
def test_names_never_control_the_terminal(trace: Callable[..., Path], command: list[str]) -> None:
    path = trace(
        "UPDATE StringIds SET value = :text",
        f"UPDATE {EVENTS} SET text = :text",
        "UPDATE PROCESSES SET name = :text",
        "UPDATE TARGET_INFO_GPU SET name = :text, chipName = :text",
        "UPDATE META_DATA_EXPORT SET value = :text",
        text=HOSTILE,
    )
    printed = answered(command, path)
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert "[31mc" in printed


def test_machine_formats_keep_names_as_they_are(trace: Callable[..., Path], tmp_path: Path) -> None:
    path = trace(f"UPDATE {EVENTS} SET text = :text WHERE text = 'conv'", text=HOSTILE)
    for name in ("o.csv", "o.json", "o.parquet"):
        assert run(["attribute", "-o", str(tmp_path / name)], path).exit_code == 0
    frames = [
        pl.read_csv(tmp_path / "o.csv"),
        pl.read_json(tmp_path / "o.json"),
        pl.read_parquet(tmp_path / "o.parquet"),
    ]
    assert [frame["range"].unique().to_list() for frame in frames] == [[HOSTILE]] * 3


def test_errors_never_control_the_terminal(trace: Callable[..., Path], tmp_path: Path) -> None:
    path = trace(*loosely(KERNELS), f"ALTER TABLE {KERNELS} RENAME COLUMN start TO '\x1b[2J\nstart'")
    hostile = tmp_path / "new\nline\x1b[31m.sqlite"
    path.rename(hostile)
    done = run(["info"], hostile)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.isprintable()
    assert "new\ufffdline\ufffd[31m.sqlite: table" in line


# Paths


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "name",
    ["with space", "a?b#c%20d&e", "[a-z]*{b}", "x=1", "~", "é 漢字 🙂", "'\"`$HOME", "-", "new\nline", "a" * 200],
)
def test_path_of_any_characters_is_read(tmp_path: Path, format: Format, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    path = builder().write(folder / f"{name[:100]}.sqlite", format)
    assert [row["path"] for row in attributed(path)] == ["unet/conv"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of any bytes")
@pytest.mark.parametrize("format", ["table", "json"])
def test_path_that_is_not_text_is_read_and_printed(tmp_path: Path, format: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.sqlite"))
    path.write_bytes(SAMPLE.read_bytes())
    done = process("info", path, "--format", format)
    assert (done.returncode, done.stderr) == (0, "")
    done = process("kernels", path, SAMPLE, "--format", "csv")
    assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (0, 47, 2)


# Outputs


def test_existing_output_is_left_alone_without_force(tmp_path: Path) -> None:
    output = tmp_path / "mine.csv"
    output.write_text("mine")
    done = run(["layers", "-o", str(output)], SAMPLE)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Error: {output} exists: give --force to replace it" in done.stderr
    assert output.read_text() == "mine"


def test_existing_output_is_replaced_with_force(tmp_path: Path) -> None:
    output = tmp_path / "mine.csv"
    output.write_text("mine")
    assert run(["layers", "--force", "-o", str(output)], SAMPLE).exit_code == 0
    assert output.read_text().startswith("name,depth,")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.csv"]


def test_output_has_the_permissions_that_the_person_gives_new_files(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        run(["layers", "-o", str(tmp_path / "new.csv")], SAMPLE)
    finally:
        os.umask(mask)
    assert (tmp_path / "new.csv").stat().st_mode & 0o777 == 0o640


def test_output_that_is_a_link_replaces_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real/a.csv")
    assert run(["layers", "--force", "-o", str(tmp_path / "link.csv")], SAMPLE).exit_code == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "a.csv").read_text().startswith("name,depth,")


def test_run_that_fails_leaves_the_old_output(tmp_path: Path) -> None:
    output = tmp_path / "mine.csv"
    output.write_text("mine")
    damaged = without_page(KERNELS, tmp_path / "damaged.sqlite")
    refused(["layers", "--force", "-o", str(output)], damaged)
    assert output.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["damaged.sqlite", "mine.csv"]


def test_bad_trace_among_good_ones_writes_nothing(tmp_path: Path) -> None:
    damaged = without_page(KERNELS, tmp_path / "damaged.sqlite")
    done = run(["layers", "-o", str(tmp_path / "o.csv")], SAMPLE, damaged)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert f"{damaged}: table {KERNELS}" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["damaged.sqlite"]


@pytest.mark.parametrize("command", [*COMMANDS.values(), ["attribute"]], ids=" ".join)
def test_output_folder_that_is_missing_is_a_usage_error_before_any_work(tmp_path: Path, command: list[str]) -> None:
    done = run([*command, "-o", str(tmp_path / "no" / "o.json")], tmp_path / "no.sqlite")
    assert done.exit_code == 2
    assert f"Error: {tmp_path}/no is not a directory: make it first" in done.stderr


def test_output_that_is_a_directory_is_a_usage_error(tmp_path: Path) -> None:
    done = run(["layers", "--force", "-o", str(tmp_path)], SAMPLE)
    assert done.exit_code == 2
    assert f"Error: {tmp_path} is a directory: give a file" in done.stderr


def test_output_that_is_a_device_or_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for output in (tmp_path / "pipe", Path("/dev/null")):
        done = run(["layers", "--force", "-o", str(output)], SAMPLE)
        assert done.exit_code == 2
        assert f"Error: {output} is a device or a pipe" in done.stderr
        assert not output.is_file()


@pytest.mark.parametrize("format", ["csv", "json", "parquet", "table"])
def test_full_disk_leaves_no_file_and_the_old_one_as_it_was(tmp_path: Path, format: str) -> None:
    output = tmp_path / f"mine.{format}"
    output.write_text("mine")
    options = ["--force", "-o", str(output), "--format", format, "--rows", "0"]
    done = process("attribute", SAMPLE, *options, before="ulimit -f 8")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: {output}: File too large: nothing was written\n"
    assert output.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


@needs_dev_full
@pytest.mark.parametrize(
    "command",
    [
        ["info"],
        ["layers"],
        COMMANDS["stats"],
        *(["attribute", "--format", name] for name in ("csv", "json", "parquet")),
    ],
    ids=" ".join,
)
def test_full_disk_behind_standard_output_is_one_line(command: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = process(*command, SAMPLE, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "Error: standard output: No space left on device: not all was written\n"


@pytest.mark.parametrize("format", ["csv", "json", "parquet", "table"])
def test_reader_that_leaves_early_ends_the_run_quietly(format: str) -> None:
    command = [sys.executable, "-m", "ttinsys.cli", "attribute", str(SAMPLE), "--format", format, "--rows", "0"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_standard_output_that_is_closed_is_a_usage_error() -> None:
    done = process("layers", SAMPLE, stdout=None, before="exec >&-")
    assert done.returncode == 2
    assert done.stderr.endswith("Error: standard output is closed: give -o FILE\n")


def test_standard_error_that_is_closed_is_no_reason_to_fail() -> None:
    done = process("layers", SAMPLE, stderr=None, before="exec 2>&-")
    assert (done.returncode, done.stdout.split()[0]) == (0, "instances")
    assert process("layers", "no.sqlite", stderr=None, before="exec 2>&-").returncode == 1


def test_interrupt_ends_the_run_without_a_traceback_and_cleans_up(tmp_path: Path) -> None:
    slow = tmp_path / "nsys"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexec sleep 60\n")
    slow.chmod(0o755)
    (tmp_path / "run.nsys-rep").write_text("x")
    command = [sys.executable, "-m", "ttinsys.cli", "layers", "--nsys", str(slow), "-o", str(tmp_path / "o.csv")]
    with subprocess.Popen(
        [*command, str(tmp_path / "run.nsys-rep")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)},
    ) as running:
        deadline = time.monotonic() + 30
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out, err.strip()) == (1, "", "Aborted!")
    assert sorted(file.name for file in tmp_path.iterdir() if file.is_file()) == ["nsys", "run.nsys-rep", "started"]
    assert list(tmp_path.rglob("*.sqlite")) == []
