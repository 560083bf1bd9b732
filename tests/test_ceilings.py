"""Ceilings: from data sheets and traces, and what is said where they are missing or disagree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import parsers
from tests.build import TraceBuilder
from tests.shared import TRACES, needs_captures
from ttinsys.attribution.devices import numbered_gpus
from ttinsys.measures.ceilings import ceilings
from ttinsys.published.sheets import GPUS


def of(trace: parsers.Trace, *devices: int, **given: Any) -> list[dict[str, Any]]:
    """The ceilings of some GPUs of a trace."""
    return ceilings(pl.LazyFrame({"gpu": devices or (0,)}), numbered_gpus(trace), **given).collect().to_dicts()


def machine(folder: Path, *gpus: tuple[int | None, str, int | None]) -> parsers.Trace:
    """A trace of a machine with these GPUs: device, name, bandwidth in GB/s."""
    t = TraceBuilder()
    for number, (device, name, bandwidth) in enumerate(gpus):
        t.row("TARGET_INFO_GPU", id=number, cuDevice=device, name=name,
              memoryBandwidth=bandwidth and bandwidth * 10**9)  # fmt: skip
    t.kernel(t.thread(), "gemm", gpu=(0, 1), launch=(0, 0))
    return t.load(folder)


def test_known_gpu_has_the_peaks_of_its_data_sheet(tmp_path: Path) -> None:
    (found,) = of(machine(tmp_path, (0, "NVIDIA H200", 4800)))
    sheet = GPUS["h200"]
    assert found["name"] == "NVIDIA H200"
    assert (found["half_flops_per_s"], found["tf32_flops_per_s"], found["single_flops_per_s"]) == (
        sheet.half, sheet.tf32, sheet.single,
    )  # fmt: skip
    assert found["ridge"] == pytest.approx(sheet.ridge)
    assert (found["source"], found["note"]) == ("both", None)


def test_bandwidth_that_disagrees_with_the_data_sheet_is_noted(tmp_path: Path) -> None:
    (found,) = of(machine(tmp_path, (0, "NVIDIA H200", 4000)))
    assert found["bandwidth_bytes_per_s"] == GPUS["h200"].bandwidth
    assert found["source"] == "data sheet"
    assert found["note"] == (
        "the bandwidth is 4,800 GB/s in the data sheet of NVIDIA H200, which is used, and 4,000 GB/s in the trace: "
        "give --gpu, or --bandwidth"
    )
    (near,) = of(machine(tmp_path, (0, "NVIDIA H200", 4400)))
    assert near["note"] is None


@pytest.mark.parametrize("bandwidth", [None, 0])
def test_bandwidth_that_the_trace_does_not_tell_is_the_data_sheets(tmp_path: Path, bandwidth: int | None) -> None:
    (found,) = of(machine(tmp_path, (0, "NVIDIA H200", bandwidth)))
    assert (found["source"], found["note"]) == ("data sheet", None)


def test_unknown_gpu_has_the_bandwidth_of_the_trace_and_no_peak(tmp_path: Path) -> None:
    (found,) = of(machine(tmp_path, (0, "NVIDIA TITAN RTX", 672)))
    assert (found["bandwidth_bytes_per_s"], found["half_flops_per_s"], found["ridge"]) == (672e9, None, None)
    assert found["source"] == "trace"
    assert found["note"] == "NVIDIA TITAN RTX has no data sheet here: give --gpu, or --peak"


def test_trace_without_gpus_says_what_to_give(tmp_path: Path) -> None:
    (found,) = of(machine(tmp_path))
    assert found["note"] == "the trace does not name its GPU: give --gpu, or --peak and --bandwidth"
    (given,) = of(machine(tmp_path), gpu="a100")
    assert (given["name"], given["source"], given["note"]) == ("NVIDIA A100-SXM4-80GB", "given", None)


def test_what_a_person_gives_goes_before_everything(tmp_path: Path) -> None:
    (found,) = of(machine(tmp_path, (0, "NVIDIA H200", 4000)), peak=100.0, bandwidth=1000.0)
    assert (found["half_flops_per_s"], found["single_flops_per_s"]) == (1e14, 1e14)
    assert (found["bandwidth_bytes_per_s"], found["ridge"]) == (1e12, 100)
    assert (found["source"], found["note"]) == ("given", None)


def test_device_without_a_number_is_the_gpu_that_all_are(tmp_path: Path) -> None:
    alike = machine(tmp_path, (None, "NVIDIA H200", None), (None, "NVIDIA H200", None))
    assert [row["name"] for row in of(alike, 3, 5)] == ["NVIDIA H200", "NVIDIA H200"]
    mixed = machine(tmp_path, (None, "NVIDIA H200", None), (None, "NVIDIA L40S", None))
    assert [row["name"] for row in of(mixed, 3)] == [None]


def test_each_device_has_its_own(tmp_path: Path) -> None:
    trace = machine(tmp_path, (0, "NVIDIA H200", 4800), (1, "NVIDIA L40S", 864))
    assert [row["name"] for row in of(trace, 1, 0)] == ["NVIDIA H200", "NVIDIA L40S"]


@needs_captures
@pytest.mark.parametrize("capture", ["torch-lm-a100-2024.6", "torch-mnist-aten-2023.4", "torch-cudagraph-2024.6"])
def test_real_a100_agrees_with_its_data_sheet(capture: str) -> None:
    (found,) = of(parsers.load(TRACES / f"{capture}.sqlite"))
    assert (found["name"], found["source"], found["note"]) == ("NVIDIA A100-SXM4-80GB", "both", None)
