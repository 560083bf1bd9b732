"""Traces of annotated models with exact times and costs, for tests whose numbers are worked out by hand.

t = Labelled()
t.module("unet", "other", component="denoiser")
t.module("unet.attn1.core", "spatial_attention", component="denoiser", attention="spatial_attention")
with t.call("unet", 0, 100):
    t.leaf("unet.attn1.core", 10, 20, q_len=64, kv_len=64, flops=1000, bytes=10, gpu=[("flash_fwd", 200, 230)])
"""

from __future__ import annotations

from collections.abc import Sequence

from annotate import labels
from annotate.labels import ModuleLabel, field_text, module_text, run_text
from tests.build import Thread, TraceBuilder

DOMAIN = 3
PID, TID = 10, 11


class Labelled(TraceBuilder):
    """A trace whose ranges say what annotation says.

    Args:
        run: what the run says of itself, as `{"model": "stable-diffusion", "request": {"height": 512}}`.
    """

    def __init__(self, run: dict[str, object] | None = None, **info: str) -> None:
        super().__init__(**info)
        self.main: Thread = self.thread(PID, TID)
        self.domain(PID, DOMAIN, labels.DOMAIN, 0)
        self._calls: dict[tuple[tuple[str, int], ...], int] = {}
        if run is not None:
            self.mark(self.main, run_text(run), 0, domain=DOMAIN)

    def module(
        self,
        name: str,
        role: str,
        cls: str = "",
        *,
        component: str = "denoiser",
        attention: str | None = None,
        parameters: int = 0,
    ) -> None:
        """Describe a module; once, before or after its calls."""
        label = ModuleLabel(name, role, cls or name.rpartition(".")[2], component, attention, parameters)
        self.mark(self.main, module_text(label), 0, domain=DOMAIN)

    def call(
        self, name: str, start: int, end: int | None, *, gpu: Sequence[tuple[str, int, int]] = (), **values: int
    ) -> int:
        """A range of a module with the kernels that it launches: the first 1 ns after its opening, then 1 ns apart.

        Args:
            name: of the module.
            start: opening, in ns.
            end: closing, in ns; None: never.
            gpu: kernel name, start and end on the GPU of each kernel, in the order of launch.
            values: of the call: `q_len`, `kv_len`, `heads`, `dtype`, `flops`, `bytes`, `step`, `phase`.

        Returns:
            nsys's RangeId.
        """
        range_id = self.range(self.main, name, start, end, domain=DOMAIN, payload=self._number(values))
        for number, (kernel, begins, ends) in enumerate(gpu):
            at = start + 1 + number
            self.kernel(self.main, kernel, launch=(at, at), gpu=(begins, ends))
        return range_id

    def _number(self, values: dict[str, int]) -> int:
        """The number of a call with these values; told in marks the first time."""
        key = tuple(sorted(values.items()))
        if key not in self._calls:
            self._calls[key] = labels.FIRST_CALL + len(self._calls)
            for name, value in key:
                self.mark(self.main, field_text(name), 0, domain=DOMAIN, payload=value, category=self._calls[key])
        return self._calls[key]
