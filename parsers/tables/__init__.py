"""The nsys tables that we read: one file each, found by looking into this folder.

A file `x.py` declares a `Table` named `x` with `sources`. Nothing else has to be edited: `TABLES`, `Trace.x`, filters
and the overview follow from the declaration.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from parsers.schema import Table
from parsers.tables.api_calls import API_CALLS
from parsers.tables.cuda_devices import CUDA_DEVICES
from parsers.tables.export_info import EXPORT_INFO
from parsers.tables.gpus import GPUS
from parsers.tables.graph_launches import GRAPH_LAUNCHES
from parsers.tables.graph_nodes import GRAPH_NODES
from parsers.tables.kernels import KERNELS
from parsers.tables.memcpys import COPY_KINDS, MEMCPYS, UNIFIED_KINDS
from parsers.tables.memsets import MEMSETS
from parsers.tables.nvtx_events import (
    CATEGORY_EVENT,
    DOMAIN_CREATE_EVENT,
    MARK_EVENT,
    NVTX_EVENTS,
    PUSH_POP_TYPES,
    RANGE_TYPES,
    START_END_TYPES,
)
from parsers.tables.processes import PROCESSES
from parsers.tables.strings import STRINGS
from parsers.tables.threads import THREADS

_SHARED = frozenset({"columns"})
"""Files of this folder that declare no table."""

_FIRST = (
    KERNELS,
    MEMCPYS,
    MEMSETS,
    GRAPH_LAUNCHES,
    API_CALLS,
    NVTX_EVENTS,
    GRAPH_NODES,
    STRINGS,
    GPUS,
    CUDA_DEVICES,
    THREADS,
    PROCESSES,
)
"""Tables that people look for, in the order in which they are listed; all others follow, by name."""


class _Declared(Mapping[str, Table]):
    """The tables of this folder, imported when first asked for."""

    def __getitem__(self, name: str) -> Table:
        return _tables(tuple(__path__))[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_tables(tuple(__path__)))

    def __len__(self) -> int:
        return len(_tables(tuple(__path__)))


TABLES: Mapping[str, Table] = _Declared()
"""Every table by our name."""


@cache
def _tables(folders: tuple[str, ...]) -> dict[str, Table]:
    """The tables that the files of `folders` declare."""
    declared: dict[str, Table] = {}
    for module in pkgutil.iter_modules(folders):
        if module.name not in _SHARED:
            declared |= _declared_by(module.name)
    names = dict.fromkeys([*(table.name for table in _FIRST), *sorted(declared)])
    return {name: declared[name] for name in names}


def _declared_by(name: str) -> dict[str, Table]:
    """The tables of the file `name`, one of which is called as the file.

    Raises:
        ImportError: none is.
    """
    module = import_module(f"{__name__}.{name}")
    tables = {value.name: value for value in vars(module).values() if isinstance(value, Table) and value.sources}
    if name not in tables:
        others = ", ".join(sorted(tables)) or "none"
        raise ImportError(f"{module.__file__} needs a Table with sources named {name!r}, as the file: it has {others}")
    return tables


__all__ = [
    "API_CALLS",
    "CATEGORY_EVENT",
    "COPY_KINDS",
    "CUDA_DEVICES",
    "DOMAIN_CREATE_EVENT",
    "EXPORT_INFO",
    "GPUS",
    "GRAPH_LAUNCHES",
    "GRAPH_NODES",
    "KERNELS",
    "MARK_EVENT",
    "MEMCPYS",
    "MEMSETS",
    "NVTX_EVENTS",
    "PROCESSES",
    "PUSH_POP_TYPES",
    "RANGE_TYPES",
    "START_END_TYPES",
    "STRINGS",
    "TABLES",
    "THREADS",
    "UNIFIED_KINDS",
]
