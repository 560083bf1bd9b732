"""What opens and closes ranges: one tracer per backend, and of each, one stack of open ranges per thread.

Every range but a leaf's is a frame on its thread's stack. So the core of an attention knows which module it is in, and
the cost of what has no range of its own (leaves, at a coarse granularity) goes to the innermost range that is open.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import ref

from annotate.backends import Backend
from annotate.calls import Calls
from annotate.costs import Cost
from annotate.labels import ModuleLabel, module_text, run_text


class Frame:
    """An open range: its label, the values of its call, and the cost of what has no range in it."""

    __slots__ = ("bytes", "flops", "label", "values")

    def __init__(self, label: ModuleLabel, values: Mapping[str, int]) -> None:
        self.label = label
        self.values = values
        self.flops = 0
        self.bytes = 0


class ThreadState(threading.local):
    """What a thread has open.

    Attributes:
        stack: frames, innermost last.
        in_core: whether it is in the core of an attention, which may call another that need not be told apart.
        scores: of an unfused attention whose second product is yet to come, and the depth at which it opened.
        running: the pipeline whose call it is in: a class's `__call__` may call its base's.
    """

    def __init__(self) -> None:
        self.stack: list[Frame] = []
        self.in_core = False
        self.scores: tuple[Any, int] | None = None
        self.running: Any = None


class Tracer:
    """Opens, closes and describes ranges of one backend.

    Args:
        backend: where they go.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.calls = Calls(backend)
        self.thread = ThreadState()
        self.labels: dict[str, ModuleLabel] = {}
        self.run: Mapping[str, Any] = {}
        self.steps_taken = 0
        self._described_at = float("-inf")
        self._describing_takes = 0.0
        self._prepared: dict[tuple[str, int], Any] = {}
        self._named: dict[int, tuple[ref[Any], str]] = {}

    def claim(self, labels: Iterable[ModuleLabel]) -> None:
        """Take labels up among what is described, and describe them."""
        self.labels.update((label.name, label) for label in labels)
        self.describe()

    def tell_run(self, run: Mapping[str, Any]) -> None:
        """Say what is run: model, request, versions."""
        self.run = run
        self.backend.mark(run_text(run))

    def name_of(self, target: Any, name: str, labels: Callable[[str], Iterable[ModuleLabel]]) -> str:
        """What the names of a model's ranges begin with, so that each name means one thing in a trace.

        A model keeps what it once got, whatever became of its modules since. Another whose names are taken, and mean
        something else there, gets a beginning of its own.

        Args:
            target: the model.
            name: what was asked for, or empty.
            labels: its labels, if its names begin with this.
        """
        known = self._named.get(id(target))
        if known is not None and known[0]() is target:
            return known[1]
        stem = name or type(target).__name__
        tries = itertools.chain([name], (f"{stem}{number or ''}" for number in itertools.count(1 if name else 0)))
        chosen = next(tried for tried in tries if not self._taken(labels(tried)))
        self._named[id(target)] = ref(target), chosen
        return chosen

    def _taken(self, labels: Iterable[ModuleLabel]) -> bool:
        return any(self.labels.get(label.name, label) != label for label in labels)

    def add(self, label: ModuleLabel) -> None:
        """Take up one label that came up later, and tell the trace."""
        if self.labels.get(label.name) != label:
            self.labels[label.name] = label
            self.backend.mark(module_text(label))

    def describe(self) -> None:
        """Tell the trace all that ranges refer to. To be called where a capture begins."""
        start = time.perf_counter()
        if self.run:
            self.backend.mark(run_text(self.run))
        for label in list(self.labels.values()):
            self.backend.mark(module_text(label))
        self.calls.tell_all()
        self._described_at = time.perf_counter()
        self._describing_takes = self._described_at - start

    def describe_in_time(self) -> None:
        """Describe again what a capture that began since the last time would miss, in a hundredth of the time."""
        if time.perf_counter() - self._described_at > 100 * self._describing_takes:
            self.describe()

    def open(self, label: ModuleLabel, values: Mapping[str, int] | None = None) -> Frame:
        """Open a range that is no module's; to be closed in the reverse order."""
        call = self.calls.of(values) if values else 0
        frame = Frame(label, values or {})
        self.thread.stack.append(frame)
        prepared = self._prepared.get((label.name, call))
        if prepared is None:
            self.add(label)
            prepared = self._prepared[label.name, call] = self.backend.prepared(label.name, label.role, call)
        self.backend.push(prepared, self.backend.handle)
        return frame

    def close(self) -> None:
        """Close the range opened last on this thread."""
        frame = self.thread.stack.pop()
        self.settle(frame)
        self.backend.pop(self.backend.handle)

    def settle(self, frame: Frame) -> None:
        """Tell the cost that a range has come to, now that it ends."""
        if frame.bytes:
            cost = {"flops": frame.flops, "bytes": frame.bytes}
            self.calls.correct(self.calls.of({**frame.values, **cost}))

    def add_cost(self, cost: Cost) -> None:
        """Add the cost of what has no range of its own to the innermost open one."""
        stack = self.thread.stack
        if stack:
            stack[-1].flops += cost.flops
            stack[-1].bytes += cost.bytes


def tracer_of(backend: Backend) -> Tracer:
    """The tracer of a backend: the same every time, so that names and calls mean one thing in a trace."""
    found: Tracer = vars(backend).setdefault("_tracer", None) or Tracer(backend)
    vars(backend)["_tracer"] = found
    return found
