"""The model of time: when each call and each kernel of a simulated run begins and ends.

A kernel takes, after the roofline model (Williams, Waterman, Patterson: Roofline, CACM 52(4), 2009),

    duration = max(operations / (peak * reached), bytes / (bandwidth * BANDWIDTH_REACHED)) + FLOOR_NS

where `peak` is that of the data sheet for its type (tensor cores for half precision; TF32 for convolutions in single
precision, as PyTorch has it by default; plain FP32 for other products in it), `reached` is `REACHED`, and bytes are its
inputs and outputs, once each. It begins when its call has ended and the kernel before it on the one stream has:

    start = max(end of the call, end of the kernel before)

The CPU takes `OPERATOR_NS` for each operator that launches, and `LAUNCH_NS` of it in the call itself; it waits while
`QUEUE` kernels are pending, and where it reads a value from the GPU. Ranges take no time.

What this leaves out: caches (traffic is neither saved by them nor repeated), waves of blocks that fill the GPU badly,
clocks below boost, power limits, allocation, copies of prompts and noise to the GPU, and all of Python outside of
operators. So times are to be compared with each other, between models, sizes and GPUs, and not with a stopwatch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from annotate.gpus import Gpu

FLOOR_NS = 2000
"""What the smallest kernel takes, after the arange kernels of a capture on an A100 (2.1 us)."""
OPERATOR_NS = 5000
"""CPU time of an operator in eager mode, from Python to the end of its launch. An assumption."""
LAUNCH_NS = 2000
"""Of that, in `cudaLaunchKernel`. An assumption."""
NEXT_LAUNCH_NS = 2500
"""CPU time of each further kernel of one operator. An assumption."""
COPY_NS = 1500
"""Duration of copying one value to the CPU. An assumption."""
QUEUE = 1024
"""Kernels that may be pending: a launch beyond them waits."""
BANDWIDTH_REACHED = 0.85
"""Share of the bandwidth that a kernel reaches. An assumption."""
REACHED = {"gemm": 0.7, "conv": 0.6, "flash_attention": 0.35}
"""Share of the peak that a kernel reaches, by operator; where memory is the limit, it does not matter.

Fused attention: FlashAttention-2, which PyTorch has, reaches 35% on an H100 (Shah et al., arXiv 2407.08608, section 1)
and up to 73% on an A100 (Dao, arXiv 2307.08691, abstract). The rest are assumptions.
"""
REACHED_BY_ATTENTION_BEFORE_9 = 0.73
"""Of fused attention on GPUs of compute capability 8."""

Unit = Literal["half", "tf32", "single"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel to launch.

    Args:
        name: as nsys writes it, with templates.
        operator: what it does, of the classes by which kernels are told apart.
        bytes: of its inputs and outputs.
        flops: operations of its matrix product.
        unit: what multiplies.
        blocks: in its grid.
        threads: in a block.
    """

    name: str
    operator: str
    bytes: int
    flops: int = 0
    unit: Unit = "half"
    blocks: int = 1
    threads: int = 128


@dataclass(frozen=True, slots=True)
class Call:
    """A call of the CUDA API: `correlation` is the kernel's or copy's that it launched, if any."""

    name: str
    start: int
    end: int
    correlation: int


@dataclass(frozen=True, slots=True)
class Work:
    """What the GPU did: a kernel, or a copy of `bytes` to the CPU."""

    kernel: Kernel | None
    start: int
    end: int
    correlation: int
    bytes: int = 0


def duration_ns(kernel: Kernel, gpu: Gpu) -> int:
    """How long a kernel takes: see the module."""
    reached = REACHED.get(kernel.operator, 1.0)
    if kernel.operator == "flash_attention" and gpu.compute < (9, 0):
        reached = REACHED_BY_ATTENTION_BEFORE_9
    peak: float = getattr(gpu, kernel.unit)
    arithmetic = kernel.flops / (peak * reached)
    memory = kernel.bytes / (gpu.bandwidth * BANDWIDTH_REACHED)
    return round(max(arithmetic, memory) * 1e9) + FLOOR_NS


class Timeline:
    """The CPU's clock, and what the GPU's stream has done by when.

    Args:
        gpu: what kernels run on.
        progress: told how many kernels there are, now and then.

    Attributes:
        calls, work: what happened, in order.
    """

    def __init__(self, gpu: Gpu, progress: Callable[[int], None] = lambda _: None) -> None:
        self.gpu = gpu
        self.calls: list[Call] = []
        self.work: list[Work] = []
        self._progress = progress
        self._now = 0
        self._free = 0
        self._pending: deque[int] = deque(maxlen=QUEUE)

    def clock(self) -> int:
        """The CPU's time, in ns: no two readings are the same, so that all events have an order."""
        self._now += 1
        return self._now

    def launch(self, kernels: list[Kernel]) -> None:
        """Run an operator that launches these kernels."""
        before = OPERATOR_NS - LAUNCH_NS
        for kernel in kernels:
            if len(self._pending) == QUEUE:
                self._now = max(self._now, self._pending[0])
            called = self._now + before
            self._now = called + LAUNCH_NS
            before = NEXT_LAUNCH_NS - LAUNCH_NS
            start = max(self._now, self._free)
            self._free = start + duration_ns(kernel, self.gpu)
            self._pending.append(self._free)
            number = len(self.work) + 1
            self.work.append(Work(kernel, start, self._free, number))
            self.calls.append(Call("cudaLaunchKernel_v7000", called, self._now, number))
            if number % 1000 == 0:
                self._progress(number)

    def read(self, size: int) -> None:
        """Copy a value to the CPU, and wait for it."""
        called = self._now + OPERATOR_NS - LAUNCH_NS
        self._now = called + LAUNCH_NS
        start = max(self._now, self._free)
        self._free = start + COPY_NS
        number = len(self.work) + 1
        self.work.append(Work(None, start, self._free, number, size))
        self.calls.append(Call("cudaMemcpyAsync_v3020", called, self._now, number))
        self.wait("cudaStreamSynchronize_v3020")

    def wait(self, name: str = "cudaDeviceSynchronize_v3020") -> None:
        """Wait until the GPU has done everything."""
        called = self._now + 1
        self._now = max(called + LAUNCH_NS, self._free)
        self.calls.append(Call(name, called, self._now, 0))

    @property
    def busy_ns(self) -> int:
        """Time in which the GPU did something: it has one stream, so nothing overlaps."""
        return sum(done.end - done.start for done in self.work)
