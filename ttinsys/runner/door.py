"""Every analysis as a Python function: `ttinsys.breakdown(trace, by="role")`.

Signature, docstring and columns of the functions follow from the declarations of the analyses: at run time here, and
for type checkers in `ttinsys/__init__.pyi`, which `signature_of` and `docstring_of` generate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from textwrap import fill
from typing import Any, Literal, Union

import polars as pl

from parsers import Trace
from ttinsys.measures.options import Setting
from ttinsys.runner.registry import Analysis, find
from ttinsys.runner.run import analyse


def analysis_function(name: str) -> Callable[..., pl.DataFrame]:
    """The function that runs the analysis called `name` on opened traces.

    Raises:
        UnknownAnalysis: No analysis has this name.
    """
    analysis = find(name)

    def run(*traces: Trace, **options: Any) -> pl.DataFrame:
        return analyse(name, *traces, **options)

    signature = signature_of(analysis)
    run.__name__ = run.__qualname__ = name
    run.__module__ = "ttinsys"
    run.__doc__ = docstring_of(analysis)
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in signature.parameters.values()}
    run.__annotations__["return"] = pl.DataFrame
    return run


def signature_of(analysis: Analysis) -> Signature:
    """The signature: traces by position, options by keyword, a `polars.DataFrame` as result.

    Options of a verdict are left out: a gate sets an exit status, which Python callers do not have.
    """
    options = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=setting.default, annotation=annotation_of(setting))
        for name, setting in analysis.settings.items()
    ]
    traces = Parameter("traces", Parameter.VAR_POSITIONAL, annotation=Trace)
    return Signature([traces, *options], return_annotation=pl.DataFrame)


def annotation_of(setting: Setting) -> Any:
    """The type that a caller passes: one value, or a tuple of values too where the option takes several."""
    item: Any = Literal[setting.choices] if setting.choices else setting.type
    if setting.multiple:
        return Union[item, tuple[item, ...]]  # noqa: UP007  # `|` takes no value that is known only here
    return Union[item, None] if setting.default is None else item  # noqa: UP007


def docstring_of(analysis: Analysis) -> str:
    """The docstring: what the analysis answers, its options, and its columns with their units."""
    # A backspace keeps click from wrapping the block that it begins.
    first, _, rest = analysis.documentation.replace("\b\n", "").partition("\n")
    # Examples in the docstring of a module show the command line.
    prose = "\n\n".join(block for block in rest.strip().split("\n\n") if not block.startswith("ttinsys "))
    compared = "; the first is the baseline" if analysis.least > 1 else ""
    arguments = {"*traces": f"Traces that `ttinsys.load` opened{compared}."}
    arguments |= {name: setting.option.help for name, setting in analysis.settings.items()}
    columns = {
        f"{column.name} ({column.unit})" if column.unit else column.name: column.doc
        for column in analysis.returns.columns
    }
    parts = [first, prose, _section("Args", arguments)]
    rows = f", {analysis.returns.doc}" if analysis.returns.doc else ""
    returned = _wrapped(f"A `polars.DataFrame`{rows}:", 4)
    parts.append(_section(f"Returns:\n{returned}", columns, indent=8))
    return "\n\n".join(part for part in parts if part)


def _section(title: str, entries: Mapping[str, str], indent: int = 4) -> str:
    lines = [_wrapped(f"{name}: {text}", indent) for name, text in entries.items()]
    return "\n".join([title if title.endswith(":") else f"{title}:", *lines])


def _wrapped(text: str, indent: int) -> str:
    """A line of a docstring, broken into several where it is long."""
    return fill(text, 100, initial_indent=" " * indent, subsequent_indent=" " * (indent + 4))
