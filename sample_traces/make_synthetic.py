"""Make `synthetic-stable-diffusion.sqlite`: a trace that no GPU ever ran, with an answer that can be checked by hand.

    python -m sample_traces.make_synthetic                # in the root of the repository
    python -m sample_traces.make_synthetic other.sqlite

The program is Stable Diffusion in small: a text encoder of two layers, three denoising steps of a UNet with one down,
one middle and one up block, and the decoder of a VAE. Each range is named by the module path that it stands for, each
kernel by a name that PyTorch launches, and each duration is round. The README beside this file adds them up.

The CPU launches a kernel every 300 ns, and kernels take longer than that: the GPU falls behind, and works on one module
while the CPU is inside another. So a tool that looks at which range was open while a kernel ran gets the wrong answer.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from parsers.nsys_schema import enumerations
from parsers.writer import write_sqlite
from tests.build import Thread, TraceBuilder

SAMPLE = Path(__file__).with_name("synthetic-stable-diffusion.sqlite")
STEPS = 3
PID, MAIN, LOADER = 4242, 4242, 4250
CALL_NS = 200
"""Duration of an API call, ..."""
BETWEEN_CALLS_NS = 100
"""... and the pause after it."""
MARKER_NS = 10
"""What opening or closing a range takes."""
LATENCY_NS = 500
"""From the begin of a launch to the start of its kernel, if the stream is idle."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that always takes `ns`."""

    ns: int
    name: str
    short_name: str
    grid: tuple[int, int, int] = (1, 1, 1)
    block: tuple[int, int, int] = (128, 1, 1)


def pointwise(ns: int, functor: str, *, tensors: int = 2) -> Kernel:
    """PyTorch's launcher of pointwise operators; `tensors` counts inputs and output."""
    arrays = f"std::array<char *, (unsigned long){tensors}>"
    name = f"void at::native::vectorized_elementwise_kernel<(int)4, {functor}, {arrays}>"
    return Kernel(ns, f"{name}(int, T2, T3)", "vectorized_elementwise_kernel", (512, 1, 1))


def gemm(ns: int, tile: str) -> Kernel:
    """A half-precision matrix product of cuBLAS."""
    name = f"ampere_fp16_s16816gemm_fp16_{tile}_ldg8_f2f_stages_64x3_tn"
    return Kernel(ns, name, name, (64, 8, 1))


def moments(ns: int, types: str) -> Kernel:
    """Mean and variance, for a normalization."""
    name = f"void at::native::<unnamed>::RowwiseMomentsCUDAKernel<{types}>(long, T2, const T1 *, T2 *, T2 *)"
    return Kernel(ns, name, "RowwiseMomentsCUDAKernel", (64, 1, 1), (512, 1, 1))


CONV = Kernel(
    2000,
    "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x32_stage4_warpsize2x2x1_g1_"
    "tensor16x8x16_execute_kernel__5x_cudnn",
    "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize128x128x32_stage4_warpsize2x2x1_g1_"
    "tensor16x8x16_execute_kernel__5x_cudnn",
    (32, 5, 1),
)
GROUP_NORM = (
    moments(100, "c10::Half, float"),
    Kernel(
        100,
        "void at::native::<unnamed>::ComputeFusedParamsCUDAKernel<c10::Half, float>(long, long, long, const T2 *, "
        "const T2 *, const T1 *, const T1 *, T2 *, T2 *)",
        "ComputeFusedParamsCUDAKernel",
    ),
)
LAYER_NORM = Kernel(
    100,
    "void at::native::<unnamed>::vectorized_layer_norm_kernel<c10::Half, float>(int, T2, const T1 *, const T1 *, "
    "const T1 *, T2 *, T2 *, T1 *)",
    "vectorized_layer_norm_kernel",
    (4096, 1, 1),
)
SILU = pointwise(
    100,
    "at::native::<unnamed>::silu_kernel(at::TensorIteratorBase &)::[lambda() (instance 1)]::operator ()() const::"
    "[lambda() (instance 6)]::operator ()() const::[lambda(c10::Half) (instance 1)]",
)
GELU = pointwise(
    200,
    "at::native::GeluCUDAKernelImpl(at::TensorIteratorBase &, at::native::GeluType)::[lambda() (instance 2)]::"
    "operator ()() const::[lambda() (instance 3)]::operator ()() const::[lambda(c10::Half) (instance 1)]",
)
ADD = pointwise(100, "at::native::CUDAFunctor_add<c10::Half>", tensors=3)
MULTIPLY = "at::native::AUnaryFunctor<c10::Half, c10::Half, c10::Half, at::native::binary_internal::MulFunctor<float>>"
SCALE = pointwise(100, MULTIPLY)


def attention(project_in: tuple[int, int, int], fused: int, project_out: int) -> tuple[Kernel, ...]:
    """Three projections, fused attention, and the projection of its output; durations in ns."""
    flash = Kernel(
        fused,
        "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<(int)64, (int)128, (int)128, "
        "(int)4, (bool)0, (bool)0, cutlass::half_t, pytorch_flash::Flash_kernel_traits<(int)64, (int)128, (int)128, "
        "(int)4, cutlass::half_t>>, (bool)0, (bool)0, (bool)0, (bool)0, (bool)1, (bool)1, (bool)0>"
        "(pytorch_flash::Flash_fwd_params)",
        "flash_fwd_kernel",
        (32, 2, 8),
    )
    return (*(gemm(ns, "128x64") for ns in project_in), flash, gemm(project_out, "128x64"))


SELF_ATTENTION = attention((400, 400, 400), 1400, 400)
CROSS_ATTENTION = attention((300, 200, 200), 500, 300)
FEED_FORWARD = (gemm(1000, "256x128"), GELU, gemm(800, "128x128"))
OUTSIDE = Kernel(
    10_000,
    "void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase &)::"
    "[lambda() (instance 3)]::operator ()() const::[lambda() (instance 7)]::operator ()() const::[lambda(float) "
    "(instance 1)], std::array<char *, (unsigned long)2>, (int)4, TrivialOffsetCalculator<(int)1, unsigned int>, "
    "TrivialOffsetCalculator<(int)1, unsigned int>, at::native::memory::LoadWithCast<(int)1>, "
    "at::native::memory::StoreWithCast<(int)1>>(int, T1, T2, T4, T5, T6, T7)",
    "unrolled_elementwise_kernel",
    (1024, 1, 1),
)


class Program:
    """What the CPU does, call by call, and what the GPU makes of it: in order, one operation at a time per stream."""

    def __init__(self) -> None:
        self.trace = TraceBuilder(SYNTHETIC="sample_traces/make_synthetic.py")
        self.main = self.trace.thread(PID, MAIN, "python")
        self.loader = self.trace.thread(PID, LOADER, "loader")
        self.now = 0
        self._free: defaultdict[int, int] = defaultdict(int)

    @contextmanager
    def range(self, name: str, payload: int | None = None) -> Iterator[None]:
        """Push a range, and pop it."""
        opened = self.trace.range(self.main, name, self.now, None, payload=payload)
        self.now += MARKER_NS
        yield
        self.trace.close(opened, self.now)
        self.now += MARKER_NS

    def launch(self, *kernels: Kernel, thread: Thread | None = None, stream: int = 7) -> None:
        """Launch kernels, one after another."""
        for kernel in kernels:
            self.trace.kernel(
                thread or self.main,
                kernel.name,
                short_name=kernel.short_name,
                launch=self._call(),
                gpu=self._execute(kernel.ns, stream),
                stream=stream,
                grid=kernel.grid,
                block=kernel.block,
            )

    def module(self, name: str, *kernels: Kernel) -> None:
        """A range around the launches of some kernels."""
        with self.range(name):
            self.launch(*kernels)

    def copy(self, kind: Literal["HtoD", "DtoH"], size: int, ns: int) -> None:
        """Copy `size` bytes, which takes `ns` on the GPU."""
        self.trace.memcpy(self.main, kind, size, launch=self._call(), gpu=self._execute(ns, 7))

    def fill(self, size: int, ns: int) -> None:
        """Set `size` bytes to zero, which takes `ns` on the GPU."""
        self.trace.memset(self.main, size, launch=self._call(), gpu=self._execute(ns, 7))

    def call(self, name: str) -> None:
        """An API call that launches nothing."""
        self.trace.api(self.main, name, *self._call())

    def synchronize(self) -> None:
        """Wait until the GPU has done all."""
        start, end = self.now, max(self._free.values())
        self.trace.api(self.main, "cudaStreamSynchronize_v3020", start, end)
        self.now = end + BETWEEN_CALLS_NS

    def _call(self) -> tuple[int, int]:
        start = self.now
        self.now += CALL_NS + BETWEEN_CALLS_NS
        return start, start + CALL_NS

    def _execute(self, ns: int, stream: int) -> tuple[int, int]:
        launched = self.now - CALL_NS - BETWEEN_CALLS_NS
        start = max(self._free[stream], launched + LATENCY_NS)
        self._free[stream] = start + ns
        return start, start + ns


def resnet(p: Program, path: str, *, time_embedding: bool = True) -> None:
    """5000 ns; 4700 ns without the time embedding."""
    with p.range(path):
        p.module(f"{path}.norm1", *GROUP_NORM)
        p.module(f"{path}.nonlinearity", SILU)
        p.module(f"{path}.conv1", CONV)
        if time_embedding:
            p.module(f"{path}.time_emb_proj", gemm(300, "64x64"))
        p.module(f"{path}.norm2", *GROUP_NORM)
        p.module(f"{path}.nonlinearity", SILU)
        p.module(f"{path}.conv2", CONV)
        p.launch(ADD)


def transformer(p: Program, path: str) -> None:
    """8000 ns, of which the transformer block takes 7100."""
    block = f"{path}.transformer_blocks.0"
    with p.range(path):
        p.module(f"{path}.norm", *GROUP_NORM)
        p.module(f"{path}.proj_in", gemm(400, "128x128"))
        with p.range(block):
            p.module(f"{block}.norm1", LAYER_NORM)
            p.module(f"{block}.attn1", *SELF_ATTENTION)
            p.launch(ADD)
            p.module(f"{block}.norm2", LAYER_NORM)
            p.module(f"{block}.attn2", *CROSS_ATTENTION)
            p.launch(ADD)
            p.module(f"{block}.norm3", LAYER_NORM)
            p.module(f"{block}.ff", *FEED_FORWARD)
            p.launch(ADD)
        p.module(f"{path}.proj_out", gemm(300, "128x128"))


def upsampler(p: Program, path: str) -> None:
    """3000 ns."""
    with p.range(path):
        p.launch(
            Kernel(
                1000,
                "void at::native::<unnamed>::upsample_nearest2d_nhwc_out_frame<c10::Half, &at::native::"
                "nearest_neighbor_compute_source_index>(const T1 *, T1 *, unsigned long, unsigned long, unsigned long,"
                " unsigned long, unsigned long, float, float, unsigned long)",
                "upsample_nearest2d_nhwc_out_frame",
                (256, 1, 1),
            )
        )
        p.module(f"{path}.conv", CONV)


def text_encoder(p: Program) -> None:
    """11000 ns."""
    model = "text_encoder.text_model"
    with p.range("text_encoder"):
        p.module(
            f"{model}.embeddings",
            Kernel(
                100,
                "void at::native::vectorized_gather_kernel<(int)16, long>(char *, char *, T2 *, int, long, long, long, "
                "long, bool)",
                "vectorized_gather_kernel",
                (77, 1, 1),
            ),
        )
        for layer in (f"{model}.encoder.layers.{number}" for number in range(2)):
            with p.range(layer):
                p.module(f"{layer}.layer_norm1", LAYER_NORM)
                p.module(f"{layer}.self_attn", *SELF_ATTENTION)
                p.launch(ADD)
                p.module(f"{layer}.layer_norm2", LAYER_NORM)
                p.module(f"{layer}.mlp", *FEED_FORWARD)
                p.launch(ADD)
        p.module(f"{model}.final_layer_norm", LAYER_NORM)


def unet(p: Program) -> None:
    """54000 ns."""
    with p.range("unet"):
        p.module("unet.time_proj", pointwise(200, "at::native::sin_kernel_cuda(at::TensorIteratorBase &)"))
        with p.range("unet.time_embedding"):
            p.module("unet.time_embedding.linear_1", gemm(200, "64x64"))
            p.module("unet.time_embedding.act", SILU)
            p.module("unet.time_embedding.linear_2", gemm(200, "64x64"))
        p.module("unet.conv_in", CONV)
        with p.range("unet.down_blocks.0"):
            resnet(p, "unet.down_blocks.0.resnets.0")
            transformer(p, "unet.down_blocks.0.attentions.0")
            with p.range("unet.down_blocks.0.downsamplers.0"):
                p.module("unet.down_blocks.0.downsamplers.0.conv", CONV)
        with p.range("unet.mid_block"):
            resnet(p, "unet.mid_block.resnets.0")
            transformer(p, "unet.mid_block.attentions.0")
            resnet(p, "unet.mid_block.resnets.1")
        with p.range("unet.up_blocks.0"):
            resnet(p, "unet.up_blocks.0.resnets.0")
            transformer(p, "unet.up_blocks.0.attentions.0")
            upsampler(p, "unet.up_blocks.0.upsamplers.0")
        p.module("unet.conv_norm_out", *GROUP_NORM)
        p.module("unet.conv_act", SILU)
        p.module("unet.conv_out", CONV)


def step(p: Program, number: int) -> None:
    """55000 ns of kernels, 500 of them the step's own (guidance); and a memset of 1000 ns."""
    with p.range("step", payload=number):
        p.call("cudaStreamIsCapturing_v10000")
        p.fill(4096, 1000)
        p.launch(
            Kernel(
                200,
                "void at::native::<unnamed>::CatArrayBatchedCopy<at::native::<unnamed>::OpaqueType<(unsigned int)2>, "
                "unsigned int, (int)4, (int)64, (int)64>(T1 *, at::native::<unnamed>::CatArrInputTensorMetadata<T1, "
                "T2, T4, T5>, at::native::<unnamed>::TensorSizeStride<T2, (unsigned int)4>, int, T2)",
                "CatArrayBatchedCopy",
                (216, 2, 1),
                (512, 1, 1),
            )
        )
        unet(p)
        p.launch(ADD, SCALE, ADD)
        p.module("scheduler.step", SCALE, ADD, SCALE, SCALE, ADD)


def vae_decode(p: Program) -> None:
    """22000 ns."""
    decoder = "vae.decoder"
    with p.range("vae.decode"):
        p.module("vae.post_quant_conv", CONV)
        with p.range(decoder):
            p.module(f"{decoder}.conv_in", CONV)
            with p.range(f"{decoder}.mid_block"):
                resnet(p, f"{decoder}.mid_block.resnets.0", time_embedding=False)
                with p.range(f"{decoder}.mid_block.attentions.0"):
                    p.module(f"{decoder}.mid_block.attentions.0.group_norm", *GROUP_NORM)
                    p.launch(*SELF_ATTENTION)
            with p.range(f"{decoder}.up_blocks.0"):
                resnet(p, f"{decoder}.up_blocks.0.resnets.0", time_embedding=False)
                upsampler(p, f"{decoder}.up_blocks.0.upsamplers.0")
            p.module(f"{decoder}.conv_norm_out", *GROUP_NORM)
            p.module(f"{decoder}.conv_act", SILU)
            p.module(f"{decoder}.conv_out", CONV)
        p.launch(pointwise(100, "at::native::<unnamed>::launch_clamp_scalar(at::TensorIteratorBase &)"))


def run() -> Program:
    """The whole program: 250 000 ns of kernels, 200 000 of them inside the pipeline, and 10 000 ns of memory work."""
    p = Program()
    p.call("cudaMalloc_v3020")
    p.fill(1 << 20, 2000)
    p.launch(OUTSIDE, OUTSIDE)
    with p.range("pipeline"):
        p.copy("HtoD", 616, 2000)
        text_encoder(p)
        p.launch(
            Kernel(
                1000,
                "void at::native::<unnamed>::distribution_elementwise_grid_stride_kernel<float, (int)4, at::native::"
                "templates::cuda::normal_and_transform>(long, at::PhiloxCudaState, T3, T4)",
                "distribution_elementwise_grid_stride_kernel",
                (16, 1, 1),
            ),
            pointwise(1000, MULTIPLY),
        )
        for number in range(STEPS):
            step(p, number)
            if number == 0:
                # The other thread has no range open, whatever the main thread is in.
                p.launch(OUTSIDE, thread=p.loader, stream=13)
        vae_decode(p)
        p.copy("DtoH", 786_432, 3000)
        p.synchronize()
    p.launch(OUTSIDE, OUTSIDE)
    p.synchronize()
    return p


def tables() -> dict[str, pl.DataFrame]:
    """Every table of the trace, by nsys's name."""
    p = run()
    t = p.trace
    t.process(PID, "python")
    t.gpu(0, "Synthetic GPU", smCount=1, computeMajor=8, computeMinor=0, chipName="SYNTHETIC", isDiscrete=True)
    t.row("TARGET_INFO_CUDA_CONTEXT_INFO", nullStreamId=7, processId=PID, deviceId=0, contextId=1)
    t.row("TARGET_INFO_CUDA_STREAM", streamId=7, processId=PID, contextId=1, flag=3)
    t.row("TARGET_INFO_CUDA_STREAM", streamId=13, processId=PID, contextId=1, flag=2)
    return t.tables() | enumerations()


def main() -> None:
    """Write the trace."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", nargs="?", type=Path, default=SAMPLE, help="where to write it")
    write_sqlite(parser.parse_args().path, tables())


if __name__ == "__main__":
    main()
