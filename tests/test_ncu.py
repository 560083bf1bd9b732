"""Nsight Compute's CSV: the layouts that it prints, and one line for every file that is none."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from parsers import TraceError
from parsers.errors import UnreadableTrace
from parsers.ncu import KERNEL_METRICS, METRICS, load, parse

NVTX = "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"
HEAD = ["ID", "Process ID", "Process Name", "Host Name", NVTX, "Kernel Name", "Context", "Stream", "Block Size",
        "Grid Size", "Device", "CC"]  # fmt: skip
COUNTERS = ["dram__bytes_read.sum", "dram__bytes_write.sum", "gpu__time_duration.sum", "l1tex__t_sector_hit_rate.pct",
            "lts__t_sector_hit_rate.pct"]  # fmt: skip
UNITS = ["Mbyte", "Kbyte", "usecond", "%", "%"]


def line(cells: Sequence[str]) -> str:
    quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
    return ",".join(quoted) + "\n"


def ranges(*names: str) -> str:
    return "7  " + "  ".join(f'"{name}:none:none:none:none:none:none"' for name in names)


def row(number: int, kernel: str, values: Sequence[str], *, nvtx: str = "", grid: str = "(8, 1, 1)") -> str:
    return line([str(number), "42", "python", "host", nvtx, kernel, "1", "7", "(128, 2, 1)", grid, "0", "9.0", *values])


def raw(*rows: str, units: Sequence[str] = UNITS, metrics: Sequence[str] = COUNTERS) -> str:
    return line([*HEAD, *metrics]) + line([*[""] * len(HEAD), *units]) + "".join(rows)


GOOD = (
    '==PROF== Connected to process 42 (/usr/bin/python)\n==PROF== Profiling "sgemm" - 0: 0%....100% - 6 passes\n'
    "a word of the program, with a comma\n"
    + raw(
        row(0, "sgemm<int, 4>(float)", ["1,234.50", "2.00", "10.50", "45.67", "80"],
            nvtx=ranges("ttinsys:unet", "<default domain>:mine", "ttinsys:unet.conv_in")),
        "step 1 of 2, done\n",
        row(1, "softmax", ["0", "n/a", "1,000.00", "", "(!) n/a"]),
    )
    + "==PROF== Disconnected from process 42\n"
)  # fmt: skip


def read(text: str) -> pl.DataFrame:
    return parse(text.encode(), Path("profile.csv"))


def test_raw_page_is_read_in_base_units_past_what_others_print() -> None:
    frame = read(GOOD)
    assert frame.schema == KERNEL_METRICS.schema
    first, second = frame.drop("ranges").rows()
    assert first == (0, 42, "sgemm<int, 4>(float)", "8x1x1", "128x2x1", 10_500, 0.4567, 0.8, 1_234_500_000, 2_000)
    assert second == (1, 42, "softmax", "8x1x1", "128x2x1", 1_000_000, None, None, 0, None)


def test_ranges_are_told_outermost_first_with_their_domains() -> None:
    first, second = read(GOOD)["ranges"]
    assert [(each["domain"], each["name"]) for each in first] == [
        ("ttinsys", "unet"), ("<default domain>", "mine"), ("ttinsys", "unet.conv_in"),
    ]  # fmt: skip
    assert second.to_list() == []


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        (["byte", "byte", "ns", "%", "%"], (2, 4, 3)),
        (["Kbyte", "KB", "us", "%", "%"], (2_000, 4_000, 3_000)),
        (["Mbyte", "MB", "msecond", "%", "%"], (2_000_000, 4_000_000, 3_000_000)),
        (["Gbyte", "Tbyte", "second", "%", "%"], (2 * 10**9, 4 * 10**12, 3 * 10**9)),
        (["", "", "nsecond", "", ""], (2, 4, 3)),
    ],
)
def test_units_are_those_of_their_column(units: list[str], expected: tuple[int, int, int]) -> None:
    frame = read(raw(row(0, "k", ["2", "4", "3", "50", "50"]), units=units))
    assert frame.select("dram_read_bytes", "dram_write_bytes", "duration_ns").row(0) == expected
    assert frame["l1_hit_ratio"].to_list() == [0.5]


def test_details_page_is_one_row_per_metric() -> None:
    head = [*HEAD, "Section Name", "Metric Name", "Metric Unit", "Metric Value"]

    def metric(number: int, name: str, unit: str, value: str) -> str:
        cells = [str(number), "42", "python", "host", ranges("ttinsys:unet"), "k", "1", "7", "(1, 1, 1)", "(2, 1, 1)"]
        return line([*cells, "0", "9.0", "Command line profiler metrics", name, unit, value])

    both = [
        metric(number, name, unit, value)
        for number in (0, 1)
        for name, unit, value in [
            ("dram__bytes_read.sum", "Kbyte", "1.5"), ("dram__bytes_write.sum", "byte", "7"),
            ("Duration", "us", "2,848.5"), ("L1/TEX Hit Rate", "%", "12.5"), ("L2 Hit Rate", "%", "100"),
            ("launch__waves_per_multiprocessor", "", "0.5"),
        ]
    ]  # fmt: skip
    frame = read(line(head) + "".join(both))
    assert frame["launch"].to_list() == [0, 1]
    assert frame.select(*METRICS.values()).rows() == [(2_848_500, 0.125, 1.0, 1_500, 7)] * 2


def test_numbers_of_a_locale_with_decimal_commas_are_read() -> None:
    frame = read(raw(row(0, "k", ["1.234,5", "27.595.520", "117,34", "65,77", "1,5"])))
    assert frame.select("dram_read_bytes", "dram_write_bytes", "duration_ns", "l1_hit_ratio").row(0) == (
        1_234_500_000, 27_595_520_000, 117_340, 0.6577,
    )  # fmt: skip


def test_numbers_of_two_locales_in_one_file_are_refused() -> None:
    with pytest.raises(UnreadableTrace, match=r"writes some numbers as 1,234\.5 and others as 1\.234,5"):
        read(raw(row(0, "k", ["1.234,5", "1", "1", "65.77", "1"])))


def test_file_in_utf_16_as_powershell_writes_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(GOOD.replace("\n", "\r\n").encode("utf-16"))
    assert load(tmp_path / "p.csv").equals(read(GOOD))


def test_header_that_is_repeated_is_skipped() -> None:
    frame = read(raw(row(0, "k", ["1"] * 5)) + raw(row(1, "k", ["1"] * 5)))
    assert frame["launch"].to_list() == [0, 1]


def test_missing_metrics_are_told_with_the_command_that_collects_them() -> None:
    text = raw(row(0, "k", ["1"] * 3), metrics=COUNTERS[:3], units=UNITS[:3])
    with pytest.raises(TraceError) as error:
        read(text)
    assert str(error.value) == (
        "profile.csv has no l1tex__t_sector_hit_rate.pct, lts__t_sector_hit_rate.pct: profile with `ncu --metrics "
        "gpu__time_duration.sum,l1tex__t_sector_hit_rate.pct,lts__t_sector_hit_rate.pct,dram__bytes_read.sum,"
        "dram__bytes_write.sum --clock-control none --nvtx --csv --page raw --log-file FILE PROGRAM`"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no line that names the columns ID and Kernel Name"),
        ("==ERROR== ERR_NVGPUCTRPERM\n", "has no line that names the columns"),
        (raw(), "names columns and has no kernel"),
        (raw(row(0, "k", ["x", "1", "1", "1", "1"])), "dram__bytes_read.sum is 'x', which is no number"),
        (raw(row(0, "k", ["-1", "1", "1", "1", "1"])), "is '-1', which is no number"),
        (raw(row(0, "k", ["inf", "1", "1", "1", "1"])), "is 'inf', which is no number"),
        (raw(row(0, "k", ["9" * 30, "1", "1", "1", "1"])), "more than any GPU counts"),
        (raw(row(0, "k", ["1"] * 5), units=["cycle", *UNITS[1:]]), "is in 'cycle', which is not a unit of it"),
        (raw(row(0, "k", ["1"] * 5), units=["usecond", *UNITS[1:]]), "is in 'usecond', which is not a unit of it"),
        (raw(row(0, "k", ["1"] * 4)), "line 3 has 16 of 17 columns"),
        (raw(row(0, "k", ["1"] * 5)).replace('"42"', '"forty"'), "Process ID is 'forty', which is no number"),
        (raw(row(0, "k", ["1"] * 5)) + line([*HEAD, *COUNTERS, "more"]), "line 4 names other columns"),
    ],
)
def test_malformed_file_is_one_line_with_what_to_do(text: str, problem: str) -> None:
    with pytest.raises(TraceError) as error:
        read(text)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_file_cut_anywhere_is_read_or_refused() -> None:
    whole = GOOD.encode()
    kernels = 0
    for length in range(len(whole)):
        try:
            found = parse(whole[:length], Path("profile.csv"))
        except TraceError as error:
            assert "\n" not in str(error), length  # noqa: PT017
        else:
            assert found.equals(read(GOOD).head(found.height)), length
            kernels += found.height
    assert kernels


@pytest.mark.slow(1)
def test_file_with_any_byte_changed_is_read_or_refused() -> None:
    whole = bytearray(GOOD.encode())
    for at in range(len(whole)):
        for byte in (0, 0x22, 0x2C, 0x0A, 0x39, 0xFF):
            changed = bytes(whole[:at]) + bytes([byte]) + bytes(whole[at + 1 :])
            try:
                parse(changed, Path("profile.csv"))
            except TraceError as error:
                assert "\n" not in str(error), (at, byte)  # noqa: PT017


def test_no_file_and_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableTrace, match=r"none.csv: No such file or directory"):
        load(tmp_path / "none.csv")
    with pytest.raises(UnreadableTrace, match=r"Is a directory"):
        load(tmp_path)
    (tmp_path / "p.csv").write_bytes(b"SQLite format 3\0\xff\xfe\x80")
    with pytest.raises(UnreadableTrace, match="not text"):
        load(tmp_path / "p.csv")


def ncu(folder: Path, script: str) -> str:
    program = folder / "ncu"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def test_report_is_read_through_ncu(tmp_path: Path) -> None:
    report = tmp_path / "p.ncu-rep"
    report.write_bytes(b"NVR\0")
    (tmp_path / "p.csv").write_text(GOOD)
    asked = f'echo "$@" > {tmp_path / "asked"}; cat {tmp_path / "p.csv"}'
    assert load(report, ncu(tmp_path, asked)).equals(read(GOOD))
    assert (tmp_path / "asked").read_text().split() == [
        "--import", str(report), "--csv", "--page", "raw", "--print-units", "base",
    ]  # fmt: skip


def test_report_that_ncu_would_not_read_is_told_with_its_last_words(tmp_path: Path) -> None:
    report = tmp_path / "p.ncu-rep"
    with pytest.raises(UnreadableTrace, match="No such file"):
        load(report, "no-such-ncu")
    report.write_bytes(b"")
    with pytest.raises(UnreadableTrace, match=r"read through ncu, and no-such-ncu was not found: give --ncu PATH, or"):
        load(report, "no-such-ncu")
    with pytest.raises(UnreadableTrace, match=r"`ncu --import` ended with status 3: ==ERROR== too old: import it with"):
        load(report, ncu(tmp_path, "echo '==ERROR== too old' >&2; exit 3"))
