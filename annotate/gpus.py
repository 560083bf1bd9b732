"""Data sheets of GPUs, for rooflines and for simulation.

    gpu("h200").half        # 989.4e12 operations per second
    known("NVIDIA H200")    # the same GPU, by its name in a trace

All rates are dense (without sparsity) and at boost clock; a multiply-add is two operations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import UnknownModel, unknown


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Args:
        key: name on the command line.
        name: name that CUDA and nsys report.
        chip: name of the chip.
        compute: compute capability, major and minor.
        sms: number of streaming multiprocessors.
        clock: boost clock, in Hz.
        memory: size of the memory, in bytes.
        bandwidth: bandwidth of the memory, in bytes per second.
        half: matrix products in FP16 or BF16 with FP32 accumulation, in operations per second.
        tf32: matrix products in TF32, in operations per second.
        single: FP32 without tensor cores, in operations per second.
        source: the data sheet.
    """

    key: str
    name: str
    chip: str
    compute: tuple[int, int]
    sms: int
    clock: int
    memory: int
    bandwidth: float
    half: float
    tf32: float
    single: float
    source: str

    @property
    def ridge(self) -> float:
        """Operations per byte above which half-precision matrix products are bound by arithmetic, not by memory."""
        return self.half / self.bandwidth


_H100 = "NVIDIA H100 Tensor Core GPU data sheet, H100 SXM; SMs and clock: H100 architecture white paper"

GPUS: Mapping[str, Gpu] = {
    sheet.key: sheet
    for sheet in (
        Gpu(
            "h100", "NVIDIA H100 80GB HBM3", "GH100", (9, 0), 132, 1_980_000_000, 80 * 10**9,
            3.35e12, 989.4e12, 494.7e12, 66.9e12, _H100,
        ),
        Gpu(
            "h200", "NVIDIA H200", "GH100", (9, 0), 132, 1_980_000_000, 141 * 10**9,
            4.8e12, 989.4e12, 494.7e12, 66.9e12,
            "NVIDIA H200 Tensor Core GPU data sheet, H200 SXM; its arithmetic is the H100's",
        ),
        Gpu(
            "a100", "NVIDIA A100-SXM4-80GB", "GA100", (8, 0), 108, 1_410_000_000, 80 * 10**9,
            2.039e12, 312e12, 156e12, 19.5e12,
            "NVIDIA A100 Tensor Core GPU data sheet, A100 80GB SXM",
        ),
        Gpu(
            "l40s", "NVIDIA L40S", "AD102", (8, 9), 142, 2_520_000_000, 48 * 10**9,
            0.864e12, 362.05e12, 183e12, 91.6e12,
            "NVIDIA L40S GPU data sheet",
        ),
        Gpu(
            "rtx4090", "NVIDIA GeForce RTX 4090", "AD102", (8, 9), 128, 2_520_000_000, 24 * 10**9,
            1.008e12, 165.2e12, 82.6e12, 82.6e12,
            "NVIDIA Ada GPU architecture white paper, appendix A; half precision with sums in FP32",
        ),
        Gpu(
            "b200", "NVIDIA B200", "GB100", (10, 0), 148, 1_965_000_000, 180 * 10**9,
            8.0e12, 2250e12, 1125e12, 75e12,
            "NVIDIA DGX B200 and HGX B200 data sheets, an eighth of a system, halved where they quote sparsity",
        ),
    )
}  # fmt: skip
"""GPUs by key."""


def gpu(key: str) -> Gpu:
    """A GPU by key, in any case.

    Raises:
        UnknownModel: no GPU has that key.
    """
    if key.lower() not in GPUS:
        raise UnknownModel(unknown("GPU", key, GPUS))
    return GPUS[key.lower()]


def known(name: str) -> Gpu | None:
    """The GPU that a trace names; None where no data sheet is known."""
    return next((sheet for sheet in GPUS.values() if sheet.name == name), None)
