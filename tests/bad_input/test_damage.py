"""Files that were cut short or changed: an answer, or one line that names the file or table, and never a traceback."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from parsers.directory import ParquetDirectory
from tests.bad_input.shared import (
    CALLS,
    COMMANDS,
    EVENTS,
    KERNELS,
    PAGE,
    SAMPLE,
    SUFFIX,
    builder,
    each_directory,
    every_command,
    process,
    refused,
    run,
    script,
    without_page,
)
from tests.build import Format
from tests.shared import slow
from ttinsys.commands.exit_status import ExitStatus


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


@every_command
@pytest.mark.parametrize("table", [KERNELS, CALLS, EVENTS])
def test_damaged_page_is_an_error_that_names_its_table(tmp_path: Path, command: list[str], table: str) -> None:
    path = without_page(table, tmp_path / "damaged.sqlite")
    assert f"{path}: table {table}: database disk image is malformed" in refused(command, path)


@pytest.mark.slow(3)
def test_damage_met_while_reading_ends_the_process_in_order_every_time(tmp_path: Path) -> None:
    # The streaming engine of Polars leaves threads behind that abort one process in five, or hang.
    path = without_page(CALLS, tmp_path / "damaged.sqlite")
    for command in [*COMMANDS.values()] * 2:
        done = process(*command, path)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (ExitStatus.FAILED, "", 1), done.stderr


@pytest.mark.parametrize("seed", [*range(4), *map(slow, range(4, 40))])
def test_flipped_bits_give_an_answer_or_one_line(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(SAMPLE.read_bytes())
    start = chance.choice([0, 100, PAGE])
    for _ in range(chance.choice([1, 5, 50])):
        content[chance.randrange(start, chance.choice([start + 3000, len(content)]))] ^= 1 << chance.randrange(8)
    path = tmp_path / "flipped.sqlite"
    path.write_bytes(content)
    done = run(list(COMMANDS.values())[seed % 4], path)
    assert done.exit_code == 0 or (done.exit_code, done.stdout, done.stderr.count("\n")) == (ExitStatus.FAILED, "", 1)


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
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (ExitStatus.FAILED, "", 1), done.stderr
    assert done.stderr.startswith(f"Error: {table}: ")


def test_panic_of_a_decoder_is_one_line_and_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = builder().write(tmp_path / "d", "parquetdir")

    def panic(*_: object) -> None:
        raise pl.exceptions.PanicException("assertion failed: offset + length <= self.length")

    monkeypatch.setattr(ParquetDirectory, "_open", panic)
    assert "assertion failed: offset + length" in refused(["layers"], path)


def test_what_threads_of_polars_write_to_standard_error_is_not_shown(tmp_path: Path) -> None:
    path = builder().write(tmp_path / "d", "parquetdir")
    code = f"""if True:
        import os, polars, ttinsys.cli
        from parsers.directory import ParquetDirectory
        def panic(*_, **__):
            os.write(2, b"thread panicked at crates/polars-stream")
            raise polars.exceptions.PanicException("called unwrap\\non an Err")
        ParquetDirectory._open = panic
        ttinsys.cli.main(["layers", {str(path)!r}])
    """
    done = script(code)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (ExitStatus.FAILED, "", 1)
    assert "called unwrap on an Err: export the report again" in done.stderr


def test_our_own_mistakes_still_have_a_traceback() -> None:
    code = "import ttinsys.cli, parsers; parsers.load = None; ttinsys.cli.main(['info', 'x'])"
    done = script(code)
    assert done.returncode == ExitStatus.BUG
    assert "TypeError: 'NoneType' object is not callable\n" in done.stderr
