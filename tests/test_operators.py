"""The operator rules: each earns its place, confusable names land right, little real time is unclaimed."""
# ruff: noqa: E501 -- kernel names are as long as they are

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from ttinsys.attribution.operators import OPERATORS, RULES, classify

TRACES = sorted((Path(__file__).parents[2] / "shared" / "traces").glob("*.sqlite"))
NAMES = [rule.example for rule in RULES] + [
    "initialize_boundaries(float*, float*, float, int, int, int, int)",
    "",
    None,
]


def operator_of(name: str | None) -> str | None:
    operator: str | None = pl.select(classify(pl.lit(name, pl.String))).item()
    return operator


def rules_matching(name: str) -> list[int]:
    return [i for i, rule in enumerate(RULES) if pl.select(pl.lit(name).str.contains(rule.pattern)).item()]


@pytest.mark.parametrize("index", range(len(RULES)), ids=[f"{i}-{rule.operator}" for i, rule in enumerate(RULES)])
def test_a_rule_is_the_first_to_claim_its_own_example(index: int) -> None:
    assert rules_matching(RULES[index].example)[0] == index
    assert operator_of(RULES[index].example) == RULES[index].operator


def test_no_two_rules_share_an_example_or_a_pattern() -> None:
    assert len({rule.example for rule in RULES}) == len(RULES)
    assert len({rule.pattern for rule in RULES}) == len(RULES)


def test_every_operator_but_other_has_a_rule_and_every_rule_an_operator() -> None:
    assert {rule.operator for rule in RULES} == OPERATORS.keys() - {"other"}


def test_every_operator_has_one_line_of_meaning() -> None:
    assert all(meaning and "\n" not in meaning for meaning in OPERATORS.values())


def test_null_stays_null() -> None:
    assert operator_of(None) is None


@pytest.mark.parametrize("name", ["", "main", "initialize_boundaries(float*, float*, float, int, int, int, int)"])
def test_a_name_that_no_rule_claims_is_other(name: str) -> None:
    assert operator_of(name) == "other"


def test_the_result_keeps_the_name_of_its_input_until_it_is_given_another() -> None:
    names = pl.LazyFrame({"name": ["ampere_sgemm_128x64_tn"]})
    assert names.with_columns(classify(pl.col("name"))).collect().to_dicts() == [{"name": "gemm"}]
    assert names.select(classify(pl.col("name")).alias("operator")).collect_schema() == {"operator": pl.String}


def test_both_engines_agree() -> None:
    plan = pl.LazyFrame({"name": NAMES}).with_columns(classify(pl.col("name")).alias("operator"))
    in_memory = plan.collect(engine="in-memory")
    assert in_memory.equals(plan.collect(engine="streaming"))
    assert in_memory["operator"].to_list() == [rule.operator for rule in RULES] + ["other", "other", None]


def test_no_names_give_no_operators() -> None:
    assert pl.DataFrame({"name": []}, schema={"name": pl.String}).select(classify(pl.col("name"))).is_empty()


def test_an_elementwise_launcher_around_a_copy_functor_is_a_copy() -> None:
    name = (
        "void at::native::elementwise_kernel<(int)128, (int)2, void at::native::gpu_kernel_impl_nocast<"
        "at::native::direct_copy_kernel_cuda(at::TensorIteratorBase &)::[lambda() (instance 3)]::operator ()() const::"
        "[lambda() (instance 7)]::operator ()() const::[lambda(float) (instance 1)]>(at::TensorIteratorBase &, "
        "const T1 &)::[lambda(int) (instance 1)]>(int, T3)"
    )
    assert operator_of(name) == "copy"


def test_a_foreach_launcher_around_a_copy_functor_is_a_copy() -> None:
    name = (
        "void at::native::<unnamed>::multi_tensor_apply_kernel<at::native::<unnamed>::TensorListMetadata<(int)2>, "
        "at::native::<unnamed>::UnaryOpFunctor<long, (int)2, (int)1, (int)1>, at::native::Copy<long, long>>"
        "(T1, T2, T3...)"
    )
    assert operator_of(name) == "copy"


def test_a_foreach_launcher_around_an_addition_is_elementwise() -> None:
    name = (
        "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::(anonymous namespace)::"
        "TensorListMetadata<2>, at::native::(anonymous namespace)::BinaryOpListAlphaFunctor<float, 2, 2, 0>, "
        "std::plus<float>, float>(at::native::(anonymous namespace)::TensorListMetadata<2>, at::native::"
        "(anonymous namespace)::BinaryOpListAlphaFunctor<float, 2, 2, 0>, std::plus<float>, float)"
    )
    assert operator_of(name) == "elementwise"


def test_an_addition_that_loads_with_a_cast_is_elementwise() -> None:
    name = (
        "void at::native::unrolled_elementwise_kernel<at::native::CUDAFunctor_add<float>, std::array<char*, 3ul>, 4, "
        "TrivialOffsetCalculator<2, unsigned int>, TrivialOffsetCalculator<1, unsigned int>, at::native::memory::"
        "LoadWithCast<2>, at::native::memory::StoreWithCast<1> >(int, at::native::CUDAFunctor_add<float>, "
        "std::array<char*, 3ul>, TrivialOffsetCalculator<2, unsigned int>, TrivialOffsetCalculator<1, unsigned int>, "
        "at::native::memory::LoadWithCast<2>, at::native::memory::StoreWithCast<1>)"
    )
    assert operator_of(name) == "elementwise"


def test_an_elementwise_launcher_that_only_knows_its_index_is_elementwise() -> None:
    name = (
        "void <unnamed>::elementwise_kernel_with_index<int, at::native::arange_cuda_out(const c10::Scalar &, "
        "const c10::Scalar &, const c10::Scalar &, at::Tensor &)::[lambda() (instance 1)]::operator ()() const::"
        "[lambda() (instance 4)]::operator ()() const::[lambda(long) (instance 1)]>(T1, T2, "
        "function_traits<T2>::result_type *)"
    )
    assert operator_of(name) == "elementwise"


def test_an_elementwise_launcher_that_indexes_is_index() -> None:
    name = (
        "void at::native::index_elementwise_kernel<(int)128, (int)4, void at::native::gpu_index_kernel<"
        "void at::native::index_kernel_impl<at::native::OpaqueType<(int)4>>(at::TensorIteratorBase &, "
        "c10::ArrayRef<long>, c10::ArrayRef<long>)::[lambda(char *, const char *, long) (instance 1)]>("
        "at::TensorIteratorBase &, c10::ArrayRef<long>, c10::ArrayRef<long>, const T1 &)::[lambda(int) (instance 1)]>"
        "(long, T3)"
    )
    assert operator_of(name) == "index"


def test_layer_norm_kernels_run_rms_norm_when_their_last_template_argument_is_true() -> None:
    kernel = "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, "
    arguments = "(int, float, c10::BFloat16 const*, c10::BFloat16 const*, c10::BFloat16 const*, float*, float*, "
    assert operator_of(f"{kernel}false>{arguments}c10::BFloat16*)") == "layer_norm"
    assert operator_of(f"{kernel}true>{arguments}c10::BFloat16*)") == "rms_norm"


def test_nsight_spells_that_argument_as_a_cast_integer() -> None:
    kernel = "void at::native::<unnamed>::vectorized_layer_norm_kernel<float, float, (bool)"
    arguments = "(int, T2, const T1 *, const T1 *, const T1 *, T2 *, T2 *, T1 *)"
    assert operator_of(f"{kernel}0>{arguments}") == "layer_norm"
    assert operator_of(f"{kernel}1>{arguments}") == "rms_norm"


def test_an_implicit_gemm_of_cutlass_or_xmma_is_a_convolution_and_a_plain_one_is_not() -> None:
    fprop = "sm80_xmma_fprop_implicit_gemm_f16f16_f16f32_f32_nhwckrsc_nhwc_tilesize256x64x32_stage3_warpsize4x1x1_g1_"
    assert operator_of(fprop + "tensor16x8x16_kernel") == "conv"
    gemm = "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x256x8_stage3_warpsize1x4x1_ffma_aligna4_alignc4_"
    assert operator_of(gemm + "execute_split_k_kernel__5x_cublas") == "gemm"
    assert operator_of("void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_64x64_32x6_tn_align4>(T1::Params)") == "gemm"
    dgrad = "cutlass_tensorop_s1688dgrad_optimized_tf32_256x64_16x4_nhwc_unity_stride"
    assert operator_of(f"void cutlass_cudnn::Kernel<{dgrad}>(T1::Params)") == "conv"


@pytest.mark.parametrize(
    "name",
    [
        (
            "fmha_cutlassF_f32_aligned_64x64_rf_sm80(PyTorchMemEffAttention::AttentionKernel<float, cutlass::arch::Sm80, "
            "true, 64, 64, 64, true, true>::Params)"
        ),
        (
            "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4, false, false, cutlass::half_t, "
            "Flash_kernel_traits<128, 128, 64, 4, cutlass::half_t> >, false, false, false, false, true, true, false, false>"
            "(pytorch_flash::Flash_fwd_params)"
        ),
        # FlashAttention 3, cut off by the profile that lists it
        "void cutlass::device_kernel<flash::enable_sm90_or_later<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwd",
        (
            "kernel_cutlass_kernel_flash_attncuteflash_fwd_sm100FlashAttentionForwardSm100_object_at__tensor0000o11101213_"
            "tensor0000o11101213_tensor0000o10111213_tensor0000o11101213_None_None_None_Non_0"
        ),
        (
            "void flashinfer::BatchPrefillWithRaggedKVCacheKernel<flashinfer::KernelTraits<(flashinfer::MaskMode)1, 128u, "
            "2u, 4u, 4u, 4u, 4u, 1u, (flashinfer::PosEncodingMode)0, __nv_bfloat16, __nv_bfloat16, __nv_bfloat16, float, "
            "int, flashinfer::DefaultAttention<false, false, false, false> >, RaggedParams>(RaggedParams)"
        ),
        "__mye8037_gemm_mha_v2",
    ],
    ids=["memory_efficient", "pytorch_flash", "flash_3", "flash_4", "flashinfer", "tensorrt"],
)
def test_fused_attention_is_one_operator_whoever_wrote_it(name: str) -> None:
    assert operator_of(name) == "flash_attention"


def test_inductor_kernels_are_named_by_their_prefix_whatever_they_fused() -> None:
    assert operator_of("triton_red_fused__to_copy_abs_clamp_cutlass_scaled_mm_max_mul_reciprocal_unsqueeze_1") == (
        "triton_reduction"
    )
    assert operator_of("triton_poi_fused__unsafe_view_mul_silu_7") == "triton_pointwise"
    assert operator_of("triton_tem_fused_bmm_7") == "gemm"


def test_quantizing_for_sage_attention_is_quantize_and_its_transpose_is_a_copy() -> None:
    pointers = "(__half*, __half*, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, "
    transpose = f"void TransposePadPermuteKernel<128u, 64u, true, true, __half>{pointers}unsigned int)"
    assert operator_of(transpose) == "copy"
    quantize = (
        "void TransposeQuantFp8Kernel<16u, 64u, false, true, __half>(__half const*, signed char*, float*, float*, "
        "float, unsigned int, long, unsigned int, long, long, long, long, long, long, long, long, int const*, "
        "unsigned int)"
    )
    assert operator_of(quantize) == "quantize"


def test_a_reduction_inside_a_loss_or_a_matrix_product_is_not_a_reduce() -> None:
    loss = (
        "void at::native::<unnamed>::nll_loss_forward_reduce_cuda_kernel_2d<float, float, long>(T1 *, T1 *, T1 *, "
        "T3 *, T1 *, bool, int, int, int, long)"
    )
    assert operator_of(loss) == "loss"
    split_k = (
        "void cublasLt::splitKreduce_kernel<32, 16, int, float, float, float, float, true, true, false>("
        "cublasLt::cublasSplitKParams<float>, float const*, float const*, float*, float const*, float const*, "
        "float const*, float const*, float*, void*, long, float*, int*)"
    )
    assert operator_of(split_k) == "gemm"


def test_an_all_reduce_is_communication() -> None:
    assert operator_of("ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)") == "nccl"


def test_normal_noise_drawn_by_a_distribution_launcher_is_random() -> None:
    name = (  # cut off by the profile that lists it
        "void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel<float, 4, void "
        "at::native::templates::cuda::normal_and_transform<c10::BFloat16, float, at::CU"
    )
    assert operator_of(name) == "random"


def test_myelin_names_are_read_by_the_operators_they_spell() -> None:
    assert operator_of("__myl_bb1_2_TraSliSliResTraResMovSli") == "copy"
    assert operator_of("__myl_MulMaxSubExpSum_myl87_3") == "softmax"
    assert operator_of("__myl_DivMulTra_myl87_4") == "elementwise"


def kernel_time(trace: Path) -> pl.DataFrame | None:
    """Summed `duration_ns` of each kernel name in an SQLite export; None where it has no kernels."""
    query = """
        SELECT value, SUM("end" - start) FROM CUPTI_ACTIVITY_KIND_KERNEL JOIN StringIds ON id = demangledName
        GROUP BY value
    """
    with closing(sqlite3.connect(f"{trace.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE name = 'CUPTI_ACTIVITY_KIND_KERNEL'")
        if tables.fetchone() is None:
            return None
        rows = connection.execute(query).fetchall()
    return pl.DataFrame(rows, schema={"name": pl.String, "duration_ns": pl.Int64}, orient="row")


@pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.stem)
def test_other_is_below_two_percent_of_the_kernel_time_of_a_real_trace(trace: Path) -> None:
    kernels = kernel_time(trace)
    if kernels is None:
        pytest.skip(f"{trace.name} has no kernels")
    other = kernels.filter(classify(pl.col("name")) == "other")
    other_ns, total_ns = (frame.select(pl.col("duration_ns").sum()).item() for frame in (other, kernels))
    assert other_ns < 0.02 * total_ns, other.sort("duration_ns", descending=True)["name"].to_list()
