"""The files that are made from the declarations of the analyses: the type stub and the README's table of commands.

    python -m tests.generated

`pytest` makes them again before it runs, so that a new analysis is complete with its own file and its test.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any, get_args, get_origin

import click

from ttinsys.cli import main
from ttinsys.runner.door import annotation_of, docstring_of
from ttinsys.runner.registry import Analysis, analysis_names, find

ROOT = Path(__file__).resolve().parents[1]
STUB, README = ROOT / "ttinsys" / "__init__.pyi", ROOT / "README.md"
FIRST, LAST = "<!-- commands: made by python -m tests.generated -->", "<!-- end of commands -->"

_HEAD = '''"""Attribute every GPU kernel to the model layer that launched it. Made by `python -m tests.generated`."""

from typing import Literal

import polars as pl

from parsers import Trace as Trace
from parsers import TraceError as TraceError
from parsers import load as load
from ttinsys.attribution.attribute import OPS as OPS
from ttinsys.attribution.attribute import attribute as attribute
from ttinsys.attribution.dialects import add_dialect as add_dialect
from ttinsys.attribution.nvtx import RANGES as RANGES
from ttinsys.attribution.nvtx import ranges as ranges
from ttinsys.attribution.select import select as select
from ttinsys.pages.plot import plot as plot
from ttinsys.pages.report import report as report

__version__: str
'''


def stub() -> str:
    """The text of `ttinsys/__init__.pyi`."""
    return _HEAD + "".join(_function(find(name)) for name in analysis_names())


def _function(analysis: Analysis) -> str:
    options = [
        f"    {name}: {_spelled(annotation_of(setting))} = {setting.default!r},\n"
        for name, setting in analysis.settings.items()
    ]
    docstring = textwrap.indent(docstring_of(analysis).replace("\\", "\\\\").replace('"""', "'''"), "    ")
    return (
        f"\ndef {analysis.name}(\n    *traces: Trace,\n{''.join(options)}) -> pl.DataFrame:\n"
        f'    """{docstring.strip()}\n    """\n'
    )


def _spelled(annotation: Any) -> str:
    """An annotation as source."""
    if annotation is type(None):
        return "None"
    if get_origin(annotation) is tuple:
        return f"tuple[{_spelled(get_args(annotation)[0])}, ...]"
    if get_origin(annotation) is not None and "Literal" in str(get_origin(annotation)):
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if get_args(annotation):
        return " | ".join(map(_spelled, get_args(annotation)))
    return str(annotation.__name__)


def readme() -> str:
    """The README with its table of commands as the commands' files declare them."""
    context = click.Context(main, info_name="ttinsys")
    rows = []
    for name in main.ordered_commands():
        command = main.get_command(context, name)
        assert command is not None
        arguments = " ".join(parameter.make_metavar(context) for parameter in command.params
                             if isinstance(parameter, click.Argument))  # fmt: skip
        first_line = (command.help or "").partition("\n\n")[0].replace("\n", " ")
        rows.append(f"| `ttinsys {name} {arguments}` | {first_line} |")
    table = "\n".join(["| command | what it does |", "| --- | --- |", *rows])
    text = README.read_text(encoding="utf-8")
    return re.sub(f"{FIRST}\n.*?{LAST}", lambda _: f"{FIRST}\n{table}\n{LAST}", text, flags=re.DOTALL)


def generate() -> list[Path]:
    """Write what has changed; returns the files that were written."""
    written = []
    for path, text in ((STUB, stub()), (README, readme())):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


if __name__ == "__main__":
    for changed in generate():
        click.echo(changed.relative_to(ROOT))
