"""The registry of analyses, walked: a test names what a member lacks, and where it belongs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.shared import ROOT
from ttinsys.cli import main
from ttinsys.commands.questions import SHORT_NAMES
from ttinsys.runner.registry import Analysis, analysis_names, find

COMMANDS = {name: command for command, name in SHORT_NAMES.items()}
"""Commands of the analyses whose command has another name than they have."""


def parts(analysis: Analysis) -> Iterator[tuple[str, object]]:
    """What an analysis has to have, in words, and whether it is there.

    The last three are made by `tests/generated.py` and the command line: a newcomer writes none of them.
    """
    name = analysis.name
    command = COMMANDS.get(name, name).replace("_", "-")
    yield (
        f"an example in the docstring of ttinsys/analyses/{name}.py",
        f"\nttinsys {command} " in analysis.documentation,
    )
    yield "a docstring of its function", analysis.function.__doc__
    for column in analysis.returns.columns:
        yield f"a doc of the column {column.name}", column.doc
        yield f"a unit of the column {column.name}", column.unit or not column.name.endswith(("_ns", "_bytes"))
    for option in analysis.options:
        yield f"a help of the option {option.name}", option.help
    test = f"tests/analyses/test_{name}.py"
    yield test, (ROOT / test).exists()
    yield "a place in `ttinsys --help`", command in main.ordered_commands()
    yield "a row in README.md", f"\n| `ttinsys {command} " in (ROOT / "README.md").read_text()
    yield "a function in ttinsys/__init__.pyi", f"\ndef {name}(" in (ROOT / "ttinsys" / "__init__.pyi").read_text()


@pytest.mark.parametrize("name", analysis_names())
def test_analysis_lacks_nothing(name: str) -> None:
    assert [part for part, there in parts(find(name)) if not there] == []
