"""Files that are no traces, and traces at paths of any characters: one line says what was passed and what to pass."""

from __future__ import annotations

import os
import socket
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from tests.bad_input.shared import SAMPLE, SUFFIX, attributed, builder, each_directory, every_command, process, refused
from tests.build import Format
from tests.shared import slow
from ttinsys.commands.exit_status import ExitStatus


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
    assert (done.returncode, done.stdout) == (ExitStatus.FAILED, "")
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


@pytest.mark.parametrize("format", ["sqlite", *map(slow, SUFFIX)])
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
@pytest.mark.slow(1)
def test_path_that_is_not_text_is_read_and_printed(tmp_path: Path, format: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.sqlite"))
    path.write_bytes(SAMPLE.read_bytes())
    done = process("info", path, "--format", format)
    assert (done.returncode, done.stderr) == (0, "")
    done = process("kernels", path, SAMPLE, "--format", "csv")
    assert (done.returncode, done.stdout.count("\n"), done.stderr.count("\n")) == (0, 47, 2)
