r"""A team's own names of ranges, as patterns in a TOML file.

    name = "engine"      # what `labelled_by` shows; by default the name of the file
    domain = "engine"    # names of this NVTX domain only ("default" is the unnamed one); by default of all

    [[pattern]]
    match = '^Block(?<block>\d+)/attn q=(\d+) kv=(\d+) dim=(\d+)$'
    group = "block ${block} attention"
    role = "self_attention"
    component = "denoiser"
    operation = "aten::scaled_dot_product_attention"
    sizes = "[[1, $2, $4], [1, $3, $4], [1, $3, $4]]"

    [[pattern]]
    match = '^tick (?<number>\d+)$'
    group = "tick"
    step = "${number}"

Patterns are regular expressions as Polars reads them, and the first that is found in a name reads it. Values are text
in which `$1` and `${name}` stand for groups of the pattern.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import ComputeError

from parsers.errors import did_you_mean
from ttinsys.attribution.dialects import READING, Dialect

if TYPE_CHECKING:
    from annotate import labels
else:
    from ttinsys._annotate import labels

_VOCABULARY = {
    "role": labels.ROLES,
    "component": labels.COMPONENTS,
    "phase": labels.PHASES,
    "direction": ("forward", "backward"),
}
_TEXTS = ("group", "operation", "class", "step", "seq", "sizes")
_OF_PATTERN = ("match", *_TEXTS, *_VOCABULARY, "module")
_OF_FILE = ("name", "domain", "doc", "pattern")
_REFERENCE = re.compile(r"\$(?:(\d+)|\{(\w+)\})")


class DialectError(ValueError):
    """A file of patterns cannot be used: `str(error)` is one line with the file, the key and what is allowed."""


def load_dialect(path: str | Path) -> Dialect:
    """Read a file of patterns.

    Args:
        path: a TOML file, in the format that this module describes.

    Raises:
        DialectError: The file cannot be read, or says what cannot be.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DialectError(f"{path}: {error.strerror or error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DialectError(f"{path}: not TOML: {error}") from error
    _check_keys(content, _OF_FILE, f"{path}")
    patterns = content.get("pattern")
    if not isinstance(patterns, list) or not patterns or not all(isinstance(one, dict) for one in patterns):
        raise DialectError(f"{path}: pattern: write at least one table [[pattern]]")
    defaults = {"name": path.stem, "domain": "", "doc": f"patterns of {path.name}"}
    name, domain, doc = (_text(content.get(key, default), f"{path}: {key}") for key, default in defaults.items())
    read = [_pattern(pattern, f"{path}: pattern {number}") for number, pattern in enumerate(patterns, start=1)]
    found = [pl.col("name").str.contains(pattern["match"]) for pattern in patterns]
    claims = pl.any_horizontal(found)
    if domain:
        claims &= pl.col("domain").fill_null("default") == domain
    return Dialect(
        name=name,
        doc=doc,
        source=str(path),
        claims=claims,
        reads=_reads(found, read),
        examples={},
    )


def _reads(found: list[pl.Expr], read: list[dict[str, pl.Expr]]) -> dict[str, pl.Expr]:
    """Expressions by column: for each name those of the first pattern that is found in it."""
    names = {column for expressions in read for column in expressions}
    reads = {}
    for column in READING:
        if column in names:
            values = [expressions.get(column, pl.lit(None)) for expressions in read]
            chosen = pl.lit(None)
            for is_found, value in reversed([*zip(found, values, strict=True)]):
                chosen = pl.when(is_found).then(value).otherwise(chosen)
            reads[column] = chosen
    return reads


def _pattern(pattern: Mapping[str, Any], where: str) -> dict[str, pl.Expr]:
    """Expressions of one pattern, by column."""
    _check_keys(pattern, _OF_PATTERN, where)
    if "match" not in pattern:
        raise DialectError(f"{where}: match: write the regular expression that names match")
    groups = _groups(_text(pattern["match"], f"{where}: match"), f"{where}: match")
    expressions = {"group": pl.col("name")}
    for key, value in pattern.items():
        if key == "module":
            if not isinstance(value, bool):
                raise DialectError(f"{where}: module: write true or false, not {value!r}")
            expressions["is_module"] = pl.lit(value)
        elif key != "match":
            text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
            expressions[key] = _value(key, _text(text, f"{where}: {key}"), pattern["match"], groups, f"{where}: {key}")
    return expressions


def _groups(match: str, where: str) -> list[str]:
    """Names of the groups of a regular expression, in their order; those without a name are called by their numbers."""
    try:
        dtype = pl.select(pl.lit("").str.extract_groups(match)).to_series().dtype
        pl.select(pl.lit("").str.contains(match))
    except ComputeError as error:
        raise DialectError(f"{where}: {' '.join(str(error).split())}") from error
    return [field.name for field in dtype.fields] if isinstance(dtype, pl.Struct) else []


def _value(key: str, text: str, match: str, groups: list[str], where: str) -> pl.Expr:
    """The expression of a value: its text, with what groups match in the place of references."""
    pieces: list[pl.Expr] = []
    end = 0
    for reference in _REFERENCE.finditer(text):
        number = _number(reference, groups, where)
        pieces += [pl.lit(text[end : reference.start()]), pl.col("name").str.extract(match, number)]
        end = reference.end()
    if not pieces:
        _check_literal(key, text, where)
        value = pl.lit(text)
    elif key == "sizes" and not _REFERENCE.fullmatch(text):
        _check_literal(key, _REFERENCE.sub("1", text), where)
    if pieces:
        # A group that takes no part leaves its place in a name empty; other values need all of theirs.
        value = pl.concat_str([*pieces, pl.lit(text[end:])], ignore_nulls=key == "group")
        if key in _VOCABULARY:
            value = pl.when(value.is_in([*_VOCABULARY[key]])).then(value)
    return value.cast(pl.Int64, strict=False) if READING[key] == pl.Int64 else value


def _number(reference: re.Match[str], groups: list[str], where: str) -> int:
    """Number of the group that is referred to."""
    number, name = reference.groups()
    if number is not None and 1 <= int(number) <= len(groups):
        return int(number)
    if name is not None and name in groups:
        return groups.index(name) + 1
    known = ", ".join(
        f"${place}" if group.isdigit() else f"${{{group}}}" for place, group in enumerate(groups, start=1)
    )
    raise DialectError(f"{where}: {reference[0]} is no group of match: it has {known or 'none'}")


def _check_literal(key: str, text: str, where: str) -> None:
    """Raise an error for a value without references that its column cannot hold."""
    if key in _VOCABULARY and text not in _VOCABULARY[key]:
        known = _VOCABULARY[key]
        raise DialectError(f"{where}: no {key} {text!r}{did_you_mean(text, known)}: write one of {', '.join(known)}")
    if key in {"step", "seq"} and not text.isdecimal():
        raise DialectError(f"{where}: write a number or a reference such as $1, not {text!r}")
    if key == "sizes":
        try:
            sizes = json.loads(text)
        except ValueError:
            sizes = None
        if not isinstance(sizes, list) or not all(isinstance(size, list) for size in sizes):
            raise DialectError(f"{where}: write lists of numbers such as [[1, $1, 64], [64, 64]], not {text!r}")


def _check_keys(table: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    """Raise an error for a key that means nothing here."""
    for key in table:
        if key not in known:
            raise DialectError(f"{where}: no key {key!r}{did_you_mean(key, known)}: write {', '.join(known)}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise DialectError(f"{where}: write text, not {value!r}")
    return value
