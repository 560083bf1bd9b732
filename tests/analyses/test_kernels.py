"""Kernels by name: times and shares worked out by hand."""

from __future__ import annotations

from pathlib import Path

from tests.build import TraceBuilder
from tests.two_steps import two_steps
from ttinsys.runner.run import analyse


def test_kernels_add_up_by_name(tmp_path: Path) -> None:
    frame = analyse("kernels", two_steps().load(tmp_path))
    columns = ["kernel", "instances", "sum_ns", "share", "mean_ns", "median_ns", "min_ns", "max_ns"]
    assert frame.select(columns).rows() == [
        ("flash_fwd", 3, 240, 0.48, 80.0, 100.0, 40, 100),
        ("cudnn_conv", 2, 200, 0.4, 100.0, 100.0, 100, 100),
        ("add", 3, 50, 0.1, 50 / 3, 20.0, 10, 20),
        ("euler", 2, 10, 0.02, 5.0, 5.0, 5, 5),
    ]


def elementwise(functor: str, launcher: str = "vectorized_elementwise_kernel<4, ") -> str:
    """A kernel of PyTorch that runs a functor, as its profiler prints it."""
    return f"void at::native::{launcher}at::native::{functor}, std::array<char*, 3ul> >(int, at::native::{functor})"


def test_kernels_of_one_launcher_are_told_apart_by_their_functors(tmp_path: Path) -> None:
    bound = (
        "BUnaryFunctor<c10::BFloat16, c10::BFloat16, c10::BFloat16, at::native::binary_internal::MulFunctor<float> >"
    )
    cosine = "cos_kernel_cuda(at::TensorIteratorBase&)::{lambda()#2}::operator()() const::{lambda(float)#1}"
    flash = (
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<2, cutlass::bfloat16_t> > >(P)"
    )
    names = [
        elementwise("CUDAFunctor_add<float>"), elementwise(bound), elementwise(cosine), flash,
        elementwise("FillFunctor<long>"), elementwise("FillFunctor<long>", "vectorized_elementwise_kernel<2, "),
    ]  # fmt: skip
    t = TraceBuilder()
    for number, name in enumerate(names):
        # Each takes 1 ns less than the one before it.
        t.kernel(t.thread(), name, launch=(number, number), gpu=(100 * number, 100 * number + 50 - number))
    frame = analyse("kernels", t.load(tmp_path))
    assert frame["kernel"].to_list() == names
    assert frame.select("operator", "variant", "precision", "name").rows() == [
        ("elementwise", None, "fp32", "CUDAFunctor_add<float> (vectorized_elementwise)"),
        (
            "elementwise",
            None,
            "bf16",
            "MulFunctor<BFloat16, scalar> (vectorized_elementwise)",
        ),
        ("elementwise", None, "fp32", "cos_kernel_cuda<float> (vectorized_elementwise)"),
        ("flash_attention", None, "bf16", "FlashAttnFwdSm90<2, bfloat16_t>"),
        # Two names that differ in the width of their vectors keep it.
        ("elementwise", None, None, "FillFunctor<long> (vectorized_elementwise<4>)"),
        ("elementwise", None, None, "FillFunctor<long> (vectorized_elementwise<2>)"),
    ]
