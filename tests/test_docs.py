"""What the documents show is what the program does."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import ttinsys
from ttinsys.attribution import dialects
from ttinsys.attribution.attribute import REASONS
from ttinsys.cli import main
from ttinsys.commands.questions import QUESTIONS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SYNTHETIC = ROOT / "sample_traces" / "synthetic-stable-diffusion.sqlite"
SIMULATED = ROOT / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"


@pytest.mark.slow(1)
def test_session_in_the_readme_is_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    sessions = re.findall(r"```text\n\$ ttinsys (.*?)\n(.*?)```", README, re.DOTALL)
    assert sessions
    for command, shown in sessions:
        done = CliRunner().invoke(main, shlex.split(command))
        assert done.exit_code == 0
        assert [line.rstrip() for line in done.stdout.splitlines()] == shown.splitlines()


@pytest.fixture
def beside_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has the sample traces and a place for what is written."""
    (tmp_path / "sample_traces").symlink_to(ROOT / "sample_traces")
    (tmp_path / "team.toml").write_text('[[pattern]]\nmatch = "^of no range$"\ngroup = "none"\n')
    monkeypatch.setattr(dialects, "_added", [])  # for this test alone
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow(2)
def test_python_in_the_readme_runs_within_and_outside_of_its_block(beside_samples: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), names)
        prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
        inline = [" ".join(text.split()) for text in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]
        expressions = [text for text in inline if re.match(r"(ttinsys|trace)\.\w|(dir|help)\(", text)]
        for text in expressions:
            eval(text, names)
    assert len(expressions) >= 8
    assert (beside_samples / "report.html").stat().st_size > 100_000
    assert "spatial_conv" in printed.getvalue()
    # On the synthetic sample, whose times sample_traces/README.md works out by hand, the same lines print 9 attentions
    # of the UNet, each of a fused core of 1400 ns and 4 projections of 400 ns.
    attributed = code[code.index("ops = ") : code.index("ranges = ")]
    names["trace"] = ttinsys.load(SYNTHETIC)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(attributed, "README.md", "exec"), names)
    assert re.search(r"flash_attention\s*┆\s*12600", printed.getvalue())
    assert re.search(r"gemm\s*┆\s*14400", printed.getvalue())


SAMPLES = {
    "run.sqlite": SYNTHETIC, "eager.sqlite": SIMULATED, "flash.sqlite": SIMULATED, "main.sqlite": SIMULATED,
    "branch.sqlite": SIMULATED, "rank0.sqlite": SYNTHETIC, "rank1.sqlite": SYNTHETIC,
}  # fmt: skip
"""Traces that stand for those that the README names."""


def shell_lines() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    return [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("ttinsys ")])
def test_command_in_the_readme_runs(line: str, beside_samples: Path) -> None:
    arguments = [str(SAMPLES.get(word, word)) for word in shlex.split(line)[1:]]
    # The synthetic sample lies within a millisecond.
    arguments = ["0/1ms" if word == "1.5s/2s" else word for word in arguments]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("line", [line for line in shell_lines() if "python -m annotate." in line])
def test_options_of_annotate_in_the_readme_exist(line: str) -> None:
    pytest.importorskip("torch")
    module, *arguments = shlex.split(line.partition("python -m ")[2])
    command = import_module(module).command
    assert command.make_context(module, arguments, resilient_parsing=True)
    options = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in arguments if word.startswith("-")} <= options


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
