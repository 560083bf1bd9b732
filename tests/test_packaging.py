"""What a package index shows of the project: links that work there, addresses, Python versions."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
README = (ROOT / "README.md").read_text()
LINK = re.compile(r"\]\(([^)]+)\)")


def on_an_index() -> str:
    """The README as the build rewrites it."""
    text = README
    for rule in PYPROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_links_and_picture_of_the_readme_lead_into_the_repository_on_a_package_index() -> None:
    targets = LINK.findall(README)
    relative = [target for target in targets if not target.startswith(("https://", "#"))]
    assert {"sample_traces/report.png", "LICENSE", "CONTRIBUTING.md"} <= {*relative}
    assert [target for target in relative if not (ROOT / target.partition("#")[0]).exists()] == []
    shown = LINK.findall(on_an_index())
    repository = PROJECT["urls"]["Repository"]
    assert len(shown) == len(targets)
    for target, there in zip(targets, shown, strict=True):
        if target not in relative:
            assert there == target
        elif target.endswith(".png"):
            assert there == f"https://raw.githubusercontent.com/ttinsys/ttinsys/HEAD/{target}"
        else:
            assert there == f"{repository}/blob/HEAD/{target}"


def test_project_says_where_it_lives() -> None:
    urls = PROJECT["urls"]
    assert urls.keys() == {"Homepage", "Documentation", "Repository", "Changelog", "Issues"}
    assert all(url.startswith(urls["Repository"]) for url in urls.values())


def test_classifiers_name_every_python_from_the_lowest_that_is_required() -> None:
    prefix = "Programming Language :: Python :: 3."
    named = [int(line.removeprefix(prefix)) for line in PROJECT["classifiers"] if line.startswith(prefix)]
    lowest = int(PROJECT["requires-python"].removeprefix(">=3."))
    assert named == list(range(lowest, 15))
    assert "Typing :: Typed" in PROJECT["classifiers"]
    assert all((ROOT / package / "py.typed").exists() for package in ("ttinsys", "annotate", "parsers"))


def test_first_command_of_the_readme_leaves_no_untracked_file() -> None:
    (output,) = re.findall(r"^pip install \. && ttinsys report .* -o (\S+)$", README, re.MULTILINE)
    command = ["git", "check-ignore", "--quiet", "--no-index", output]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 128:
        pytest.skip("not a checkout of git")
    assert done.returncode == 0, output
