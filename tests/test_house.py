"""The house rules that a machine can check: style, types, who imports whom, and that documents and code agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for package in ("ttinsys", "parsers", "annotate") for path in (ROOT / package).rglob("*.py")]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["importlinter.cli"],
    ],
    ids=" ".join,
)
def test_check_passes(command: list[str]) -> None:
    program = (
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
        if command == ["importlinter.cli"]
        else [sys.executable, "-m", *command]
    )
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("module", ["parsers", "ttinsys.cli", "ttinsys.attribution", "ttinsys.overview"])
def test_analysis_needs_no_torch(module: str) -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'nvtx', 'numpy', 'pyarrow', 'pandas'}"
    code = f"import sys, {module}; print(sorted(sys.modules.keys() & {heavy}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_files_stay_near_300_lines() -> None:
    # Data is as long as it is: the rules of operators and nsys's schema.
    data = {"operators.py", "nsys_schema.py"}
    long = {path.name: len(path.read_text().splitlines()) for path in SOURCES if path.name not in data}
    assert {name: lines for name, lines in long.items() if lines > 320} == {}


def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    code = "\n".join(path.read_text() for path in SOURCES)
    for requirement in project["dependencies"]:
        name = re.split(r"[><=\[]", requirement)[0].replace("-", "_").removesuffix("_python")
        assert re.search(rf"^\s*(import|from) {name}\b", code, re.MULTILINE), name


def test_first_screen_of_the_readme_has_the_two_commands_and_ci_runs_the_second() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    assert "ttinsys report sample_traces/" in first_screen
    commands = re.findall(r"^pip install .*-c constraints\.txt && (python -m pytest.*)$", first_screen, re.MULTILINE)
    assert len(commands) == 1
    assert commands[0] in (ROOT / ".ci" / "run").read_text()
