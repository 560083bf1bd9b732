"""Paths that are no nsys export: each is told apart by what it holds, and answered in one line with what to do."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

import parsers
from parsers.folder import traces_in
from parsers.ncu import METRICS
from tests.build import Format, TraceBuilder
from tests.shared import TRACES
from ttinsys.cli import main

SAMPLE = Path(__file__).resolve().parents[1] / "sample_traces" / "synthetic-stable-diffusion.sqlite"
NSYS = "capture the program with `nsys profile --trace=cuda,nvtx PROGRAM` and pass the report"
EVENT = {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 1.5, "dur": 2.0}


def refusal(path: Path) -> str:
    """What is said of a path, without its name."""
    with pytest.raises(parsers.UnreadableTrace) as caught:
        parsers.load(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def kineto(**more: object) -> bytes:
    return json.dumps({"schemaVersion": 1, "deviceProperties": [], **more, "traceEvents": [EVENT]}).encode()


CONTENTS: dict[str, tuple[str, bytes, str]] = {
    "events for a viewer": (
        "run.json",
        b'[{"ph": "X", "name": "a", "ts": 1}]',
        f"a trace of events for a viewer: pass the capture that it was made from, or {NSYS}",
    ),
    "json of nsys": (
        "run.json",
        b'{"data":["QnxKernelTrace","GpuMetrics"]}\n{"Type":80}\n',
        "a JSON export of nsys: export the report again with `nsys export --type sqlite`",
    ),
    "json of another kind": ("run.json", b'{"model": "sdxl"}', f"not an nsys SQLite export: {parsers.MAKE_ONE}"),
    "ncu report by its content": (
        "a.bin",
        b"NVR\0\x08\0\0\0",
        "a report of Nsight Compute: `ttinsys cache {}` reads it",
    ),
    "ncu report by its name": ("a.ncu-rep", b"?", "a report of Nsight Compute: `ttinsys cache {}` reads it"),
    "nsys report under another name": (
        "a.rep",
        b"NVIDIA Tegra Profiler Report 2023@4@4@54",
        "a report of nsys under another name: rename it to end in .nsys-rep",
    ),
    "ncu csv": (
        "a.csv",
        b'==PROF== Connected to process 7\n"ID","Process ID","Process Name","Host Name","Kernel Name"\n"0","7"\n',
        "a table of Nsight Compute: `ttinsys cache {}` reads it",
    ),
    "ncu csv of powershell": (
        "a.csv",
        '"ID","Process ID","Kernel Name"\r\n"0","7","k"\r\n'.encode("utf-16"),
        "a table of Nsight Compute: `ttinsys cache {}` reads it",
    ),
    "nsys stats csv": (
        "a.csv",
        b"Time (%),Total Time (ns),Instances,Name\n100.0,5,1,k\n",
        "a table that `nsys stats` printed: pass the report or the export that it was made from",
    ),
    "sqlite in gzip": (
        "a.sqlite.gz",
        gzip.compress(SAMPLE.read_bytes()),
        "compressed by gzip: gunzip it first: `gunzip -k {}`",
    ),
    "gzip that was cut short": (
        "a.gz",
        gzip.compress(SAMPLE.read_bytes())[:3],
        "compressed by gzip: gunzip it first: `gunzip -k {}`",
    ),
    "xz": ("a.sqlite.xz", lzma.compress(b"x"), "compressed by xz: unpack it first: `xz -dk {}`"),
    "bzip2": ("a.sqlite.bz2", bz2.compress(b"x"), "compressed by bzip2: unpack it first: `bunzip2 -k {}`"),
    "zstd": ("a.zst", b"\x28\xb5\x2f\xfd\x00", "compressed by zstd: unpack it first: `zstd -dk {}`"),
    "not imported": (
        "a.qdstrm",
        b"CPU",
        (
            "a capture that nsys has not imported yet: run `QdstrmImporter -i FILE`, which comes with nsys, "
            "and pass the .nsys-rep report that it makes"
        ),
    ),
}


@pytest.mark.parametrize(("name", "content", "answer"), CONTENTS.values(), ids=CONTENTS)
def test_file_of_another_kind_is_answered_with_what_to_do(
    tmp_path: Path, name: str, content: bytes, answer: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert refusal(path) == answer.replace("{}", str(path))


def test_zip_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(SAMPLE, "run.sqlite")
    assert refusal(path) == f"a zip archive: unpack it first: `unzip {path}`"


def test_name_in_a_command_to_type_is_quoted(tmp_path: Path) -> None:
    path = tmp_path / "my run; rm x.ncu-rep"
    path.write_bytes(b"?")
    assert refusal(path) == f"a report of Nsight Compute: `ttinsys cache '{path}'` reads it"


def test_table_of_a_directory_stands_for_its_folder(tmp_path: Path) -> None:
    for format, suffix in (("parquetdir", ".parquet"), ("arrowdir", ".arrow")):
        folder = builder().write(tmp_path / format, format)  # type: ignore[arg-type]
        answer = (
            f"one table of {'a' if suffix == '.parquet' else 'an'} {format}: pass the folder that holds all of them"
        )
        assert refusal(folder / f"CUPTI_ACTIVITY_KIND_KERNEL{suffix}") == answer


OF_PYTORCH: dict[str, tuple[str, bytes]] = {
    "usual": ("run.json", kineto()),
    "events come late": ("run.json", kineto(distributedInfo={"pg": "x" * 100_000})),
    "no header": ("run.pt.trace.json", json.dumps({"traceEvents": [EVENT]}, indent=2).encode()),
    "bare list": ("run.json", json.dumps([EVENT]).encode()),
    "in gzip": ("run.json.gz", gzip.compress(kineto())),
    "under the name of an export": ("run.sqlite", kineto()),
}


@pytest.mark.parametrize(("name", "content"), OF_PYTORCH.values(), ids=OF_PYTORCH)
def test_trace_of_the_pytorch_profiler_opens_by_its_content(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    trace = parsers.load(path)
    assert (trace.format, trace.nvtx_events.select(pl.len()).collect().item()) == ("kineto", 2)


def test_genuine_output_of_ncu_is_recognized() -> None:
    path = TRACES.parent / "cases" / "ncu-details-t4.csv"
    if not path.exists():
        pytest.skip("no ../shared/cases")
    assert refusal(path) == f"a table of Nsight Compute: `ttinsys cache {path}` reads it"


def test_our_own_export_for_a_viewer_is_not_taken_for_a_trace_of_pytorch(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert run("export", SAMPLE, "--to", "perfetto", "-o", path).exit_code == 0
    assert refusal(path).startswith("a trace of events for a viewer: ")


# Paths that do not exist


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("run1.sqlit", "did you mean 'run1.sqlite'?"),
        ("Run_pqtdir", "did you mean 'run_pqtdir'?"),
        ("zzz", parsers.MAKE_ONE),
        ("note.txt", parsers.MAKE_ONE),
    ],
)
def test_name_that_does_not_exist_is_corrected(tmp_path: Path, name: str, answer: str) -> None:
    (tmp_path / "run1.sqlite").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "run_pqtdir").mkdir()
    assert refusal(tmp_path / name) == f"No such file or directory: {answer}"


def test_folder_that_does_not_exist_has_no_near_name(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no" / "run.sqlite") == f"No such file or directory: {parsers.MAKE_ONE}"


# Folders of several traces


def builder(kernel: str = "sgemm") -> TraceBuilder:
    t = TraceBuilder()
    thread = t.thread()
    t.range(thread, "unet", 0, 100)
    t.kernel(thread, kernel, launch=(10, 20), gpu=(50, 60))
    return t


def run(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(main, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def names(folder: Path) -> list[str]:
    return [path.name for path in traces_in(folder)]


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("format", "name"), [("sqlite", "{}.sqlite"), ("parquetdir", "{}_pqtdir"), ("arrowdir", "{}_arwdir")]
)
def test_folder_of_exports_stands_for_them_by_name(tmp_path: Path, format: Format, name: str) -> None:
    for capture in ("b", "a", "c"):
        builder(capture).write(tmp_path / name.format(capture), format)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "plots").mkdir()
    done = run("kernels", tmp_path, "--format", "csv")
    assert done.exit_code == 0, done.stderr
    rows = [line.split(",")[0] for line in done.stdout.splitlines()[1:]]
    assert rows == [str(tmp_path / name.format(capture)) for capture in ("a", "b", "c")]
    assert run("kernels", *traces_in(tmp_path), "--format", "csv").stdout == done.stdout


def test_folder_of_exports_stands_for_them_in_the_reports_of_nsys(tmp_path: Path) -> None:
    for capture in ("b", "a"):
        builder(capture).write(tmp_path / f"{capture}.sqlite")
    done = run("stats", "-r", "cuda_gpu_kern_sum", "--format", "csv", tmp_path)
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == [
        "trace",
        f"{tmp_path}/a.sqlite",
        f"{tmp_path}/b.sqlite",
    ]


@pytest.mark.parametrize("command", [["cache", "PROFILE"], ["model", "stable-diffusion"]], ids=" ".join)
def test_option_for_one_trace_takes_a_folder_of_one_and_of_no_more(tmp_path: Path, command: list[str]) -> None:
    profile = tmp_path / "profile.csv"
    rows = [["ID", "Kernel Name", *METRICS], ["", "", "ns", "%", "%", "byte", "byte"], ["0", "sgemm", *"11111"]]
    profile.write_text("".join(",".join(f'"{cell}"' for cell in row) + "\n" for row in rows))
    arguments = [str(profile) if word == "PROFILE" else word for word in command]
    folder = tmp_path / "folder"
    folder.mkdir()
    builder().write(folder / "a.sqlite")
    assert "holds" not in run(*arguments, "--trace", folder).stderr
    builder().write(folder / "b.sqlite")
    done = run(*arguments, "--trace", folder)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{folder} holds 2 traces: give one of them, such as {folder}/a.sqlite" in done.stderr


def test_capture_in_several_forms_counts_once(tmp_path: Path) -> None:
    builder().write(tmp_path / "one.sqlite")
    builder().write(tmp_path / "one_pqtdir", "parquetdir")
    builder().write(tmp_path / "two_pqtdir", "parquetdir")
    for report in ("one", "two", "three"):
        (tmp_path / f"{report}.nsys-rep").touch()
    assert names(tmp_path) == ["one.sqlite", "three.nsys-rep", "two_pqtdir"]


def test_folder_of_reports_stands_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for report in ("b.nsys-rep", "a.qdrep"):
        (tmp_path / report).write_text("x")
    assert names(tmp_path) == ["a.qdrep", "b.nsys-rep"]
    monkeypatch.setenv("PATH", "")
    done = run("info", tmp_path)
    assert done.exit_code != 0
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert f"{tmp_path}/a.qdrep: a report is read through nsys, and nsys was not found: give --nsys PATH" in done.stderr


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: builder().write(folder / "t", "parquetdir"),
        lambda folder: builder().write(folder / "t", "arrowdir"),
        lambda folder: folder / "no",
        lambda folder: folder / ("x" * 300),
        lambda folder: builder().write(folder / "t.sqlite"),
        lambda folder: folder,
    ],
    ids=["parquetdir", "arrowdir", "nothing", "long name", "file", "no trace in it"],
)
def test_what_is_no_folder_of_traces_stands_for_itself(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    (tmp_path / "._t.sqlite").write_text("what macOS leaves beside the file that it unpacks")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "ops.parquet").touch()
    assert traces_in(make(tmp_path)) == []


def test_library_is_given_one_trace_and_says_what_a_folder_holds(tmp_path: Path) -> None:
    builder().write(tmp_path / "a.sqlite")
    assert refusal(tmp_path) == "a folder of one trace: pass what is in it, such as a.sqlite"
    builder().write(tmp_path / "b.sqlite")
    assert refusal(tmp_path) == "a folder of 2 traces: pass what is in it, such as a.sqlite"
