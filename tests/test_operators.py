"""The rules of kernel names: each earns its place, confusable names land right, little real time is unclaimed."""
# ruff: noqa: E501 -- kernel names are as long as they are

from __future__ import annotations

import gzip
import json
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from tests.shared import TRACES
from ttinsys.attribution.operators import (
    OPERATORS,
    PRECISIONS,
    VARIANTS,
    OperatorRule,
    PrecisionRule,
    classify,
    operator_rules,
    precision,
    precision_rules,
    variant,
)

CAPTURED = [*sorted(TRACES.glob("*.sqlite")), *sorted((TRACES / "kineto").glob("*.json.gz"))]
CASES = TRACES.parent / "cases" / "kernels.tsv"
PUBLIC = Path(__file__).with_name("kernel_names.tsv")
RULES = operator_rules()
NAMES = [rule.example for rule in RULES] + [
    "initialize_boundaries(float*, float*, float, int, int, int, int)",
    "",
    None,
]


def operator_of(name: str | None) -> str | None:
    operator: str | None = pl.select(classify(pl.lit(name, pl.String))).item()
    return operator


def told(name: str) -> tuple[str, str | None, str | None]:
    """Operator, variant and precision of a name."""
    names = pl.DataFrame({"name": [name]})
    row: tuple[str, str | None, str | None] = names.select(
        reader(pl.col("name")).alias(reader.__name__) for reader in (classify, variant, precision)
    ).row(0)
    return row


def table(path: Path) -> pl.DataFrame:
    """A table of names; what is empty is null."""
    return pl.read_csv(path, separator="\t", quote_char=None, infer_schema=False)


@pytest.mark.parametrize("index", range(len(RULES)), ids=[f"{i}-{rule.operator}" for i, rule in enumerate(RULES)])
def test_a_rule_claims_its_own_example(index: int) -> None:
    rule = RULES[index]
    assert told(rule.example)[:2] == (rule.operator, rule.variant or None)


def test_a_rule_is_the_first_to_claim_its_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    numbered = tuple(replace(rule, operator=str(number)) for number, rule in enumerate(RULES))
    monkeypatch.setattr("ttinsys.attribution.operators.operator_rules", lambda: numbered)
    claimed = pl.DataFrame({"name": [rule.example for rule in RULES]}).select(classify(pl.col("name")))
    assert claimed["name"].to_list() == [rule.operator for rule in numbered]


def test_a_precision_rule_is_the_first_to_claim_its_own_example(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = precision_rules()
    numbered = tuple(replace(rule, precision=str(number)) for number, rule in enumerate(rules))
    monkeypatch.setattr("ttinsys.attribution.operators.precision_rules", lambda: numbered)
    claimed = pl.DataFrame({"name": [rule.example for rule in rules]}).select(precision(pl.col("name")))
    assert claimed["name"].to_list() == [rule.precision for rule in numbered]


@pytest.mark.parametrize("rules", [operator_rules(), precision_rules()], ids=["operators", "precisions"])
def test_every_rule_has_a_source_and_no_two_share_an_example_or_a_pattern(
    rules: tuple[OperatorRule, ...] | tuple[PrecisionRule, ...],
) -> None:
    assert all(rule.source for rule in rules)
    assert len({rule.example for rule in rules}) == len(rules)
    assert len({(getattr(rule, "where", ""), rule.pattern) for rule in rules}) == len(rules)


def test_every_operator_but_other_has_a_rule_and_every_rule_an_operator() -> None:
    assert {rule.operator for rule in RULES} == OPERATORS.keys() - {"other"}
    assert {rule.variant for rule in RULES} - {""} == VARIANTS.keys()
    assert {rule.where for rule in RULES} == {"head", "name"}
    assert {rule.precision for rule in precision_rules()} - {""} == set(PRECISIONS)


def test_public_names_of_2023_to_2026_are_told_as_their_labels_say() -> None:
    names = table(PUBLIC)
    assert names.height >= 400
    assert names["source"].null_count() == 0
    assert names["name"].is_unique().all()
    read = names.with_columns(
        classify(pl.col("name")).alias("operator read"), variant(pl.col("name")).alias("variant read"),
        precision(pl.col("name")).alias("precision read"),
    )  # fmt: skip
    wrong = read.filter(
        pl.col("operator").ne_missing(pl.col("operator read"))
        | pl.col("variant").ne_missing(pl.col("variant read"))
        # A kernel that casts has two precisions: its label leaves the question open.
        | (pl.col("precision").ne_missing(pl.col("precision read")) & pl.col("precision").ne_missing("?"))
    )
    assert wrong.rows() == []


@pytest.mark.skipif(not CASES.exists(), reason="no ../shared/cases")
def test_names_that_went_wrong_before_are_right() -> None:
    names = table(CASES).with_columns(classify(pl.col("kernel")).alias("operator"))
    assert names.filter(pl.col("operator") != pl.col("expected")).rows() == []


def test_two_thousand_names_are_read_in_a_blink() -> None:
    names = pl.concat([table(PUBLIC).select("name")] * 4).head(2000)
    assert names.height == 2000
    took = []
    for _ in range(5):
        start = time.process_time()
        names.select(classify(pl.col("name")))
        took.append(time.process_time() - start)
    # 35 ms on one core, also of a column in chunks; a busy machine may take three times as long.
    assert min(took) < 0.12


def test_every_operator_has_one_line_of_meaning() -> None:
    assert all(meaning and "\n" not in meaning for meaning in (OPERATORS | VARIANTS).values())


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
    assert operator_of("__myl_ResConvAddMul_myl0_1") == "conv"
    # The mean of squares alone, and what is left after a mean is subtracted.
    assert operator_of("__myl_bb0_1_CastMulMeanAddSqrtDivMul_myl4_2") == "rms_norm"
    assert operator_of("__myl_MeanSubMulMeanAddSqrtDivMul_myl4_3") == "layer_norm"


def test_names_that_hold_the_words_of_other_operators() -> None:
    # `pool` in `mempool`, `nccl` in an argument, `gemm` in a namespace, `fill_kv_cache` in `Prefill...KVCache`.
    assert operator_of("void mempool_trim(char*, unsigned long)") == "other"
    assert operator_of("void engine::gelu_kernel<ncclDataType_t>(float*)") == "elementwise"
    assert operator_of("void deep_gemm::transpose_fp32<512, 64>(float*)") == "copy"
    assert operator_of("void BatchPrefillWithRaggedKVCacheKernel<128>(Params)") == "flash_attention"
    assert operator_of("triton_poi_fused_gelu_nccl_all_reduce_pool_3") == "triton_pointwise"


def test_nsys_and_the_profiler_of_pytorch_spell_template_arguments_differently() -> None:
    arguments = "(int, float, float const*)"
    for yes, no in (("true", "false"), ("(bool)1", "(bool)0")):
        assert (
            operator_of(f"void at::native::vectorized_layer_norm_kernel<float, float, {yes}>{arguments}") == "rms_norm"
        )
        assert (
            operator_of(f"void at::native::vectorized_layer_norm_kernel<float, float, {no}>{arguments}") == "layer_norm"
        )


def test_mangled_names_are_read_by_their_function_and_not_by_their_substitutions() -> None:
    # `NSA_` is a substitution of the mangled name, and no native sparse attention.
    name = (
        "_ZN2ck16tensor_operation6device12_GLOBAL__N_149kernel_grouped_conv_fwd_multiple_abd_xdl_cshuffleINS_34GridwiseGemm"
        "MultipleD_xdl_cshuffleItttftNS_5TupleIJEEEtNS0_12element_wise11PassThroughES8_S8_NSA_IJLi1ELi0ELi2EEEEEEvT_"
    )
    assert told(name) == ("conv", None, None)
    assert told("_ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi256EEEvPT0_PT_") == ("rms_norm", None, "bf16")


def test_variants_tell_kinds_of_attention_and_directions_of_quantization_apart() -> None:
    assert told("void qk_int_sv_f16_block_sparse_attn_kernel<128u, 64u>") == (
        "flash_attention",
        "sparse_attention",
        "int8",
    )
    assert told("chunk_gated_delta_rule_fwd_kernel_h_blockdim64") == ("flash_attention", "linear_attention", None)
    assert told("_selective_scan_update_kernel") == ("flash_attention", "linear_attention", None)
    assert told("_attn_fwd") == ("flash_attention", None, None)
    assert told("dequantize_mxfp8_kernel") == ("quantize", "dequantize", "fp8")
    assert told("quantize_mxfp8_kernel") == ("quantize", None, "fp8")
    assert told("ulysses_a2a_kernel") == ("nccl", "all_to_all", None)
    assert told("wan_sparse_head_placement_kernel") == ("copy", "relayout", None)


def test_precision_is_that_of_the_operands_and_not_of_the_accumulator() -> None:
    assert told("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64")[2] == "bf16"
    assert told("sm80_xmma_gemm_tf32f32_tf32f32_f32_tn_n_tilesize128x128x16")[2] == "tf32"
    assert told("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x256x8_ffma")[2] == "fp32"
    assert (
        told("void at::native::(anonymous namespace)::cunn_SoftMaxForward<8, c10::BFloat16, float, c10::BFloat16>")[2]
        == "bf16"
    )
    # hmma multiplies halves, whatever it adds up in.
    assert told("void xmma_cudnn::gemm::kernel<xmma_cudnn::Ampere_hmma_fp32_traits>")[2] == "fp16"
    # The output is Bfloat16, the operands are E2m1 and E4m3: the wider counts.
    assert told("bmm_Bfloat16_MxE2m1MxE4m3_Fp32_t128x16x256u2_s3_et128x16")[2] == "fp8"
    assert told("bmm_Bfloat16_E2m1E2m1_Fp32_t128x8x512_s6")[2] == "fp4"
    assert told("Cijk_Alik_Bljk_BBS_BH_Bias_HA_S_SAV_UserArgs_MT160x256x64")[2] == "bf16"
    assert told("nvjet_sm90_qqtst_128x128_128x6_1x2_h_bz_ovscale_TNT")[2] == "fp8"


def test_precision_is_null_where_the_name_does_not_tell_it() -> None:
    # cuDNN prints f16 for bf16, too; Inductor lists operators; vLLM names its cache's type in every kernel.
    assert told("cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7")[2] is None
    assert told("triton_red_fused_int8_weight_only_2")[2] is None
    assert told("void vllm::cache_kernel<__half, __half, (vllm::Fp8KVCacheDataType)0>(__half*)")[2] == "fp16"
    assert (
        told(
            "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<long>, std::array<char*, 1ul> >"
        )[2]
        is None
    )
    assert told("void marlin::Marlin<__nv_bfloat16, 256, 1>(int4 const*, int4 const*)")[2] == "bf16"
    assert told("void split_half_rotary_kernel(int)")[2] is None


def kernel_time(trace: Path) -> pl.DataFrame | None:
    """Summed `duration_ns` of each kernel name in an SQLite export or a trace of Kineto; None where it has no kernels."""
    if trace.suffix == ".gz":
        events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
        rows = [(event["name"], 1000 * event["dur"]) for event in events if event.get("cat") == "kernel"]
        return pl.DataFrame(rows, schema={"name": pl.String, "duration_ns": pl.Float64}, orient="row")
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


@pytest.mark.parametrize("trace", CAPTURED, ids=lambda trace: trace.name)
def test_other_is_below_one_percent_of_the_kernel_time_of_a_real_trace(trace: Path) -> None:
    kernels = kernel_time(trace)
    if kernels is None:
        pytest.skip(f"{trace.name} has no kernels")
    other = kernels.filter(classify(pl.col("name")) == "other")
    other_ns, total_ns = (frame.select(pl.col("duration_ns").sum()).item() for frame in (other, kernels))
    assert other_ns < 0.01 * total_ns, other.sort("duration_ns", descending=True)["name"].to_list()
