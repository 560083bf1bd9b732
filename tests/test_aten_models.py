"""Tiny models under PyTorch's profiler, which knows names and sizes, against what annotation knows of the same run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.shared import TRACES, slow
from ttinsys.attribution.aten import (
    attention_roles,
    convolution_outputs,
    operation_costs,
    spelt_attention,
    spelt_norms,
    surroundings,
)

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from annotate import annotate
from annotate.backends import Recorder
from annotate.choices import attention
from annotate.models import MODELS, model
from tests.aten_calls import operations_of, outermost, profiled
from tests.tiny import generate, quiet, with_attention

CALL = ["operation", "sizes", "types", "values", "output_size"]
Lengths = tuple[int, int]


def read(operations: pl.DataFrame) -> tuple[pl.DataFrame, dict[Lengths, set[str | None]]]:
    """Outermost operations with FLOPs, and the roles of attention calls by their lengths."""
    operations = operations.join(convolution_outputs(operations), on="row", how="left", maintain_order="left")
    distinct = operations.filter(pl.col("sizes").is_not_null()).select(CALL).unique(maintain_order=True)
    costs = operation_costs(distinct)
    costed = operations.join(costs, on=CALL, how="left", nulls_equal=True, maintain_order="left")
    counted = outermost(costed, costed["flops"].to_list())
    shape = ["batch", "heads", "q_len", "kv_len"]
    calls = pl.concat(
        [counted.filter(pl.col("role") == "attention").select(shape), spelt_attention(operations).select(shape)]
    )
    distinct_calls = calls.group_by(shape).agg(pl.len().cast(pl.Int64).alias("calls"))
    decided = attention_roles(
        distinct_calls.with_columns(pl.lit(None, pl.String).alias("component")), surroundings(costs)
    )
    roles: dict[Lengths, set[str | None]] = defaultdict(set)
    for q_len, kv_len, role in decided.select("q_len", "kv_len", "role").iter_rows():
        roles[q_len, kv_len].add(role)
    return counted, roles


def run(name: str, chosen: str, path: Path) -> tuple[pl.DataFrame, int, dict[Lengths, set[str]]]:
    """Operations of a run; FLOPs and roles of its attention calls as annotation has them."""
    pipeline, recorder = with_attention(name, chosen), Recorder()
    with attention(pipeline, chosen), annotate(pipeline, backend=recorder, name=name) as annotation:
        operations = profiled(lambda: generate(name, pipeline), path)
    roles: dict[Lengths, set[str]] = defaultdict(set)
    flops = 0
    for opened in recorder.ranges:
        values: Any = annotation.tracer.calls.values(opened.call)
        flops += values.get("flops") or 0
        if values.get("q_len"):
            roles[values["q_len"], values["kv_len"]].add(opened.role)
    return operations, flops, roles


UNDECIDED = {
    # One level of one clip reads both ways, and its tokens are looked up like text.
    "phenaki": 3,
    # A prompt cut to its own length; text encoders of pictures, whose component only a module's name tells.
    "mochi": 2,
    "kandinsky-2.2": 2,
    "svd": 1,
    "parti": 1,
    "parti-3b": 1,
}
"""Lengths of attention calls whose role nothing tells; of other models every one is decided."""

CONTAINERS = {"mochi": 26}
"""Modules that annotation calls norms and that hold a norm and a linear layer."""

FAST = ("latte", "sd3", "llama2-7b")
SPELT = (*FAST, "stable-diffusion", "wan-1.3b", "phenaki", "muse", "imagen", "hunyuan-video")
"""Models whose attention is also spelt out: one of each kind of attention."""
RUNS = [
    (name, chosen) if name in FAST else slow(name, chosen, seconds=3)
    for name in MODELS
    for chosen in ("sdpa", *(["eager"] if name in SPELT else []))
]


@pytest.mark.slow(1)
@quiet
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "chosen"), RUNS)
def test_roles_and_flops_are_those_of_annotation(name: str, chosen: str, tmp_path: Path) -> None:
    operations, flops, truth = run(name, chosen, tmp_path / "trace.json")
    unknown = pl.lit(None, pl.String)
    sizes_alone = operations.with_columns(unknown.alias("types"), unknown.alias("values"))  # as emit_nvtx records
    for recorded, tolerance in ((operations, 1e-4), (sizes_alone, 0.02)):
        counted, roles = read(recorded)
        assert int(counted["flops"].sum()) == pytest.approx(flops, rel=tolerance)
        decided = {lengths: found - {None} for lengths, found in roles.items() if lengths in truth}
        assert truth.keys() <= roles.keys()
        assert {lengths: found for lengths, found in decided.items() if not found <= truth[lengths]} == {}
        assert sum(not found for found in decided.values()) == UNDECIDED.get(name, 0)
        fused = recorded.filter(pl.col("operation") == "aten::rms_norm").height
        assert spelt_norms(recorded).height + fused == model(name).golden.ranges.get("rms_norm", 0) - CONTAINERS.get(
            name, 0
        )


TIMESFORMER = TRACES / "kineto" / "timesformer-h100.json.gz"
SD3 = TRACES / "kineto" / "sd3.5-compiled-mi300x.json.gz"
QWEN = TRACES / "kineto" / "qwen1.5-h100.json.gz"


@pytest.mark.slow(2)
@pytest.mark.skipif(not TIMESFORMER.exists(), reason="no real captures in ../shared/traces")
def test_real_traces_have_the_roles_that_their_models_have() -> None:
    counted, roles = read(operations_of(TIMESFORMER))
    assert roles == {(8, 8): {"temporal_attention"}, (3137, 3137): {"spatial_attention"}}
    # 12 layers of one core over 8 frames and one over 3,137 tokens, 12 heads of 64: 4 B H N N D each.
    cores = 12 * 4 * 12 * 64 * (3136 * 8 * 8 + 8 * 3137 * 3137)
    assert counted.filter(pl.col("operation") == "aten::matmul", pl.col("role").is_null())["flops"].sum() == cores

    _, roles = read(operations_of(SD3))
    assert roles == {
        (77, 77): {"self_attention"},
        (256, 256): {"self_attention"},
        (4429, 4429): {"joint_attention"},
        (16384, 16384): {"spatial_attention"},
    }
    assert read(operations_of(QWEN))[1] == {(559, 559): {"self_attention"}}
