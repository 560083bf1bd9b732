"""Click types of the options that analyses declare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from parsers.errors import did_you_mean
from ttinsys.measures.options import Setting


class NamedChoice(click.Choice[str]):
    """One of some names; a misspelt one gets a suggestion and the list."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name."""
        names = [str(choice) for choice in self.choices]
        if value not in names:
            self.fail(f"{value!r}{did_you_mean(str(value), names)}: it takes {', '.join(names)}", param, ctx)
        return value


class Parsed(click.ParamType):  # type: ignore[type-arg]  # generic only in newer clicks
    """A value that an option's own `parse` makes of text."""

    def __init__(self, parse: Callable[[Any], Any], name: str) -> None:
        self._parse = parse
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value."""
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def setting_type(setting: Setting) -> Any:
    """The click type of an option's single value."""
    if setting.choices:
        return NamedChoice(setting.choices)
    if setting.option.parse is not None:
        return Parsed(setting.option.parse, setting.option.metavar or setting.option.name.upper())
    return setting.type
