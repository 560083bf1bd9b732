"""Make a trace of any size, like one of Stable Diffusion 1.5, as SQLite and as Parquet.

    python benchmarks/generate.py --kernels 1e6 -o big        # writes big.sqlite and big_pqtdir

One denoising step is laid out event by event; the trace repeats it as often as it takes. Per kernel there are 1.5 API
calls and 0.65 NVTX ranges, the innermost of which lie 7 deep (step > unet > block > transformer > transformer block >
attention > linear). There are about 700 range names and 200 kernel names. Durations vary, from a seed: the same
arguments make the same trace.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle, product
from pathlib import Path

import polars as pl

from parsers.nsys_schema import enumerations, export_info
from parsers.writer import write_parquetdir, write_sqlite

PID = 4242
GLOBAL_PID = 1 << 48 | PID << 24
PUSH_POP = 59
OPEN_NS, CLOSE_NS = 300, 200
LATENCY_NS = 3000
LAUNCH, QUERY, SYNCHRONIZE = "cudaLaunchKernel_v7000", "cudaStreamIsCapturing_v10000", "cudaStreamSynchronize_v3020"
CALL_NS = {LAUNCH: (2000, 1000), QUERY: (300, 200)}
"""Least duration of a call, and what chance may add."""
PAUSE_NS = 200
MEAN_NS = {
    "gemm": 6000,
    "conv": 14000,
    "layout": 2500,
    "pointwise": 2000,
    "group_norm": 2200,
    "layer_norm": 3000,
    "flash": 25000,
    "copy": 2000,
}
"""Mean duration of a kernel by what it does; it takes between half and one and a half of that."""


def kernel_names() -> dict[str, list[str]]:
    """Kernel names by what they do, of the length and the look that PyTorch, cuBLAS and cuDNN give them."""
    tiles = ["64x64", "64x128", "128x64", "128x128", "128x256", "256x64", "256x128"]
    instance = "[lambda() (instance 1)]::operator ()() const::[lambda(c10::Half) (instance 1)]"
    functors = [
        "at::native::CUDAFunctor_add<c10::Half>",
        "at::native::BinaryFunctor<c10::Half, c10::Half, c10::Half, at::native::binary_internal::MulFunctor<float>>",
        "at::native::BinaryFunctor<c10::Half, c10::Half, c10::Half, at::native::binary_internal::DivFunctor<float>>",
        *(
            f"at::native::{operator}(at::TensorIteratorBase &)::{instance}"
            for operator in ("silu_kernel", "GeluCUDAKernelImpl", "sin_kernel_cuda", "cos_kernel_cuda", "exp_kernel")
        ),
    ]
    return {
        "gemm": [
            "void cutlass::Kernel2<cutlass_80_tensorop_f16_s16816gemm_relu_f16_"
            f"{tile}_{stages}_{layout}_align8>(T1::Params)"
            for tile, stages, layout in product(tiles, ("32x5", "32x6", "64x3", "64x4"), ("tn", "nn"))
        ],
        "conv": [
            f"sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize{tile}x{depth}_stage{stage}_"
            "warpsize2x2x1_g1_tensor16x8x16_execute_kernel__5x_cudnn"
            for tile, depth, stage in product(tiles, (32, 64), (3, 4, 5))
        ],
        "layout": [
            f"void cudnn::ops::nchwToNhwcKernel<__half, __half, float, (bool){flip}, (bool)1, "
            f"(cudnnKernelDataType_t){dtype}>(cudnn::ops::nchw2nhwc_params_t<T3>, const T1 *, T2 *)"
            for flip, dtype in product((0, 1), (0, 2))
        ],
        "pointwise": [
            f"void at::native::{launcher}<(int){width}, {functor}, std::array<char *, (unsigned long)3>>(int, T2, T3)"
            for launcher, width, functor in product(
                ("vectorized_elementwise_kernel", "unrolled_elementwise_kernel"), (2, 4, 8), functors
            )
        ],
        "group_norm": [
            f"void at::native::<unnamed>::{kernel}<c10::Half, float>(long, long, long, const T2 *, const T2 *, "
            "const T1 *, const T1 *, T2 *, T2 *)"
            for kernel in ("RowwiseMomentsCUDAKernel", "ComputeFusedParamsCUDAKernel")
        ],
        "layer_norm": [
            f"void at::native::<unnamed>::vectorized_layer_norm_kernel<{dtype}, float>(int, T2, const T1 *, "
            "const T1 *, const T1 *, T2 *, T2 *, T1 *)"
            for dtype in ("c10::Half", "float")
        ],
        "flash": [
            f"void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<(int){head}, (int)128, "
            f"(int){block}, (int)4, (bool)0, (bool)0, cutlass::half_t>, (bool)0, (bool)0, (bool)0, (bool)0, "
            f"(bool){even}, (bool)1, (bool)0>(pytorch_flash::Flash_fwd_params)"
            for head, block, even in product((64, 96, 160), (32, 64, 128), (0, 1))
        ],
        "copy": [
            f"void at::native::elementwise_kernel<(int)128, (int){width}, void at::native::gpu_kernel_impl_nocast<"
            f"at::native::direct_copy_kernel_cuda(at::TensorIteratorBase &)::[lambda(c10::{dtype})]>"
            "(at::TensorIteratorBase &, const T1 &)::[lambda(int) (instance 1)]>(int, T3)"
            for width, dtype in product((2, 4), ("Half", "BFloat16", "Float8_e4m3fn", "Float8_e5m2"))
        ],
    }


def base_name(name: str) -> str:
    """A kernel's name without its namespaces and templates."""
    function, _, _ = name.replace("<unnamed>::", "").removeprefix("void ").partition("(")
    return function.partition("<")[0].rpartition("::")[2]


class Layout:
    """One pass of a program, event by event, from 0 ns.

    Args:
        strings: ids of strings, added to as they come up.
    """

    def __init__(self, strings: defaultdict[str, int]) -> None:
        self.now = 0
        self.ranges: list[list[int | str]] = []
        self.calls: list[tuple[int, int, int, int]] = []
        self.kernels: list[tuple[int, int, int, int, int]] = []
        self._strings = strings
        self._names = {kind: cycle(names) for kind, names in kernel_names().items()}

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """A range around what follows."""
        row: list[int | str] = [self.now, 0, name]
        self.ranges.append(row)
        self.now += OPEN_NS
        yield
        row[1] = self.now
        self.now += CLOSE_NS

    def leaf(self, name: str, *kinds: str) -> None:
        """A range with one kernel of each kind in it."""
        with self.range(name):
            self.launch(*kinds)

    def launch(self, *kinds: str) -> None:
        """One kernel of each kind; every second kernel comes with a call that launches nothing."""
        for kind in kinds:
            name = next(self._names[kind])
            ids = self._strings[name], self._strings[base_name(name)]
            self.kernels.append((len(self.calls), self.now + LATENCY_NS, MEAN_NS[kind], *ids))
            self._call(LAUNCH)
            if len(self.kernels) % 2 == 0:
                self._call(QUERY)

    def synchronize(self) -> None:
        """Wait for the GPU, for as long as all kernels so far may take."""
        end = max(self.now, sum(3 * mean // 2 for _, _, mean, *_ in self.kernels)) + LATENCY_NS
        self.calls.append((self.now, end - self.now, 1, self._strings[SYNCHRONIZE]))
        self.now = end + PAUSE_NS

    def _call(self, name: str) -> None:
        least, chance = CALL_NS[name]
        self.calls.append((self.now, least, chance, self._strings[name]))
        self.now += least + chance + PAUSE_NS

    def tile(
        self, copies: int, *, start: int = 0, threads: int = 1, first_call: int = 0
    ) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Ranges, calls and kernels of `copies` passes, dealt out to `threads` threads, from `start` ns on.

        Calls and kernels are not timed yet: they have what `timed_calls` and `timed_kernels` need. `first_call` is the
        number of the first call, which kernels refer to.
        """
        number = pl.col("number")
        passes = pl.select(number=pl.int_range(copies)).select(
            (number % threads).cast(pl.UInt8).alias("thread"),
            # Threads work at the same time, but not in step.
            (start + number // threads * self.now + number % threads * 777).alias("origin"),
            (first_call + number * len(self.calls)).alias("first_call"),
        )
        ranges = pl.DataFrame(self.ranges, schema=["start", "end", "text"], orient="row")
        calls = pl.DataFrame(self.calls, schema=["start", "least", "chance", "name"], orient="row")
        kernels = pl.DataFrame(self.kernels, schema=["call", "ready", "mean", "name", "base"], orient="row")
        origin, narrow = pl.col("origin"), pl.col("^(name|base)$").cast(pl.UInt32)
        return (
            passes.join(ranges, how="cross").select(
                "thread", "text", start=origin + pl.col("start"), end=origin + pl.col("end")
            ),
            passes.join(calls, how="cross").select("thread", narrow, "least", "chance", start=origin + pl.col("start")),
            passes.join(kernels, how="cross").select(
                "thread", narrow, "mean", call=pl.col("first_call") + pl.col("call"), ready=origin + pl.col("ready")
            ),
        )


def group_norm(p: Layout, path: str) -> None:
    """Statistics, their parameters, and the application."""
    p.leaf(path, "group_norm", "group_norm", "pointwise")


def convolution(p: Layout, path: str) -> None:
    """Change of layout, convolution, bias."""
    p.leaf(path, "layout", "conv", "pointwise")


def attention(p: Layout, path: str) -> None:
    """Attention and its linear parts."""
    with p.range(path):
        for projection in ("to_q", "to_k", "to_v"):
            p.leaf(f"{path}.{projection}", "gemm")
        p.launch("flash", "copy")
        p.leaf(f"{path}.to_out.0", "gemm", "pointwise")
        p.leaf(f"{path}.to_out.1")


def transformer(p: Layout, path: str) -> None:
    """A transformer of one block."""
    block = f"{path}.transformer_blocks.0"
    with p.range(path):
        group_norm(p, f"{path}.norm")
        p.leaf(f"{path}.proj_in", "conv", "pointwise")
        p.launch("copy")
        with p.range(block):
            for number in (1, 2):
                p.leaf(f"{block}.norm{number}", "layer_norm")
                attention(p, f"{block}.attn{number}")
                p.launch("pointwise")
            p.leaf(f"{block}.norm3", "layer_norm")
            with p.range(f"{block}.ff"):
                p.leaf(f"{block}.ff.net.0", "gemm", "pointwise", "pointwise")
                p.leaf(f"{block}.ff.net.1")
                p.leaf(f"{block}.ff.net.2", "gemm", "pointwise")
            p.launch("pointwise")
        p.leaf(f"{path}.proj_out", "conv", "pointwise")
        p.launch("copy", "pointwise")


def resnet(p: Layout, path: str) -> None:
    """Two convolutions, with the embedding of time between them."""
    with p.range(path):
        group_norm(p, f"{path}.norm1")
        p.leaf(f"{path}.nonlinearity", "pointwise")
        convolution(p, f"{path}.conv1")
        p.leaf(f"{path}.time_emb_proj", "gemm")
        group_norm(p, f"{path}.norm2")
        p.leaf(f"{path}.nonlinearity", "pointwise")
        p.leaf(f"{path}.dropout")
        convolution(p, f"{path}.conv2")
        p.launch("pointwise")


def unet_block(p: Layout, path: str, *, resnets: int, attentions: int, sampler: str | None) -> None:
    """Resnets and transformers in turn, then a change of resolution."""
    with p.range(path):
        for number in range(resnets):
            resnet(p, f"{path}.resnets.{number}")
            if number < attentions:
                transformer(p, f"{path}.attentions.{number}")
        if sampler is not None:
            with p.range(f"{path}.{sampler}.0"):
                convolution(p, f"{path}.{sampler}.0.conv")


def denoising_step(p: Layout) -> None:
    """One step of Stable Diffusion 1.5: UNet, guidance, scheduler."""
    with p.range("step"):
        p.launch("copy", "pointwise")
        with p.range("unet"):
            p.leaf("unet.time_proj", *["pointwise"] * 4)
            with p.range("unet.time_embedding"):
                for part in ("linear_1", "act", "linear_2"):
                    p.leaf(f"unet.time_embedding.{part}", "pointwise" if part == "act" else "gemm")
            convolution(p, "unet.conv_in")
            for number in range(4):
                last = number == 3
                sampler = None if last else "downsamplers"
                attentions = 0 if last else 2
                unet_block(p, f"unet.down_blocks.{number}", resnets=2, attentions=attentions, sampler=sampler)
            unet_block(p, "unet.mid_block", resnets=2, attentions=1, sampler=None)
            for number in range(4):
                sampler = None if number == 3 else "upsamplers"
                attentions = 3 if number else 0
                unet_block(p, f"unet.up_blocks.{number}", resnets=3, attentions=attentions, sampler=sampler)
            group_norm(p, "unet.conv_norm_out")
            p.leaf("unet.conv_act", "pointwise")
            convolution(p, "unet.conv_out")
        p.launch("pointwise", "pointwise", "pointwise")
        p.leaf("scheduler.step", *["pointwise"] * 6)
        p.synchronize()


def text_encoder(p: Layout) -> None:
    """The text encoder of 12 layers, which runs once."""
    with p.range("text_encoder"):
        p.leaf("text_encoder.text_model.embeddings", "copy", "pointwise")
        for layer in (f"text_encoder.text_model.encoder.layers.{number}" for number in range(12)):
            with p.range(layer):
                p.leaf(f"{layer}.layer_norm1", "layer_norm")
                with p.range(f"{layer}.self_attn"):
                    for projection in ("q_proj", "k_proj", "v_proj"):
                        p.leaf(f"{layer}.self_attn.{projection}", "gemm")
                    p.launch("flash")
                    p.leaf(f"{layer}.self_attn.out_proj", "gemm")
                p.launch("pointwise")
                p.leaf(f"{layer}.layer_norm2", "layer_norm")
                with p.range(f"{layer}.mlp"):
                    p.leaf(f"{layer}.mlp.fc1", "gemm", "pointwise")
                    p.leaf(f"{layer}.mlp.fc2", "gemm")
                p.launch("pointwise")
        p.leaf("text_encoder.text_model.final_layer_norm", "layer_norm")
        p.synchronize()


def chance(below: pl.Expr, seed: int) -> pl.Expr:
    """Whole numbers from 0 up to `below`, from the number of the row: the mixing function of SplitMix64."""
    mixed = (pl.int_range(pl.len(), dtype=pl.UInt64) + seed + 1) * pl.lit(0x9E3779B97F4A7C15, dtype=pl.UInt64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed // (1 << shift))) * pl.lit(factor, dtype=pl.UInt64)
    return ((mixed // (1 << 33)).cast(pl.Int64)) % below


def timed_calls(calls: pl.DataFrame, seed: int) -> pl.DataFrame:
    """CUPTI_ACTIVITY_KIND_RUNTIME."""
    return calls.select(
        "start",
        end=pl.col("start") + pl.col("least") + chance(pl.col("chance"), seed),
        globalTid=_global_tid(),
        correlationId=pl.int_range(pl.len(), dtype=pl.UInt32) + 1,
        nameId="name",
    )


def timed_kernels(kernels: pl.DataFrame, seed: int) -> pl.DataFrame:
    """CUPTI_ACTIVITY_KIND_KERNEL: each thread has its stream, which does one kernel at a time, in order."""
    duration = pl.col("duration")
    before = duration.cum_sum() - duration
    # start = max(ready, end of the one before), unrolled: the wait so far is the largest there was.
    start = (pl.col("ready") - before).cum_max() + before
    timed = kernels.with_columns(duration=pl.col("mean") // 2 + chance(pl.col("mean"), seed)).with_columns(
        start=start.over("thread")
    )
    return timed.select(
        "start",
        end=pl.col("start") + duration,
        streamId=pl.col("thread") + 7,
        correlationId=(pl.col("call") + 1).cast(pl.UInt32),
        globalPid=pl.lit(GLOBAL_PID, dtype=pl.UInt64),
        demangledName="name",
        shortName="base",
        launchType=pl.lit(1, dtype=pl.UInt32),
        registersPerThread=pl.lit(64, dtype=pl.UInt32),
        gridX=(pl.col("mean") // 10).cast(pl.Int32),
        blockX=pl.lit(128, dtype=pl.Int32),
        gridId=pl.col("call") + 1,
    )


def _global_tid() -> pl.Expr:
    return GLOBAL_PID + PID + pl.col("thread").cast(pl.UInt64)


def trace(kernels: int, *, threads: int = 1, seed: int = 0) -> dict[str, pl.DataFrame]:
    """Every table of a trace.

    Args:
        kernels: how many; the trace has whole steps, at least one per thread, so it has a few more or less.
        threads: threads that launch, each on a stream of its own, at the same time.
        seed: of the durations.

    Returns:
        Frames by nsys's name of the table.
    """
    strings: defaultdict[str, int] = defaultdict(lambda: len(strings) + 1)
    encoder, step = Layout(strings), Layout(strings)
    text_encoder(encoder)
    denoising_step(step)
    copies = max(threads, round((kernels - len(encoder.kernels)) / len(step.kernels)))
    first = encoder.tile(1)
    rest = step.tile(copies, start=encoder.now, threads=threads, first_call=len(encoder.calls))
    ranges, calls, launched = (pl.concat(pair) for pair in zip(first, rest, strict=True))
    tables = {
        "NVTX_EVENTS": ranges.select(
            "start",
            "end",
            "text",
            eventType=pl.lit(PUSH_POP, dtype=pl.UInt32),
            globalTid=_global_tid(),
            domainId=pl.lit(0, dtype=pl.UInt64),
        ),
        "CUPTI_ACTIVITY_KIND_RUNTIME": timed_calls(calls, seed),
        "CUPTI_ACTIVITY_KIND_KERNEL": timed_kernels(launched, seed),
    }
    if threads > 1:
        tables = {name: frame.sort("start", maintain_order=True) for name, frame in tables.items()}
    return {
        "StringIds": pl.DataFrame({"id": list(strings.values()), "value": list(strings)}),
        **tables,
        "TARGET_INFO_GPU": pl.DataFrame({"id": [0], "cuDevice": [0], "name": ["Synthetic GPU"]}),
        "PROCESSES": pl.DataFrame({"globalPid": [GLOBAL_PID], "pid": [PID], "name": ["python"]}),
        "META_DATA_EXPORT": export_info(SYNTHETIC="benchmarks/generate.py"),
        **enumerations(),
    }


def write(kernels: int, output: Path, *, threads: int = 1, seed: int = 0) -> None:
    """Write `output`.sqlite and `output`_pqtdir, replacing what an earlier run wrote there."""
    began = time.perf_counter()
    tables = trace(kernels, threads=threads, seed=seed)
    parquet = output.with_name(f"{output.name}_pqtdir")
    # Only what this script or nsys could have written is ever deleted.
    if parquet.is_dir() and all(file.suffix == ".parquet" for file in parquet.iterdir()):
        shutil.rmtree(parquet)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_parquetdir(parquet, tables)
    write_sqlite(output.with_name(f"{output.name}.sqlite"), tables)
    counts = ", ".join(f"{tables[name].height:,} {word}" for name, word in _WORDS.items())
    print(f"{output}: {counts} in {time.perf_counter() - began:.1f} s", file=sys.stderr)


_WORDS = {
    "CUPTI_ACTIVITY_KIND_KERNEL": "kernels",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "API calls",
    "NVTX_EVENTS": "ranges",
}


def count(text: str) -> int:
    """A whole number, also as 1e6."""
    return int(float(text))


def main() -> None:
    """Read the command line and write the trace."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kernels", type=count, default=100_000, metavar="N", help="about how many (default: 1e5)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="launching threads (default: 1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the durations (default: 0)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BASE", help="BASE.sqlite and BASE_pqtdir")
    arguments = parser.parse_args()
    write(arguments.kernels, arguments.output, threads=arguments.threads, seed=arguments.seed)


if __name__ == "__main__":
    main()
