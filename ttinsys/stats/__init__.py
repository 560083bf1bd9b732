"""The reports of `nsys stats`, from any export format, with the same header and the same rows.

Each module is one report, under nsys's own name. Counting, rounding and order follow `nsys stats` of version 2023.4.
`nsys stats --help-reports` describes the columns.
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
        name: nsys's name of the report.
        title: nsys's title of the report.
        needs: tables that the report needs. Of the tables in one entry, any one is enough.
        build: function from a trace to the rows, under nsys's header.
    """

    name: str
    title: str
    needs: tuple[tuple[str, ...], ...]
    build: Callable[[Trace], pl.DataFrame]

    def missing(self, trace: Trace) -> str | None:
        """The error for a table that the trace lacks, with the remedy; None where it lacks none."""
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
"""Names of all reports, each the name of its module."""


def stats_report(name: str) -> Report:
    """The report called `name`, one of `REPORT_NAMES`; its module is imported on demand, as it imports polars."""
    chosen: Report = import_module(f"ttinsys.stats.{name}").REPORT
    return chosen
