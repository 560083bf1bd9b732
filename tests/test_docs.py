"""What the documents show is what the program does."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ttinsys.attribution.attribute import REASONS
from ttinsys.cli import main
from ttinsys.commands.questions import QUESTIONS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_session_in_the_readme_is_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sessions = re.findall(r"```text\n\$ ttinsys (.*?)\n(.*?)```", README, re.DOTALL)
    assert sessions
    for command, shown in sessions:
        done = CliRunner().invoke(main, shlex.split(command))
        assert done.exit_code == 0
        assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


def test_python_in_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})
    # By hand, as sample_traces/README.md has it: 9 attentions of the UNet, of a fused 1400 and 4 projections of 400.
    assert re.search(r"flash_attention\s*┆\s*12600", printed.getvalue())
    assert re.search(r"gemm\s*┆\s*14400", printed.getvalue())


def test_reasons_in_the_readme_are_all_there_are() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|$", README, re.MULTILINE))
    assert rows.pop("attributed_by") == "meaning"
    assert rows == REASONS


def test_every_command_is_in_the_readme_and_none_else() -> None:
    named = {line.split("`")[1].split()[1] for line in README.splitlines() if line.startswith("| `ttinsys ")}
    assert named == set(main.list_commands(click.Context(main)))


def test_help_lists_every_command_under_a_question() -> None:
    listed = main.ordered_commands()
    assert sorted(listed) == sorted(main.list_commands(click.Context(main)))
    assert {name for names in QUESTIONS.values() for name in names} <= set(listed)
