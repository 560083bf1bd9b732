"""What nsys said of its own capture, where the capture lacks GPU work: the remedy follows from it."""

from __future__ import annotations

import polars as pl

from parsers import Trace

_CAUSES = (
    (r"privilege|permission|CAP_SYS_ADMIN|ERR_NVGPUCTRPERM", "run nsys as root, or let users trace the GPU"),
    (
        r"MULTIPLE_SUBSCRIBERS|another (profil|tool|process).*CUPTI|CUPTI.*(in use|already)",
        "stop the other profiler of the process, such as torch.profiler or DCGM, and profile again",
    ),
    (
        r"driver.*(not supported|unsupported|old|compatible|newer)|CUPTI.*(version|load|initiali[sz])",
        "use an nsys that supports this driver, or update the driver",
    ),
    (
        r"dropped|might be missing|buffer|not all CUDA events|out of memory",
        "capture a shorter part, or flush more often with --cuda-flush-interval",
    ),
    (
        r"non-?zero|signal|SIG[A-Z]{3,}|crash|(could not|failed to) (be )?(launch|start)",
        "make the program run through by itself first",
    ),
    (
        r"no CUDA events collected|does the process use CUDA|CUDA profiling might (have )?not",
        "profile the process that uses the GPU, and its children (--trace-fork-before-exec=true), with --trace=cuda",
    ),
)
"""Patterns of messages (case does not count), and what to do; the first that any message has counts."""

_OF_GPU = r"(?i)cuda|cupti|gpu|nvidia"
_WARNING = 2
"""Severity from which on nsys warns."""
_LONGEST = 160
"""Characters of a message that are quoted."""


def why_no_gpu_work(messages: pl.DataFrame, ordinary: str) -> str:
    """What to do about a capture without GPU work, behind what nsys says of it, if anything.

    Args:
        messages: `severity` and `text`: the table `diagnostic_events`.
        ordinary: what to do where nsys says nothing, or nothing that is known.
    """
    texts = messages.drop_nulls("text").sort("severity", descending=True, nulls_last=True, maintain_order=True)
    for pattern, remedy in _CAUSES:
        # A remark in passing is no cause, unless it says that nothing was collected.
        weighty = (pl.col("severity") >= _WARNING) | pl.col("text").str.contains("(?i)no CUDA events")
        named = texts.filter(pl.col("text").str.contains(f"(?i){pattern}") & weighty)
        if named.height:
            return f"{_quoted(named['text'][0])}: {remedy}"
    warned = texts.filter((pl.col("severity") >= _WARNING) & pl.col("text").str.contains(_OF_GPU))
    return f"{_quoted(warned['text'][0])}: {ordinary}" if warned.height else ordinary


def gpu_remedy(trace: Trace) -> str:
    """What to do about a trace without GPU work: see `why_no_gpu_work`."""
    return why_no_gpu_work(trace.diagnostic_events.select("severity", "text").collect(), trace.remedy("kernels"))


def _quoted(text: str) -> str:
    brief = " ".join(text.split())
    return f"nsys says {(brief if len(brief) <= _LONGEST else brief[:_LONGEST] + '...')!r}"
