"""Results of Nsight Compute: one row per profiled kernel, with counters in bytes, nanoseconds and ratios.

    kernels = parsers.ncu.load(Path("profile.csv"))

`ncu --csv --page raw` writes one row per kernel under a row of names and a row of units. Units are scaled by powers of
1000, each column on its own. `--page details` writes one row per kernel and metric (Nsight Compute CLI manual, "Output
Pages" and "Metrics and Units"). Lines of ncu (`==PROF==`) and of the program may stand before the names and between
rows. With `--nvtx`, the column `thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg` holds the
ranges around the launch, outermost first, each in quotes. Numbers have the thousands separators of the locale.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import polars as pl

from parsers.errors import TraceError, UnreadableTrace
from parsers.schema import Column, Table

SUFFIX = ".ncu-rep"
"""Suffix of reports, which only ncu can read."""

RANGE = pl.Struct({"domain": pl.String(), "name": pl.String()})
"""An NVTX range around a launch."""

KERNEL_METRICS = Table(
    "kernel_metrics",
    Column("launch", pl.Int64, "ID that ncu gives the kernel, in the order of launches."),
    Column("pid", pl.Int64, "ID of the process that launched the kernel."),
    Column("kernel", pl.String, "Kernel name, as ncu prints it."),
    Column("grid", pl.String, "Grid size in blocks, as `8x1x1`; null where the file has none."),
    Column("block", pl.String, "Block size in threads, as `128x1x1`; null where the file has none."),
    Column(
        "ranges",
        pl.List(RANGE),
        "NVTX ranges open on the launching thread, outermost first; null where ncu did not record ranges.",
    ),
    Column("duration_ns", pl.Int64, "Duration on the GPU: gpu__time_duration.sum.", unit="ns"),
    Column("l1_hit_ratio", pl.Float64, "Hit rate of the L1 cache: l1tex__t_sector_hit_rate.pct.", unit="ratio"),
    Column("l2_hit_ratio", pl.Float64, "Hit rate of the L2 cache: lts__t_sector_hit_rate.pct.", unit="ratio"),
    Column("dram_read_bytes", pl.Int64, "Bytes read from device memory: dram__bytes_read.sum.", unit="B"),
    Column("dram_write_bytes", pl.Int64, "Bytes written to device memory: dram__bytes_write.sum.", unit="B"),
    doc="one row per kernel that Nsight Compute profiled; a counter that it could not read is null",
)

METRICS = {
    "gpu__time_duration.sum": "duration_ns",
    "l1tex__t_sector_hit_rate.pct": "l1_hit_ratio",
    "lts__t_sector_hit_rate.pct": "l2_hit_ratio",
    "dram__bytes_read.sum": "dram_read_bytes",
    "dram__bytes_write.sum": "dram_write_bytes",
}
"""The column of each metric."""

PROFILE = f"ncu --metrics {','.join(METRICS)} --clock-control none --nvtx --csv --page raw --log-file FILE PROGRAM"
"""The command that makes a file with every metric that is read here."""

_ON_DETAILS = {
    "Duration": "gpu__time_duration.sum",
    "L1/TEX Hit Rate": "l1tex__t_sector_hit_rate.pct",
    "L2 Hit Rate": "lts__t_sector_hit_rate.pct",
}
"""Metrics by the name that the details page gives them."""

_SCALES = {
    "ns": ("1", "nsecond nanosecond"), "us": ("1e3", "usecond microsecond"), "ms": ("1e6", "msecond millisecond"),
    "s": ("1e9", "second"), "%": ("0.01", "percent"), "byte": ("1", "b bytes"), "kbyte": ("1e3", "kb kilobyte"),
    "mbyte": ("1e6", "mb megabyte"), "gbyte": ("1e9", "gb gigabyte"), "tbyte": ("1e12", "tb terabyte"),
}  # fmt: skip
_FACTORS = {name: Decimal(factor) for unit, (factor, more) in _SCALES.items() for name in (unit, *more.split())}
"""How many of our units one of ncu's is, by its name in lower case; older versions of ncu have other names."""

_KINDS = {"duration_ns": "s", "l1_hit_ratio": "%", "l2_hit_ratio": "%", "dram_read_bytes": "b", "dram_write_bytes": "b"}
_NAMES = ("ID", "Kernel Name")
_LONG = ("Metric Name", "Metric Unit", "Metric Value")
_NOTHING = frozenset({"", "n/a", "nan", "(!) n/a", "-nan", "no data"})
_AGAIN = "export it again with `ncu --import REPORT.ncu-rep --csv --page raw`"


def load(path: Path, ncu: str | None = None) -> pl.DataFrame:
    """Read what Nsight Compute printed, or a report of it.

    Args:
        path: CSV of `ncu --csv`, of the page `raw` or `details`, or a `.ncu-rep` report.
        ncu: the ncu program that reads reports; None looks for `ncu` on PATH.

    Returns:
        `KERNEL_METRICS`, in the order of the file.

    Raises:
        TraceError: the file is neither, is damaged, or lacks a metric; or ncu is missing or rejects the report.
    """
    try:
        raw = _imported(path, ncu) if path.suffix == SUFFIX else path.read_bytes()
    except OSError as error:
        remedy = "pass CSV that `ncu --csv` printed, or a .ncu-rep report"
        raise UnreadableTrace(path, error.strerror or str(error), remedy) from error
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> pl.DataFrame:
    """As `load`, from the content of a file; `path` is for errors."""
    names, units, rows = _table(path, _text(raw, path))
    kernels = (
        _by_kernel(names, rows) if set(_LONG) <= set(names) else [(row, _with_units(names, row, units)) for row in rows]
    )
    _refuse_missing(path, {metric for _, metrics in kernels for metric in metrics})
    cells = [metrics[metric][0] for _, metrics in kernels for metric in METRICS if metric in metrics]
    comma = _comma_is_decimal(path, cells)
    column = {name: at for at, name in enumerate(names)}
    records = [
        {
            "launch": _integer(path, row, column, "ID"),
            "pid": _integer(path, row, column, "Process ID"),
            "kernel": row[column["Kernel Name"]],
            "grid": _dimensions(row, column, "Grid Size"),
            "block": _dimensions(row, column, "Block Size"),
            "ranges": _ranges(row, column),
            **{
                ours: _value(path, metric, *metrics.get(metric, ("", "")), comma=comma)
                for metric, ours in METRICS.items()
            },
        }
        for row, metrics in kernels
    ]
    return pl.DataFrame(records, schema=KERNEL_METRICS.schema, orient="row")


def _imported(report: Path, ncu: str | None) -> bytes:
    """The output of `ncu --import` for a report."""
    report.stat()
    program = shutil.which(ncu or "ncu")
    if program is None:
        raise UnreadableTrace(
            report,
            f"a report is read through ncu, and {ncu or 'ncu'} was not found",
            "give --ncu PATH, or run `ncu --import REPORT.ncu-rep --csv --page raw` where it was captured and pass its "
            "output",
        )
    command = [program, "--import", str(report), "--csv", "--page", "raw", "--print-units", "base"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_HOUR_S)
    except subprocess.TimeoutExpired as error:
        raise UnreadableTrace(report, "`ncu --import` did not end within an hour", _ELSEWHERE) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines() or ["without a message"]
        raise UnreadableTrace(report, f"`ncu --import` ended with status {done.returncode}: {lines[-1]}", _ELSEWHERE)
    return done.stdout


_HOUR_S = 60 * 60
_ELSEWHERE = "import it with the ncu that captured it, or a newer one, and pass the CSV that it prints"


def _text(raw: bytes, path: Path) -> str:
    """Decode UTF-8, or the UTF-16 that a redirection in PowerShell writes."""
    try:
        return raw.decode("utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableTrace(path, "not text, so not CSV of ncu", _AGAIN) from error


def _table(path: Path, text: str) -> tuple[list[str], list[str], list[list[str]]]:
    """Names of the columns, their units, and the rows of kernels; output of the program between them is left out."""
    names: list[str] = []
    units: list[str] = []
    rows: list[list[str]] = []
    for number, quoted, cells in _lines(path, text):
        if set(_NAMES) <= set(cells):
            if names and cells != names:
                raise UnreadableTrace(path, f"line {number} names other columns than the lines before", _AGAIN)
            names = cells
        elif names and len(cells) == len(names):
            if cells[names.index("ID")].isdecimal():
                rows.append(cells)
            elif not cells[names.index("Kernel Name")]:
                units = cells
        elif names and (quoted or (cells[0].isdecimal() and len(cells) > 1)):
            raise UnreadableTrace(path, f"line {number} has {len(cells)} of {len(names)} columns", _AGAIN)
    if not names:
        raise UnreadableTrace(
            path, "has no line that names the columns ID and Kernel Name", f"make one with `{PROFILE}`"
        )
    if not rows:
        raise UnreadableTrace(path, "names columns and has no kernel", "profile a program that launches kernels")
    return names, units or [""] * len(names), rows


def _lines(path: Path, text: str) -> Iterator[tuple[int, bool, list[str]]]:
    """Number, whether it begins with a quote, and cells of each line but ncu's messages."""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        if line.startswith("==") or not line.strip():
            continue
        try:
            quoted = line.startswith('"')
            if quoted and line.endswith(","):  # ncu quotes every cell
                raise UnreadableTrace(path, f"line {number} ends within a row", _AGAIN)
            yield number, quoted, next(csv.reader([line], strict=quoted))
        except csv.Error as error:
            raise UnreadableTrace(path, f"line {number} is not CSV: {error}", _AGAIN) from error


_Metrics = dict[str, tuple[str, str]]
"""Value and unit of each metric, as text."""


def _with_units(names: Sequence[str], row: list[str], units: Sequence[str]) -> _Metrics:
    """The metrics of a row of the raw page."""
    return dict(zip(names, zip(row, units, strict=True), strict=True))


def _by_kernel(names: Sequence[str], rows: Sequence[list[str]]) -> list[tuple[list[str], _Metrics]]:
    """Group the rows of the details page, one per metric, by kernel: its first row, and its metrics."""
    name, unit, value = (names.index(column) for column in _LONG)
    keys = [names.index(key) for key in ("ID", "Process ID") if key in names]
    kernels: dict[tuple[str, ...], tuple[list[str], _Metrics]] = {}
    for row in rows:
        _, metrics = kernels.setdefault(tuple(row[key] for key in keys), (row, {}))
        if row[name]:
            metrics[_ON_DETAILS.get(row[name], row[name])] = (row[value], row[unit])
    return list(kernels.values())


def _refuse_missing(path: Path, present: set[str]) -> None:
    missing = [metric for metric in METRICS if metric not in present]
    if missing:
        raise TraceError(f"{path} has no {', '.join(missing)}: profile with `{PROFILE}`")


_COMMA = re.compile(r"\d+,\d{1,2}|\d+,\d{4,}|\d{1,3}(\.\d{3}){2,}(,\d+)?|\d{1,3}(\.\d{3})+,\d+")
_POINT = re.compile(r"\d+\.\d{1,2}|\d+\.\d{4,}|\d{1,3}(,\d{3}){2,}(\.\d+)?|\d{1,3}(,\d{3})+\.\d+")
_SPACES = str.maketrans("", "", " '\u00a0\u202f\u2019")


def _comma_is_decimal(path: Path, cells: Sequence[str]) -> bool:
    """Whether numbers are written as 1.234,5: some number is written so, and none as 1,234.5."""
    numbers = [cell.translate(_SPACES) for cell in cells]
    comma = any(map(_COMMA.fullmatch, numbers))
    if comma and any(map(_POINT.fullmatch, numbers)):
        raise UnreadableTrace(path, "writes some numbers as 1,234.5 and others as 1.234,5", _AGAIN)
    return comma


def _value(path: Path, metric: str, cell: str, unit: str, *, comma: bool) -> int | float | None:
    """A metric in our unit; None where ncu could not read it."""
    if cell.strip().lower() in _NOTHING:
        return None
    text = cell.translate(_SPACES)
    text = text.replace(".", "").replace(",", ".") if comma else text.replace(",", "")
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    kind = _KINDS[METRICS[metric]]
    named = unit.strip().lower() or {"s": "ns", "b": "byte", "%": "%"}[kind]
    if not number.is_finite() or number < 0:
        raise UnreadableTrace(path, f"{metric} is {cell!r}, which is no number", _AGAIN)
    if named not in _FACTORS or ("%" if named in {"%", "percent"} else "b" if "b" in named else "s") != kind:
        raise UnreadableTrace(path, f"{metric} is in {unit!r}, which is not a unit of it", _AGAIN)
    scaled = number * _FACTORS[named]
    if kind == "%":
        return float(scaled)
    if scaled >= 1 << 63:
        raise UnreadableTrace(path, f"{metric} is {cell!r}, which is more than any GPU counts", _AGAIN)
    return int(scaled.to_integral_value())


def _integer(path: Path, row: Sequence[str], column: dict[str, int], name: str) -> int | None:
    cell = row[column[name]] if name in column else ""
    if cell.isdecimal() and len(cell) < _DIGITS:
        return int(cell)
    if cell:
        raise UnreadableTrace(path, f"{name} is {cell!r}, which is no number", _AGAIN)
    return None


_DIGITS = 19


def _dimensions(row: Sequence[str], column: dict[str, int], name: str) -> str | None:
    """`(8, 1, 1)` as `8x1x1`."""
    sizes = re.findall(r"\d+", row[column[name]]) if name in column else []
    return "x".join(str(int(size)) for size in sizes[:3]) or None


_RANGE = re.compile(r'"([^":]*):([^":]*):')


def _ranges(row: Sequence[str], column: dict[str, int]) -> list[dict[str, str]] | None:
    """The ranges in `7  "ttinsys:unet:none:..."  "ttinsys:unet.conv_in:none:..."`; paths of modules have no colon."""
    cell = next((row[at] for name, at in column.items() if "Push/Pop_Range" in name), None)
    if cell is None:
        return None
    return [{"domain": domain, "name": name} for domain, name in _RANGE.findall(cell)]
