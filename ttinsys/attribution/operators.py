"""Operators: what a kernel computes, read from its name by one ordered table of rules.

    kernels.select("name").unique().with_columns(classify(pl.col("name")).alias("operator"))

The first rule that matches wins. Names are demangled, as Nsight Systems prints them. The name of a PyTorch kernel nests
a functor in the template of a launcher; only the functor tells what is computed, so rules for functors stand above
rules for launchers. Library kernels (cuBLAS, cuDNN, TensorRT, Triton) are matched by words that these libraries use.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

OPERATORS: dict[str, str] = {
    "gemm": "Matrix-matrix, matrix-vector and dot products, and the kernels that reduce a split-K product.",
    "conv": "Convolution, forward or backward, by any algorithm, with its helpers (im2col, Winograd and FFT tiles).",
    "flash_attention": "Fused attention: QK, softmax and AV in one kernel of any library (FlashAttention, xFormers, "
    "CUTLASS, cuDNN SDPA, TensorRT MHA, SageAttention, FlashInfer, paged), with its combine and backward kernels.",
    "softmax": "Softmax or log-softmax as a separate kernel.",
    "group_norm": "Group normalization: its statistics and their application.",
    "layer_norm": "Layer normalization.",
    "rms_norm": "Root-mean-square normalization, also fused with a residual, a rotary embedding or a cast.",
    "batch_norm": "Batch normalization, and instance normalization that is computed by its kernels.",
    "elementwise": "Each output element from the inputs' same element: arithmetic, activation, fill, mask, rotary.",
    "reduce": "Sum, mean, maximum, norm or argmax over an axis, and prefix scans.",
    "copy": "Movement of data without arithmetic: copy, cast, concatenate, transpose, change of layout, pad.",
    "index": "Reads or writes at computed positions: gather, scatter, index, embedding lookup, nonzero.",
    "sort": "Sort and top-k.",
    "resample": "Upsampling, interpolation and grid sampling.",
    "pool": "Maximum and average pooling.",
    "random": "Random numbers, including dropout.",
    "quantize": "Conversion to or from a quantized type, with its scales.",
    "fft": "Fourier transform.",
    "loss": "Training loss.",
    "optimizer": "Optimizer step.",
    "stencil": "Each grid point from its neighbours, as in a Jacobi iteration.",
    "nccl": "Communication between GPUs: NCCL, and the all-reduce kernels of frameworks.",
    "triton_pointwise": "Inductor pointwise kernel that fuses several operators (triton_poi_).",
    "triton_reduction": "Inductor reduction that loops over its axis (triton_red_).",
    "triton_persistent_reduction": "Inductor reduction that holds its whole axis at once (triton_per_).",
    "triton_template": "Inductor template whose name has no matrix product, convolution or attention (triton_tem_).",
    "other": "Claimed by no rule.",
}
"""Meaning of each operator."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern that claims kernel names for one operator.

    Attributes:
        operator: a key of `OPERATORS`.
        pattern: regular expression in the syntax of Polars (no look-around), searched anywhere in the name.
        example: a kernel name from a real trace or published profile that this rule, and no earlier one, claims.
    """

    operator: str
    pattern: str
    example: str


RULES: tuple[Rule, ...] = (
    # Inductor lists all fused operators in the name (mm, softmax, attention ...), so its prefix must decide first.
    Rule("triton_pointwise", r"^triton_(poi|for)_", "triton_poi_fused_addmm_gelu_view_1"),
    Rule("triton_reduction", r"^triton_(red|spl)_", "triton_red_fused_add_mul_native_layer_norm_view_0"),
    Rule(
        "triton_persistent_reduction",
        r"^triton_per_",
        "triton_per_fused__to_copy__unsafe_view_add_mean_mul_pow_rsqrt_11",
    ),
    Rule("flash_attention", r"^triton_tem_.*_flex_(attention|decoding)", "triton_tem_fused_flex_attention_backward"),
    Rule("conv", r"^triton_tem_.*_convolution", "triton_tem_fused__to_copy_convolution_repeat_unsqueeze_view_2"),
    Rule("gemm", r"^triton_tem_.*_(addmm|baddbmm|bmm|mm)(_|$)", "triton_tem_fused__to_copy_addmm_gelu_t_view_9"),
    Rule("triton_template", r"^triton_tem_", "triton_tem_fused_0"),
    # Names of communication kernels hold words of reductions (sum, max): they must not reach those rules.
    Rule("nccl", r"nccl", "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<(unsigned long)4096>)"),
    Rule(
        "nccl",
        r"(?i)all_?reduce|cross_device_reduce|all_?gather|reduce_?scatter|all_?to_?all|nvshmem|::comm::",
        "void (anonymous namespace)::two_shot_all_reduce_kernel_inplace<c10::BFloat16, 16, 2>(c10::BFloat16**, "
        "unsigned long, unsigned long, unsigned int**, unsigned long, unsigned long)",
    ),
    # Names of fused attention hold GEMM templates, softmax, dropout and layouts: before the rules for all of those.
    Rule(
        "flash_attention",
        r"\b(pytorch_)?flash::",
        "void flash::flash_fwd_kernel<Flash_fwd_kernel_traits<(int)128, (int)128, (int)64, (int)4, (bool)0, (bool)0, "
        "cutlass::bfloat16_t, Flash_kernel_traits<(int)128, (int)128, (int)64, (int)4, cutlass::bfloat16_t>>, (bool)0, "
        "(bool)0, (bool)0, (bool)0, (bool)0, (bool)1, (bool)0, (bool)0>(flash::Flash_fwd_params)",
    ),
    Rule(
        "flash_attention", r"(?i)fmha|_mha(_|$)", "fmha_v2_flash_attention_fp16_64_32_S_qkv_128_causal_sm86_kernel_nl"
    ),
    Rule(
        "flash_attention",
        r"sdpa|compute_dot_do_o",
        "cudnn_generated_fort_native_sdpa_sm80_flash_fprop_wmma_f16_knob_3_64x64x128_4x1x1_kernel0_0",
    ),
    Rule(
        "flash_attention",
        r"(?i)attention|attn|flash_(fwd|bwd)",
        "void qk_int8_sv_f8_attn_kernel<64u, 128u, 128u, 128u, (QuantGranularity)3, (QuantGranularity)3, __half, "
        "(MaskMode)0, false, true>(CUtensorMap_st, CUtensorMap_st, CUtensorMap_st, float*, float*, float*, __half*, "
        "float*, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, float)",
    ),
    # Normalizations. PyTorch runs RMS norm in its layer norm kernels, with a last template argument of true. It has one
    # RowwiseMomentsCUDAKernel for group norm and one for layer norm: only the latter has a third template argument.
    Rule(
        "rms_norm",
        r"(vectorized_layer_norm|LayerNormForward|RowwiseMoments|layer_norm_grad_input)\w*<[^<>]*, ?(\(bool\)1|true)>",
        "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, true>(int, float, "
        "c10::BFloat16 const*, c10::BFloat16 const*, c10::BFloat16 const*, float*, float*, c10::BFloat16*)",
    ),
    Rule(
        "rms_norm",
        r"(?i)rms_?norm|qk_?norm",
        "void vllm::rms_norm_kernel<c10::BFloat16, (int)8, (int)2, (bool)1>(T1 *, const T1 *, long, long, long, long, "
        "long, const T1 *, long, float, int, int)",
    ),
    Rule(
        "layer_norm",
        r"RowwiseMomentsCUDAKernel<[^<>,]*,[^<>,]*,",
        "void at::native::(anonymous namespace)::RowwiseMomentsCUDAKernel<float, float, false>(long, float, "
        "float const*, float*, float*)",
    ),
    Rule("layer_norm", r"(?i)layer_?norm|GammaBetaBackward(CUDAKernelTemplate|Simple)", "_layernorm_modulate_kernel"),
    Rule("layer_norm", r"^__my\w*MeanSub", "__myl_ConcAddCastMeanSubMulMeanAddSqrtDivMulCastMulAdd_myl3_1"),
    Rule("group_norm", r"(?i)group_?norm|\bgn_(accum|finalize)", "group_norm_silu_nhwc_kernel"),
    Rule(
        "group_norm",
        r"RowwiseMoments|FusedParamsCUDAKernel|InternalGradientsCUDAKernel|GammaBeta(1d)?BackwardCUDAKernel",
        "RowwiseMomentsCUDAKernel",
    ),
    Rule(
        "batch_norm",
        r"(?i)batch_?norm|\bbn_(fw|bw)_",
        "void cudnn::bn_bw_1C11_kernel_new<float, float, float2, 512, true, 1>(float, float, float, float, "
        "cudnnTensorStruct, float const*, cudnnTensorStruct, float const*, cudnnTensorStruct, float*, float const*, "
        "float*, float*, float const*, float const*, float)",
    ),
    Rule(
        "quantize",
        r"[qQ]uant\w*[kK]ernel|[dD]equantize|kQuantizeBlockwise|MeanScaleKernel",
        "void QuantInt8Kernel<128u, 128u, 2u, false, true, __half>(__half*, __half*, signed char*, float*, float, "
        "unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, unsigned int, "
        "unsigned int, unsigned int, unsigned int, unsigned int)",
    ),
    # A convolution may be an implicit GEMM, or use a Fourier transform of cuDNN: before gemm and fft.
    Rule(
        "conv",
        r"fprop|dgrad|wgrad",
        "void cutlass_cudnn::Kernel<cutlass_tensorop_s1688fprop_optimized_tf32_256x64_16x4_nhwc>(T1::Params)",
    ),
    Rule(
        "conv",
        r"(?i)conv(ol|_|\d)|depthwise|implicit_?gemm",
        "void implicit_convolve_sgemm<float, float, 512, 6, 8, 3, 3, 5, 1, false, true, true>(int, int, int, "
        "float const*, int, float*, float const*, kernel_conv_params, unsigned long long, int, float, float, int, "
        "float const*, float const*, bool, int, int)",
    ),
    Rule("conv", r"[a-z0-9]cudnn_", "ampere_scudnn_128x32_relu_small_nn_v1"),
    Rule(
        "conv",
        r"(?i)winograd",
        "void cudnn::winograd_nonfused::winogradForwardData4x4<float, float>("
        "cudnn::winograd_nonfused::WinogradDataParams<float, float>)",
    ),
    Rule(
        "conv",
        r"\bfft[12]d_(r2c|c2r)_",
        "void fft2d_r2c_32x32<float, false, 0u, false>(float2*, float const*, int, int, int, int, int, int, int, int, "
        "int, cudnn::reduced_divisor, bool, int2, int, int)",
    ),
    Rule(
        "conv",
        r"im2col|vol2col|col2im|col2vol",
        "void at::native::vol2col_kernel<c10::BFloat16>(long, c10::BFloat16 const*, int, int, int, int, int, int, int, "
        "int, int, int, int, int, int, int, int, int, int, int, c10::BFloat16*)",
    ),
    Rule(
        "conv",
        r"computeOffsetsKernel",
        "void cask_cudnn::computeOffsetsKernel<(bool)0, (bool)0>(cask_cudnn::ComputeOffsetsParams)",
    ),
    # GEMM templates name layouts, gathers and epilogues: before copy, index and elementwise.
    Rule("gemm", r"(?i)gemm", "ampere_sgemm_128x64_tn"),
    Rule("gemm", r"^nvjet_", "nvjet_tst_192x192_64x4_2x1_v_bz_coopB_bias_TNN"),
    Rule(
        "gemm",
        r"gemv|cublasDotParams|reduce_1Block_kernel",
        "void dot_kernel<float, 128, 0, cublasDotParams<cublasGemvTensorStridedBatched<float const>, "
        "cublasGemvTensorStridedBatched<float> > >(cublasDotParams<cublasGemvTensorStridedBatched<float const>, "
        "cublasGemvTensorStridedBatched<float> >)",
    ),
    Rule(
        "gemm",
        r"splitKreduce|cublasLt::",
        "void splitKreduce_kernel<(int)32, (int)16, int, float, float, float, float, (bool)1, (bool)0, (bool)0>("
        "cublasSplitKParams<T6>, const T4 *, const T5 *, T5 *, const T6 *, const T6 *, const T7 *, const T4 *, T7 *, "
        "void *, long, T6 *, int *)",
    ),
    Rule("gemm", r"(?i)matmul|marlin|fused_moe_kernel|_mm_kernel", "fused_moe_kernel"),
    Rule("gemm", r"^__myl_(bb\d+_\d+_)?Fc", "__myl_FcMulCastErfCastAddMulMulMulCast"),
    Rule(
        "softmax",
        r"(?i)softmax",
        "void <unnamed>::softmax_warp_forward<float, float, float, (int)4, (bool)1, (bool)0>(T2 *, const T1 *, int, "
        "int, int, const bool *, int, bool)",
    ),
    Rule("softmax", r"^__my\w*ExpSum", "__myl_bb1_3_MaxSubExpSumDivMul"),
    Rule(
        "loss",
        r"(?i)nll_?loss|ClassNLL|cross_?entropy|ctc_loss",
        "void at::native::<unnamed>::nll_loss_backward_reduce_cuda_kernel_2d<float, long>(T1 *, T1 *, T2 *, T1 *, "
        "T1 *, bool, int, int, int, long)",
    ),
    Rule(
        "optimizer",
        r"Adam|Adagrad|FusedSgd|LAMBStage|Optimizer",
        "void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float>, float, float, float, float, float, "
        "float, adamMode_t, float>(int, int volatile*, TensorListMetadata<4>, AdamFunctor<float>, float, float, float, "
        "float, float, float, adamMode_t, float) [clone .kd]",
    ),
    Rule(
        "random",
        r"(?i)distribution_\w*kernel|dropout|philox|curand|randperm",
        "void at::native::<unnamed>::fused_dropout_kernel_vec<float, float, unsigned int, (int)1, (int)4, bool>("
        "at::cuda::detail::TensorInfo<T1, T3>, at::cuda::detail::TensorInfo<T1, T3>, "
        "at::cuda::detail::TensorInfo<T6, T3>, T3, T2, at::PhiloxCudaState)",
    ),
    Rule(
        "fft",
        r"[a-z]_fft|bluestein|cufft",
        "void regular_fft<192u, EPT<12u, 16u>, 16u, 2u, (padding_t)6, (twiddle_t)0, (loadstore_modifier_t)2, "
        "(layout_t)1, unsigned int, double, HostConfigPlaceholder>(kernel_arguments_t<unsigned int>)",
    ),
    Rule(
        "sort",
        r"(?i)radix_?sort|merge_?sort|segmented_?sort|bitonic|top_?k",
        "at::native::mbtopk::computeDigitCumSum(short *, unsigned int *, unsigned int)",
    ),
    Rule("elementwise", r"(?i)\brope_|_rope_|apply_?rope|rotary", "rope_fused_3way_kernel_v2"),
    Rule(
        "index",
        r"index_(elementwise|select|put|copy|add|fill)|index(Select|Func)",
        "void at::native::(anonymous namespace)::indexSelectSmallIndex<float, long, unsigned int, 2, 2, -2>("
        "at::cuda::detail::TensorInfo<float, unsigned int>, at::cuda::detail::TensorInfo<float const, unsigned int>, "
        "at::cuda::detail::TensorInfo<long const, unsigned int>, int, int, unsigned int, long)",
    ),
    Rule(
        "index",
        r"(?i)gather|scatter|embedding_?(bag|backward|lookup|dense)|reshape_and_cache",
        "void at::native::vectorized_gather_kernel<(int)16, long>(char *, char *, T2 *, int, long, long, long, long, "
        "bool)",
    ),
    Rule(
        "index",
        r"DeviceSelect|DeviceCompact",
        "void at_cuda_detail::cub::detail::scan::DeviceCompactInitKernel<"
        "at_cuda_detail::cub::ScanTileState<int, (bool)1>, int *>(T1, int, T2)",
    ),
    Rule(
        "resample",
        r"(?i)upsample|interpolat|grid_?sampl|resize",
        "void at::native::(anonymous namespace)::upsample_nearest2d_out_frame<c10::BFloat16, "
        "&at::native::nearest_neighbor_exact_compute_source_index>(c10::BFloat16 const*, c10::BFloat16*, "
        "unsigned long, unsigned long, unsigned long, unsigned long, unsigned long, float, float)",
    ),
    Rule("pool", r"(?i)pool", "sm50_xmma_pooling_coalescedC_NHWC_kMAX_3_False_execute_kernel_trt"),
    # Copies by their functor first: LoadWithCast and nocast are arguments of launchers, not casts. Then cat and layout.
    Rule(
        "copy",
        r"copy_kernel|copy_device_to_device|\bCopy<",
        "void at::native::vectorized_elementwise_kernel<(int)8, at::native::bfloat16_copy_kernel_cuda("
        "at::TensorIteratorBase &)::[lambda(float) (instance 1)], std::array<char *, (unsigned long)2>>(int, T2, T3)",
    ),
    Rule(
        "copy",
        r"CatArray|genericReformat|(?i:concat)|\bcat\d?_",
        "void at::native::<unnamed>::CatArrayBatchedCopy_vectorized<at::native::<unnamed>::OpaqueType<"
        "(unsigned int)2>, unsigned int, (int)2, (int)128, (int)1, (int)16, (int)8>(char *, "
        "at::native::<unnamed>::CatArrInputTensorMetadata<T1, T2, T4, T5>, "
        "at::native::<unnamed>::TensorSizeStride<T2, (unsigned int)4>, int, T2)",
    ),
    Rule(
        "copy",
        r"(?i)nchw\d*to|nhwc\d*to|transpose|permut",
        "void cudnn::ops::nhwcToNchwKernel<float, float, float, (bool)1, (bool)0, (cudnnKernelDataType_t)0>("
        "cudnn::ops::nhwc2nchw_params_t<T3>, const T1 *, T2 *)",
    ),
    Rule("copy", r"PaddingKernel|_pad[123]d|roll_cuda|flip_kernel", "nhwcAddPaddingKernel"),
    # TensorRT's Myelin spells out fused operators: transpose, reshape, move, slice, concatenate and cast only here.
    Rule("copy", r"^__myl_(bb\d+_\d+_)?(Tran?|Resh?|Move?|Slic?|Conc?|Cast)+(_|$)", "__myl_TranReshMove_myl3_4"),
    Rule(
        "reduce",
        r"reduce_kernel|Device\w*Reduce|Device\w*Scan|kernel_scan_|LpNormFunctor",
        "void at::native::reduce_kernel<(int)512, (int)1, at::native::ReduceOp<float, at::native::MaxOps<float>, "
        "unsigned int, float, (int)4>>(T3)",
    ),
    Rule("reduce", r"^__myl_\w*(Sum|Mean)", "__myl_MulSum_0xfa6c1858aea1b13b03f90165d7149ec6"),
    Rule(
        "elementwise",
        r"elementwise_kernel|multi_tensor_apply_kernel",
        "void at::native::vectorized_elementwise_kernel<(int)4, at::native::FillFunctor<float>, "
        "std::array<char *, (unsigned long)1>>(int, T2, T3)",
    ),
    Rule("elementwise", r"(?i)pointwise|eltwise|op_generic_tensor|scalePackedTensor", "generatedNativePointwise"),
    Rule("elementwise", r"^__myl_", "__myl_SiluMulMulCast"),
    Rule("elementwise", r"(?i)act_and_mul|silu|gelu|swiglu|geglu|_gate_|scale_shift|modulate", "_indexed_gate_kernel"),
    Rule("elementwise", r"(?i)axpy", "saxpy(double *, double *, double *, double, int)"),
    Rule("stencil", r"jacobi|stencil", "void jacobi_kernel<32, 32>(float*, float const*, float*, int, int, int, bool)"),
)


def classify(name: pl.Expr) -> pl.Expr:
    """Operator of each kernel name.

    Every rule is tried on every name: pass the distinct names of a trace, a few hundred, not its kernels.

    Args:
        name: demangled kernel names, String.

    Returns:
        A String expression under the name of the input: a key of `OPERATORS`, `other` where no rule matches, null where
        the name is null.
    """
    claims = [pl.when(name.str.contains(rule.pattern)).then(pl.lit(rule.operator)) for rule in RULES]
    return pl.when(name.is_null()).then(name).otherwise(pl.coalesce(*claims, pl.lit("other")))
