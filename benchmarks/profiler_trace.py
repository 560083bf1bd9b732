"""Make a trace of the PyTorch profiler of any size, and time how long it takes to open.

    python -m benchmarks.profiler_trace --size 1e9 -o big.json --check        # big.json and big.json.gz
    python -m benchmarks.profiler_trace --size 1e9 --stacks -o big.json

A block is a linear layer as Kineto writes it: the call of a module, operators with sizes, types and concrete inputs, a
launch, a kernel, a copy and an arrow. The trace repeats it, with other times and IDs, as often as it takes. With
--stacks most events are Python frames, as with `with_stack=True`. With --check the exit status is 1 where one of the
files takes more than 40 s or 4 GB per GB of JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.report_page import timed

PID = 4242
SECONDS, BYTES = 40.0, 4.0
"""What one GB of JSON may take: seconds, and bytes of memory per byte."""
BLOCK_US = 200
BLOCKS_AT_ONCE = 500
LOAD = "import sys, parsers; trace = parsers.load(sys.argv[1]); print(trace.kernels.collect().height)"

HEADER = {
    "schemaVersion": 1,
    "deviceProperties": [{"id": 0, "name": "Synthetic GPU", "totalGlobalMem": 80 << 30, "numSms": 132}],
    "cuda_runtime_version": 12040,
    "record_shapes": 1,
    "displayTimeUnit": "ms",
    "baseTimeNanoseconds": 1751410836000000000,
}
KERNELS = (
    "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x",
    "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, std::array<char*, 1ul> >(int)",
)
SIZES = [[[8, 4096, width], [width, width], [width]] for width in (320, 640, 1280)]


def block(number: int, *, stacks: bool) -> Iterator[dict[str, object]]:
    """The events of a block."""
    begin = 1428625731000.125 + BLOCK_US * number
    thread = {"pid": PID, "tid": PID}
    sizes, module = SIZES[number % 3], number % 700

    def event(category: str, name: str, at: float, dur: float, **more: object) -> dict[str, object]:
        return {"ph": "X", "cat": category, "name": name, **thread, "ts": round(begin + at, 3), "dur": dur, **more}

    def operator(name: str, at: float, dur: float, nth: int) -> dict[str, object]:
        args = {
            "External id": 8 * number + nth,
            "Sequence number": number,
            "Fwd thread id": 0,
            "Record function id": 0,
            "Concrete Inputs": ["", "", ""],
            "Input type": ["c10::BFloat16", "c10::BFloat16", "c10::BFloat16"],
            "Input Dims": sizes,
        }
        return event("cpu_op", name, at, dur, args=args)

    yield event(
        "python_function",
        f"nn.Module: Linear_{module}",
        0,
        90.5,
        args={"Python id": number, "Python module id": module},
    )
    for frame in range(40 if stacks else 1):
        name = f"torch/nn/modules/module.py({1700 + frame}): _call_impl"
        yield event(
            "python_function", name, 1 + frame / 10, 80.25, args={"Python parent id": number, "Python id": frame}
        )
    for nth, name in enumerate(("aten::linear", "aten::t", "aten::transpose", "aten::addmm")):
        yield operator(name, 10 + 5 * nth, 60.75 - 5 * nth, nth)
    correlation = 2 * number + 100_000
    args = {"External id": 8 * number + 3, "cbid": 211, "correlation": correlation}
    yield event("cuda_runtime", "cudaLaunchKernel", 40, 6.125, args=args)
    on_gpu = {"device": 0, "context": 1, "stream": 7, "correlation": correlation}
    kernel = {
        "queued": 0,
        **on_gpu,
        "registers per thread": 168,
        "shared memory": 196608,
        "blocks per SM": 0.969697,
        "warps per SM": 11.636364,
        "grid": [16, 8, 1],
        "block": [384, 1, 1],
        "est. achieved occupancy %": 18,
    }
    yield {**event("kernel", KERNELS[number % 2], 60, 100.375, args=kernel), "pid": 0, "tid": 7}
    arrow = {"ph": "s", "id": correlation, "pid": PID, "tid": PID, "ts": begin + 40, "cat": "ac2g", "name": "ac2g"}
    yield arrow
    yield {**arrow, "ph": "f", "pid": 0, "tid": 7, "ts": begin + 60, "bp": "e"}


def write(path: Path, size: float, *, stacks: bool) -> int:
    """Write a trace of about `size` bytes, and return the number of its kernels."""
    blocks = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(HEADER, indent=2).removesuffix("\n}") + ',\n  "traceEvents": [')
        while file.tell() < size:
            events = [
                each for number in range(blocks, blocks + BLOCKS_AT_ONCE) for each in block(number, stacks=stacks)
            ]
            file.write(",\n" * bool(blocks) + ",\n".join(map(json.dumps, events)))
            blocks += BLOCKS_AT_ONCE
        file.write("\n  ]}\n")
    return blocks


def main() -> None:
    """Parse the command line, make the files, time them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=1e9, help="bytes of JSON")
    parser.add_argument("--stacks", action="store_true", help="most events are Python frames")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the .json file; one that exists is used again"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="fail where a limit is exceeded")
    options = parser.parse_args()
    path = options.output
    if not path.exists():
        print(f"{write(path, options.size, stacks=options.stacks):,} kernels", file=sys.stderr)
    packed = path.with_name(f"{path.name}.gz")
    if not packed.exists():
        with path.open("rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    size, failed = path.stat().st_size, False
    for file in (path, packed):
        runs = [timed([sys.executable, "-c", LOAD, file]) for _ in range(options.rounds)]
        seconds, peak = statistics.median(took for took, _ in runs), max(most for _, most in runs)
        print(f"{file.name}: {seconds:.1f} s, {peak / 1e9:.2f} GB for {size / 1e9:.2f} GB of JSON")
        failed |= seconds > SECONDS * size / 1e9 or peak > BYTES * size
    sys.exit(options.check and failed)


if __name__ == "__main__":
    main()
