"""The house rules that a machine can check: style, types, who imports whom, and that documents and code agree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [path for package in ("ttinsys", "parsers", "annotate") for path in (ROOT / package).rglob("*.py")]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "."], id="ruff check"),
        pytest.param(["ruff", "format", "--check", "."], id="ruff format"),
        pytest.param(["mypy"], id="mypy", marks=pytest.mark.slow(60)),
        pytest.param(["importlinter.cli"], id="import-linter"),
    ],
)
def test_check_passes(command: list[str]) -> None:
    program = (
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
        if command == ["importlinter.cli"]
        else [sys.executable, "-m", *command]
    )
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize(
    "module", ["parsers", "ttinsys.cli", "ttinsys.attribution.attribute", "ttinsys.tables.overview"]
)
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


@cache
def nodes() -> list[tuple[Path, ast.AST]]:
    """Every function and import of every module, wherever it stands, with its file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Import, ast.ImportFrom)
    trees = [(path, ast.parse(path.read_text())) for path in SOURCES]
    return [(path, node) for path, tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]


def test_no_function_is_longer_than_60_lines() -> None:
    functions = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in functions.items() if lines > 60} == {}


def imported_packages() -> set[str]:
    """Top-level packages that our modules import, wherever in them."""
    modules = [alias.name for _, node in nodes() if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module or "" for _, node in nodes() if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules}


@pytest.mark.slow(1)
def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[><=\[]", requirement)[0] for requirement in project["dependencies"]}
    assert {name.replace("-", "_").removesuffix("_python") for name in names} <= imported_packages()


def test_first_screen_of_the_readme_has_the_two_commands_and_ci_runs_the_second() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    assert "ttinsys report sample_traces/" in first_screen
    commands = re.findall(r"^pip install .*-c constraints\.txt && (python -m pytest.*)$", first_screen, re.MULTILINE)
    assert len(commands) == 1
    assert any(line.endswith(commands[0]) for line in (ROOT / ".ci" / "run").read_text().splitlines())


def public_names() -> dict[str, set[str]]:
    """Files of `ttinsys` by each public name that they define at their top."""
    homes: dict[str, set[str]] = {}
    for path in sorted((ROOT / "ttinsys").rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            named = [name for target in targets for name in getattr(target, "elts", [target])]
            names = [name.id for name in named if isinstance(name, ast.Name)]
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.append(node.name)
            for name in names:
                if not name.startswith("_"):
                    homes.setdefault(name, set()).add(str(path.relative_to(ROOT / "ttinsys")))
    return homes


INTERFACES = {
    "command": "commands",
    "draw": "figures",
    "REPORT": "stats",
    "writer": "exports",
    "COLUMNS": "exports",
    "DIALECT": "attribution",
}
"""What every file of a room defines under one name, with one meaning."""


@pytest.mark.slow(1)
def test_public_name_means_one_thing_in_the_package() -> None:
    twice = {name: homes for name, homes in public_names().items() if len(homes) > 1}
    for name, room in INTERFACES.items():
        assert {home.split("/")[0] for home in twice.pop(name)} == {room}, name
    assert twice == {}


def test_storeys_are_folders_and_few_files_lie_at_the_top() -> None:
    assert len([*(ROOT / "ttinsys").glob("*.py")]) <= 5
