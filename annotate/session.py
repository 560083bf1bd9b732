"""One run of a model: build it, warm up, measure, under whatever tool listens.

session = Session(model("stable-diffusion"), "tiny", request, Options(device="cpu", repeat=3))
for measured in session.run(nvtx()): ...
"""

from __future__ import annotations

import itertools
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from annotate.backends import Backend
from annotate.build import build, quiet
from annotate.choices import attention, check_attention, compile_denoiser
from annotate.errors import ImpossibleRequest, NothingRecorded, RunFailed, pipeline_failed
from annotate.hooks import Annotation, annotate
from annotate.labels import ModuleLabel
from annotate.models import Model, Request, Size
from annotate.models.spec import imported
from annotate.nsys import WINDOW

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """How a model is run.

    Args:
        device: `cuda`, `cuda:1`, `cpu`.
        dtype: type of weights and activations; None: half precision on a GPU, single on a CPU.
        attention: see `annotate.choices.ATTENTIONS`.
        compile: see `annotate.choices.COMPILES`.
        cuda_graphs: replay the kernels of each call as one CUDA graph.
        granularity: finest level that has ranges of its own.
        warmup: number of runs before the measured ones.
        repeat: number of measured runs.
        window: capture the measured runs only.
        pretrained: folder of real weights; random ones if None.
    """

    device: str = "cpu"
    dtype: str | None = None
    attention: str = "sdpa"
    compile: str = "none"
    cuda_graphs: bool = False
    granularity: str = "leaf"
    warmup: int = 1
    repeat: int = 1
    window: bool = False
    pretrained: str | None = None

    def check(self) -> None:
        """Refuse what this machine cannot do.

        Raises:
            ImpossibleRequest: with what it can do instead.
        """
        check_attention(self.attention)
        try:
            kind = torch.device(self.device).type
        except RuntimeError as error:
            raise ImpossibleRequest(f"--device {self.device}: no such device: use cuda, cuda:N or cpu") from error
        if kind == "cuda" and not torch.cuda.is_available():
            raise ImpossibleRequest(
                f"--device {self.device}: torch sees no CUDA device here: use --device cpu --size tiny, or simulate a "
                "GPU with python -m annotate.simulate"
            )
        if kind == "cuda" and (torch.device(self.device).index or 0) >= torch.cuda.device_count():
            raise ImpossibleRequest(f"--device {self.device}: there are {torch.cuda.device_count()} CUDA devices")
        if kind not in {"cuda", "cpu"}:
            raise ImpossibleRequest(f"--device {self.device}: nsys traces CUDA: use cuda, cuda:N or cpu")
        if self.cuda_graphs and kind != "cuda":
            raise ImpossibleRequest("--cuda-graphs: only on a CUDA device")


@dataclass(frozen=True)
class Measured:
    """One measured run.

    Args:
        wall_s: seconds of wall time.
        steps: steps taken, as counted; without ranges, as asked for.
        peak_bytes: the most memory held so far, on the GPU or, without one, by the process.
    """

    wall_s: float
    steps: int
    peak_bytes: int


class Tally:
    """A backend that counts the ranges that it opens.

    Args:
        inner: where they go.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.active, self.handle, self.pop = inner.active, inner.handle, inner.pop
        self.prepared, self.mark = inner.prepared, inner.mark
        self._count = itertools.count()
        tick, push = self._count.__next__, inner.push

        def counted(prepared: Any, handle: Any) -> None:
            tick()
            push(prepared, handle)

        self.push: Callable[[Any, Any], Any] = counted

    def opened(self) -> int:
        """Ranges opened so far. Asking counts, too: so what is asked for is told by difference, less one."""
        return next(self._count)


class Session:
    """A model, ready to be run and measured.

    Args:
        model: what to run.
        size: `full` or `tiny`.
        request: what to ask of it.
        options: how.
        say: told what is going on, a line at a time.
    """

    def __init__(
        self, model: Model, size: Size, request: Request, options: Options, *, say: Say = lambda _: None
    ) -> None:
        options.check()
        self.model, self.size, self.request, self.options, self.say = model, size, request, options, say
        self.on_gpu = torch.device(options.device).type == "cuda"
        self.dtype = options.dtype or (model.half if self.on_gpu else "float32")
        self.ranges = 0
        say(f"building {model.title}, {size}, {self.dtype} on {options.device}")
        self.pipeline = self._pretrained() if options.pretrained else self._random()

    def _random(self) -> Any:
        return build(
            self.model, self.size, device=self.options.device, dtype=DTYPES[self.dtype], seed=self.request.seed
        )

    def _pretrained(self) -> Any:
        if self.model.pretrained is None:
            raise ImpossibleRequest(f"--pretrained: {self.model.name} has no published weights that load as one")
        cls = imported(self.model.pretrained)
        try:
            loaded = cls.from_pretrained(self.options.pretrained, torch_dtype=DTYPES[self.dtype], local_files_only=True)
        except (OSError, ValueError) as error:
            said = str(error).strip().splitlines()[0]
            raise RunFailed(f"--pretrained {self.options.pretrained}: {said}") from error
        quiet(loaded)
        return loaded.to(self.options.device)

    def run(self, backend: Backend) -> Iterator[Measured]:
        """Warm up, then measure `repeat` runs; the window is open around those alone.

        Args:
            backend: where ranges go.

        Raises:
            NothingRecorded: a tool listens, and no range was opened.
        """
        tally = Tally(backend)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(attention(self.pipeline, self.options.attention))
            compile_denoiser(self.pipeline, self.options.compile, cuda_graphs=self.options.cuda_graphs)
            annotation = stack.enter_context(
                annotate(self.pipeline, granularity=self.options.granularity, backend=tally)
            )
            annotation.tracer.tell_run(self.described())
            for number in range(self.options.warmup):
                self.say(f"warming up, {number + 1} of {self.options.warmup}")
                with _range(annotation, "warmup"):
                    self._once(annotation)
            before = tally.opened() if self.options.window else -1
            with self._window(annotation):
                for _ in range(self.options.repeat):
                    yield self._once(annotation)
            self.ranges = tally.opened() - before - 1
        if backend.active and not self.ranges:
            raise NothingRecorded(f"{self.model.name}: a tool listens to NVTX, and the run opened no range")

    def described(self) -> dict[str, Any]:
        """The run, in words and numbers: what the trace says of it."""
        return {
            "model": self.model.name,
            "size": self.size,
            "request": self.request.asked(),
            "device": torch.cuda.get_device_name(self.options.device) if self.on_gpu else "cpu",
            "dtype": self.dtype,
            "attention": self.options.attention,
            "compile": self.options.compile,
            "cuda_graphs": self.options.cuda_graphs,
            "granularity": self.options.granularity,
            "weights": "pretrained" if self.options.pretrained else "random",
            "versions": _versions(),
        }

    def _once(self, annotation: Annotation) -> Measured:
        taken = annotation.tracer.steps_taken
        self._wait()
        start = time.perf_counter()
        try:
            self.model.generate(self.pipeline, self.request)
        except torch.OutOfMemoryError as error:
            raise RunFailed(
                f"{self.model.name} does not fit into the memory of {self.options.device}: lower --height, --frames or "
                "--batch, or use another --dtype"
            ) from error
        except Exception as error:
            raise pipeline_failed(self.model.name, error) from error
        self._wait()
        wall = time.perf_counter() - start
        steps = annotation.tracer.steps_taken - taken or self.request.steps or self.request.tokens or 1
        return Measured(wall, steps, self._peak())

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.options.device)

    def _peak(self) -> int:
        if self.on_gpu:
            return torch.cuda.max_memory_allocated(self.options.device)
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    @contextmanager
    def _window(self, annotation: Annotation) -> Iterator[None]:
        """Open the capture, if it waits to be opened."""
        if not self.options.window:
            yield
        elif self.on_gpu:
            torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
            try:
                yield  # what ranges refer to is told as the profiler starts
            finally:
                self._wait()
                torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
        else:
            with _range(annotation, WINDOW):
                annotation.describe()
                yield


@contextmanager
def _range(annotation: Annotation, name: str) -> Iterator[None]:
    if not annotation.tracer.backend.active:
        yield
        return
    annotation.tracer.open(ModuleLabel(name, cls=name, level="step"))
    try:
        yield
    finally:
        annotation.tracer.close()


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("ttinsys", "torch", "diffusers", "transformers", "nvtx"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
