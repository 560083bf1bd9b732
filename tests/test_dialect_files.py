"""A team's own names: files of patterns, `--dialect`, and the person's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

import ttinsys
from tests.build import TraceBuilder
from ttinsys.attribution.dialects import added_dialects, dialects, known_dialects, read_names
from ttinsys.attribution.dialects.files import DialectError, load_dialect
from ttinsys.cli import main
from ttinsys.commands.input_options import FOLDER_VARIABLE

TEAM = r"""
[[pattern]]
match = '^Block(?<block>\d+)/attn q=(\d+) kv=(\d+) dim=(\d+)$'
group = "block ${block} attention"
role = "cross_attention"
component = "denoiser"
operation = "aten::scaled_dot_product_attention"
sizes = "[[1, $2, $4], [1, $3, $4], [1, $3, $4]]"
module = true

[[pattern]]
match = '^tick (?<number>\d+), (prefill|decode|other)$'
group = "tick"
step = "${number}"
phase = "$2"

[[pattern]]
match = '^Block'
role = "other"
"""


def written(folder: Path, text: str, name: str = "team.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def read_by(path: Path, name: str, domain: str | None = None) -> dict[str, Any]:
    columns = {"domain": [domain], "name": [name], "payload_json": [None]}
    schema = {"domain": pl.String, "name": pl.String, "payload_json": pl.String}
    with added_dialects([load_dialect(path)]):
        return read_names(pl.DataFrame(columns, schema=schema)).row(0, named=True)


def test_the_first_pattern_that_is_found_reads_a_name(tmp_path: Path) -> None:
    row = read_by(written(tmp_path, TEAM), "Block3/attn q=4096 kv=77 dim=64")
    assert {key: value for key, value in row.items() if value is not None} == {
        "group": "block 3 attention",
        "operation": "aten::scaled_dot_product_attention",
        "role": "cross_attention",
        "component": "denoiser",
        "is_module": True,
        "sizes": "[[1, 4096, 64], [1, 77, 64], [1, 77, 64]]",
        "labelled_by": "team",
    }


def test_a_pattern_without_a_group_keeps_the_name(tmp_path: Path) -> None:
    row = read_by(written(tmp_path, TEAM), "Block3/mlp")
    assert (row["group"], row["role"], row["component"]) == ("Block3/mlp", "other", None)


def test_a_pattern_sees_what_follows_a_comma(tmp_path: Path) -> None:
    row = read_by(written(tmp_path, TEAM), "tick 7, decode")
    assert (row["group"], row["step"], row["phase"]) == ("tick", 7, "decode")


def test_a_reference_gives_no_word_that_is_not_of_the_vocabulary(tmp_path: Path) -> None:
    assert read_by(written(tmp_path, TEAM), "tick 7, other")["phase"] is None


def test_names_that_no_pattern_matches_read_as_without_the_file(tmp_path: Path) -> None:
    row = read_by(written(tmp_path, TEAM), "aten::mm, seq = 7")
    assert (row["group"], row["seq"], row["labelled_by"]) == ("aten::mm", 7, "pytorch")


def test_a_team_may_rename_what_another_dialect_reads(tmp_path: Path) -> None:
    path = written(tmp_path, '[[pattern]]\nmatch = "^aten::mm"\ngroup = "multiply"\n', "ours.toml")
    assert read_by(path, "aten::mm, seq = 7")["group"] == "multiply"


@pytest.mark.parametrize(
    ("declared", "domain", "reader"),
    [
        ("engine", "engine", "x"),
        ("engine", None, None),
        ("default", None, "x"),
        ("default", "engine", None),
    ],
)
def test_a_file_may_be_for_one_domain(tmp_path: Path, declared: str, domain: str | None, reader: str | None) -> None:
    path = written(tmp_path, f'name = "x"\ndomain = "{declared}"\n[[pattern]]\nmatch = "^a$"\n')
    assert read_by(path, "a", domain)["labelled_by"] == reader


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = [", "not TOML"),
        ("name = 'x'", "pattern: write at least one table [[pattern]]"),
        ("pattern = [1]", "pattern: write at least one table [[pattern]]"),
        ("names = 'x'", "no key 'names' (did you mean 'name'?)"),
        ("[[pattern]]\nrole = 'linear'", "pattern 1: match: write the regular expression"),
        ("[[pattern]]\nmatch = 'a(b'", "pattern 1: match: regex"),
        ("[[pattern]]\nmatch = 'a'\n[[pattern]]\nrolle = 'x'", "pattern 2: no key 'rolle' (did you mean 'role'?)"),
    ],
)
def test_an_error_is_one_line_with_file_key_and_what_is_allowed(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DialectError) as error:
        load_dialect(path)
    assert str(error.value).startswith(f"{path}: {reason}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("role = 'self_attn'", "role: no role 'self_attn' (did you mean 'self_attention'?): write one of spatial_"),
        ("group = '$3'", "group: $3 is no group of match: it has $1, ${c}"),
        ("group = '${b}'", "group: ${b} is no group of match: it has $1, ${c}"),
        ("step = 'x'", "step: write a number or a reference"),
        ("sizes = '1, $1'", "sizes: write lists of numbers"),
        ("module = 'yes'", "module: write true or false"),
        ("group = 1.5", "group: write text, not 1.5"),
    ],
)
def test_an_error_of_a_value_names_the_pattern_and_the_key(tmp_path: Path, line: str, reason: str) -> None:
    path = written(tmp_path, f"[[pattern]]\nmatch = 'a(b)(?<c>d)'\n{line}")
    with pytest.raises(DialectError) as error:
        load_dialect(path)
    assert str(error.value).startswith(f"{path}: pattern 1: {reason}")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DialectError, match=r"none\.toml: No such file"):
        load_dialect(tmp_path / "none.toml")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    t = TraceBuilder()
    main_thread = t.thread()
    t.range(main_thread, "Block3/mlp", 0, 100)
    t.kernel(main_thread, "sgemm", launch=(10, 15), gpu=(120, 150))
    return t.write(tmp_path / "run.sqlite")


def layers(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["layers", *map(str, arguments)])


def test_every_command_that_reads_a_trace_takes_dialects() -> None:
    runner = CliRunner()
    readers = [
        name
        for name in main.list_commands(None)  # type: ignore[arg-type]
        if "--nsys" in runner.invoke(main, [name, "--help"]).stdout
    ]
    assert len(readers) > 15
    assert [name for name in readers if "--dialect" not in runner.invoke(main, [name, "--help"]).stdout] == []


def test_a_bad_file_is_wrong_usage(tmp_path: Path, trace: Path) -> None:
    result = layers(trace, "--dialect", written(tmp_path, "[[pattern]]\nmatch = 'a'\nrole = 'lineal'"))
    assert result.exit_code == 2
    assert "role: no role 'lineal' (did you mean 'linear'?)" in result.stderr


def test_files_of_the_command_line_last_as_long_as_the_command(tmp_path: Path, trace: Path) -> None:
    assert layers(trace, "--dialect", written(tmp_path, TEAM)).exit_code == 0
    assert dialects() == known_dialects()


def test_files_of_the_persons_folder_are_read(tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    path = written(tmp_path, "[[pattern]]\nmatch = 'a'\nrole = 'lineal'", "mine.toml")
    result = layers(trace)
    assert result.exit_code == 2
    assert f"{path}: pattern 1" in result.stderr
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    assert layers(trace).exit_code == 0


def test_sizes_of_a_file_give_lengths_and_operations(tmp_path: Path) -> None:
    """2 x 2 x 4,096 x 77 x 64 FLOPs: two products of 4,096 queries and 77 keys of width 64."""
    t = TraceBuilder()
    main_thread = t.thread()
    t.range(main_thread, "Block3/attn q=4096 kv=77 dim=64", 0, 100)
    t.kernel(main_thread, "sgemm", launch=(10, 15), gpu=(120, 150))
    opened = t.load(tmp_path)
    with added_dialects([load_dialect(written(tmp_path, TEAM))]):
        row = ttinsys.ranges(opened).select("role", "q_len", "kv_len", "flops").collect().row(0)
    assert row == ("cross_attention", 4096, 77, 80_740_352)


def test_python_adds_a_file(tmp_path: Path) -> None:
    with added_dialects([]):
        ttinsys.add_dialect(written(tmp_path, TEAM))
        assert dialects()[0].name == "team"
    assert dialects() == known_dialects()
