"""The simulated sample: read without torch, it says what it is, and what Stable Diffusion 1.5 is known to compute."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import ttinsys
from ttinsys.cli import main

SAMPLE = Path(__file__).resolve().parents[1] / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"


@pytest.fixture(scope="module")
def ops() -> pl.DataFrame:
    return ttinsys.attribute(ttinsys.load(SAMPLE)).collect()


@pytest.mark.parametrize("command", ["layers", "ranges", "kernels", "attribute", "stats --report cuda_gpu_kern_sum"])
def test_every_command_says_first_that_no_machine_ran_it(command: str) -> None:
    done = CliRunner().invoke(main, [*command.split(), str(SAMPLE)])
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0].startswith(f"{SAMPLE}: No machine ran this: simulated by annotate.simulate")


def test_lengths_of_one_forward_are_those_of_the_study(ops: pl.DataFrame) -> None:
    # At 512 pixels the latent is 64 by 64: 4096, 1024, 256 and 64 positions, on the levels with attention.
    cores = ops.filter(pl.col("step") == 0, pl.col("component") == "denoiser", pl.col("q_len").is_not_null())
    calls = cores.unique("module_id").group_by("role", "q_len", "kv_len").len().sort("role", "q_len").rows()
    lengths = ((64, 1), (256, 5), (1024, 5), (4096, 5))
    assert calls == [("cross_attention", n, 77, times) for n, times in lengths] + [
        ("spatial_attention", n, n, times) for n, times in lengths
    ]


@pytest.mark.parametrize(
    ("roles", "teraflops"),
    [(["spatial_conv", "pointwise_conv"], 0.444), (["linear"], 0.233), (["spatial_attention"], 0.122)],
)
def test_operations_of_one_forward_are_those_computed_from_the_model(
    ops: pl.DataFrame, roles: list[str], teraflops: float
) -> None:
    forward = ops.filter(pl.col("step") == 1, pl.col("component") == "denoiser").unique("module_id")
    # Guidance doubles the batch; what projects into the blocks is a convolution by one pixel, counted as one.
    flops = float(forward.filter(pl.col("role").is_in(roles))["flops"].sum()) / 2
    assert flops / 1e12 == pytest.approx(teraflops, abs=0.01)


def test_every_operation_has_a_role_and_sums_reconcile(ops: pl.DataFrame) -> None:
    assert ops["role"].null_count() == 0
    by_role = ops.group_by("role", "step").agg(pl.col("duration_ns").sum())
    assert (
        by_role["duration_ns"].sum()
        == ttinsys.load(SAMPLE).kernels.select((pl.col("end_ns") - pl.col("start_ns")).sum()).collect().item()
        + ops.filter(pl.col("kind") != "kernel")["duration_ns"].sum()
    )
