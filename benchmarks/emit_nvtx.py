"""Time layers and the report on a capture under PyTorch's emit_nvtx, where every range has a name of its own.

    python -m benchmarks.emit_nvtx                       # 300,000 kernels under 3,000,000 ranges
    python -m benchmarks.emit_nvtx --kernels 3e4 --keep emit.sqlite

A unit is ten operations, of which one launches a kernel: a linear layer and an activation, with those nested in them.
Every eighth unit is an attention that is spelt out, and the one after it a root-mean-square norm. Peak memory is that
of the whole process, Python included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from parsers.nsys_schema import enumerations, export_info
from parsers.writer import write_sqlite

GLOBAL_PID = 1 << 48 | 4242 << 24
GLOBAL_TID = GLOBAL_PID | 4242
UNIT_NS = 100_000
# Operation, start and end within the unit, sizes.
UNIT = (
    ("aten::linear", 0, 60_000, "[[2, 4096, 640], [640, 640], [640]]"),
    ("aten::t", 1_000, 9_000, "[[640, 640]]"),
    ("aten::transpose", 2_000, 8_000, "[[640, 640], [], []]"),
    ("aten::as_strided", 3_000, 7_000, "[[640, 640], [], [], []]"),
    ("aten::view", 10_000, 12_000, "[[2, 4096, 640], []]"),
    ("aten::addmm", 13_000, 50_000, "[[640], [8192, 640], [640, 640], [], []]"),
    ("aten::view", 52_000, 54_000, "[[8192, 640], []]"),
    ("aten::silu", 61_000, 80_000, "[[2, 4096, 640]]"),
    ("aten::empty_like", 62_000, 64_000, "[[2, 4096, 640], [], [], [], [], []]"),
    ("aten::mul", 81_000, 99_000, "[[2, 4096, 640], [2, 4096, 640]]"),
)
ATTENTION = (
    ("aten::matmul", 0, 18_000, "[[2, 8, 512, 80], [2, 8, 80, 512]]"),
    ("aten::expand", 1_000, 4_000, "[[2, 8, 512, 80], [], []]"),
    ("aten::as_strided", 2_000, 3_000, "[[2, 8, 512, 80], [], [], []]"),
    ("aten::bmm", 5_000, 17_000, "[[16, 512, 80], [16, 80, 512]]"),
    ("aten::softmax", 20_000, 50_000, "[[2, 8, 512, 512], [], []]"),
    ("aten::_softmax", 25_000, 45_000, "[[2, 8, 512, 512], [], []]"),
    ("aten::matmul", 60_000, 90_000, "[[2, 8, 512, 512], [2, 8, 512, 80]]"),
    ("aten::expand", 61_000, 64_000, "[[2, 8, 512, 512], [], []]"),
    ("aten::as_strided", 62_000, 63_000, "[[2, 8, 512, 512], [], [], []]"),
    ("aten::bmm", 65_000, 89_000, "[[16, 512, 512], [16, 512, 80]]"),
)
NORM = (
    ("aten::to", 0, 9_000, "[[2, 512, 640], [], [], [], []]"),
    ("aten::_to_copy", 1_000, 8_000, "[[2, 512, 640], [], [], [], [], [], []]"),
    ("aten::pow", 10_000, 18_000, "[[2, 512, 640], []]"),
    ("aten::mean", 20_000, 45_000, "[[2, 512, 640], [], [], []]"),
    ("aten::add", 50_000, 55_000, "[[2, 512, 1], [], []]"),
    ("aten::rsqrt", 56_000, 60_000, "[[2, 512, 1]]"),
    ("aten::mul", 61_000, 70_000, "[[2, 512, 640], [2, 512, 1]]"),
    ("aten::mul", 71_000, 80_000, "[[640], [2, 512, 640]]"),
    ("aten::view", 81_000, 82_000, "[[2, 512, 640], []]"),
    ("aten::permute", 83_000, 85_000, "[[2, 512, 640], []]"),
)
KINDS = (ATTENTION, NORM, *[UNIT] * 6)
LAUNCH_AT_NS = 30_000
KERNEL = "ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_64x3_tn"


def write(path: Path, kernels: int) -> None:
    """Write a capture of that many kernels, each under ten ranges of names that occur once."""
    units = pl.int_range(kernels, eager=True).alias("unit").to_frame()
    parts = pl.DataFrame(
        [(kind, position, *row) for kind, unit in enumerate(KINDS) for position, row in enumerate(unit)],
        schema=["kind", "position", "operation", "first", "last", "sizes"],
        orient="row",
    )
    number = pl.col("unit") * len(UNIT) + pl.col("position")
    name = pl.format("{}, seq = {}, op_id = {}, sizes = {}", "operation", "unit", number, "sizes")
    start = pl.col("unit") * UNIT_NS
    events = (
        units.with_columns(kind=pl.col("unit") % len(KINDS))
        .join(parts, on="kind", maintain_order="left")
        .select(
            (start + pl.col("first")).alias("start"),
            (start + pl.col("last")).alias("end"),
            pl.lit(59).alias("eventType"),
            (number + 10).alias("textId"),
            name.alias("text"),
            pl.lit(GLOBAL_TID).alias("globalTid"),
            pl.lit(0).alias("domainId"),
        )
    )
    strings = pl.concat(
        [
            pl.DataFrame({"id": [1, 2], "value": [KERNEL, "cudaLaunchKernel_v7000"]}),
            events.select(pl.col("textId").cast(pl.Int64).alias("id"), pl.col("text").alias("value")),
        ]
    )
    launch = pl.col("unit") * UNIT_NS + LAUNCH_AT_NS
    calls = units.select(
        launch.alias("start"),
        (launch + 4_000).alias("end"),
        pl.lit(0).alias("eventClass"),
        pl.lit(GLOBAL_TID).alias("globalTid"),
        (pl.col("unit") + 1).alias("correlationId"),
        pl.lit(2).alias("nameId"),
        pl.lit(0).alias("returnValue"),
    )
    executions = units.select(
        (launch + 10_000).alias("start"),
        (launch + 60_000).alias("end"),
        pl.lit(0).alias("deviceId"),
        pl.lit(1).alias("contextId"),
        pl.lit(7).alias("streamId"),
        (pl.col("unit") + 1).alias("correlationId"),
        pl.lit(GLOBAL_PID).alias("globalPid"),
        pl.lit(1).alias("demangledName"),
        pl.lit(1).alias("shortName"),
    )
    write_sqlite(
        path,
        {
            "StringIds": strings,
            "NVTX_EVENTS": events.drop("text"),
            "CUPTI_ACTIVITY_KIND_RUNTIME": calls,
            "CUPTI_ACTIVITY_KIND_KERNEL": executions,
            "META_DATA_EXPORT": export_info(),
            **enumerations(),
        },
    )


def main() -> None:
    """Write the capture, then time each command on it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", type=float, default=3e5, help="number of kernels; ten ranges each")
    parser.add_argument("--keep", type=Path, help="keep the capture in this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trace = arguments.keep or Path(folder) / "emit.sqlite"
        write(trace, int(arguments.kernels))
        for command in (["layers", "-o", f"{folder}/layers.csv"], ["report", "-o", f"{folder}/report.html"]):
            seconds, peak = timed([sys.executable, "-m", "ttinsys", command[0], str(trace), *command[1:], "--force"])
            print(f"{command[0]}: {seconds:.2f} s, {peak / 1e9:.2f} GB at the peak")


def timed(command: list[str]) -> tuple[float, int]:
    """Wall time in seconds and peak resident memory in bytes of a command."""
    before = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {process.returncode}")
    return time.perf_counter() - before, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
