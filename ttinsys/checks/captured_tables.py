"""Which tables the capture lacks."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from ttinsys.checks import EVERYTHING, Finding, TraceTables, checking, counted

_NO_KERNELS = (
    "profile with --trace=cuda,nvtx on a machine with a GPU, let the program end by itself, and read what nsys says of "
    "CUDA tracing"
)
_LAYERED = ("layers", "ranges_by_name", "attention", "lengths", "phases", "roofline")


def _measure(tables: TraceTables) -> pl.LazyFrame:
    counts = {
        "ops": tables["ops"].select(pl.len()),
        "nodes": tables["ops"].select(pl.col("graph_node_id").is_not_null().sum()),
        "api_calls": tables["api_calls"].select(pl.len()),
        "ranges": tables["ranges"].select(pl.len()),
        "gpus": tables["gpus"].select(pl.len()),
        "threads": tables["ranges"].select(pl.col("global_tid").n_unique()),
        "graph_nodes": tables["sources"].select((pl.col("table") == "graph_nodes").sum()),
    }
    return pl.concat(
        [frame.select(pl.all().cast(pl.Int64).alias(name)) for name, frame in counts.items()], how="horizontal"
    )


@checking(_measure)
def captured_tables(numbers: pl.DataFrame) -> Iterator[Finding]:
    """What no question can be asked without, and what only some questions need."""
    have = numbers.row(0, named=True)
    found = [
        *_without_operations(have),
        *_without_calls(have),
        *_without_ranges(have),
    ]
    if have["ops"] and not have["gpus"]:
        found.append(
            Finding(
                "note",
                "The export does not describe the GPUs, so peak rates are those that you name.",
                ("roofline", "phases"),
                "export with nsys export --lazy=false, or name the GPU with --gpu",
            )
        )
    yield from found
    if not any(finding.severity in ("problem", "warning") for finding in found):
        present = [counted(have[name], noun) for name, noun in _NOUNS.items() if have[name]]
        yield Finding("sound", f"The capture holds {', '.join(present)}.")


_NOUNS = {"ops": "GPU operation", "api_calls": "CUDA API call", "ranges": "NVTX range", "gpus": "GPU description"}


def _without_operations(have: dict[str, int]) -> Iterator[Finding]:
    if have["ops"]:
        return
    called = f", although the program made {counted(have['api_calls'], 'CUDA API call')}" if have["api_calls"] else ""
    yield Finding("problem", f"No GPU activity was captured{called}.", (EVERYTHING,), _NO_KERNELS)


def _without_calls(have: dict[str, int]) -> Iterator[Finding]:
    if have["ops"] and not have["api_calls"]:
        yield Finding(
            "problem",
            f"No CUDA API call was captured, so none of {counted(have['ops'], 'GPU operation')} has a launch.",
            (*_LAYERED, "gaps"),
            "profile with --trace=cuda",
            have["ops"],
        )
    if have["nodes"] and not have["graph_nodes"]:
        yield Finding(
            "warning",
            f"{counted(have['nodes'], 'GPU operation')} ran in CUDA graphs, and the creation of their nodes was not "
            "captured, so layers inside of the graphs are unknown.",
            _LAYERED,
            "begin the capture before the graphs are captured, with --cuda-graph-trace=node",
            have["nodes"],
        )


def _without_ranges(have: dict[str, int]) -> Iterator[Finding]:
    if not have["ranges"]:
        yield Finding(
            "warning" if have["ops"] else "problem",
            "No NVTX range was captured, so no operation has a layer.",
            _LAYERED,
            "annotate the program, or profile PyTorch with --pytorch=autograd-shapes-nvtx; then --trace=cuda,nvtx",
        )
