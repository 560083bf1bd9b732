"""Which GPU an operation ran on: through the table of devices, by inference, or unknown and said."""

from __future__ import annotations

from pathlib import Path

import pytest

import parsers
import ttinsys
from annotate.labels import DTYPES
from tests.build import TraceBuilder
from tests.labelled import Labelled
from ttinsys.attribution.devices import numbered_gpus
from ttinsys.exports import captured, timeline
from ttinsys.tables.overview import overview

GB = 10**9
HALF = DTYPES.index("float16")


def two_processes(*ordinals: int) -> TraceBuilder:
    """Processes 10 and 20, which run a kernel each, by turns: 0-100 and 50-150, on these devices of their own."""
    t = TraceBuilder()
    for pid, start, device in zip((10, 20), (0, 50), ordinals or (0, 0), strict=True):
        t.kernel(t.thread(pid, pid), "gemm", launch=(start, start), gpu=(start, start + 100), device=device)
    return t


def listed(t: TraceBuilder, *rows: tuple[int | None, int, int], **columns: str | int) -> TraceBuilder:
    """Add rows of TARGET_INFO_CUDA_DEVICE: GPU, ordinal, process."""
    for gpu, ordinal, pid in rows:
        t.row("TARGET_INFO_CUDA_DEVICE", gpuId=gpu, cudaId=ordinal, pid=pid, **columns)
    return t


def machine(t: TraceBuilder, *names: str) -> TraceBuilder:
    """Add GPUs that CUDA does not number."""
    for number, name in enumerate(names):
        t.row("TARGET_INFO_GPU", id=number, name=name, smCount=132, memoryBandwidth=(number + 1) * GB)
    return t


def gpus(trace: parsers.Trace) -> list[int | None]:
    return ttinsys.attribute(trace).select("gpu").collect()["gpu"].to_list()


def test_device_0_of_two_processes_is_two_gpus_where_the_table_says_so(tmp_path: Path) -> None:
    trace = listed(machine(two_processes(), "A", "B"), (1, 0, 10), (0, 0, 20)).load(tmp_path)
    assert gpus(trace) == [1, 0]
    # Each GPU is busy for 100 ns; one GPU would be for 150.
    frame = ttinsys.gaps(trace, by="trace")
    assert frame.select("gpu", "device", "pid", "busy_ns", "idle_ns").rows() == [
        (0, 0, None, 100, 0),
        (1, 0, None, 100, 0),
    ]
    assert ttinsys.breakdown(trace, by="operator")["busy_ns"].to_list() == [200]
    operations = overview(trace).operations
    assert operations.select("device", "gpu", "sum_ns").rows() == [(0, 0, 100), (0, 1, 100)]


def test_one_gpu_that_processes_number_differently_is_one(tmp_path: Path) -> None:
    trace = listed(machine(two_processes(0, 1), "A", "B"), (1, 0, 10), (1, 1, 20)).load(tmp_path)
    frame = ttinsys.gaps(trace, by="trace")
    assert frame.select("gpu", "device", "busy_ns", "overlapped_ns").rows() == [(1, None, 150, 50)]


def test_shared_ordinal_of_a_machine_with_several_gpus_is_unknown_and_said(tmp_path: Path) -> None:
    trace = machine(two_processes(), "A", "B").load(tmp_path)
    assert gpus(trace) == [None, None]
    # Each process counts as a GPU of its own.
    assert ttinsys.gaps(trace, by="trace").select("gpu", "device", "pid", "busy_ns").rows() == [
        (None, 0, 10, 100),
        (None, 0, 20, 100),
    ]
    (note,) = [note for note in overview(trace).notes if "device ordinal" in note]
    assert note.startswith("Processes 10, 20 use the same device ordinal, and the export does not tell whether")


def test_part_of_a_trace_knows_no_more_of_its_gpu_than_the_whole(tmp_path: Path) -> None:
    part = ttinsys.select(machine(two_processes(), "A", "B").load(tmp_path), pid=10)
    assert gpus(part) == [None]
    assert overview(part).tables.filter(table="cuda_devices")["rows"].to_list() == [0]


@pytest.mark.parametrize(
    ("names", "ordinals", "expected"),
    [
        # The only GPU of the machine is that of everybody.
        (["A"], (0, 0), [0, 0]),
        # No list: as many GPUs as ordinals.
        ([], (0, 0), [0, 0]),
        ([], (0, 1), [0, 1]),
        # CUDA has not numbered these GPUs for nsys, so an ordinal may be any of them.
        (["A", "B"], (0, 1), [None, None]),
    ],
)
def test_without_the_table_a_gpu_is_inferred_where_there_is_no_doubt(
    tmp_path: Path, names: list[str], ordinals: tuple[int, int], expected: list[int | None]
) -> None:
    assert gpus(machine(two_processes(*ordinals), *names).load(tmp_path)) == expected


def test_ordinal_that_cuda_gave_a_gpu_names_it(tmp_path: Path) -> None:
    t = two_processes(0, 1)
    t.row("TARGET_INFO_GPU", id=4, cuDevice=1, name="B")
    t.row("TARGET_INFO_GPU", id=5, cuDevice=0, name="A")
    assert gpus(t.load(tmp_path)) == [5, 4]


def test_process_of_a_container_has_the_gpu_that_every_listed_process_has(tmp_path: Path) -> None:
    inside = machine(two_processes(), "A", "B")
    assert gpus(listed(inside, (1, 0, 7)).load(tmp_path)) == [1, 1]
    # Two listed processes mean two GPUs by device 0: which is whose is unknown.
    assert gpus(listed(inside, (0, 0, 8)).load(tmp_path)) == [None, None]


def test_process_is_found_by_the_id_that_the_table_of_processes_gives_it(tmp_path: Path) -> None:
    t = machine(two_processes(), "A", "B")
    for pid, inner in ((10, 1), (20, 2)):
        t.row("PROCESSES", globalPid=t.thread(pid, 0).global_pid, pid=inner, name="python")
    assert gpus(listed(t, (1, 0, 1), (0, 0, 2)).load(tmp_path)) == [1, 0]


def test_processes_of_several_hosts_have_gpus_of_their_own(tmp_path: Path) -> None:
    # The builder's processes are of host 1. On each host, process 10 uses GPU 0, which the table of devices says once.
    t = listed(two_processes(), (0, 0, 10))
    for host in (1, 2):
        t.row("TARGET_INFO_GPU", id=0, vmId=host << 48, name=f"GPU of host {host}")
    t.row("CUPTI_ACTIVITY_KIND_KERNEL", start=200, end=300, deviceId=0, globalPid=2 << 48 | 10 << 24,
          demangledName=1, shortName=1)  # fmt: skip
    assert gpus(t.load(tmp_path)) == [0, 0, 1]


def test_mig_instances_of_a_gpu_are_devices_of_their_own_without_its_ceilings(tmp_path: Path) -> None:
    t = machine(two_processes(), "NVIDIA H200")
    listed(t, (0, 0, 10), uuid="MIG-a", numMultiprocessors=60)
    listed(t, (0, 0, 20), uuid="MIG-b", numMultiprocessors=60)
    trace = t.load(tmp_path)
    assert gpus(trace) == [0, 1]
    assert numbered_gpus(trace).select(
        "gpu", "name", "sm_count", "bandwidth_bytes_per_s", "instance"
    ).collect().rows() == [
        (0, "MIG instance of NVIDIA H200", 60, None, "MIG-a"),
        (1, "MIG instance of NVIDIA H200", 60, None, "MIG-b"),
    ]


def test_ceilings_are_those_of_the_gpu_that_the_process_saw(tmp_path: Path) -> None:
    t = Labelled()
    t.row("TARGET_INFO_GPU", id=0, name="NVIDIA GeForce RTX 3060", memoryBandwidth=360 * GB)
    t.row("TARGET_INFO_GPU", id=1, cuDevice=1, name="NVIDIA H200", memoryBandwidth=4800 * GB)
    listed(t, (1, 0, 10))
    t.module("unet", "linear")
    # 2,400 bytes in 1 ns are half of 4,800 GB/s.
    t.call("unet", 0, 9, gpu=[("k", 10, 11)], flops=100, bytes=2400, dtype=HALF)
    (row,) = ttinsys.roofline(t.load(tmp_path)).iter_rows(named=True)
    assert (row["gpu"], row["device"], row["note"]) == (1, 0, None)
    assert row["bandwidth_share"] == pytest.approx(0.5)


def test_timeline_has_a_process_for_each_gpu(tmp_path: Path) -> None:
    trace = listed(machine(two_processes(), "A", "B"), (1, 0, 10), (0, 0, 20)).load(tmp_path)
    rows = timeline.Rows()
    timeline.gpus(captured("t", trace, timeline.TIMELINE_COLUMNS), rows, "")
    names = [event["args"]["name"] for event in rows.events if event["name"] == "process_name"]  # type: ignore[index]
    assert names == ["GPU 0: A", "GPU 1: B"]


def test_overlap_on_two_gpus_is_not_concurrent(tmp_path: Path) -> None:
    t = two_processes()
    apart = listed(machine(t, "A", "B"), (1, 0, 10), (0, 0, 20)).load(tmp_path)
    assert ttinsys.gaps(apart, by="trace")["concurrent_ns"].to_list() == [0, 0]
    together = machine(two_processes(), "A").load(tmp_path)
    assert ttinsys.gaps(together, by="trace")["concurrent_ns"].to_list() == [50]
