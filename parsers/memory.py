"""Whether a Parquet table fits into memory, asked before it is decoded.

A file of some kilobytes can hold billions of equal values, and what runs out of memory ends without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from parsers.errors import UnreadableTrace

LARGE_BYTES = 1 << 30
"""Up to this size, a table is decoded without asking for more than its number of rows."""

_FIXED_BYTES = {pl.Boolean: 1 / 8, pl.Null: 0.0}
_VIEW_BYTES = 16
"""A string in Polars is a view of 16 bytes; what is longer than 12 lies beside it."""


def refuse_too_large(file: Path, schema: Mapping[str, pl.DataType], names: Sequence[str], rows: int) -> None:
    """Refuse to decode what does not fit.

    Args:
        file: a Parquet file.
        schema: names and types of its columns.
        names: the columns to be decoded, which may include the row number.
        rows: how many rows its metadata states.

    Raises:
        UnreadableTrace: the columns need more memory than there is.
    """
    columns = [name for name in names if name in schema]
    need = rows * sum(map(_width, (schema[name] for name in columns)))
    if need <= LARGE_BYTES:
        return
    there = available_bytes()
    texts = [name for name in columns if schema[name] in {pl.String, pl.Binary}]
    need += _text_bytes(file, texts) if texts and (there is None or need <= there) else 0
    if there is not None and need > there:
        raise UnreadableTrace(
            file,
            f"{rows:,} rows of {', '.join(columns)} take {_gib(need)} of memory, and {_gib(there)} are free",
            "read it on a machine with more memory, or capture a shorter part",
        )


def available_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Memory that this process may still take, by the machine and by its control groups; None where neither tells."""
    meminfo = _numbers(proc / "meminfo")
    free = [meminfo["MemAvailable:"] * 1024] if "MemAvailable:" in meminfo else []
    for group, limit, usage, reclaimable in _groups(proc, cgroups):
        most, used = (_number(group / name) for name in (limit, usage))
        if most is not None and used is not None:
            # What is cached of files is given up where memory is short.
            free.append(max(most - used + _numbers(group / "memory.stat").get(reclaimable, 0), 0))
    return min(free, default=None)


def _groups(proc: Path, cgroups: Path) -> list[tuple[Path, str, str, str]]:
    """Control groups of this process, each with its parents: folder and names of limit, usage and cached files."""
    second = ("memory.max", "memory.current", "inactive_file")
    first = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    groups = []
    for line in _lines(proc / "self" / "cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers in {"", "memory"}:
            root, names = (cgroups / "memory", first) if controllers else (cgroups, second)
            whole = root / path.lstrip("/")
            groups += [(group, *names) for group in (whole, *whole.parents) if group.is_relative_to(root)]
    return groups


def _text_bytes(file: Path, texts: Sequence[str]) -> int:
    """Bytes of columns of text before their compression, by the metadata of every row group."""
    # Imported for tables of more than a gigabyte only: it takes longer than to read most traces.
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(file)
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from error
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    chunks = (group.column(at) for group in groups for at in range(group.num_columns))
    return sum(max(chunk.total_uncompressed_size, 0) for chunk in chunks if chunk.path_in_schema in texts)


def _width(dtype: pl.DataType) -> float:
    """Bytes of a value."""
    if dtype.is_integer() or dtype.is_float():
        return int("".join(filter(str.isdigit, str(dtype)))) / 8
    return _FIXED_BYTES.get(type(dtype), _VIEW_BYTES)


def _gib(size: float) -> str:
    return f"{size / (1 << 30):,.1f} GiB"


def _numbers(file: Path) -> dict[str, int]:
    """A file of names and numbers."""
    pairs = (line.split()[:2] for line in _lines(file))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdecimal()}


def _number(file: Path) -> int | None:
    """The number that a file holds; None where it holds none, such as `max`."""
    text = "".join(_lines(file)[:1])
    return int(text) if text.isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
