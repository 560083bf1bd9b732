"""Stand-ins that are taken away again, in whatever order they were put.

Several annotations may stand in for one attribute. Each has its place in a chain on the original; when one goes, the
others are put on the original anew. What a stranger has since put on top is left alone: then ours is switched off.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Make = Callable[[Any], Any]

_ABSENT = object()


@dataclass(eq=False)
class _Chain:
    """Stand-ins of one attribute, innermost first."""

    owner: Any
    name: Any
    inherited: bool
    original: Any
    makes: list[Make] = field(default_factory=list)
    made: list[Any] = field(default_factory=list)

    def rebuild(self) -> None:
        """Put the stand-ins that there are on the original."""
        if self.current() is not (self.made[-1] if self.made else self.original):
            for standing in self.made:
                standing.off = True
            return
        current, self.made = self.original, []
        for make in self.makes:
            current = make(current)
            self.made.append(current)
        if self.made:
            self.put(current)
        elif self.inherited:
            delattr(self.owner, self.name)
        else:
            self.put(self.original)

    def current(self) -> Any:
        if isinstance(self.owner, MutableMapping):
            return self.owner.get(self.name, _ABSENT)
        return vars(self.owner).get(self.name, self.original if self.inherited and not self.made else _ABSENT)

    def put(self, value: Any) -> None:
        if isinstance(self.owner, MutableMapping):
            self.owner[self.name] = value
        else:
            setattr(self.owner, self.name, value)


_CHAINS: dict[tuple[int, Any], _Chain] = {}


class Patches:
    """Stand-ins put by one annotation."""

    def __init__(self) -> None:
        self._put: list[tuple[_Chain, Make]] = []

    def put(self, owner: Any, name: Any, make: Make) -> None:
        """Let `make(what is there)` stand in for an attribute of an object, or for a value of a mapping."""
        key = (id(owner), name)
        chain = _CHAINS.get(key)
        if chain is None or chain.owner is not owner:
            mapping = isinstance(owner, MutableMapping)
            inherited = not mapping and name not in vars(owner)
            chain = _CHAINS[key] = _Chain(owner, name, inherited, owner[name] if mapping else getattr(owner, name))
        chain.makes.append(make)
        chain.rebuild()
        self._put.append((chain, make))

    def take(self, owner: Any, name: Any) -> list[Make]:
        """Take away what was put for one attribute, and give what made it, innermost first."""
        mine = [(chain, make) for chain, make in self._put if chain.owner is owner and chain.name == name]
        for taken in reversed(mine):
            self._put.remove(taken)
            _remove(*taken)
        return [make for _, make in mine]

    def restore(self) -> None:
        """Take all of them away."""
        for chain, make in reversed(self._put):
            _remove(chain, make)
        self._put.clear()


def _remove(chain: _Chain, make: Make) -> None:
    chain.makes.remove(make)
    chain.rebuild()
    if not chain.makes:
        _CHAINS.pop((id(chain.owner), chain.name), None)
