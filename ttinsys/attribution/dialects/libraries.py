"""Ranges of NVIDIA's libraries around their calls: cuBLAS, cuDNN, cuSPARSE, cuFFT, CCCL and others.

They have no role: the module around a matrix multiplication tells what it is for, and its kernels tell the operator.
"""

from __future__ import annotations

import polars as pl

from ttinsys.attribution.dialects import Dialect

_DOMAINS = [
    *("cuBLAS", "cuBLASLt", "cuDNN", "cuSPARSE", "cuSPARSELt", "cuFFT", "cuSOLVER", "cuRAND", "cuTENSOR"),
    *("nvJPEG", "NPP", "DALI", "CCCL", "CUB", "thrust", "libcudf", "cudf_python"),
]

DIALECT = Dialect(
    name="libraries",
    doc="NVIDIA's libraries: ranges around calls of their API",
    source=(
        "nsys --trace=cublas,cudnn (docs.nvidia.com/nsight-systems); nsys reports with cuBLAS:cublasLtMatmul and "
        "CCCL:cub:: ranges"
    ),
    claims=pl.col("domain").is_in(_DOMAINS).fill_null(value=False)
    | pl.col("head").str.contains(
        r"^cu(?:blas|dnn|sparse|fft|solver|rand|tensor)(?:Lt|Xt)?[A-Z]\w*$|^(?:cub|thrust)::"
    ),
    reads={"group": pl.col("name")},
    examples={
        "cublasLtMatmul": {"domain": "cuBLAS", "group": "cublasLtMatmul", "role": None, "operation": None},
        "cublasSgemm_v2": {"domain": "cuBLAS", "group": "cublasSgemm_v2"},
        "cudnnConvolutionForward": {"domain": "cuDNN", "group": "cudnnConvolutionForward", "role": None},
        "cub::DeviceScan::InclusiveSum": {"domain": "CCCL", "group": "cub::DeviceScan::InclusiveSum"},
        "cub::DeviceRadixSort": {"group": "cub::DeviceRadixSort"},
    },
    rank=-10,
)  # fmt: skip
