"""The reports of `nsys stats`, from any export format: same header, same rows.

One module is one report, registered under nsys's own name for it. What a report counts, and how it rounds, follows
`nsys stats` of 2023.4; the columns' meaning is in `nsys stats --help-reports`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from parsers import Trace


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Args:
        name: nsys's name.
        title: nsys's title.
        needs: tables without which it has nothing to say: for each entry, one of its tables is enough.
        build: the rows, under nsys's header.
    """

    name: str
    title: str
    needs: tuple[tuple[str, ...], ...]
    build: Callable[[Trace], pl.DataFrame]

    def missing(self, trace: Trace) -> str | None:
        """What the trace lacks for this report, with the remedy; None where it lacks nothing."""
        from parsers import MissingTable

        try:
            for tables in self.needs:
                trace.require(tables)
        except MissingTable as error:
            return str(error)
        return None


REPORT_NAMES = (
    "cuda_gpu_kern_sum",
    "cuda_kern_exec_trace",
    "nvtx_gpu_proj_sum",
    "nvtx_gpu_proj_trace",
    "nvtx_kern_sum",
)
"""The reports there are, each in the module of its name."""


def stats_report(name: str) -> Report:
    """The report called `name`, one of `NAMES`."""
    found: Report = import_module(f"ttinsys.stats.{name}").REPORT
    return found
