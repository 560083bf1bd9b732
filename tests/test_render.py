"""Tables for people: readable units, no wider than the terminal, and names that cannot control it."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from parsers.schema import Column, Table
from ttinsys.cli import main
from ttinsys.render import Destination, OutputError, emit, emit_text, printable
from ttinsys.render.grid import brief, table_text
from ttinsys.render.markdown import escaped, markdown_text
from ttinsys.render.names import ellipsized
from ttinsys.render.output import write_to

SAMPLES = Path(__file__).resolve().parents[1] / "sample_traces"
SAMPLE = SAMPLES / "synthetic-stable-diffusion.sqlite"
SIMULATED = SAMPLES / "simulated-stable-diffusion-h200_pqtdir"

TIMES = Table(
    "times",
    Column("start_ns", pl.Int64, "a moment", unit="ns"),
    Column("sum_ns", pl.Int64, "a duration", unit="ns"),
    Column("max_ns", pl.Int64, "another", unit="ns"),
    Column("size_bytes", pl.Int64, "a size", unit="B"),
    Column("share", pl.Float64, "a part", unit="ratio"),
    Column("name", pl.String, "text"),
)


def lines(frame: pl.DataFrame, rows: int = 0, tree: str | None = None) -> list[str]:
    """A frame as it is printed, without what is blank at the ends of lines, and headings in plain type."""
    text = re.sub(r"\x1b\[[01]m", "", table_text(frame, Destination(rows=rows), TIMES, tree))
    return [line.rstrip() for line in text.splitlines()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard output is a terminal, as wide as $COLUMNS."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


# Units


@pytest.mark.parametrize(
    ("column", "values", "shown"),
    [
        ("sum_ns", [5, 999_999], ["sum (us)", "0.005", "999.999"]),
        ("sum_ns", [5, 1_000_000], ["sum (ms)", "0.000", "1.000"]),
        ("sum_ns", [1_234_567, 99_999_999_999], ["sum (ms)", "1.235", "100,000.000"]),
        ("sum_ns", [1_234_567, 100_000_000_000], ["sum (s)", "0.001", "100.000"]),
        ("sum_ns", [-2_000_000, 5], ["sum (ms)", "-2.000", "0.000"]),
        ("sum_ns", [-(2**63)], ["sum (s)", "-9,223,372,036.855"]),
        ("sum_ns", [None, 5], ["sum (us)", "", "0.005"]),
        ("size_bytes", [0, 1023], ["size (B)", "0", "1,023"]),
        ("size_bytes", [512, 1024], ["size (KiB)", "0.50", "1.00"]),
        ("size_bytes", [2**20], ["size (MiB)", "1.00"]),
        ("size_bytes", [3 * 2**29, 2**30], ["size (GiB)", "1.50", "1.00"]),
        ("share", [0.125, 1.0, None], ["share (%)", "12.5", "100.0", ""]),
    ],
)
def test_column_is_scaled_to_its_greatest_value(column: str, values: list[int | None], shown: list[str]) -> None:
    heading, _, *cells = lines(pl.DataFrame({column: values}, schema={column: TIMES.schema[column]}))
    assert [heading.strip(), *(cell.strip() for cell in cells)] == shown


def test_column_without_a_value_is_not_shown() -> None:
    frame = pl.DataFrame({"sum_ns": [2_000_000], "role": [None]}, schema_overrides={"role": pl.String})
    assert lines(frame) == ["sum (ms)", "────────", "   2.000"]


def test_durations_share_a_unit_and_moments_have_their_own() -> None:
    frame = pl.DataFrame({"start_ns": [1], "sum_ns": [2_000_000], "max_ns": [3_000]})
    assert lines(frame) == [
        "start (us)  sum (ms)  max (ms)",
        "──────────────────────────────",
        "     0.001     2.000     0.003",
    ]


def test_what_has_no_unit_is_grouped_and_identifiers_are_not() -> None:
    frame = pl.DataFrame({"ops": [1234567], "pid": [1234567], "mean": [1234.5678], "flag": [True]})
    assert lines(frame) == [
        "      ops      pid      mean  flag",
        "──────────────────────────────────",
        "1,234,567  1234567  1,234.57  True",
    ]


def test_machine_formats_have_raw_numbers(tmp_path: Path) -> None:
    frame = pl.DataFrame({"sum_ns": [1_234_567_890_123, None], "share": [0.5, None], "name": ['a,"b"', None]})
    emit(frame, Destination("csv", tmp_path / "o.csv"), table=TIMES)
    emit(frame, Destination("json", tmp_path / "o.json"), table=TIMES)
    assert (tmp_path / "o.csv").read_text() == 'sum_ns,share,name\n1234567890123,0.5,"a,""b"""\n,,\n'
    assert json.loads((tmp_path / "o.json").read_text()) == [
        {"sum_ns": 1_234_567_890_123, "share": 0.5, "name": 'a,"b"'},
        {"sum_ns": None, "share": None, "name": None},
    ]


def test_kernels_are_named_without_what_says_nothing() -> None:
    name = "void at::native::<unnamed>::copy<(int)4, std::array<char *, (unsigned long)2>>(anonymous namespace)::f"
    assert brief(name) == "copy<4, array<char *, 2>>f"
    assert brief("avoid") == "avoid"


@pytest.mark.parametrize(("length", "shown"), [(10, "abcdefghij"), (9, "abcdef…ij"), (4, "ab…j"), (3, "ab…"), (1, "…")])
def test_name_that_is_too_long_loses_its_middle(length: int, shown: str) -> None:
    assert ellipsized("abcdefghij", length) == shown


# Room


def test_last_column_is_cut_to_the_terminal(terminal: None) -> None:
    frame = pl.DataFrame({"sum_ns": [5], "name": ["x" * 100]})
    assert lines(frame) == ["sum (us)  name", "─" * 60, f"   0.005  {'x' * 33}…{'x' * 16}"]


def test_sentences_are_broken_into_lines_and_not_cut(terminal: None) -> None:
    table = Table("told", Column("text", pl.String, "Sentence.", prose=True), Column("ops", pl.Int64, "Number."))
    frame = pl.DataFrame({"text": ["word " * 14 + "end.", "Short."], "ops": [1, 2]})
    text = re.sub(r"\x1b\[[01]m", "", table_text(frame, Destination(), table))
    # 60 places less 3 for numbers and 2 between are room for 11 words, which take 54. An empty line parts the rows.
    assert [line.rstrip() for line in text.splitlines()] == [
        f"{'text':54}  ops",
        "─" * 59,
        f"{' '.join(['word'] * 11):54}    1",
        " ".join(["word"] * 3) + " end.",
        "",
        f"{'Short.':54}    2",
        "",
    ]


def test_table_for_a_pipe_or_a_file_has_all_columns_and_whole_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    kernel = "void at::native::" + "x" * 1000
    frame = pl.DataFrame({f"column_{n}": [n] for n in range(7)} | {"kernel": [kernel], "name": ["y" * 1000]})
    for destination in (Destination(), Destination(path=Path("o.txt"))):
        heading, _, row = table_text(frame, destination).splitlines()
        assert heading.split() == [*(f"column_{n}" for n in range(7)), "kernel", "name"]
        assert row.split() == [*map(str, range(7)), *kernel.split(), "y" * 1000]


@pytest.mark.slow(1)
def test_diff_in_a_pipe_names_every_layer_that_csv_names() -> None:
    command = ["diff", str(SAMPLE), str(SIMULATED), "--rows", "0"]
    table, csv = (CliRunner().invoke(main, [*command, *more]).stdout for more in ([], ["--format", "csv"]))
    counts = [sum("attn2" in line for line in text.splitlines()) for text in (table, csv)]
    # The simulated model alone has cross-attention whose ranges are called so.
    assert counts[0] == counts[1] > 0


def test_file_that_a_terminal_asks_for_is_as_wide_as_it_takes(terminal: None, tmp_path: Path) -> None:
    emit(pl.DataFrame({"sum_ns": [5], "name": ["x" * 100]}), Destination(path=tmp_path / "o.txt"), table=TIMES)
    assert (tmp_path / "o.txt").read_text().endswith("x" * 100 + "\n")


def test_fifty_thousand_rows_are_printed_within_seconds() -> None:
    rows = 50_000
    frame = pl.DataFrame({"sum_ns": range(rows), "max_ns": range(rows), "name": ["layer"] * rows})
    before = time.perf_counter()
    assert len(lines(frame)) == 2 + rows
    # 0.1 s on an idle core; laid out by rich, it took more than 5 s.
    assert time.perf_counter() - before < 5


def test_columns_without_room_are_named(terminal: None) -> None:
    frame = pl.DataFrame({f"column_{n}": [n] for n in range(7)} | {"name": ["x" * 30]})
    # Three columns of 8 and a gap of 2 leave 30 of 60: a fourth would leave less than 24 for the last.
    assert lines(frame) == [
        "column_0  column_1  column_2  name",
        "─" * 60,
        f"       0         1         2  {'x' * 30}",
        "no room for column_3, column_4, column_5, column_6: a wider",
        "terminal shows more",
    ]


def test_columns_without_room_are_named_as_their_headings_are(terminal: None) -> None:
    frame = pl.DataFrame({"role": ["r" * 30], "sum_ns": [5_000_000], "size_bytes": [0], "share": [0.5], "name": ["x"]})
    # 24 for the roles, 8 and 8 for two columns of numbers, 4 for names, and 3 gaps of 2 are 50; 9 and 2 are too many.
    assert lines(frame)[3:] == ["no room for share (%): a wider terminal shows more"]


def test_kernels_lose_what_says_nothing_before_they_are_cut(terminal: None) -> None:
    keys = ["void at::native::" + "x" * 55, "void at::native::" + "x" * 65]
    frame = pl.DataFrame({"key": keys})
    assert lines(frame)[2:] == ["x" * 55, f"{'x' * 40}…{'x' * 19}"]


def test_columns_of_names_share_the_room(terminal: None) -> None:
    frame = pl.DataFrame({"role": ["r" * 30], "ops": [1], "name": ["n" * 100]})
    # 60, less 2 gaps of 2 and 3 for the operations, is 53: half of it is no room for 30 and for 100, but 26 and 27.
    assert lines(frame) == [
        "role                        ops  name",
        "─" * 60,
        f"{'r' * 17}…{'r' * 8}    1  {'n' * 18}…{'n' * 8}",
    ]


def test_number_without_room_is_not_cut(terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "5")
    assert lines(pl.DataFrame({"ops": [1_234_567, 12]}))[2:] == ["  …", " 12"]


def test_indentation_is_kept_where_a_name_is_cut(terminal: None) -> None:
    tree = pl.DataFrame({"name": ["a" * 60, "b" * 60], "depth": [0, 2], "sum_ns": [1, 1], "path": ["a", "a/b"]})
    assert lines(tree, tree="sum_ns")[2:] == [
        f"   0.001  {'a' * 33}…{'a' * 16}",
        f"   0.001      {'b' * 30}…{'b' * 15}",
    ]


def test_heading_is_bold_where_the_terminal_can(terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"ops": [1]})
    assert table_text(frame, Destination()).startswith("\x1b[1mops\x1b[0m\n")
    monkeypatch.setenv("TERM", "dumb")
    assert table_text(frame, Destination()).startswith("ops\n")


@pytest.mark.parametrize("width", [1, 5, 20, 33, 80, 500])
def test_no_line_is_wider_than_the_terminal(terminal: None, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    frame = pl.DataFrame({"sum_ns": [5], "max_ns": [10**15], "name": ["漢字" * 100]})
    assert max(map(cell_len, lines(frame))) <= max(width, 2)


def test_rest_of_the_rows_is_counted() -> None:
    frame = pl.DataFrame({"ops": list(range(1500))})
    assert lines(frame, rows=2)[2:] == [
        "  0",
        "  1",
        "1,498 more rows: --rows 0 shows all, --format csv|json|parquet holds all",
    ]
    assert len(lines(frame, rows=1500)) == len(lines(frame, rows=0)) == 2 + 1500


def test_table_without_rows_is_its_heading() -> None:
    assert lines(pl.DataFrame(schema={"ops": pl.UInt32, "name": pl.String})) == ["ops  name", "─────────"]


# Trees

TREE = pl.DataFrame(
    {
        "name": ["pipeline", "unet", "attn", "conv", "vae"],
        "depth": [0, 1, 2, 2, 1],
        "sum_ns": [100, 70, 50, 20, 30],
        "path": ["p", "p/u", "p/u/a", "p/u/c", "p/v"],
    }
)


def test_tree_is_indented_by_depth_and_leaves_out_what_the_indentation_says() -> None:
    assert lines(TREE, tree="sum_ns") == [
        "sum (us)  name",
        "──────────────────",
        "   0.100  pipeline",
        "   0.070    unet",
        "   0.050      attn",
        "   0.020      conv",
        "   0.030    vae",
    ]


def test_rows_of_a_tree_that_are_shown_first_are_the_greatest_with_all_above_them() -> None:
    assert lines(TREE, rows=4, tree="sum_ns")[2:] == [
        "   0.100  pipeline",
        "   0.070    unet",
        "   0.050      attn",
        "   0.030    vae",
        "1 more rows: --rows 0 shows all, --format csv|json|parquet holds all",
    ]


def test_deep_tree_stays_in_its_room(terminal: None) -> None:
    deep = pl.DataFrame({"name": ["a"] * 200, "depth": list(range(200)), "sum_ns": [1] * 200})
    assert max(map(len, lines(deep, tree="sum_ns"))) == 60


# Names of strangers


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 漢字 and é", "plain, 漢字 and é"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("\x9b31m", "\ufffd31m"),
        ("a\0b\tc\nd\re\x7f", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffd"),
        ("\u202eevil\u2066\u200b\ufeff", "\ufffdevil\ufffd\ufffd\ufffd"),
        ("\u2028\x85", "\ufffd\ufffd"),
        ("\ud800", "\ufffd"),
    ],
)
def test_what_could_control_a_terminal_is_replaced(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_names_are_no_markup() -> None:
    names = ["[bold red]x[/]", ":smile:", "[link=file:///etc]y", "\\[z]", "https://example.com"]
    assert [line.strip() for line in lines(pl.DataFrame({"name": names}))[2:]] == names


@pytest.mark.parametrize("setting", ["FORCE_COLOR", "TTY_COMPATIBLE", "CLICOLOR_FORCE"])
def test_table_for_a_file_has_no_colours(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv(setting, "1")
    assert "\x1b" not in table_text(TREE, Destination(path=Path("o.txt")), TIMES, "sum_ns")


def test_names_of_wide_characters_stay_in_line() -> None:
    frame = pl.DataFrame({"domain": ["漢字漢字", "abc", "é"], "name": ["x", "y", "z"]})
    shown = lines(frame)
    # Each of the four takes two places of the terminal.
    assert [cell_len(line[: line.index(end)]) for line, end in zip(shown[2:], "xyz", strict=True)] == [10, 10, 10]
    assert shown[2] == "漢字漢字  x"


def test_wide_characters_are_cut_where_they_no_longer_fit(terminal: None) -> None:
    *_, row = lines(pl.DataFrame({"sum_ns": [5], "name": ["漢" * 100]}))
    # Of 50 places one is the ellipsis; 33 before it have room for 16 of two places each, 16 behind it for 8.
    assert row == f"   0.005  {'漢' * 16}…{'漢' * 8}"


# Markdown


def markdown(frame: pl.DataFrame, rows: int = 0, tree: str | None = None) -> list[str]:
    return markdown_text(frame, Destination("markdown", rows=rows), TIMES, tree).splitlines()


def test_markdown_has_the_cells_of_the_terminal_and_all_columns() -> None:
    frame = pl.DataFrame({"sum_ns": [5_000_000, None], "share": [0.5, 0.25], "none": [None, None], "name": ["a", None]})
    assert markdown(frame) == [
        "| sum (ms) | share (%) | name |",
        "| ---: | ---: | :--- |",
        "| 5.000 | 50.0 | a |",
        "|  | 25.0 |  |",
    ]
    wide = pl.DataFrame({f"column_{n}": [n] for n in range(60)})
    assert markdown(wide)[0].count("|") == 61


def test_markdown_shows_the_rows_that_a_terminal_would_and_counts_the_rest() -> None:
    assert markdown(TREE, rows=4, tree="sum_ns")[2:] == [
        "| 0.100 | pipeline |",
        "| 0.070 | &emsp;unet |",
        "| 0.050 | &emsp;&emsp;attn |",
        "| 0.030 | &emsp;vae |",
        "",
        "1 more rows: --rows 0 shows all, --format csv|json|parquet holds all",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("spatial_attention", "spatial_attention"),
        ("unet.down_blocks.0", "unet.down_blocks.0"),
        ("(no_range_open)", "(no_range_open)"),
        ("", ""),
        ("a<b>", "`a<b>`"),
        ("*bold* _it_ ~x~", "`*bold* _it_ ~x~`"),
        ("__init__", "`__init__`"),
        ("@someone", "`@someone`"),
        ("https://example.com", "`https://example.com`"),
        ("see www.example.com", "`see www.example.com`"),
        ("a`b``c", "```a`b``c```"),
        ("`", "`` ` ``"),
        ("a|b", "<code>a&#124;b</code>"),
        ("<i>\\|", "<code>&#60;i&#62;&#92;&#124;</code>"),
    ],
)
def test_names_are_no_markdown(text: str, shown: str) -> None:
    assert escaped(text) == shown
    (row,) = markdown(pl.DataFrame({"name": [text]}))[2:]
    assert row == f"| {shown} |"


def test_name_cannot_end_its_row() -> None:
    names = pl.DataFrame({"name": ["a\n| b |", "\r\n", "x\u2028y"]})
    assert len(markdown(names)) == 2 + 3


def test_suffix_md_is_markdown(tmp_path: Path) -> None:
    emit(TREE, Destination("markdown", tmp_path / "o.md"), table=TIMES, tree="sum_ns")
    assert (tmp_path / "o.md").read_text() == markdown_text(TREE, Destination("markdown"), TIMES, "sum_ns")
    done = CliRunner().invoke(main, ["layers", str(SAMPLE), "-o", str(tmp_path / "layers.md")])
    assert done.exit_code == 0
    assert (tmp_path / "layers.md").read_text().startswith("| instances | ops | self (us) |")


# Where it goes


def test_text_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    output = tmp_path / "o.txt"
    output.write_text("old")

    def half(file: object) -> None:
        assert len(list(tmp_path.iterdir())) == 2
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"o\.txt: No space left on device: nothing was written"):
        write_to(Destination(path=output), half)
    with pytest.raises(KeyboardInterrupt):
        write_to(Destination(path=output), _interrupted)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("o.txt", "old")]


def _interrupted(file: object) -> None:
    raise KeyboardInterrupt


def test_folder_that_goes_away_meanwhile_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    with pytest.raises(OutputError, match="No such file or directory: nothing was written"):
        emit_text("x", Destination(path=folder / "o.txt"))


def test_parquet_is_not_for_a_terminal(terminal: None) -> None:
    with pytest.raises(OutputError, match="parquet is not for a terminal: give -o FILE"):
        Destination("parquet").check()
    Destination("csv").check()


@pytest.mark.skipif(os.name != "posix", reason="paths of any bytes")
def test_text_that_is_no_unicode_is_written_with_a_mark(tmp_path: Path) -> None:
    emit_text("a\udcffb", Destination(path=tmp_path / "o.txt"))
    assert (tmp_path / "o.txt").read_text() == "a?b"
