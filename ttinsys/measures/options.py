"""An option of an analysis: declared once, read by the command line and by Python.

    Option("by", "Group rows by component, step or trace.")

What a value may be follows from the annotation of the parameter that the option sets: `Literal[...]` lists the
choices, `tuple[T, ...]` takes several values, `T | None` may be left out. `parse` turns the text that a person types
into a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from parsers.errors import did_you_mean


class OptionError(ValueError):
    """An option is unknown, or has a value that it does not take; `str(error)` is one line for a person."""


@dataclass(frozen=True, slots=True)
class Option:
    """A keyword-only parameter of an analysis, and the command-line option that sets it.

    Args:
        name: The parameter's name; the flag is `--name` with dashes.
        help: One sentence.
        choices: The values that it takes, where the annotation does not list them; empty: any.
        parse: Turns text into a value; raises ValueError with a reason in one line.
        metavar: What help shows in place of the value.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    parse: Callable[[Any], Any] | None = None
    metavar: str | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """An option together with what its parameter's annotation and default say.

    Args:
        option: The declaration.
        type: Type of one value: `int`, `float`, `str`, `bool`, or whatever `option.parse` returns.
        default: Value where none is set.
        multiple: Whether it takes several values, as a tuple.
        choices: The values that it takes; empty: any.
    """

    option: Option
    type: Any
    default: Any
    multiple: bool
    choices: tuple[str, ...]

    def value(self, given: Any) -> Any:
        """Check a value that a caller passes, and return it in the form that the parameter takes.

        Raises:
            OptionError: It is not one that the option takes.
        """
        if given is None and self.default is None:
            return None
        if not self.multiple:
            return self._item(given)
        items: Iterable[Any] = given if isinstance(given, list | tuple | set | frozenset) else (given,)
        return tuple(map(self._item, items))

    def _item(self, given: Any) -> Any:
        name = self.option.name
        if self.choices:
            if given not in self.choices:
                hint = did_you_mean(str(given), self.choices)
                raise OptionError(f"{name}={given!r}{hint}: it takes {', '.join(self.choices)}")
            return given
        if self.option.parse is not None:
            try:
                return self.option.parse(given)
            except ValueError as error:
                raise OptionError(f"{name}: {error}") from error
        wanted = (int, float) if self.type is float else self.type
        if not isinstance(given, wanted) or (isinstance(given, bool) and self.type is not bool):
            raise OptionError(f"{name}={given!r} is not {_ARTICLES.get(self.type, self.type)}")
        return given


_ARTICLES = {int: "an integer", float: "a number", str: "a text", bool: "True or False"}


def settings_of(function: Callable[..., Any], options: Sequence[Option]) -> dict[str, Setting]:
    """The settings of a function, by name: one per keyword-only parameter that `options` declares.

    Args:
        function: Its keyword-only parameters are annotated and have defaults.
        options: One per such parameter.

    Raises:
        TypeError: A parameter has no option, an option no parameter, or a parameter no annotation or default.
    """
    parameters = {
        name: parameter
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    declared = {option.name: option for option in options}
    if parameters.keys() != declared.keys():
        raise TypeError(
            f"{function.__name__} has the keyword-only parameters {sorted(parameters)} and the options "
            f"{sorted(declared)}: declare one option for each parameter"
        )
    hints = get_type_hints(function)
    for name, parameter in parameters.items():
        if name not in hints or parameter.default is Parameter.empty:
            raise TypeError(f"{function.__name__}: give its option {name} an annotation and a default")
    return {name: _setting(option, hints[name], parameters[name].default) for name, option in declared.items()}


def _setting(option: Option, hint: Any, default: Any) -> Setting:
    multiple = get_origin(hint) is tuple
    item = get_args(hint)[0] if multiple else hint
    members = [member for member in get_args(item) if member is not NoneType]
    if get_origin(item) is not Literal and len(members) == 1:  # T | None
        item = members[0]
    choices = option.choices or (get_args(item) if get_origin(item) is Literal else ())
    return Setting(option, str if choices else item, default, multiple, tuple(choices))


def positive(value: Any) -> float:
    """A number above 0, from a number or its text.

    Raises:
        ValueError: It is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{value!r} is not a number above 0")
    return number
