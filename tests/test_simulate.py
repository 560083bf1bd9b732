"""Simulated runs: shapes and FLOPs of the real models, kernels by PyTorch's names, times worked out by hand."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import parsers
from annotate import models
from annotate.gpus import GPUS, gpu, known
from annotate.labels import CALL_TEXT, CONVOLUTION_ROLES
from annotate.models import model
from tests.shared import slow
from ttinsys.attribution.attribute import attribute
from ttinsys.attribution.nvtx import ranges
from ttinsys.attribution.operators import classify
from ttinsys.tables.overview import overview

pytest.importorskip("torch")
pytest.importorskip("diffusers")

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    import torch
    from torch import nn
    from torch.nn import functional

    from annotate.errors import AnnotateError, OutputExists
    from annotate.simulate import command
    from annotate.simulation import export
    from annotate.simulation.device import Device
    from annotate.simulation.export import short_name
    from annotate.simulation.run import Simulated, simulate
    from annotate.simulation.timeline import FLOOR_NS, LAUNCH_NS, QUEUE, Kernel, Timeline, duration_ns

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

H200 = GPUS["h200"]
TINY = [*map(slow, ("stable-diffusion", "wan-1.3b")), "llama2-7b"]


@cache
def run(name: str, size: Any = "tiny", key: str = "h200", attend: str = "sdpa", **changes: int) -> Simulated:
    declared = model(name)
    return simulate(declared, size, declared.request(size, **changes), gpu(key), attend=attend)


@cache
def written(name: str, folder: Path) -> Path:
    place = folder / f"{name}_pqtdir"
    if not place.exists():
        export.write(run(name), place)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulated")


def launched(module: nn.Module, *shapes: tuple[int, ...], key: str = "h200") -> list[Kernel]:
    """Kernels of one call of a module in half precision."""
    timeline = Timeline(gpu(key))
    module = module.to("meta", torch.float16)
    given = [torch.empty(shape, dtype=torch.float16) for shape in shapes]
    with torch.no_grad(), Device(timeline).holds({"module": module}, fused=True):
        module(*given)
    return [done.kernel for done in timeline.work if done.kernel]


def flops_of(simulated: Simulated) -> int:
    """FLOPs of all ranges, as the recorder has them: a mark gives the range around it another call."""
    recorder: Any = simulated.recorder
    calls = {id(opened): opened.call for opened in recorder.ranges}
    for mark in recorder.marks:
        if mark.text == CALL_TEXT:
            around = [opened for opened in recorder.ranges if opened.start_ns < mark.at_ns < opened.end_ns]
            calls[id(around[-1])] = mark.payload
    return sum(recorder._tracer.calls.values(call).get("flops", 0) for call in calls.values())


@pytest.mark.parametrize("name", TINY)
def test_the_trace_has_the_ranges_of_the_recorder_with_their_roles(name: str, folder: Path) -> None:
    found = ranges(parsers.load(written(name, folder))).collect()
    recorded = run(name).recorder
    assert Counter(found["role"]) == Counter(opened.role for opened in recorded.ranges)
    assert Counter(found["name"]) == Counter(opened.name for opened in recorded.ranges)
    assert found["end_ns"].null_count() == 0
    assert recorded.open == []


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", TINY)
def test_every_kernel_lies_in_a_range_and_the_flops_of_kernels_and_ranges_are_the_same(name: str, folder: Path) -> None:
    trace = parsers.load(written(name, folder))
    said = overview(trace)
    assert said.notes[0].startswith("No machine ran this: ")
    ops = attribute(trace).collect()
    assert ops["range_id"].null_count() == 0
    simulated = run(name)
    assert len(ops) == len(simulated.timeline.work)
    kernels = sum(done.kernel.flops for done in simulated.timeline.work if done.kernel)
    assert kernels == flops_of(simulated) == ranges(trace).collect()["flops"].sum()
    assert ops["duration_ns"].sum() == simulated.timeline.busy_ns


@pytest.mark.parametrize(
    ("name", "key", "attend"),
    [
        slow("stable-diffusion", "h200", "sdpa"),
        slow("wan-1.3b", "h200", "sdpa"),
        ("llama2-7b", "h200", "sdpa"),
        slow("stable-diffusion", "a100", "eager", seconds=2),
        slow("imagen", "b200", "sdpa", seconds=2),
    ],
)
def test_the_classifier_reads_each_kernel_as_what_it_is(name: str, key: str, attend: str) -> None:
    kernels = {
        (done.kernel.name, done.kernel.operator) for done in run(name, "tiny", key, attend).timeline.work if done.kernel
    }
    frame = pl.DataFrame(sorted(kernels), schema=["name", "operator"], orient="row")
    assert frame.filter(classify(pl.col("name")) != pl.col("operator")).rows() == []


@pytest.mark.slow(2)
def test_fused_attention_is_one_kernel_and_unfused_is_two_products_around_a_softmax() -> None:
    for attend, expected in (("sdpa", ["flash_attention"]), ("eager", ["gemm", "softmax", "gemm"])):
        simulated = run("stable-diffusion", "tiny", "a100", attend)
        core = next(opened for opened in simulated.recorder.ranges if opened.name.endswith("attn1.core"))
        inside = {
            call.correlation for call in simulated.timeline.calls if core.start_ns < call.start < (core.end_ns or 0)
        }
        operators = [
            done.kernel.operator for done in simulated.timeline.work if done.correlation in inside and done.kernel
        ]
        assert [operator for operator in operators if operator not in {"elementwise", "copy"}] == expected


def test_a_linear_takes_what_the_roofline_says() -> None:
    (kernel,) = launched(nn.Linear(4096, 4096), (4096, 4096))
    assert kernel.flops == 2 * 4096**3
    assert kernel.bytes == 2 * (3 * 4096**2 + 4096)
    assert kernel.operator == "gemm"
    assert kernel.name.startswith("nvjet_hsh_")
    # 137.4 GFLOP at 70% of 989.4 TFLOP/s
    assert duration_ns(kernel, H200) == 198_445 + FLOOR_NS
    # one row is bound by memory: 33.6 MB at 85% of 4.8 TB/s
    (vector,) = launched(nn.Linear(4096, 4096), (1, 4096))
    assert duration_ns(vector, H200) == round((2 * (4096**2 + 3 * 4096)) / (4.8e12 * 0.85) * 1e9) + FLOOR_NS


def test_a_convolution_is_put_into_channels_last_and_back_and_its_bias_added() -> None:
    kernels = launched(nn.Conv2d(320, 320, 3, padding=1), (2, 320, 64, 64), key="a100")
    assert [kernel.operator for kernel in kernels] == ["copy", "conv", "copy", "elementwise"]
    conv = kernels[1]
    assert conv.flops == 2 * (2 * 320 * 64 * 64) * 320 * 9
    # 15.1 GFLOP at 60% of 312 TFLOP/s
    assert duration_ns(conv, GPUS["a100"]) == 80_660 + FLOOR_NS
    assert kernels[0].bytes == 2 * 2 * (2 * 320 * 64 * 64)


def test_flash_attention_takes_what_the_roofline_says() -> None:
    class Attends(nn.Module):
        def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return functional.scaled_dot_product_attention(query, key, value)

    (kernel,) = launched(Attends(), *[(2, 8, 4096, 40)] * 3)
    assert kernel.flops == 4 * 2 * 8 * 4096 * 4096 * 40
    assert kernel.bytes == 4 * 2 * (2 * 8 * 4096 * 40)
    assert "pytorch_flash::flash_fwd_kernel" in kernel.name
    # 42.9 GFLOP at 35% of 989.4 TFLOP/s
    assert duration_ns(kernel, H200) == 124_028 + FLOOR_NS


def test_kernels_run_one_after_the_other_and_a_full_queue_holds_the_launches_up() -> None:
    timeline = Timeline(H200)
    long = Kernel("long", "copy", bytes=4_080_000_000)  # 1 ms at 85% of 4.8 TB/s
    for _ in range(QUEUE + 1):
        timeline.launch([long])
    duration = 1_000_000 + FLOOR_NS
    first, second = timeline.work[:2]
    assert (first.start, first.end) == (timeline.calls[0].end, timeline.calls[0].end + duration)
    assert (second.start, second.end) == (first.end, first.end + duration)
    assert timeline.calls[1].start < first.end
    assert timeline.calls[QUEUE].start > first.end
    assert all(call.end - call.start == LAUNCH_NS for call in timeline.calls)


@pytest.mark.slow(2)
def test_stable_diffusion_at_512_pixels_has_the_lengths_and_flops_worked_out_from_the_paper(tmp_path: Path) -> None:
    export.write(run("stable-diffusion", "full", steps=1), tmp_path / "sd_pqtdir")
    found = ranges(parsers.load(tmp_path / "sd_pqtdir")).filter(pl.col("component") == "denoiser").collect()
    cores = found.filter(pl.col("q_len").is_not_null() & (pl.col("step") == 0))
    own = cores.filter(pl.col("role") == "spatial_attention")
    assert Counter(own["q_len"]) == {4096: 5, 1024: 5, 256: 5, 64: 1}
    assert own["q_len"].equals(own["kv_len"])
    assert cores.filter(pl.col("role") == "cross_attention")["kv_len"].unique().to_list() == [77]
    first = found.filter(pl.col("step") == 0)
    roles = {"conv": CONVOLUTION_ROLES, "linear": ("linear",)}
    # Guidance: two pictures at once.
    flops = {key: int(first.filter(pl.col("role").is_in(of))["flops"].sum()) for key, of in roles.items()}
    flops["core"] = int(own["flops"].sum())
    assert {key: round(value / 2e12, 3) for key, value in flops.items()} == {
        "conv": 0.444,
        "linear": 0.233,
        "core": 0.122,
    }


def test_a_run_in_another_precision_or_on_another_gpu_has_other_times_and_the_same_ranges() -> None:
    half, double = run("llama2-7b", "tiny", "a100"), run("llama2-7b", "tiny", "rtx4090")
    assert [opened.name for opened in half.recorder.ranges] == [opened.name for opened in double.recorder.ranges]
    big = Kernel("gemm", "gemm", bytes=0, flops=10**12)
    assert [duration_ns(big, GPUS[key]) > duration_ns(big, H200) for key in ("a100", "l40s", "rtx4090")] == [True] * 3
    single = Kernel("gemm", "gemm", bytes=0, flops=10**12, unit="single")
    assert duration_ns(single, H200) > duration_ns(big, H200)


def test_gpus_are_found_by_the_name_that_a_trace_has() -> None:
    assert [known(found.name) for found in GPUS.values()] == list(GPUS.values())
    assert known("Tesla K80") is None
    assert round(H200.ridge) == 206


def test_short_names_have_neither_namespaces_nor_templates() -> None:
    assert short_name("void at::native::<unnamed>::softmax<float, (int)4>(T2 *, int)") == "softmax"
    assert short_name("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT") == "nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT"


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["--model", "stable-difusion"], 2, "Error: no model stable-difusion: did you mean stable-diffusion?"),
        (["--model", "sdxl", "--gpu", "h20"], 2, "Error: no GPU h20: did you mean h200? There are h100, h200, a100, "),
        (["--model", "sdxl", "--height", "100"], 2, "Error: --height 100: sdxl makes multiples of 8: the nearest is"),
        (["--gpu", "h200"], 2, "Error: name what to run: --model NAME"),
    ],
)
def test_what_is_impossible_is_one_line(arguments: list[str], status: int, line: str, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "annotate.simulate", *arguments, "-o", str(tmp_path / "out")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert line in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(1)
def test_an_export_that_exists_is_replaced_only_with_force_and_a_folder_that_is_none_never(tmp_path: Path) -> None:
    place = tmp_path / "wan_pqtdir"
    simulated = run("wan-1.3b")
    export.write(simulated, place)
    before = sorted(path.name for path in place.iterdir())
    with pytest.raises(OutputExists, match="--force"):
        export.write(simulated, place)
    export.write(simulated, place, force=True)
    assert sorted(path.name for path in place.iterdir()) == before
    (place / "mine.txt").write_text("kept")
    with pytest.raises(OutputExists, match="no Parquet export"):
        export.write(simulated, place, force=True)
    assert (place / "mine.txt").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["wan_pqtdir"]


def test_a_failed_run_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (nn.Module.__call__, functional.scaled_dot_product_attention, functional.rms_norm, torch.autocast)
    monkeypatch.chdir(tmp_path)

    def generate(pipeline: Any, request: Any) -> None:
        pipeline(input_ids=torch.ones(1, 3, dtype=torch.int64))
        raise KeyError("nothing more")

    broken = replace(model("llama2-7b"), generate=generate)
    monkeypatch.setattr(models, "model", lambda _: broken)
    with pytest.raises(AnnotateError, match="llama2-7b failed in its pipeline: KeyError: 'nothing more'"):
        command.main(["--model", "llama2-7b", "--size", "tiny"], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []
    assert before == (nn.Module.__call__, functional.scaled_dot_product_attention, functional.rms_norm, torch.autocast)
