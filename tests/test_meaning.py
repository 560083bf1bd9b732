"""Labels of a stranger's ranges: what names and sizes tell, what nests, what computes whose gradient."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import ttinsys
from parsers import Trace
from tests.build import Thread, TraceBuilder
from tests.shared import TRACES, planned
from ttinsys.measures.intervals import exposed_by

NCCL = TRACES / "torch-nccl-2gpu-2026.2.sqlite"
MNIST = TRACES / "torch-mnist-aten-2023.4.sqlite"
TIMESFORMER = TRACES / "kineto" / "timesformer-h100.json.gz"
SD3 = TRACES / "kineto" / "sd3.5-compiled-mi300x.json.gz"


def needs(path: Path) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not path.exists(), reason="no real captures in ../shared/traces")


def labels(trace: Trace, *columns: str) -> list[tuple[object, ...]]:
    """These columns of the ranges, by their opening."""
    return ttinsys.ranges(trace).sort("start_ns", "depth").select(columns).collect().rows()


def sized(name: str, *sizes: list[int], seq: int = 0) -> str:
    return f"{name}, seq = {seq}, sizes = {[list(size) for size in sizes]}"


def test_outermost_operation_has_the_role_and_the_cost(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, sized("aten::linear", [2, 16, 64], [128, 64], [128]), 0, 100)
    t.range(main, sized("aten::t", [128, 64]), 10, 20)
    t.range(main, sized("aten::addmm", [128], [32, 64], [64, 128], [], []), 30, 90)
    # 32 rows of 64 by 64 x 128: 2 x 32 x 64 x 128.
    assert labels(t.load(tmp_path), "group", "role", "flops", "labelled_by") == [
        ("aten::linear", "linear", 524_288, "pytorch"),
        ("aten::t", None, None, "pytorch"),
        ("aten::addmm", None, None, "pytorch"),
    ]


def test_operation_that_moves_elements_belongs_to_the_module_around_it(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "transformer.blocks.0.attn.to_q", 0, 100)
    t.range(main, "aten::contiguous, op_id = 1", 10, 20)
    t.range(main, "transformer.blocks.0", 200, 300)
    t.range(main, "aten::contiguous, op_id = 2", 210, 220)
    assert labels(t.load(tmp_path), "group", "role") == [
        ("transformer.blocks.0.attn.to_q", "linear"),
        ("aten::contiguous", None),
        ("transformer.blocks.0", "other"),
        ("aten::contiguous", "rearrange"),
    ]


def spelt(t: TraceBuilder, main: Thread, at: int, *, queries: int, keys: int) -> None:
    """An attention of 4 heads of 8, spelt out in products and a softmax, with a mask between them."""
    q, k, v, scores = [2, 4, queries, 8], [2, 4, 8, keys], [2, 4, keys, 8], [2, 4, queries, keys]
    t.range(main, sized("aten::matmul", q, k), at, at + 10)
    t.range(main, sized("aten::add", scores, scores), at + 20, at + 30)
    t.range(main, sized("aten::softmax", scores, [], []), at + 40, at + 50)
    t.range(main, sized("aten::matmul", scores, v), at + 60, at + 70)


def test_attention_that_is_spelt_out_reads_as_one_call(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.range(main, "forward", 0, 500)
    spelt(t, main, 100, queries=16, keys=16)
    for number, at in enumerate((105, 125, 145, 165)):
        t.kernel(main, "k", launch=(at, at + 1), gpu=(1000 + 10 * number, 1007 + 10 * number))
    trace = t.load(tmp_path)
    core, *rest = ttinsys.ranges(trace).filter(pl.col("q_len").is_not_null()).collect().rows(named=True)
    assert not rest
    assert (core["group"], core["start_ns"], core["end_ns"]) == ("attention.core", 100, 170)
    assert (core["q_len"], core["kv_len"], core["heads"]) == (16, 16, 4)
    # Two products of 2 x 4 batches: 2 x 16 x 8 x 16 each.
    assert core["flops"] == 2 * (8 * 2 * 16 * 8 * 16)
    (call,) = planned("lengths", trace).rows(named=True)
    assert (call["q_len"], call["gpu_ns"]) == (16, 28)
    paths = ttinsys.attribute(trace).select("path").collect()["path"]
    assert paths[0] == "forward/attention.core/aten::matmul"


def test_same_tokens_folded_two_ways_are_temporal_and_spatial(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    # 8 frames of 256 positions, 16 by 16 patches of 2 by 2: each position attends over the frames, and each frame over
    # its positions. Without the patches it could be 256 frames of 8 positions.
    t.range(main, sized("aten::conv2d", [8, 3, 32, 32], [32, 3, 2, 2], [32]), 0, 5)
    t.range(main, sized("aten::scaled_dot_product_attention", *[[256, 4, 8, 8]] * 3), 10, 20)
    t.range(main, sized("aten::scaled_dot_product_attention", *[[8, 4, 256, 8]] * 3), 30, 40)
    assert labels(t.load(tmp_path), "role")[1:] == [("temporal_attention",), ("spatial_attention",)]


def test_backward_takes_role_and_layer_of_its_forward(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, engine = t.thread(), t.thread(tid=12)
    t.range(main, "decoder.layers.3.mlp.up_proj", 0, 100)
    t.range(main, "aten::linear, seq = 7", 10, 90)
    t.range(main, "aten::addmm, seq = 7", 20, 80)
    t.range(engine, "autograd::engine::evaluate_function: AddmmBackward0", 200, 300)
    t.range(engine, "AddmmBackward0, seq = 7", 210, 290)
    t.range(engine, "aten::mm", 220, 280)
    t.kernel(main, "fw", launch=(30, 31), gpu=(1000, 1010))
    t.kernel(engine, "bw", launch=(230, 231), gpu=(1020, 1060))
    trace = t.load(tmp_path)
    assert ttinsys.attribute(trace).select("kernel", "module", "role", "direction").collect().rows() == [
        ("fw", "aten::linear", "linear", "forward"),
        ("bw", "aten::linear", "linear", "backward"),
    ]
    divided = planned("breakdown", trace, by=("role", "direction"))
    assert divided.select("role", "direction", "sum_ns").rows() == [
        ("linear", "backward", 40),
        ("linear", "forward", 10),
    ]


def test_backward_belongs_to_the_last_forward_of_its_number(tmp_path: Path) -> None:
    """Another forward thread, or a second iteration, may count from the same number."""
    t = TraceBuilder()
    main, engine = t.thread(), t.thread(tid=12)
    t.range(main, "aten::gelu, seq = 7", 0, 10)
    t.range(main, "aten::linear, seq = 7", 100, 110)
    t.range(engine, "AddmmBackward0, seq = 7", 210, 290)
    ranges = ttinsys.ranges(t.load(tmp_path)).sort("start_ns").select("range_id", "forward_id").collect().rows()
    assert [forward for _, forward in ranges] == [None, None, ranges[1][0]]


def test_gradient_of_an_attention_is_no_call_of_its_own(tmp_path: Path) -> None:
    t = TraceBuilder()
    main, engine = t.thread(), t.thread(tid=12)
    fused, shape = "aten::scaled_dot_product_attention", [[1, 4, 16, 8]] * 3
    t.range(main, sized(fused, *shape, seq=7), 0, 100)
    t.range(engine, "ScaledDotProductFlashAttentionBackward0, seq = 7", 200, 300)
    t.kernel(main, "flash_fwd_kernel", launch=(10, 11), gpu=(1000, 1010))
    t.kernel(engine, "flash_bwd_kernel", launch=(230, 231), gpu=(1020, 1060))
    (row,) = planned("attention", t.load(tmp_path)).rows(named=True)
    assert (row["calls"], row["core_ns"]) == (1, 10 + 40)


def test_unknown_roles_give_way_to_operators(tmp_path: Path) -> None:
    t = TraceBuilder()
    main = t.thread()
    t.kernel(main, "ampere_sgemm_128x64_tn", launch=(0, 1), gpu=(10, 40))
    t.kernel(main, "nchwToNhwcKernel", launch=(2, 3), gpu=(50, 60))
    divided = planned("breakdown", t.load(tmp_path))
    assert divided.select("role", "operator", "sum_ns").rows() == [(None, "gemm", 30), (None, "copy", 10)]


def test_exposed_time_is_what_one_group_alone_covers() -> None:
    ops = pl.LazyFrame(
        {
            "name": ["a", "a", "b", "b", "a"],
            "gpu": [0, 0, 0, 0, 1],
            "pid": [1] * 5,
            "device": [0] * 5,
            # On GPU 0: a runs 0-10 and 5-20, b 15-30 and 40-50; on GPU 1: a 15-18 alone.
            "start_ns": [0, 5, 15, 40, 15],
            "end_ns": [10, 20, 30, 50, 18],
        }
    )
    assert sorted(exposed_by(ops, ["name"]).collect().rows()) == [("a", 15 + 3), ("b", 10 + 10)]


@pytest.mark.slow(2)
@needs(NCCL)
def test_real_capture_with_a_name_for_each_call_folds_to_groups() -> None:
    trace = ttinsys.load(NCCL)
    nested = ttinsys.ranges(trace).collect()
    assert nested["name"].drop_nulls().n_unique() == 16_556
    assert ttinsys.ranges_by_name(trace).height <= 110
    assert ttinsys.layers(trace).height <= 300
    roles = ttinsys.breakdown(trace)
    assert {"self_attention", "linear", "layer_norm", "rms_norm", "elementwise", "communication"} <= set(roles["role"])
    assert roles["sum_ns"].sum() == ttinsys.kernels(trace)["sum_ns"].sum()
    # Nothing else runs while the GPUs communicate.
    (exposed,) = roles.filter(pl.col("role") == "communication").select(pl.col("exposed_ns") / pl.col("busy_ns")).row(0)
    assert exposed == 1


@pytest.mark.slow(1)
@needs(MNIST)
def test_real_training_has_forward_and_backward_under_one_name_each() -> None:
    trace = ttinsys.load(MNIST)
    by_name = ttinsys.ranges_by_name(trace)
    assert by_name.filter(pl.col("range") == "aten::conv2d")["instances"].to_list() == [118]
    assert by_name.filter(pl.col("range") == "ConvolutionBackward0")["instances"].to_list() == [118]
    divided = ttinsys.breakdown(trace, by=("role", "direction"))
    assert set(divided.filter(pl.col("role") == "spatial_conv")["direction"]) == {"forward", "backward"}


@pytest.mark.slow(1)
@needs(TIMESFORMER)
def test_real_video_transformer_divides_into_temporal_and_spatial_attention() -> None:
    trace = ttinsys.load(TIMESFORMER)
    attention = ttinsys.attention(trace)
    assert set(attention["role"]) == {"temporal_attention", "spatial_attention"}
    by_role = {row["role"]: row for row in attention.iter_rows(named=True)}
    temporal, spatial = by_role["temporal_attention"], by_role["spatial_attention"]
    assert (temporal["calls"], temporal["kv_len_max"], spatial["calls"], spatial["kv_len_max"]) == (12, 8, 12, 3137)
    # 12 layers, two products each: 2 x batch x queries x keys x 64, at batches of 37,632 and 8 clips of 12 heads.
    assert temporal["core_flops"] == 12 * 2 * 2 * 37_632 * 8 * 8 * 64
    assert spatial["core_flops"] == 12 * 2 * 2 * 96 * 3137 * 3137 * 64
    rooflines = ttinsys.roofline(trace).filter(pl.col("role").str.ends_with("_attention"))
    assert rooflines["mfu"].null_count() == 0


@pytest.mark.slow(1)
@needs(SD3)
def test_real_compiled_model_has_joint_attention_and_few_unknown_kernels() -> None:
    trace = ttinsys.load(SD3)
    lengths = ttinsys.lengths(trace, by="length").filter(pl.col("role") == "joint_attention")
    assert lengths.select("q_len", "kv_len", "calls").rows() == [(4429, 4429, 4 * 38)]
    ops = ttinsys.attribute(trace).select("role", "operator", "duration_ns").collect()
    unknown = ops.filter(pl.col("role").fill_null("other") == "other", pl.col("operator") == "other")
    assert 10 * int(unknown["duration_ns"].sum()) < int(ops["duration_ns"].sum())
