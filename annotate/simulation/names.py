"""Names of PyTorch's own kernels, as nsys writes them."""

from __future__ import annotations

from functools import cache

import torch

_C_TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.float16: "c10::Half",
    torch.bfloat16: "c10::BFloat16",
    torch.int64: "long",
    torch.int32: "int",
    torch.int16: "short",
    torch.int8: "signed char",
    torch.uint8: "unsigned char",
    torch.bool: "bool",
    torch.complex64: "c10::complex<float>",
    torch.complex128: "c10::complex<double>",
}
_NATIVE, _UNNAMED = "at::native::", "at::native::<unnamed>::"
_FUNCTORS = {
    "add": "at::native::CUDAFunctor_add<{t}>",
    "sub": "at::native::CUDAFunctor_add<{t}>",
    "mul": "at::native::BinaryFunctor<{t}, {t}, {t}, at::native::binary_internal::MulFunctor<float>>",
    "div": "at::native::BinaryFunctor<{t}, {t}, {t}, at::native::binary_internal::DivFunctor<float>>",
    "gelu": "at::native::GeluCUDAKernelImpl(at::TensorIteratorBase &, at::native::GeluType)::{l}",
    "silu": "at::native::<unnamed>::silu_kernel(at::TensorIteratorBase &)::{l}",
    "mish": "at::native::<unnamed>::mish_kernel(at::TensorIteratorBase &)::{l}",
    "pow": "void at::native::<unnamed>::pow_tensor_scalar_kernel_impl<{t}, {t}>(at::TensorIteratorBase &, T2)::{l}",
    "where": "at::native::<unnamed>::where_kernel_impl(at::TensorIterator &)::{l}",
    "masked_fill": "at::native::<unnamed>::masked_fill_kernel(at::TensorIterator &, const c10::Scalar &)::{l}",
    "clamp": "at::native::<unnamed>::launch_clamp_scalar(at::TensorIteratorBase &, c10::Scalar, c10::Scalar, "
    "at::native::detail::ClampLimits)::{l}",
    "addcmul": "at::native::addcmul_cuda_kernel(at::TensorIteratorBase &, const c10::Scalar &)::{l}",
    **dict.fromkeys(("eq", "ne"), "at::native::<unnamed>::CompareEqFunctor<{t}>"),
    **dict.fromkeys(("lt", "le", "gt", "ge"), "at::native::<unnamed>::CompareFunctor<{t}>"),
}
_FUNCTOR = "at::native::{name}_kernel_cuda(at::TensorIteratorBase &)::{l}"
_LAMBDA = "[lambda() (instance 1)]::operator ()() const::[lambda({t}) (instance 1)]"


@cache
def c_type(dtype: torch.dtype) -> str:
    """A type as C++ names it."""
    return _C_TYPES.get(dtype, "unsigned char")


@cache
def softmax(t: str, width: int, *, logarithm: bool) -> str:
    """In a warp for rows up to 1024, else in a block."""
    if width <= 1024:
        log2 = max(0, width - 1).bit_length()
        flag = f"(bool){int(logarithm)}"
        return (
            f"void <unnamed>::softmax_warp_forward<{t}, {t}, float, (int){log2}, {flag}, (bool)0>(T2 *, const T1 *, "
            "int, int, int, const bool *, int, bool)"
        )
    epilogue = "LogSoftMaxForwardEpilogue" if logarithm else "SoftMaxForwardEpilogue"
    return f"void {_UNNAMED}cunn_SoftMaxForward<(int)8, {t}, float, {t}, {_UNNAMED}{epilogue}>(T4 *, const T2 *, int)"


@cache
def moments(t: str) -> str:
    """Mean and variance of a group."""
    return f"void {_UNNAMED}RowwiseMomentsCUDAKernel<{t}, float>(long, T2, const T1 *, T2 *, T2 *)"


@cache
def group_norm_parameters(t: str) -> str:
    """Scale and shift of each channel."""
    return (
        f"void {_UNNAMED}ComputeFusedParamsCUDAKernel<{t}, float>(long, long, long, const T2 *, const T2 *, "
        "const T1 *, const T1 *, T2 *, T2 *)"
    )


@cache
def group_norm(t: str) -> str:
    """Their application."""
    return (
        f"void {_NATIVE}vectorized_elementwise_kernel<(int)4, void {_UNNAMED}GroupNormKernelImplInternal<{t}>("
        "const at::Tensor &, const at::Tensor &, const at::Tensor &, long, long, long, long, T1, at::Tensor &, "
        f"at::Tensor &, at::Tensor &)::[lambda({t}, float, float) (instance 1)], std::array<char *, (unsigned long)4>>"
        "(int, T2, T3)"
    )


@cache
def layer_norm(t: str, *, rms: bool) -> str:
    """Both norms are one kernel, told apart by its last argument."""
    return (
        f"void {_UNNAMED}vectorized_layer_norm_kernel<{t}, float, (bool){int(rms)}>(int, T2, const T1 *, const T1 *, "
        "const T1 *, T2 *, T2 *, T1 *)"
    )


@cache
def batch_norm(t: str) -> str:
    """As PyTorch runs it in inference."""
    return f"void {_NATIVE}batch_norm_transform_input_kernel<{t}, {t}, float, (bool)0, int>(T1)"


@cache
def lookup(t: str) -> str:
    """Rows of a table."""
    return (
        f"void {_UNNAMED}indexSelectLargeIndex<{t}, long, unsigned int, (int)2, (int)2, (int)-2, (bool)1>("
        "at::cuda::detail::TensorInfo<T1, T3>, at::cuda::detail::TensorInfo<const T1, T3>, "
        "at::cuda::detail::TensorInfo<const T2, T3>, int, int, T3, T3, long)"
    )


@cache
def index(operator: str) -> str:
    """Reading or writing at computed places."""
    if "scatter" in operator or operator == "gather":
        return f"void {_NATIVE}_scatter_gather_elementwise_kernel<(int)128, (int)8>(int, T3)"
    if operator in {"nonzero", "masked_select"}:
        return "void at_cuda_detail::cub::DeviceSelectSweepKernel<at_cuda_detail::cub::DeviceSelectPolicy>(T1)"
    kind = "index_put_kernel_impl" if "put" in operator else "index_kernel_impl"
    return (
        f"void {_NATIVE}index_elementwise_kernel<(int)128, (int)4, void {_NATIVE}gpu_index_kernel<void {_NATIVE}{kind}<"
        f"{_NATIVE}OpaqueType<(int)2>>(at::TensorIteratorBase &, c10::ArrayRef<long>, c10::ArrayRef<long>)::"
        "[lambda(char *, const char *, long) (instance 1)]>(at::TensorIteratorBase &, c10::ArrayRef<long>, "
        "c10::ArrayRef<long>, const T1 &)::[lambda(int) (instance 1)]>(long, T3)"
    )


@cache
def concatenation(itemsize: int) -> str:
    """Several tensors into one."""
    return (
        f"void {_UNNAMED}CatArrayBatchedCopy_vectorized<{_UNNAMED}OpaqueType<(unsigned int){itemsize}>, unsigned int, "
        f"(int)2, (int)128, (int)1, (int)16, (int)8>(char *, {_UNNAMED}CatArrInputTensorMetadata<T1, T2, T4, T5>, "
        f"{_UNNAMED}TensorSizeStride<T2, (unsigned int)4>, int, T2)"
    )


@cache
def pad(operator: str, t: str) -> str:
    """By what lies at the border."""
    kind, dims = operator[:-2].removesuffix("_pad"), operator[-2:]
    return f"void {_UNNAMED}{kind}_pad{dims}_out_kernel<{t}>(const T1 *, T1 *, long, long, long, long, int, int)"


@cache
def moved(operator: str, t: str) -> str:
    """Roll and flip."""
    if operator == "roll":
        return f"void {_NATIVE}roll_cuda_kernel<{t}>(const T1 *, T1 *, long, long, long, long, long, long)"
    return f"void {_NATIVE}elementwise_kernel<(int)128, (int)4, {_NATIVE}flip_kernel_impl<{t}>>(int, T3)"


@cache
def copy(source: torch.dtype, target: torch.dtype, *, plain: bool) -> str:
    """A copy, a cast, a change of layout."""
    t = c_type(target)
    functor = f"{_NATIVE}direct_copy_kernel_cuda(at::TensorIteratorBase &)::{_LAMBDA.format(t=t)}"
    if plain and source != target:
        offsets = "TrivialOffsetCalculator<(int)1, unsigned int>"
        return (
            f"void {_NATIVE}unrolled_elementwise_kernel<{functor}, std::array<char *, (unsigned long)2>, (int)4, "
            f"{offsets}, {offsets}, {_NATIVE}memory::LoadWithCast<(int)1>, {_NATIVE}memory::StoreWithCast<(int)1>>"
            "(int, T1, T2, T4, T5, T6, T7)"
        )
    return _launched(functor, 2, plain=plain)


@cache
def reduction(operator: str, t: str) -> str:
    """Along an axis."""
    functors = {
        "mean": f"{_NATIVE}MeanOps<{t}, float, float, float>",
        **dict.fromkeys(("max", "amax"), f"{_NATIVE}MaxOps<{t}>"),
        **dict.fromkeys(("min", "amin"), f"{_NATIVE}MinOps<{t}>"),
        "argmax": f"{_NATIVE}ArgMaxOps<{t}>",
        **dict.fromkeys(
            ("var", "std", "var_mean"), f"{_NATIVE}WelfordOps<{t}, float, int, thrust::pair<float, float>>"
        ),
        **dict.fromkeys(("norm", "linalg_vector_norm"), f"{_NATIVE}NormTwoOps<{t}, float, float>"),
    }
    summed = f"{_NATIVE}func_wrapper_t<{t}, {_NATIVE}{operator}_functor<{t}, float, {t}>>"
    return (
        f"void {_NATIVE}reduce_kernel<(int)512, (int)1, {_NATIVE}ReduceOp<{t}, {functors.get(operator, summed)}, "
        f"unsigned int, {t}, (int)4, (int)4>>(T3)"
    )


@cache
def scan(t: str) -> str:
    """Running sums."""
    return (
        f"void {_NATIVE}tensor_kernel_scan_innermost_dim<{t}, std::plus<{t}>>(T1 *, const T1 *, unsigned int, T1, T2)"
    )


@cache
def sort(t: str) -> str:
    """By radix."""
    return (
        "void at_cuda_detail::cub::DeviceRadixSortOnesweepKernel<at_cuda_detail::cub::DeviceRadixSortPolicy<"
        f"{t}, long, unsigned long long>::Policy900, (bool)1, {t}, long, unsigned long long, int, int>(T7 *)"
    )


@cache
def random(operator: str, t: str) -> str:
    """Numbers from a distribution."""
    kind = "normal" if operator in {"randn", "randn_like", "normal"} else "uniform"
    return (
        f"void {_UNNAMED}distribution_elementwise_grid_stride_kernel<float, (int)4, void {_NATIVE}templates::cuda::"
        f"{kind}_and_transform<{t}, float, at::CUDAGeneratorImpl *>>(long, at::PhiloxCudaState, T3, T4)"
    )


@cache
def fill(t: str) -> str:
    """One value everywhere."""
    return (
        f"void {_NATIVE}vectorized_elementwise_kernel<(int)4, {_NATIVE}FillFunctor<{t}>, "
        "std::array<char *, (unsigned long)1>>(int, T2, T3)"
    )


@cache
def own(operator: str, t: str) -> str:
    """Kernels that are named after their operator."""
    if operator in {"triu", "tril"}:
        return f"void {_NATIVE}triu_tril_kernel<{t}, int, (bool){int(operator == 'triu')}, (int)4, (bool)0>(T2)"
    return f"void {_UNNAMED}searchsorted_cuda_kernel<{t}, long>(T2 *, const T1 *, const T1 *, const long *, long, long)"


@cache
def resampling(operator: str, t: str) -> str:
    """Interpolation."""
    if "grid_sampler" in operator:
        return f"void {_UNNAMED}{operator}_kernel<{t}, int>(T2, at::cuda::detail::TensorInfo<const T1, T2>)"
    name = operator.lstrip("_").removesuffix("_aa")
    return f"void {_UNNAMED}{name}_out_frame<{t}>(const T1 *, T1 *, unsigned long, unsigned long, float, float)"


@cache
def pooling(operator: str, t: str) -> str:
    """Maxima or means of windows."""
    return f"void {_UNNAMED}{operator.lstrip('_')}_out_cuda_frame<{t}, float>(const T1 *, int, int, int, T1 *)"


@cache
def elementwise(operator: str, t: str, tensors: int, *, plain: bool) -> str:
    """PyTorch's launcher of what computes each element by itself: vectorised where all lie alike in memory."""
    spelt = _FUNCTORS.get(operator, _FUNCTOR)
    functor = spelt.replace("{l}", _LAMBDA).replace("{t}", t).replace("{name}", operator.strip("_"))
    return _launched(functor, tensors, plain=plain)


@cache
def _launched(functor: str, tensors: int, *, plain: bool) -> str:
    if plain:
        arrays = f"std::array<char *, (unsigned long){tensors}>"
        return f"void {_NATIVE}vectorized_elementwise_kernel<(int)4, {functor}, {arrays}>(int, T2, T3)"
    return (
        f"void {_NATIVE}elementwise_kernel<(int)128, (int)4, void {_NATIVE}gpu_kernel_impl_nocast<{functor}>("
        "at::TensorIteratorBase &, const T1 &)::[lambda(int) (instance 1)]>(int, T3)"
    )
