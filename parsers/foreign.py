"""Files that people pass and that are no nsys export: what each is, and what to do instead."""

from __future__ import annotations

import re
import shlex
import zlib
from pathlib import Path

HEAD_BYTES = 1 << 16
"""How much of a file is looked at."""

GZIP = b"\x1f\x8b"
"""First bytes of what gzip compressed."""

_NSYS = "capture the program with `nsys profile --trace=cuda,nvtx PROGRAM` and pass the report"
_ARCHIVES = {
    b"PK\x03\x04": ("a zip archive", "unzip"),
    b"\xfd7zXZ\x00": ("compressed by xz", "xz -dk"),
    b"BZh": ("compressed by bzip2", "bunzip2 -k"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "zstd -dk"),
}
"""First bytes of an archive, what it is, and the command that unpacks it."""

_SUFFIXES = {
    ".qdstrm": (
        "a capture that nsys has not imported yet",
        "run `QdstrmImporter -i FILE`, which comes with nsys, and pass the .nsys-rep report that it makes",
    ),
    ".parquet": ("one table of a parquetdir", "pass the folder that holds all of them"),
    ".arrow": ("one table of an arrowdir", "pass the folder that holds all of them"),
}
"""What a file is by its name alone."""


def recognized(path: Path, head: bytes) -> tuple[str, str] | None:
    """What a file is that is no nsys export, and what to do.

    Args:
        path: the file; its suffix counts where its content tells nothing.
        head: its first `HEAD_BYTES`.

    Returns:
        The problem and the remedy, for `UnreadableTrace`; None for what is not known.
    """
    if head.startswith(GZIP):
        content = recognized(path.with_suffix(""), _inflated(head))
        return content or ("compressed by gzip", f"gunzip it first: `gunzip -k {_shell(path)}`")
    for magic, (problem, command) in _ARCHIVES.items():
        if head.startswith(magic):
            return problem, f"unpack it first: `{command} {_shell(path)}`"
    if head.startswith(b"NVR\x00") or path.suffix == ".ncu-rep":
        return "a report of Nsight Compute", f"`ttinsys cache {_shell(path)}` reads it"
    if head.startswith(b"NVIDIA Tegra Profiler Report"):
        return "a report of nsys under another name", "rename it to end in .nsys-rep"
    return _text(path, head) or _SUFFIXES.get(path.suffix.lower())


def is_profiler_trace(head: bytes) -> bool:
    """Whether a file is trace events of the PyTorch profiler, plain or compressed by gzip.

    Args:
        head: its first `HEAD_BYTES`.
    """
    text = _decoded(_inflated(head) if head.startswith(GZIP) else head)
    return _holds_events(text) and re.search(_OF_PYTORCH, text) is not None


_OF_PYTORCH = (
    r'"(schemaVersion|deviceProperties|baseTimeNanoseconds|Record function id|External id|Python id)"\s*:'
    r'|"(cpu_op|user_annotation|python_function|cuda_runtime|cuda_driver|gpu_memcpy|gpu_memset)"'
    r"|PyTorch Profiler"
)
"""What Kineto writes and other writers of trace events do not."""


def _holds_events(text: str) -> bool:
    return text.startswith(("{", "[")) and re.search(r'"(traceEvents|ph|deviceProperties)"\s*:', text) is not None


def _decoded(head: bytes) -> str:
    wide = head[:2] in {b"\xff\xfe", b"\xfe\xff"}
    return head.decode("utf-16" if wide else "utf-8-sig", errors="replace").lstrip()


def _text(path: Path, head: bytes) -> tuple[str, str] | None:
    """What a file of text is: JSON of trace events, or CSV of ncu or of nsys."""
    text = _decoded(head)
    if _holds_events(text):
        if is_profiler_trace(head):
            return "a trace of the PyTorch profiler", _NSYS
        return "a trace of events for a viewer", f"pass the capture that it was made from, or {_NSYS}"
    if text.startswith('{"data":[') or re.match(r'\{"(Type|CudaEvent|NvtxEvent|TraceProcessEvent)"\s*:', text):
        return "a JSON export of nsys", "export the report again with `nsys export --type sqlite`"
    if re.search(r'^("?)ID\1,.*("?)Kernel Name\2(,|\r?$)|^==PROF== ', text, re.MULTILINE):
        return "a table of Nsight Compute", f"`ttinsys cache {_shell(path)}` reads it"
    if re.match(r'"?[^"\n]*\b(Total Time|Duration|Start) \((ns|us|ms|s)\)', text):
        return "a table that `nsys stats` printed", "pass the report or the export that it was made from"
    return None


def _inflated(head: bytes) -> bytes:
    """The beginning of what is compressed by gzip."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except zlib.error:
        return b""


def _shell(path: Path) -> str:
    return shlex.quote(str(path))
