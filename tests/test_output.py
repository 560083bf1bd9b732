"""Formats and files: what each holds, which suffix names which, and what a command says of what it wrote."""

from __future__ import annotations

import json
import math
import re
import sys
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from parsers.schema import Column, Table
from tests.build import TraceBuilder
from tests.labelled import Labelled
from ttinsys import __version__
from ttinsys.cli import main
from ttinsys.render import Destination, OutputError, emit, emit_text
from ttinsys.render.nsys import nsys_json, nsys_table
from ttinsys.stats import stats_report

SAMPLE = Path(__file__).resolve().parents[1] / "sample_traces" / "synthetic-stable-diffusion.sqlite"

TIMES = Table(
    "times",
    Column("sum_ns", pl.Int64, "Sum of durations.", unit="ns"),
    Column("name", pl.String, "Name of the layer."),
)


def run(*arguments: str | Path) -> click.testing.Result:
    return CliRunner().invoke(main, [*map(str, arguments)])


# Suffixes


@pytest.mark.parametrize(
    ("command", "output", "known"),
    [
        (["layers"], "o.xls", ".txt, .md, .csv, .json, .parquet, .xlsx"),
        (["attribute"], "ops.csv.gz", ".txt, .md, .csv, .json, .parquet, .xlsx"),
        (["report"], "page.pdf", ".html"),
        (["info"], "o.yaml", ".txt, .json"),
        (["stats", "-r", "cuda_gpu_kern_sum"], "o.html", ".txt, .csv, .json"),
    ],
)
def test_unknown_suffix_is_refused_with_the_known_ones_before_any_work(
    tmp_path: Path, command: list[str], output: str, known: str
) -> None:
    # The trace is not there: that nobody says so shows that nobody looked.
    done = run(*command, tmp_path / "no.sqlite", "-o", tmp_path / output)
    suffix = output.rpartition(".")[2]
    assert (done.exit_code, done.stdout) == (2, "")
    problem = f"Error: {tmp_path / output}: .{suffix} names no format: end the name in {known}, or give --format\n"
    assert done.stderr.endswith(problem)


def test_file_without_a_suffix_or_with_a_format_has_any_name(tmp_path: Path) -> None:
    assert run("layers", SAMPLE, "-o", tmp_path / "layers").exit_code == 0
    assert (tmp_path / "layers").read_text().startswith("instances  ops")
    assert run("layers", SAMPLE, "-o", tmp_path / "layers.v2", "--format", "csv").exit_code == 0
    assert (tmp_path / "layers.v2").read_text().startswith("name,depth")


# What a command says


@pytest.mark.parametrize(
    ("command", "output", "sentence"),
    [
        (["attribute"], "ops.parquet", "wrote {} (463 rows)"),
        (["layers"], "layers.txt", "wrote {} (50 of 120 rows)"),
        (["layers", "--rows", "0"], "layers.md", "wrote {} (120 rows)"),
        (["info"], "info.json", "wrote {}"),
        (["report"], "page.html", "wrote {}"),
        (["export", "--to", "collapsed"], "stacks.txt", "wrote {}"),
    ],
)
def test_command_says_once_which_file_it_wrote(tmp_path: Path, command: list[str], output: str, sentence: str) -> None:
    path = tmp_path / output
    done = run(*command, SAMPLE, "-o", path)
    assert (done.exit_code, done.stdout) == (0, "")
    assert [line for line in done.stderr.splitlines() if "wrote" in line] == [sentence.format(path)]


def test_picture_and_table_are_announced_each(tmp_path: Path) -> None:
    table, picture = tmp_path / "a.csv", tmp_path / "a\x1b[31m.svg"
    done = run("kernels", SAMPLE, "-o", table, "--plot", picture)
    told = [line for line in done.stderr.splitlines() if "wrote" in line]
    # The name of a file cannot control the terminal either.
    assert told == [f"wrote {tmp_path}/a\ufffd[31m.svg", f"wrote {table} (23 rows)"]


def test_what_goes_to_standard_output_or_is_written_by_the_library_is_not_announced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "wrote" not in run("kernels", SAMPLE).stderr
    emit_text("x", Destination(path=tmp_path / "o.txt"))
    assert capsys.readouterr() == ("", "")


def test_file_that_could_not_be_written_is_not_announced(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(OutputError):
        emit_text("x", Destination(path=tmp_path / "gone" / "o.txt", announce=told.append))
    assert told == []


# Numbers


@pytest.mark.parametrize(
    ("values", "unit", "shown"),
    [
        ([-1, 2_000_000], "ns", "0.000"),
        ([-499], "ns", "-0.499"),
        ([-0.0004, 0.5], "ratio", "0.0"),
        ([-0.004], None, "0.00"),
        ([-1, 2**31], "B", "0.00"),
    ],
)
@pytest.mark.parametrize("format", ["table", "markdown"])
def test_what_rounds_to_zero_has_no_sign(
    tmp_path: Path, values: list[float], unit: str | None, shown: str, format: str
) -> None:
    frame = pl.DataFrame({"value": values})
    path = tmp_path / "o.txt"
    emit(frame, Destination(format, path), table=Table("t", Column("value", frame["value"].dtype, "", unit=unit)))
    assert shown in re.split(r"[\s|]+", path.read_text())


def test_overview_of_a_trace_that_begins_before_the_capture_has_no_minus_zero(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.kernel(t.thread(), "k", launch=(-200_000, -100_000), gpu=(0, 1_500_000_000))
    done = run("info", t.write(tmp_path / "t.sqlite"))
    assert "1.500 s, from 0.000 to 1.500 s" in done.stdout


def test_tables_of_nsys_have_no_minus_zero() -> None:
    frame = pl.DataFrame({"Avg (ns)": [-0.0, 1.5], "Name": ["a", "b"]})
    assert re.findall(r"-?\d\.\d", nsys_table(stats_report("cuda_gpu_kern_sum"), frame)) == ["0.0", "1.5"]


def strict(text: str) -> Any:
    """JSON as its standard has it: NaN and Infinity are none."""

    def refused(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refused)


def test_json_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    frame = pl.DataFrame({"share": [math.nan, math.inf, -math.inf, 0.5, None]})
    emit(frame, Destination("json", tmp_path / "o.json"))
    assert [row["share"] for row in strict((tmp_path / "o.json").read_text())] == [None, None, None, 0.5, None]
    assert [row["share"] for row in strict(nsys_json(stats_report("cuda_gpu_kern_sum"), frame))] == [
        "",
        "",
        "",
        0.5,
        "",
    ]


def test_info_has_null_for_what_a_run_says_that_is_no_number(tmp_path: Path) -> None:
    run_of = {"model": "stable-diffusion", "loss": math.nan, "request": {"guidance": [math.inf, 7.5], "height": 64}}
    done = run("info", Labelled(run_of).write(tmp_path / "t.sqlite"), "--format", "json")
    (told,) = strict(done.stdout)[0]["runs"]
    assert (told["loss"], told["request"]) == (None, {"guidance": [None, 7.5], "height": 64})


def test_info_of_gpus_of_which_nothing_is_known_is_printed(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.row("TARGET_INFO_GPU", id=0)
    t.kernel(t.thread(), "k", launch=(0, 1), gpu=(2, 3))
    done = run("info", t.write(tmp_path / "t.sqlite"))
    assert (done.exit_code, "GPU operations" in done.stdout) == (0, True)


# Parquet


def test_parquet_carries_units_and_meanings_of_columns_and_the_origin_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    frame = pl.DataFrame({"trace": ["a"], "sum_ns": [5], "name": ["unet"]})
    emit(frame, Destination("parquet", path), table=TIMES, traces=["a", "\udcff'\"."])
    schema = pq.read_schema(path)
    assert {name: schema.field(name).metadata for name in schema.names} == {
        "trace": None,
        "sum_ns": {b"unit": b"ns", b"doc": b"Sum of durations."},
        "name": {b"doc": b"Name of the layer."},
    }
    origin = {key.decode(): value.decode() for key, value in schema.metadata.items()}
    assert origin.pop("ttinsys.traces") == '["a", "\\udcff\'\\"."]'
    assert origin == {"ttinsys.version": __version__, "ttinsys.table": "times"}
    assert pl.read_parquet_metadata(path)["ttinsys.version"] == __version__


def test_command_writes_units_to_parquet(tmp_path: Path) -> None:
    assert run("layers", SAMPLE, "-o", tmp_path / "o.parquet").exit_code == 0
    schema = pq.read_schema(tmp_path / "o.parquet")
    assert schema.field("self_ns").metadata[b"unit"] == b"ns"
    assert schema.metadata[b"ttinsys.table"] == b"layers"


def test_parquet_reads_back_as_what_was_written_whatever_its_types(tmp_path: Path) -> None:
    categories = pl.Enum(["b", "a", "unused"])
    frame = pl.DataFrame(
        {
            "enum": pl.Series(["a", None, "b"], dtype=categories),
            "category": pl.Series(["x", "y", None], dtype=pl.Categorical),
            "text": ["", None, "漢"],
            "count": pl.Series([0, 2**32 - 1, None], dtype=pl.UInt32),
            "time": [-(2**63), 2**63 - 1, None],
            "share": [math.nan, -0.0, None],
            "flag": [True, None, False],
            "none": [None, None, None],
            "list": [[1], [], None],
        }
    )
    declared = Table("all", *(Column(name, dtype, "Any.", unit="ns") for name, dtype in frame.schema.items()))
    for rows, table in ((frame, declared), (frame.clear(), declared), (frame, None)):
        emit(rows, Destination("parquet", tmp_path / "ours.parquet", force=True), table=table)
        rows.write_parquet(tmp_path / "polars.parquet")
        read = pl.read_parquet(tmp_path / "ours.parquet")
        assert read.schema == rows.schema
        assert_frame_equal(read, rows)
        assert_frame_equal(read, pl.read_parquet(tmp_path / "polars.parquet"))


# Sheets

HOSTILE = ["=1+1", '=HYPERLINK("http://x")', "{=1}", "+1", "-1", "@SUM(1)", "http://x", "https://x", "ftp://x",
           "mailto:a@b", "internal:A1", "external:c:/x", "file:///etc/passwd", "1234", "_x0041_", " a "]  # fmt: skip

Write = Callable[[pl.DataFrame], Path]


@pytest.fixture
def sheet(tmp_path: Path) -> Write:
    """Writes a frame as a sheet."""

    def write(frame: pl.DataFrame) -> Path:
        emit(frame, Destination("xlsx", tmp_path / "o.xlsx"), table=TIMES)
        return tmp_path / "o.xlsx"

    return write


def parts(path: Path) -> dict[str, str]:
    """The XML files of a workbook."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def rows_of(path: Path) -> list[list[str | float | bool | None]]:
    """Cells of the first sheet; the standard's escapes, as `_x0041_`, are read."""
    space = {"": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    files = parts(path)
    shared = ["".join(item.itertext()) for item in ET.fromstring(files["xl/sharedStrings.xml"]).findall("si", space)]
    shared = [re.sub(r"_x([0-9A-F]{4})_", lambda match: chr(int(match[1], 16)), text) for text in shared]

    def value(cell: ET.Element) -> str | float | bool | None:
        text = cell.findtext("v", None, space)
        if text is None:
            return None
        kinds: dict[str, Callable[[str], str | float | bool]] = {"s": lambda at: shared[int(at)], "b": "1".__eq__}
        return kinds.get(cell.get("t", "n"), float)(text)

    sheet = ET.fromstring(files["xl/worksheets/sheet1.xml"])
    return [[value(cell) for cell in row.findall("c", space)] for row in sheet.findall("sheetData/row", space)]


def test_sheet_holds_all_rows_with_raw_numbers(sheet: Write) -> None:
    frame = pl.DataFrame({"sum_ns": [1_234_567, None], "share": [0.5, math.nan], "flag": [True, None],
                          "name": ["unet", None], "kind": pl.Series(["a", None], dtype=pl.Enum(["a"])),
                          "sizes": [[1, 2], None]})  # fmt: skip
    assert rows_of(sheet(frame)) == [
        ["sum_ns", "share", "flag", "name", "kind", "sizes"],
        [1_234_567, 0.5, True, "unet", "a", "[1, 2]"],
        [None, None, None, None, None, None],
    ]


def test_text_of_strangers_is_text_in_a_sheet(sheet: Write) -> None:
    path = sheet(pl.DataFrame({"name": HOSTILE}))
    assert [row[0] for row in rows_of(path)] == ["name", *HOSTILE]
    whole = "".join(parts(path).values())
    assert "<f>" not in whole
    assert "<hyperlink" not in whole
    assert "TargetMode" not in whole


def test_sheet_has_no_character_that_xml_or_a_terminal_trips_over(sheet: Write) -> None:
    path = sheet(pl.DataFrame({"name": ["\x1b[31m", "a\ufffeb", "\u202e", "漢"]}))
    assert [row[0] for row in rows_of(path)][1:] == ["\ufffd[31m", "a\ufffdb", "\ufffd", "漢"]


def test_cell_that_is_too_long_keeps_its_beginning(sheet: Write) -> None:
    # Excel counts UTF-16 units, of which this letter has two: 32,768 are one too many.
    names = ["x" * 32_767, "x" * 32_768, "\U0001d4b3" * 16_384]
    _, *rows = rows_of(sheet(pl.DataFrame({"name": names})))
    assert [row[0] for row in rows] == [names[0], "x" * 16_382 + "…", "\U0001d4b3" * 16_382 + "…"]


def test_integers_that_a_sheet_would_round_are_text(sheet: Write) -> None:
    frame = pl.DataFrame({"id": [2**53 + 1, -(2**63)], "at": [2**53, None]})
    assert rows_of(sheet(frame))[1:] == [["9007199254740993", 2**53], ["-9223372036854775808", None]]


def test_sheet_without_rows_has_its_heading(sheet: Write) -> None:
    assert rows_of(sheet(TIMES.empty().collect()))[0] == ["sum_ns", "name"]


def test_sheet_on_standard_output_is_that_of_the_file_and_knows_no_time(tmp_path: Path) -> None:
    assert run("kernels", SAMPLE, "-o", tmp_path / "o.xlsx").exit_code == 0
    assert run("kernels", SAMPLE, "--format", "xlsx").stdout_bytes == (tmp_path / "o.xlsx").read_bytes()
    assert "1980-01-01T00:00:00Z" in parts(tmp_path / "o.xlsx")["docProps/core.xml"]


def test_more_rows_than_a_sheet_has_are_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"ops": pl.repeat(1, 1_048_576, eager=True)})
    with pytest.raises(OutputError, match="a sheet holds 1,048,575 rows, not 1,048,576: write csv or parquet"):
        emit(frame, Destination("xlsx", tmp_path / "o.xlsx"))
    assert list(tmp_path.iterdir()) == []


def test_sheet_without_its_package_is_a_usage_error_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    done = run("kernels", tmp_path / "no.sqlite", "-o", tmp_path / "o.xlsx")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.endswith("Error: xlsx needs the package xlsxwriter: pip install 'ttinsys[xlsx]'\n")
