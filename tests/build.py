"""Traces with exact times, for tests whose numbers are worked out by hand.

    t = TraceBuilder()
    main = t.thread(pid=10, tid=11)
    t.range(main, "unet", 0, 100)
    t.kernel(main, "sgemm", launch=(10, 15), gpu=(120, 150))
    ops = attribute(t.load(tmp_path)).collect()

There is no clock: every time is what the caller says, in ns. The result has nsys's own schema, in any export format.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

import parsers
from parsers.nsys_schema import columns_of, export_info
from parsers.tables import TABLES
from parsers.writer import write_arrowdir, write_parquetdir, write_sqlite

Format = Literal["sqlite", "parquetdir", "arrowdir"]
FORMATS: Final[tuple[Format, ...]] = ("sqlite", "parquetdir", "arrowdir")
"""Every export format, for tests that run on each."""

Span = tuple[int, int]
"""Start and end, in ns."""
Value = int | float | str | bool | None
_EVENT_TYPES = {"push_pop": 59, "start_end": 60}
_COPY_KINDS = {"HtoD": 1, "DtoH": 2, "DtoD": 8, "PtoP": 10}
_MARK, _CATEGORY, _DOMAIN_CREATE, _DOMAIN_DESTROY = 34, 33, 75, 76


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of the traced program.

    Args:
        pid: its process.
        tid: its own id, below 2**24.
    """

    pid: int
    tid: int

    @property
    def global_pid(self) -> int:
        """nsys's id of the process, on virtual machine 1 as nsys has it on Linux."""
        return (1 << 48) | (self.pid << 24)

    @property
    def global_tid(self) -> int:
        """nsys's id of the thread."""
        return self.global_pid | self.tid


class TraceBuilder:
    """Collects events, then writes them as an nsys export.

    Args:
        info: further keys and values of META_DATA_EXPORT.
    """

    def __init__(self, **info: str) -> None:
        self._info = info
        self._rows: defaultdict[str, list[dict[str, Value]]] = defaultdict(list)
        self._strings: dict[str, int] = {}
        self._last_correlation_id: defaultdict[int, int] = defaultdict(int)

    def thread(self, pid: int = 10, tid: int = 11, name: str | None = None) -> Thread:
        """A thread to launch from; with a row in ThreadNames if it has a name."""
        thread = Thread(pid, tid)
        if name is not None:
            self.row("ThreadNames", nameId=self.string(name), globalTid=thread.global_tid)
        return thread

    def process(self, pid: int, name: str) -> None:
        """A row of PROCESSES."""
        self.row("PROCESSES", globalPid=Thread(pid, 0).global_pid, pid=pid, name=name)

    def gpu(self, device: int = 0, name: str = "Synthetic GPU", **columns: Value) -> None:
        """A row of TARGET_INFO_GPU; `columns` under nsys's names."""
        self.row("TARGET_INFO_GPU", id=device, cuDevice=device, name=name, **columns)

    def range(
        self,
        thread: Thread,
        text: str | None,
        start: int,
        end: int | None,
        *,
        kind: Literal["push_pop", "start_end"] = "push_pop",
        domain: int = 0,
        category: int | None = None,
        end_thread: Thread | None = None,
        registered: bool = False,
        payload: int | float | None = None,
    ) -> int:
        """An NVTX range.

        Args:
            thread: opens it.
            text: its message; None: none.
            start: opening, in ns.
            end: closing, in ns; None: never closed.
            kind: push/pop or start/end.
            domain: domain id, of the thread's process; 0 is the default one.
            category: category id.
            end_thread: closes it, if another thread does.
            registered: the message is a registered string, so the row has a textId and no text.
            payload: an int becomes int64Value (uint64Value if it needs the 64th bit), a float doubleValue.

        Returns:
            nsys's RangeId: the number of its row, from 1.
        """
        return self._nvtx(
            thread,
            start,
            end,
            _EVENT_TYPES[kind],
            text=text,
            registered=registered,
            domain=domain,
            category=category,
            end_thread=end_thread,
            payload=payload,
        )

    def close(self, range_id: int, end: int) -> None:
        """Set the end, in ns, of a range that was opened with `end=None`."""
        self._rows["NVTX_EVENTS"][range_id - 1]["end"] = end

    def mark(
        self,
        thread: Thread,
        text: str,
        at: int,
        *,
        domain: int = 0,
        category: int | None = None,
        payload: int | float | None = None,
    ) -> int:
        """An NVTX mark; returns its row number."""
        return self._nvtx(thread, at, None, _MARK, text=text, domain=domain, category=category, payload=payload)

    def domain(self, pid: int, id: int, name: str, at: int, *, destroyed: int | None = None) -> None:
        """Create an NVTX domain at `at` ns and, if `destroyed` is given, destroy it then."""
        main = Thread(pid, pid)
        self._nvtx(main, at, None, _DOMAIN_CREATE, text=name, domain=id)
        if destroyed is not None:
            self._nvtx(main, destroyed, None, _DOMAIN_DESTROY, domain=id)

    def category(self, pid: int, id: int, name: str, at: int, *, domain: int = 0) -> None:
        """Name an NVTX category of a domain at `at` ns."""
        self._nvtx(Thread(pid, pid), at, None, _CATEGORY, text=name, domain=domain, category=id)

    def api(self, thread: Thread, name: str, start: int, end: int, *, correlation_id: int | None = None) -> int:
        """A CUDA API call that launches nothing by itself.

        Returns:
            Its correlation id: the next one of its process, or the one that was asked for.
        """
        correlation_id = self._correlate(thread, correlation_id)
        self.row(
            "CUPTI_ACTIVITY_KIND_RUNTIME",
            start=start,
            end=end,
            globalTid=thread.global_tid,
            correlationId=correlation_id,
            nameId=self.string(name),
        )
        return correlation_id

    def kernel(
        self,
        thread: Thread,
        name: str,
        *,
        gpu: Span,
        launch: Span | None = None,
        api: str | None = "cudaLaunchKernel_v7000",
        short_name: str | None = None,
        stream: int = 7,
        device: int = 0,
        context: int = 1,
        correlation_id: int | None = None,
        graph_node: int | None = None,
        grid: tuple[int, int, int] = (1, 1, 1),
        block: tuple[int, int, int] = (128, 1, 1),
        registers: int = 32,
        static_shared: int = 0,
        dynamic_shared: int = 0,
    ) -> int:
        """A kernel, and the API call that launched it.

        Args:
            thread: launches it; without a call, only its process counts.
            name: the kernel's name with its templates.
            gpu: start and end on the GPU.
            launch: start and end of the call; None: the trace has no call.
            api: name of the call; None: the trace has no call.
            short_name: the kernel's base name; None: as `name`.
            stream: CUDA stream.
            device: CUDA device.
            context: CUDA context.
            correlation_id: None: the next one of the process.
            graph_node: CUDA graph node that it executes.
            grid: blocks.
            block: threads.
            registers: per thread.
            static_shared: bytes per block.
            dynamic_shared: bytes per block.

        Returns:
            The correlation id.
        """
        correlation_id = self._launch(thread, api, launch, correlation_id)
        self.row(
            "CUPTI_ACTIVITY_KIND_KERNEL",
            **self._on_gpu(thread, gpu, stream, device, context, correlation_id),
            demangledName=self.string(name),
            shortName=self.string(short_name or name),
            launchType=1,
            registersPerThread=registers,
            **dict(zip(("gridX", "gridY", "gridZ"), grid, strict=True)),
            **dict(zip(("blockX", "blockY", "blockZ"), block, strict=True)),
            staticSharedMemory=static_shared,
            dynamicSharedMemory=dynamic_shared,
            gridId=len(self._rows["CUPTI_ACTIVITY_KIND_KERNEL"]) + 1,
            graphNodeId=graph_node,
        )
        return correlation_id

    def memcpy(
        self,
        thread: Thread,
        kind: Literal["HtoD", "DtoH", "DtoD", "PtoP"],
        size: int,
        *,
        gpu: Span,
        launch: Span | None = None,
        api: str | None = "cudaMemcpyAsync_v3020",
        stream: int = 7,
        device: int = 0,
        context: int = 1,
        correlation_id: int | None = None,
        graph_node: int | None = None,
    ) -> int:
        """A copy of `size` bytes, and its API call; the rest as for `kernel`."""
        correlation_id = self._launch(thread, api, launch, correlation_id)
        self.row(
            "CUPTI_ACTIVITY_KIND_MEMCPY",
            **self._on_gpu(thread, gpu, stream, device, context, correlation_id),
            bytes=size,
            copyKind=_COPY_KINDS[kind],
            # Pinned memory is 1 and device memory 2 in ENUM_CUDA_MEM_KIND.
            srcKind=1 if kind == "HtoD" else 2,
            dstKind=1 if kind == "DtoH" else 2,
            graphNodeId=graph_node,
        )
        return correlation_id

    def memset(
        self,
        thread: Thread,
        size: int,
        *,
        gpu: Span,
        launch: Span | None = None,
        api: str | None = "cudaMemsetAsync_v3020",
        stream: int = 7,
        device: int = 0,
        context: int = 1,
        correlation_id: int | None = None,
        graph_node: int | None = None,
    ) -> int:
        """A fill of `size` bytes with zeros, and its API call; the rest as for `kernel`."""
        correlation_id = self._launch(thread, api, launch, correlation_id)
        self.row(
            "CUPTI_ACTIVITY_KIND_MEMSET",
            **self._on_gpu(thread, gpu, stream, device, context, correlation_id),
            value=0,
            bytes=size,
            graphNodeId=graph_node,
            memKind=2,
        )
        return correlation_id

    def graph(
        self,
        thread: Thread,
        graph_id: int,
        *,
        gpu: Span,
        launch: Span | None = None,
        api: str | None = "cudaGraphLaunch_v10000",
        graph_exec: int = 1,
        stream: int = 7,
        device: int = 0,
        context: int = 1,
        correlation_id: int | None = None,
    ) -> int:
        """An execution of a CUDA graph traced as a whole, and its API call; the rest as for `kernel`."""
        correlation_id = self._launch(thread, api, launch, correlation_id)
        self.row(
            "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",
            **self._on_gpu(thread, gpu, stream, device, context, correlation_id),
            graphId=graph_id,
            graphExecId=graph_exec,
        )
        return correlation_id

    def graph_node(
        self,
        thread: Thread,
        node: int,
        at: int,
        *,
        original: int | None = None,
        table: Literal["CUDA_GRAPH_EVENTS", "CUDA_GRAPH_NODE_EVENTS"] = "CUDA_GRAPH_EVENTS",
    ) -> None:
        """The creation of a CUDA graph node at `at` ns.

        Args:
            thread: captures or clones it.
            node: its id.
            at: when.
            original: the node that it was cloned from.
            table: where nsys puts it: the second since 2024.
        """
        self.row(
            table,
            start=at,
            end=at,
            globalTid=thread.global_tid,
            nameId=self.string("Graph Node Creation"),
            graphNodeId=node,
            originalGraphNodeId=original,
        )

    def string(self, value: str) -> int:
        """The id of `value` in StringIds."""
        return self._strings.setdefault(value, len(self._strings) + 1)

    def row(self, table: str, **columns: Value) -> int:
        """Any row of any nsys table; returns its number, from 1."""
        self._rows[table].append(columns)
        return len(self._rows[table])

    def complete(self) -> None:
        """Add a row of every declared table that has none yet, with the least that nsys demands."""
        info = {"META_DATA_EXPORT"} | ({"StringIds"} if self._strings else set())
        for table in TABLES.values():
            if info.union(self._rows).isdisjoint(table.sources):
                needed = (c for c in columns_of(table.sources[0]) if not c.nullable and c.default is None)
                self.row(table.sources[0], **{c.name: "x" if c.dtype == pl.String else 0 for c in needed})

    def tables(self) -> dict[str, pl.DataFrame]:
        """What was collected, by nsys's name of the table, in the order in which it was added."""
        strings = pl.DataFrame({"id": list(self._strings.values()), "value": list(self._strings)})
        frames = {"StringIds": strings} if self._strings else {}
        for table, rows in self._rows.items():
            used = {name for row in rows for name in row}
            columns = [column for column in columns_of(table) if column.name in used]
            frames[table] = pl.DataFrame(
                {column.name: [row.get(column.name, column.default) for row in rows] for column in columns},
                schema={column.name: column.dtype for column in columns},
            )
        return frames | {"META_DATA_EXPORT": export_info(**self._info)}

    def write(self, path: Path, format: Format = "sqlite") -> Path:
        """Write an export to `path`, a file or a new directory, and return it."""
        write = {"sqlite": write_sqlite, "parquetdir": write_parquetdir, "arrowdir": write_arrowdir}[format]
        write(path, self.tables())
        return path

    def load(self, folder: Path, format: Format = "sqlite") -> parsers.Trace:
        """Write an export under `folder`, at a new place each time, and open it."""
        place = Path(tempfile.mkdtemp(dir=folder))
        return parsers.load(self.write(place / ("trace.sqlite" if format == "sqlite" else f"trace_{format}"), format))

    def _nvtx(
        self,
        thread: Thread,
        start: int,
        end: int | None,
        event_type: int,
        *,
        text: str | None = None,
        registered: bool = False,
        domain: int = 0,
        category: int | None = None,
        end_thread: Thread | None = None,
        payload: int | float | None = None,
    ) -> int:
        is_int = isinstance(payload, int)
        is_wide = isinstance(payload, int) and payload >= 1 << 63
        return self.row(
            "NVTX_EVENTS",
            start=start,
            end=end,
            eventType=event_type,
            category=category,
            text=None if registered else text,
            globalTid=thread.global_tid,
            endGlobalTid=end_thread.global_tid if end_thread else None,
            textId=self.string(text) if registered and text is not None else None,
            domainId=domain,
            uint64Value=payload if is_wide else None,
            int64Value=payload if is_int and not is_wide else None,
            doubleValue=None if is_int else payload,
        )

    def _correlate(self, thread: Thread, correlation_id: int | None) -> int:
        """The next correlation id of the thread's process: they repeat across processes, as CUPTI's do."""
        last = self._last_correlation_id[thread.pid]
        chosen = last + 1 if correlation_id is None else correlation_id
        self._last_correlation_id[thread.pid] = max(last, chosen)
        return chosen

    def _launch(self, thread: Thread, api: str | None, launch: Span | None, correlation_id: int | None) -> int:
        if api is None or launch is None:
            return self._correlate(thread, correlation_id)
        return self.api(thread, api, *launch, correlation_id=correlation_id)

    def _on_gpu(
        self, thread: Thread, gpu: Span, stream: int, device: int, context: int, correlation_id: int
    ) -> dict[str, Value]:
        return {
            "start": gpu[0],
            "end": gpu[1],
            "deviceId": device,
            "contextId": context,
            "streamId": stream,
            "correlationId": correlation_id,
            "globalPid": thread.global_pid,
        }
