"""Where ranges go: to the tool that listens to NVTX, to a list, or nowhere.

    recorder = Recorder()
    with annotate(pipeline, backend=recorder):
        pipeline("a corgi")
    [r.name for r in recorder.ranges]

A range is prepared once per module and call, and then pushed many times: `push(prepared, handle)` and `pop(handle)`
are functions and not methods because every module call goes through them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from annotate.errors import MissingPackage
from annotate.labels import DOMAIN, ROLES


class Backend(Protocol):
    """What takes ranges and marks.

    Attributes:
        active: whether anything listens; if not, nothing is attached to a model at all.
        handle: second argument of `push`, and the argument of `pop`.
        push, pop: open and close a range on the calling thread.
    """

    @property
    def active(self) -> bool:
        """See the class."""

    @property
    def handle(self) -> Any:
        """See the class."""

    @property
    def push(self) -> Callable[[Any, Any], Any]:
        """See the class."""

    @property
    def pop(self) -> Callable[[Any], Any]:
        """See the class."""

    def prepared(self, name: str, role: str, call: int) -> Any:
        """What `push` takes to open a range of this name, role and call (0: none)."""

    def mark(self, text: str, category: int = 0, payload: int | None = None) -> None:
        """Make a mark."""


class Nvtx:
    """NVTX, through the `nvtx` package.

    From nvtx 0.2.12 on a domain is replaced by one that records nothing where the tool says that the domain is
    disabled, by `nvtxDomainIsEnabled`. That function was "unofficial and may not work" in the NVTX that Nsight Systems
    2023.4 and 2024.2 were built with: they take its slot and answer 0, always. So the answer is not asked for here:
    a domain is made whatever the tool says, and whether a tool listens is read from where NVTX itself looks for one.

    Raises:
        MissingPackage: nvtx is not installed, or older than 0.2.11.
    """

    def __init__(self) -> None:
        try:
            import nvtx
            from nvtx._lib import lib
        except ImportError as error:
            raise MissingPackage("nvtx is not installed: pip install 'ttinsys[annotate]'") from error
        if not hasattr(nvtx, "get_domain"):
            raise MissingPackage("nvtx is older than 0.2.11: pip install -U nvtx")

        class Domain(lib.Domain):  # type: ignore[misc]
            def __new__(cls, name: str) -> Domain:
                made = object.__new__(cls)
                made.handle = lib.DomainHandle(name)
                return made

        self._lib = lib
        self._domain = Domain(DOMAIN)
        self.handle = self._domain.handle
        self.push = lib.push_range
        self.pop = lib.pop_range
        said = getattr(self.handle, "enabled", None)
        self.active = "NVTX_INJECTION64_PATH" in os.environ or bool(said and said())
        self._roles = {role: self._domain.get_category_id(role) for role in ROLES}
        self._texts: dict[str, Any] = {}
        # Newer versions want the domain first.
        self._owner = (self._domain,) if hasattr(lib, "DummyDomain") and _takes_domain(lib, self._domain) else ()

    def prepared(self, name: str, role: str, call: int) -> Any:
        """Event attributes: built once, never changed, and so safe on every thread."""
        return self._attributes(self._registered(name), self._roles[role], call or None)

    def mark(self, text: str, category: int = 0, payload: int | None = None) -> None:
        """Make a mark."""
        self._lib.mark(self._attributes(self._registered(text), category or None, payload), self.handle)

    def _registered(self, text: str) -> Any:
        if text not in self._texts:
            self._texts[text] = self._lib.RegisteredString(self.handle, text)
        return self._texts[text]

    def _attributes(self, message: Any, category: int | None, payload: int | None) -> Any:
        return self._lib.EventAttributes(*self._owner, message, "blue", category, payload)


def _takes_domain(lib: Any, domain: Any) -> bool:
    try:
        lib.EventAttributes(domain, None, None, None, None)
    except (TypeError, AttributeError):
        return False
    return True


@dataclass
class Range:
    """A recorded range. Times are of the recorder's clock; `end_ns` is None while it is open."""

    name: str
    role: str
    call: int
    thread: int
    depth: int
    parent: Range | None
    start_ns: int
    end_ns: int | None = None


@dataclass(frozen=True)
class Mark:
    """A recorded mark."""

    text: str
    category: int
    payload: int | None
    thread: int
    at_ns: int


@dataclass(eq=False)
class Recorder:
    """Ranges and marks in memory, in the order in which they were opened or made.

    Args:
        clock: nanoseconds, from anywhere.
    """

    clock: Callable[[], int] = time.perf_counter_ns
    ranges: list[Range] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    active: bool = True
    handle: None = None

    def __post_init__(self) -> None:
        self._open: dict[int, list[Range]] = {}

    @property
    def open(self) -> list[Range]:
        """Ranges that are open now, on all threads."""
        return [opened for stack in self._open.values() for opened in stack]

    def prepared(self, name: str, role: str, call: int) -> tuple[str, str, int]:
        """What `push` takes."""
        return name, role, call

    def push(self, prepared: tuple[str, str, int], _handle: None) -> None:
        """Open a range."""
        thread = threading.get_ident()
        stack = self._open.setdefault(thread, [])
        name, role, call = prepared
        opened = Range(name, role, call, thread, len(stack), stack[-1] if stack else None, self.clock())
        stack.append(opened)
        self.ranges.append(opened)

    def pop(self, _handle: None) -> None:
        """Close the innermost range of the thread."""
        self._open[threading.get_ident()].pop().end_ns = self.clock()

    def mark(self, text: str, category: int = 0, payload: int | None = None) -> None:
        """Make a mark."""
        self.marks.append(Mark(text, category, payload, threading.get_ident(), self.clock()))


class Silent:
    """No ranges: what a run without annotation uses, to compare with."""

    active = False
    handle = None

    def prepared(self, name: str, role: str, call: int) -> None:
        """Nothing."""

    def push(self, prepared: None, _handle: None) -> None:
        """Nothing."""

    def pop(self, _handle: None) -> None:
        """Nothing."""

    def mark(self, text: str, category: int = 0, payload: int | None = None) -> None:
        """Nothing."""
