"""Click types for the options that analyses declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from parsers.errors import did_you_mean
from ttinsys.measures.options import Setting


class NamedChoice(click.Choice[str]):
    """A choice among names; the error for a misspelt one suggests the nearest and lists all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check the name and return it."""
        names = [str(choice) for choice in self.choices]
        if value not in names:
            self.fail(f"{value!r}{did_you_mean(str(value), names)}: it takes {', '.join(names)}", param, ctx)
        return value


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """A value that the option's own `parse` reads from text."""

    def __init__(self, parse: Callable[[Any], Any], name: str) -> None:
        self._parse = parse
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the text and return the value."""
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def setting_type(setting: Setting) -> Any:
    """The click type of a single value of an option."""
    if setting.choices:
        return NamedChoice(setting.choices)
    if setting.option.parse is not None:
        return Parsed(setting.option.parse, setting.option.metavar or setting.option.name.upper())
    return setting.type
