"""Names of the kernels of cuBLAS, cuDNN and fused attention on a GPU's generation, as nsys writes them."""

from __future__ import annotations

from functools import cache

import torch

from annotate.simulation.names import c_type

Compute = tuple[int, int]

_SHORT = {torch.float16: "fp16", torch.bfloat16: "bf16"}
_CUTLASS = {torch.float16: "cutlass::half_t", torch.bfloat16: "cutlass::bfloat16_t"}
_NVJET = {torch.float16: "hsh", torch.bfloat16: "tst"}


def tile(rows: int, columns: int) -> tuple[int, int]:
    """Tile of a matrix product: large where there is enough to do."""
    if rows >= 1024 and columns >= 256:
        return 128, 256
    return (128, 128) if rows >= 128 and columns >= 128 else (64, 64)


@cache
def gemm(dtype: torch.dtype, compute: Compute, tile: tuple[int, int], *, vector: bool, transposed: bool) -> str:
    """cuBLAS: nvjet from Hopper on, the Ampere kernels before; a product with a single row is one with a vector."""
    layout = "tn" if transposed else "nn"
    rows, columns = tile
    short = _SHORT.get(dtype)
    if vector:
        t = {"fp16": "__half", "bf16": "__nv_bfloat16"}.get(short or "", "float")
        return (
            f"void gemv2T_kernel_val<int, int, {t}, {t}, {t}, float, (int)128, (int)16, (int)4, (int)4, (bool)0, "
            f"(bool)0, cublasGemvParamsEx<int, cublasGemvTensorStridedBatched<const {t}>, "
            f"cublasGemvTensorStridedBatched<const {t}>, cublasGemvTensorStridedBatched<{t}>, float>>(T13, T6, T6)"
        )
    if short is None:
        if compute < (9, 0):
            return f"ampere_sgemm_{rows}x{min(columns, 128)}_{layout}"
        return (
            f"sm80_xmma_gemm_f32f32_f32f32_f32_{layout}_n_tilesize{rows}x{min(columns, 128)}x8_stage3_"
            "warpsize2x2x1_ffma_aligna4_alignc4_execute_kernel__5x_cublas"
        )
    if compute < (9, 0):
        return f"ampere_{short}_s16816gemm_{short}_{rows}x{columns}_ldg8_f2f_stages_32x5_{layout}"
    generation = "sm100_" if compute >= (10, 0) else ""
    return f"nvjet_{generation}{_NVJET[dtype]}_{rows}x{columns}_64x4_1x2_h_bz_coopA_{'TNT' if transposed else 'NNT'}"


@cache
def convolution(dtype: torch.dtype, compute: Compute, *, dims: int, depthwise: bool) -> str:
    """Of cuDNN: implicit GEMM on tensor cores, or PyTorch's own kernel for one channel at a time."""
    t = c_type(dtype)
    if depthwise:
        return (
            f"void at::native::<unnamed>::conv_depthwise{max(dims, 2)}d_forward_kernel<(int)0, {t}, int>("
            "at::GenericPackedTensorAccessor<const T2, (unsigned long)4, at::DefaultPtrTraits, T3>)"
        )
    generation = "sm90" if compute[0] == 9 else "sm100" if compute[0] == 10 else "sm80"
    kinds = {torch.float16: "f16f16_f16f32_f32", torch.bfloat16: "bf16bf16_bf16f32_f32"}
    layout = "nhwckrsc_nhwc" if dims < 3 else "ndhwckrsc_ndhwc"
    return (
        f"{generation}_xmma_fprop_implicit_gemm_{kinds.get(dtype, 'tf32f32_tf32f32_f32')}_{layout}_"
        "tilesize128x128x64_warpgroupsize1x1x1_g1_execute_kernel__5x_cudnn"
    )


def layout(direction: str, t: str) -> str:
    """Of cuDNN: a change between channels first and last."""
    short = direction.lower().replace("to", "2")
    return (
        f"void cudnn::ops::{direction}Kernel<{t}, {t}, float, (bool)0, (bool)1, (cudnnKernelDataType_t)0>("
        f"cudnn::ops::{short}_params_t<T3>, const T1 *, T2 *)"
    )


@cache
def flash_attention(dtype: torch.dtype, width: int, compute: Compute, *, causal: bool) -> str:
    """FlashAttention-2, as PyTorch has it built in."""
    del compute
    head = next((size for size in (32, 64, 96, 128, 160, 192, 256) if width <= size), 256)
    t = _CUTLASS.get(dtype, "float")
    traits = f"(int){head}, (int)128, (int){128 if head <= 64 else 64}, (int)4"
    flags = ", ".join(f"(bool){int(flag)}" for flag in (False, causal, False, False, True, width == head, False))
    return (
        f"void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<{traits}, (bool)0, (bool)0, {t}, "
        f"pytorch_flash::Flash_kernel_traits<{traits}, {t}>>, {flags}>(pytorch_flash::Flash_fwd_params)"
    )


@cache
def efficient_attention(dtype: torch.dtype, width: int, compute: Compute, *, causal: bool) -> str:
    """Memory-efficient attention of xFormers, as PyTorch has it built in: with a mask, or in single precision."""
    del compute, causal
    short = {torch.float16: "f16", torch.bfloat16: "bf16"}.get(dtype, "f32")
    tile = "64x64_rf" if width <= 64 else "64x128_rf" if width <= 128 else "32x128_gmem"
    name = f"fmha_cutlassF_{short}_aligned_{tile}_sm80"
    return (
        f"{name}(PyTorchMemEffAttention::AttentionKernel<{_CUTLASS.get(dtype, 'float')}, cutlass::arch::Sm80>::Params)"
    )
